"""Charts: a bar chart; which bar is the tallest or the shortest, and what a bar's value is."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import ClassVar

from sepiola.tidepool.canvas import INK, Canvas
from sepiola.tidepool.family import Family, Query, Scene, Statements, Texts, Traits, choose
from sepiola.tidepool.words import COLOURS, Key, join

VALUES = (1, 2, 3, 4, 5)
LINE: tuple[int, int, int] = (150, 150, 155)
UNIT = 10


class Charts(Family):
    """A scene holds, from left to right, the bars' colours and values, and the place of the axes."""

    name = "charts"
    subject, grade, topic = "natural science", "grade2", "science-and-engineering-practices"
    category, skill = "Charts", "Interpret bar charts"
    kinds = ("tallest", "shortest", "value")
    text: ClassVar[Texts] = {
        "en": {
            "lecture": "In a bar chart, a taller bar means a greater value; count the grid lines up to its top.",
            "hint": "Each grid line stands for 1.",
            "question.tallest": "Which bar has the greatest value?",
            "question.shortest": "Which bar has the smallest value?",
            "question.value": "What is the value of the {subject} bar?",
            "option.value": "{option}",
            "option": "the {option} bar",
            "solution.tallest": "The {right} bar is the tallest, so the {right} bar has the greatest value.",
            "solution.shortest": "The {right} bar is the shortest, so the {right} bar has the smallest value.",
            "solution.value": "The {subject} bar reaches line {right}, so the value of the {subject} bar is {right}.",
            "bars": "From left to right, the bars are {bars}",
            "bar": "{colour} {value}",
        },
        "zh": {
            "lecture": "条形图中，柱子越高，数值越大；数一数柱顶到达第几条网格线。",
            "hint": "每条网格线代表1。",
            "question.tallest": "哪根柱子的数值最大？",
            "question.shortest": "哪根柱子的数值最小？",
            "question.value": "{subject}柱子的数值是多少？",
            "option.value": "{option}",
            "option": "{option}柱子",
            "solution.tallest": "{right}柱子最高，所以{right}柱子的数值最大。",
            "solution.shortest": "{right}柱子最矮，所以{right}柱子的数值最小。",
            "solution.value": "{subject}柱子到达第{right}条线，所以{subject}柱子的数值是{right}。",
            "bars": "从左到右，柱子的数值是{bars}",
            "bar": "{colour}{value}",
        },
    }
    statements: ClassVar[Statements] = {
        "en": [
            ("tallest", "{colour} bar is the tallest"),
            ("shortest", "{colour} bar is the shortest"),
            ("tallest", "{colour} bar has the greatest value"),
            ("shortest", "{colour} bar has the smallest value"),
            ("value", "{colour} bar reaches line {number}"),
            ("value", "value of the {colour} bar is {number}"),
            ("value", "{colour} {number}"),
            ("exists", "{colour} bar"),
        ],
        "zh": [
            ("tallest", "{colour}柱子最高"),
            ("shortest", "{colour}柱子最矮"),
            ("value", "{colour}柱子到达第{number}条线"),
            ("tallest", "{colour}柱子的数值最大"),
            ("shortest", "{colour}柱子的数值最小"),
            ("value", "{colour}柱子的数值是{number}"),
            ("value", "{colour}{number}"),
            ("exists", "{colour}柱子"),
        ],
    }

    def sample(self, rng: random.Random, kind: str) -> Scene:
        bars = [
            {"colour": colour, "value": value}
            for colour, value in zip(rng.sample(COLOURS, 4), rng.sample(VALUES, 4), strict=True)
        ]
        return {"bars": bars, "x": rng.randint(2, 6), "y": rng.randint(56, 60), "pitch": rng.randint(13, 14)}

    def ask(self, scene: Scene, kind: str, rng: random.Random) -> Query:
        bars = scene["bars"]
        if kind == "value":
            bar = rng.choice(bars)
            options, answer = choose(rng, bar["value"], VALUES, 4)
            return Query(kind, options, answer, subject=bar["colour"])
        options, answer = choose(rng, _extreme(scene, kind), [bar["colour"] for bar in bars], 4)
        return Query(kind, options, answer)

    def facts(self, scene: Scene, query: Query, language: str) -> dict[str, Key]:
        return {"bars": self._bars(scene, language)}

    def caption(self, scene: Scene, language: str) -> str:
        return self._bars(scene, language) + ("。" if language == "zh" else ".")

    def _bars(self, scene: Scene, language: str) -> str:
        bars = [self.say(language, "bar", colour=bar["colour"], value=bar["value"]) for bar in scene["bars"]]
        return self.say(language, "bars", bars=join(language, bars))

    def objects(self, scene: Scene) -> list[Traits]:
        values = sorted(bar["value"] for bar in scene["bars"])
        return [
            {
                "kind": "bar",
                "place": str(place),
                "colour": bar["colour"],
                "number": str(bar["value"]),
                "rank": str(values.index(bar["value"])),
            }
            for place, bar in enumerate(scene["bars"])
        ]

    def check(self, statement: str, values: Sequence[str], scene: Scene) -> bool:
        known = {bar["colour"]: str(bar["value"]) for bar in scene["bars"]}
        if statement == "exists":
            return values[0] in known
        if statement == "value":
            return known.get(values[0]) == values[1]
        return values[0] == _extreme(scene, statement)

    def draw(self, canvas: Canvas, scene: Scene) -> None:
        x, y, pitch = scene["x"], scene["y"], scene["pitch"]
        for value in VALUES:
            height = y - UNIT * value
            canvas.line([(x, height), (x + 4 * pitch, height)], LINE, 0.8)
        for i, bar in enumerate(scene["bars"]):
            left = x + pitch * i + 2
            rgb = canvas.palette[bar["colour"]]
            canvas.rectangle(left, y - UNIT * bar["value"], left + pitch - 4, y, rgb, outline=1)
        canvas.line([(x, y - UNIT * 5 - 2), (x, y), (x + 4 * pitch, y)], INK, 1.5)


def _extreme(scene: Scene, name: str) -> str:
    pick = max if name == "tallest" else min
    return str(pick(scene["bars"], key=lambda bar: bar["value"])["colour"])
