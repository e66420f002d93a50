"""Objects: two shapes, each with a colour and a fill; what belongs to which."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import ClassVar

from sepiola.data.tidepool.canvas import Canvas
from sepiola.data.tidepool.family import Family, Query, Scene, Statements, Texts, choose
from sepiola.data.tidepool.words import COLOURS, FILLS, SHAPES, Key

# What a question of each kind names, and what it asks for.
GIVEN = {"colour": "shape", "shape": "colour", "fill": "fill"}
CENTRES = (16, 48)
RADIUS = 12


class Objects(Family):
    """A scene holds, from left to right, two objects: shape, colour, fill and place, all different."""

    name = "objects"
    subject, grade, topic = "natural science", "grade1", "science-and-engineering-practices"
    category, skill = "Properties of objects", "Identify the properties of an object"
    kinds = ("colour", "shape", "fill")
    text: ClassVar[Texts] = {
        "en": {
            "lecture": "An object can be told by its shape, its color and its pattern.",
            "hint": "Each object is plain, striped or dotted.",
            "question.colour": "What color is the {subject}?",
            "question.shape": "Which object is {subject}?",
            "question.fill": "Which object is {subject}?",
            "option.colour": "{option}",
            "option": "the {option}",
            "solution.colour": "The {shape} is {colour} and {fill}, so its color is {right}.",
            "solution.shape": "The {shape} is {colour} and {fill}, so the {subject} object is the {right}.",
            "solution.fill": "The {shape} is {colour} and {fill}, so the {subject} object is the {right}.",
            "object": "the {shape} is {colour} and {fill}",
        },
        "zh": {
            "lecture": "可以根据形状、颜色和花纹来辨认物体。",
            "hint": "每个图形有条纹、有圆点，或者没有花纹。",
            "question.colour": "{subject}是什么颜色的？",
            "question.shape": "哪个图形是{subject}的？",
            "question.fill": "哪个图形{subject}？",
            "option.colour": "{option}",
            "option": "{option}",
            "solution.colour": "{shape}是{colour}的，{fill}，所以它的颜色是{right}。",
            "solution.shape": "{shape}是{colour}的，{fill}，所以{subject}的图形是{right}。",
            "solution.fill": "{shape}是{colour}的，{fill}，所以{subject}的图形是{right}。",
            "object": "{shape}是{colour}的，{fill}",
        },
    }
    statements: ClassVar[Statements] = {
        "en": [
            ("object", "{shape} is {colour} and {fill}"),
            ("colour", "{shape} is {colour}"),
            ("fill", "{shape} is {fill}"),
            ("exists", "the {shape}"),
        ],
        "zh": [
            ("object", "{shape}是{colour}，{fill}"),
            ("colour", "{shape}是{colour}"),
            ("fill", "{shape}{fill}"),
            ("exists", "{shape}"),
        ],
    }

    def sample(self, rng: random.Random, kind: str) -> Scene:
        traits = zip(
            rng.sample(SHAPES, 2), rng.sample(COLOURS, 2), rng.sample(FILLS, 2), CENTRES, strict=True
        )
        objects = []
        for shape, colour, fill, x in traits:
            place = {"x": x + rng.randint(-1, 1), "y": rng.randint(16, 48)}
            objects.append({"shape": shape, "colour": colour, "fill": fill, **place})
        return {"objects": objects}

    def ask(self, scene: Scene, kind: str, rng: random.Random) -> Query:
        item = rng.choice(scene["objects"])
        asked, given = "colour" if kind == "colour" else "shape", GIVEN[kind]
        others = {"colour": COLOURS, "shape": SHAPES}[asked]
        shown = [other[asked] for other in scene["objects"]]
        absent = [key for key in others if key not in shown]
        options, answer = choose(rng, item[asked], shown + rng.sample(absent, 2), 4)
        return Query(kind, options, answer, subject=item[given])

    def facts(self, scene: Scene, query: Query, language: str) -> dict[str, Key]:
        item = next(o for o in scene["objects"] if o[GIVEN[query.kind]] == query.subject)
        return {trait: item[trait] for trait in ("shape", "colour", "fill")}

    def caption(self, scene: Scene, language: str) -> str:
        objects = [
            self.say(language, "object", shape=o["shape"], colour=o["colour"], fill=o["fill"])
            for o in scene["objects"]
        ]
        if language == "zh":
            return "；".join(objects) + "。"
        sentence = "; ".join(objects)
        return sentence[0].upper() + sentence[1:] + "."

    def check(self, statement: str, values: Sequence[str], scene: Scene) -> bool:
        item = next((o for o in scene["objects"] if o["shape"] == values[0]), None)
        if item is None or statement == "exists":
            return item is not None
        if statement == "object":
            return [item["colour"], item["fill"]] == list(values[1:])
        return bool(item[statement] == values[1])

    def draw(self, canvas: Canvas, scene: Scene) -> None:
        for item in scene["objects"]:
            canvas.shape(item["shape"], item["x"], item["y"], RADIUS, item["colour"], item["fill"])
