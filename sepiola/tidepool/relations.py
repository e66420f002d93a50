"""Relations: objects around a black star; what colour lies to its left, right, above or below."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import ClassVar

from sepiola.tidepool.canvas import Canvas
from sepiola.tidepool.family import Family, Query, Scene, Statements, Texts, Traits, choose
from sepiola.tidepool.words import COLOURS, RELATIONS, SHAPES, SIDES, Key, join

STEP = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
OBJECT_COLOURS = tuple(colour for colour in COLOURS if colour != "black")
OBJECT_SHAPES = tuple(shape for shape in SHAPES if shape != "star")


class Relations(Family):
    """A scene holds the place of the star and the object at each of its sides."""

    name = "relations"
    subject, grade, topic = "social science", "grade1", "geography"
    category, skill = "Positions", "Describe where objects are"
    kinds = SIDES
    text: ClassVar[Texts] = {
        "en": {
            "lecture": "To say where something is, start from a known object and look to the side that is named.",
            "hint": "Start from the black star.",
            "question.left": "What color is the shape to the left of the star?",
            "question.right": "What color is the shape to the right of the star?",
            "question.up": "What color is the shape above the star?",
            "question.down": "What color is the shape below the star?",
            "option": "{option}",
            "solution": "The star has a {right} {shape} {side}, so the answer is {right}.",
            "caption": "The star has {objects}.",
            "object": "a {colour} {shape} {side}",
        },
        "zh": {
            "lecture": "说明位置时，先找到已知的物体，再看题目所说的方向。",
            "hint": "先找到黑色的星形。",
            "question.left": "星形的左边的图形是什么颜色？",
            "question.right": "星形的右边的图形是什么颜色？",
            "question.up": "星形的上边的图形是什么颜色？",
            "question.down": "星形的下边的图形是什么颜色？",
            "option": "{option}",
            "solution": "星形的{side}是{right}的{shape}，所以答案是{right}。",
            "caption": "星形的{objects}。",
            "object": "{side}是{colour}的{shape}",
        },
    }
    statements: ClassVar[Statements] = {
        "en": [("side", "{colour} {shape} {relation}"), ("exists", "{colour} {shape}")],
        "zh": [("side", "{side}是{colour}{shape}"), ("exists", "{colour}{shape}")],
    }

    def sample(self, rng: random.Random, kind: str) -> Scene:
        star_x, star_y = rng.randint(31, 33), rng.randint(31, 33)
        objects: Scene = {}
        for side, shape, colour in zip(SIDES, rng.sample(OBJECT_SHAPES, 4), rng.sample(OBJECT_COLOURS, 4), strict=True):
            away, along = rng.randint(18, 20), rng.randint(-4, 4)
            dx, dy = STEP[side]
            place = {"x": star_x + dx * away + dy * along, "y": star_y + dy * away + dx * along}
            objects[side] = {"shape": shape, "colour": colour, **place}
        return {"star": [star_x, star_y], "objects": objects}

    def ask(self, scene: Scene, kind: str, rng: random.Random) -> Query:
        objects = scene["objects"]
        options, answer = choose(rng, objects[kind]["colour"], [o["colour"] for o in objects.values()], len(objects))
        return Query(kind, options, answer)

    def solution_template(self, scene: Scene, query: Query) -> str:
        return "solution"

    def facts(self, scene: Scene, query: Query, language: str) -> dict[str, Key]:
        return {"side": _relation(language, query.kind), "shape": scene["objects"][query.kind]["shape"]}

    def caption(self, scene: Scene, language: str) -> str:
        objects = [
            self.say(language, "object", side=_relation(language, side), colour=o["colour"], shape=o["shape"])
            for side, o in scene["objects"].items()
        ]
        return self.say(language, "caption", objects=join(language, objects))

    def objects(self, scene: Scene) -> list[Traits]:
        return [
            {"kind": "neighbour", "place": side, "shape": o["shape"], "colour": o["colour"]}
            for side, o in scene["objects"].items()
        ]

    def check(self, statement: str, values: Sequence[str], scene: Scene) -> bool:
        sides = {(o["colour"], o["shape"]): side for side, o in scene["objects"].items()}
        if statement == "exists":
            return tuple(values) in sides or tuple(values) == ("black", "star")
        side = next(value for value in values if value in SIDES)
        colour, shape = (value for value in values if value not in SIDES)
        return sides.get((colour, shape)) == side

    def draw(self, canvas: Canvas, scene: Scene) -> None:
        x, y = scene["star"]
        canvas.shape("star", x, y, 9, "black")
        for item in scene["objects"].values():
            canvas.shape(item["shape"], item["x"], item["y"], 8, item["colour"])


def _relation(language: str, side: str) -> str:
    return RELATIONS[side] if language == "en" else side
