"""Objects: two shapes, each with a colour and a fill; what belongs to which."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import ClassVar

from sepiola.tidepool.canvas import Canvas
from sepiola.tidepool.family import Family, Query, Scene, Statements, Texts, Traits, choose
from sepiola.tidepool.words import COLOURS, FILLS, SHAPES, Key

# What a question of each kind names, and what it asks for.
GIVEN = {"colour": "shape", "shape": "colour", "fill": "fill"}
TRAITS = ("shape", "colour", "fill")
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
            "solution.colour": "On the {place} is a {item}, so the {subject} is {right}.",
            "solution.shape": "On the {place} is a {item}, so the {subject} object is the {right}.",
            "solution.fill": "On the {place} is a {item}, so the {subject} object is the {right}.",
            "both": "On the left is a {left} and on the right is a {right}",
            "object": "{colour} {fill} {shape}",
        },
        "zh": {
            "lecture": "可以根据形状、颜色和花纹来辨认物体。",
            "hint": "每个图形有条纹、有圆点，或者没有花纹。",
            "question.colour": "{subject}是什么颜色的？",
            "question.shape": "哪个图形是{subject}的？",
            "question.fill": "哪个图形{subject}？",
            "option.colour": "{option}",
            "option": "{option}",
            "solution.colour": "{place}是{item}，所以{subject}是{right}的。",
            "solution.shape": "{place}是{item}，所以{subject}的图形是{right}。",
            "solution.fill": "{place}是{item}，所以{subject}的图形是{right}。",
            "both": "左边是{left}，右边是{right}",
            "object": "{fill}的{colour}{shape}",
        },
    }
    statements: ClassVar[Statements] = {
        "en": [
            ("place", "{place} is a {colour} {fill} {shape}"),
            ("object", "{colour} {fill} {shape}"),
            ("colour", "{shape} is {colour}"),
            ("colour", "{colour} object is the {shape}"),
            ("fill", "{fill} object is the {shape}"),
            ("exists", "{shape}"),
        ],
        "zh": [
            ("place", "{place}是{fill}的{colour}{shape}"),
            ("object", "{fill}的{colour}{shape}"),
            ("colour", "{shape}是{colour}"),
            ("colour", "{colour}图形是{shape}"),
            ("fill", "{fill}的图形是{shape}"),
            ("exists", "{shape}"),
        ],
    }

    def sample(self, rng: random.Random, kind: str) -> Scene:
        traits = zip(rng.sample(SHAPES, 2), rng.sample(COLOURS, 2), rng.sample(FILLS, 2), CENTRES, strict=True)
        objects = []
        for shape, colour, fill, x in traits:
            place = {"x": x + rng.randint(-1, 1), "y": rng.randint(24, 40)}
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
        given = GIVEN[query.kind]
        number = next(i for i, item in enumerate(scene["objects"]) if item[given] == query.subject)
        return {"place": ("left", "right")[number], "item": self._said(scene["objects"][number], language)}

    def caption(self, scene: Scene, language: str) -> str:
        return self._both(scene, language) + ("。" if language == "zh" else ".")

    def _both(self, scene: Scene, language: str) -> str:
        left, right = (self._said(item, language) for item in scene["objects"])
        return self.say(language, "both", left=left, right=right)

    def _said(self, item: Scene, language: str) -> str:
        return self.say(language, "object", **{trait: item[trait] for trait in TRAITS})

    def objects(self, scene: Scene) -> list[Traits]:
        return [
            {"kind": "object", "place": place, **{trait: item[trait] for trait in TRAITS}}
            for place, item in zip(("left", "right"), scene["objects"], strict=True)
        ]

    def check(self, statement: str, values: Sequence[str], scene: Scene) -> bool:
        known = [
            {place, *(item[trait] for trait in TRAITS)}
            for place, item in zip(("left", "right"), scene["objects"], strict=True)
        ]
        return any(set(values) <= traits for traits in known)

    def draw(self, canvas: Canvas, scene: Scene) -> None:
        for item in scene["objects"]:
            canvas.shape(item["shape"], item["x"], item["y"], RADIUS, item["colour"], item["fill"])
