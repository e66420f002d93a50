"""Counting: two kinds of shapes in one picture; how many of one kind, and which kind is more."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import ClassVar

from sepiola.tidepool.canvas import Canvas
from sepiola.tidepool.family import Family, Query, Scene, Statements, Texts, Traits, choose
from sepiola.tidepool.words import COLOURS, SHAPES, Key, plural, word

COUNTS = (1, 2, 3, 4)
COLUMNS, ROWS = 3, 2


class Counting(Family):
    """A scene holds two groups, one in each half: a shape, a colour, and the cells that its members fill."""

    name = "counting"
    subject, grade, topic = "natural science", "grade1", "science-and-engineering-practices"
    category, skill = "Counting", "Count and compare objects in a picture"
    kinds = ("number", "more")
    text: ClassVar[Texts] = {
        "en": {
            "lecture": "To count one kind of object, count each of them once and leave out the others.",
            "hint": "There are two kinds of shapes.",
            "question.number": "How many {subject}s are there?",
            "question.more": "Are there more {first}s or more {second}s?",
            "option.number": "{option}",
            "option.more": "more {option}s",
            "solution.number": "The picture shows {group}, so the number of {subject}s is {right}.",
            "solution.more": "The picture shows {both}, so there are more {right}s.",
            "caption": "The picture shows {both}.",
            "group": "{number} {colour} {shape}",
        },
        "zh": {
            "lecture": "数一种物体时，每个只数一次，不数别的物体。",
            "hint": "图中有两种图形。",
            "question.number": "图中有几个{subject}？",
            "question.more": "是{first}更多，还是{second}更多？",
            "option.number": "{option}",
            "option.more": "{option}更多",
            "solution.number": "图中有{group}，所以{subject}的数量是{right}。",
            "solution.more": "图中有{both}，所以{right}更多。",
            "caption": "图中有{both}。",
            "group": "{number}个{colour}{shape}",
        },
    }
    statements: ClassVar[Statements] = {
        "en": [("count", "{number} (?:{colour} )?{shape}"), ("exists", "{shape}")],
        "zh": [("count", "{number}个(?:{colour})?{shape}"), ("exists", "{shape}")],
    }

    def sample(self, rng: random.Random, kind: str) -> Scene:
        first, second = rng.sample(COUNTS, 2)
        shapes, colours = rng.sample(SHAPES, 2), rng.sample(COLOURS, 2)
        groups = [
            {"shape": shape, "colour": colour, "cells": sorted(rng.sample(range(COLUMNS * ROWS), count))}
            for shape, colour, count in zip(shapes, colours, (first, second), strict=True)
        ]
        return {"groups": groups}

    def ask(self, scene: Scene, kind: str, rng: random.Random) -> Query:
        if kind == "more":
            right = max(scene["groups"], key=lambda group: len(group["cells"]))["shape"]
            options, answer = choose(rng, right, [group["shape"] for group in scene["groups"]], 2)
            return Query(kind, options, answer)
        group = rng.choice(scene["groups"])
        options, answer = choose(rng, len(group["cells"]), COUNTS, 4)
        return Query(kind, options, answer, subject=group["shape"])

    def facts(self, scene: Scene, query: Query, language: str) -> dict[str, Key]:
        first, second = (str(group["shape"]) for group in scene["groups"])
        groups = {str(group["shape"]): self._group(group, language) for group in scene["groups"]}
        asked = groups.get(str(query.subject), "")
        return {"first": first, "second": second, "both": self._both(scene, language), "group": asked}

    def caption(self, scene: Scene, language: str) -> str:
        return self.say(language, "caption", both=self._both(scene, language))

    def _both(self, scene: Scene, language: str) -> str:
        first, second = (self._group(group, language) for group in scene["groups"])
        return first + ("和" if language == "zh" else " and ") + second

    def _group(self, group: Scene, language: str) -> str:
        number = len(group["cells"])
        shape = plural(language, number, word(language, group["shape"]))
        return self.say(language, "group", number=number, colour=group["colour"], shape=shape)

    def objects(self, scene: Scene) -> list[Traits]:
        return [
            {"kind": "group", "shape": g["shape"], "colour": g["colour"], "number": str(len(g["cells"]))}
            for g in scene["groups"]
        ]

    def check(self, statement: str, values: Sequence[str], scene: Scene) -> bool:
        number, colour, shape = values if statement == "count" else ("", "", values[0])
        group = next((g for g in scene["groups"] if g["shape"] == shape), None)
        if group is None or statement == "exists":
            return group is not None
        return number == str(len(group["cells"])) and colour in ("", group["colour"])

    def draw(self, canvas: Canvas, scene: Scene) -> None:
        for half, group in enumerate(scene["groups"]):
            for cell in group["cells"]:
                x, y = 12 + 20 * (cell % COLUMNS), 9 + 15.5 * (cell // COLUMNS + ROWS * half)
                canvas.shape(group["shape"], x, y, 7, group["colour"])
