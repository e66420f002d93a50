"""Springs: three springs pressed to different lengths; which stores the most or the least energy."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import ClassVar

from sepiola.tidepool.canvas import INK, Canvas
from sepiola.tidepool.family import Family, Query, Scene, Statements, Texts, Traits, choose
from sepiola.tidepool.words import COLOURS

PLACES = ("left", "middle", "right")
LENGTHS = (14, 24, 34, 44)
COILS = 4


class Springs(Family):
    """A scene holds, from left to right, each spring's colour, length and place, and the floor's height."""

    name = "springs"
    subject, grade, topic = "natural science", "grade4", "physics"
    category, skill = "Energy", "Compare the energy stored in springs"
    kinds = ("most", "least")
    text: ClassVar[Texts] = {
        "en": {
            "lecture": "The more a spring is compressed, the shorter it is and the more energy it stores.",
            "hint": "With nothing on them, the springs have the same length.",
            "question.most": "Which spring stores the most energy?",
            "question.least": "Which spring stores the least energy?",
            "option": "the {option} spring",
            "solution.most": "The {right} spring is the shortest, so it is compressed the most "
            "and stores the most energy.",
            "solution.least": "The {right} spring is the longest, so it is compressed the least "
            "and stores the least energy.",
            "caption": "The left spring is {left}, the middle spring is {middle} and the right spring is "
            "{right}. The {shortest} spring is the shortest and the {longest} spring is the longest.",
        },
        "zh": {
            "lecture": "弹簧被压缩得越厉害，就越短，储存的能量也越多。",
            "hint": "不受压时，三根弹簧一样长。",
            "question.most": "哪根弹簧储存的能量最多？",
            "question.least": "哪根弹簧储存的能量最少？",
            "option": "{option}弹簧",
            "solution.most": "{right}弹簧最短，被压缩得最厉害，所以它储存的能量最多。",
            "solution.least": "{right}弹簧最长，被压缩得最少，所以它储存的能量最少。",
            "caption": "左边的弹簧是{left}的，中间的弹簧是{middle}的，右边的弹簧是{right}的。"
            "{shortest}弹簧最短，{longest}弹簧最长。",
        },
    }
    statements: ClassVar[Statements] = {
        "en": [
            ("place", "{place} spring is {colour}"),
            ("shortest", "{colour} spring is the shortest"),
            ("longest", "{colour} spring is the longest"),
            ("exists", "{colour} spring"),
        ],
        "zh": [
            ("place", "{place}的弹簧是{colour}"),
            ("shortest", "{colour}弹簧最短"),
            ("longest", "{colour}弹簧最长"),
            ("exists", "{colour}弹簧"),
        ],
    }

    def sample(self, rng: random.Random, kind: str) -> Scene:
        colours, lengths = rng.sample(COLOURS, 3), rng.sample(LENGTHS, 3)
        springs = [
            {"colour": colour, "length": length, "x": 12 + 20 * i + rng.randint(-2, 2)}
            for i, (colour, length) in enumerate(zip(colours, lengths, strict=True))
        ]
        return {"floor": rng.randint(55, 59), "springs": springs}

    def ask(self, scene: Scene, kind: str, rng: random.Random) -> Query:
        right = _extreme(scene, "shortest" if kind == "most" else "longest")
        options, answer = choose(rng, right, [s["colour"] for s in scene["springs"]], 3)
        return Query(kind, options, answer)

    def caption(self, scene: Scene, language: str) -> str:
        places = {place: s["colour"] for place, s in zip(PLACES, scene["springs"], strict=True)}
        extremes = {name: _extreme(scene, name) for name in ("shortest", "longest")}
        return self.say(language, "caption", **places, **extremes)

    def objects(self, scene: Scene) -> list[Traits]:
        lengths = sorted(s["length"] for s in scene["springs"])
        return [
            {"kind": "spring", "place": place, "colour": s["colour"], "rank": str(lengths.index(s["length"]))}
            for place, s in zip(PLACES, scene["springs"], strict=True)
        ]

    def check(self, statement: str, values: Sequence[str], scene: Scene) -> bool:
        colours = [s["colour"] for s in scene["springs"]]
        if statement == "exists":
            return values[0] in colours
        if statement == "place":
            return bool(colours[PLACES.index(values[0])] == values[1])
        return values[0] == _extreme(scene, statement)

    def draw(self, canvas: Canvas, scene: Scene) -> None:
        floor = scene["floor"]
        canvas.rectangle(2, floor, 62, floor + 2, INK)
        for spring in scene["springs"]:
            x, rgb = spring["x"], canvas.palette[spring["colour"]]
            top = floor - spring["length"]
            step = (spring["length"] - 4) / (2 * COILS)
            coil = [(x + (5.5 if i % 2 else -5.5), floor - 1 - step * i) for i in range(2 * COILS + 1)]
            canvas.line(coil, rgb, 2.2)
            canvas.rectangle(x - 8, top - 5, x + 8, top, rgb, outline=1)


def _extreme(scene: Scene, name: str) -> str:
    pick = min if name == "shortest" else max
    return str(pick(scene["springs"], key=lambda s: s["length"])["colour"])
