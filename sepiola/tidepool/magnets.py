"""Magnets: two pairs of bar magnets; do they attract or repel, and which pair acts more strongly."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import ClassVar

from sepiola.tidepool.canvas import Canvas
from sepiola.tidepool.family import Family, Query, Scene, Statements, Texts, Traits, choose
from sepiola.tidepool.words import Key

PAIRS = ("top", "bottom")
GAPS = (4, 9, 14)
LENGTH = 20
COLOUR_OF_POLE = {"N": "red", "S": "blue"}


class Magnets(Family):
    """A scene holds for each pair its place, the gap, and the poles from left to right ("NSSN")."""

    name = "magnets"
    subject, grade, topic = "natural science", "grade3", "physics"
    category, skill = "Magnets", "Predict and compare the forces between magnets"
    kinds = ("force", "stronger")
    text: ClassVar[Texts] = {
        "en": {
            "lecture": "Unlike poles attract and like poles repel; the closer the magnets, the stronger the force.",
            "hint.force": "Red ends are north poles and blue ends are south poles.",
            "hint.stronger": "All the magnets are equally strong.",
            "question.force": "Will the {subject} pair of magnets attract or repel each other?",
            "question.stronger": "Between which pair of magnets is the force stronger?",
            "option.force": "{option}",
            "option.stronger": "the {option} pair",
            "solution.attract": "In the {subject} pair, a {first} end faces a {second} end. "
            "These are unlike poles, so they attract.",
            "solution.repel": "In the {subject} pair, a {first} end faces a {second} end. "
            "These are like poles, so they repel.",
            "solution.stronger": "The {right} pair has the smaller gap. Closer magnets act with a stronger "
            "force, so the answer is the {right} pair.",
            "caption": "In the top pair, a {top_first} end faces a {top_second} end; in the bottom pair, "
            "a {bottom_first} end faces a {bottom_second} end. The {closer} pair has the smaller gap.",
        },
        "zh": {
            "lecture": "异名磁极相互吸引，同名磁极相互排斥；磁铁靠得越近，作用力越强。",
            "hint.force": "红色端是北极，蓝色端是南极。",
            "hint.stronger": "所有磁铁的磁性一样强。",
            "question.force": "{subject}一对磁铁会相互吸引还是相互排斥？",
            "question.stronger": "哪一对磁铁之间的作用力更强？",
            "option.force": "{option}",
            "option.stronger": "{option}一对",
            "solution.attract": "{subject}一对磁铁中，{first}端对着{second}端。异名磁极相互吸引，所以它们相互吸引。",
            "solution.repel": "{subject}一对磁铁中，{first}端对着{second}端。同名磁极相互排斥，所以它们相互排斥。",
            "solution.stronger": "{right}一对磁铁的间隙更小。磁铁靠得越近，作用力越强，所以答案是{right}一对。",
            "caption": "{top}一对磁铁中，{top_first}端对着{top_second}端；{bottom}一对磁铁中，"
            "{bottom_first}端对着{bottom_second}端。{closer}一对磁铁的间隙更小。",
        },
    }
    statements: ClassVar[Statements] = {
        "en": [
            ("facing", "in the {pair} pair,? an? {colour} end faces an? {colour} end"),
            ("closer", "{pair} pair has the smaller gap"),
        ],
        "zh": [
            ("facing", "{pair}一对磁铁中，?{colour}端对着{colour}端"),
            ("closer", "{pair}一对磁铁的间隙更小"),
        ],
    }

    def sample(self, rng: random.Random, kind: str) -> Scene:
        scene: Scene = {}
        for pair, gap, y in zip(PAIRS, rng.sample(GAPS, 2), (rng.randint(5, 13), rng.randint(38, 46)), strict=True):
            poles = rng.choice(("NS", "SN")) + rng.choice(("NS", "SN"))
            scene[pair] = {"gap": gap, "poles": poles, "x": rng.randint(3, 61 - 2 * LENGTH - gap), "y": y}
        return scene

    def ask(self, scene: Scene, kind: str, rng: random.Random) -> Query:
        if kind == "stronger":
            options, answer = choose(rng, _closer(scene), PAIRS, 2)
            return Query(kind, options, answer)
        pair = rng.choice(PAIRS)
        right = "repel" if len(set(_facing(scene, pair))) == 1 else "attract"
        options, answer = choose(rng, right, ("attract", "repel"), 2)
        return Query(kind, options, answer, subject=pair)

    def solution_template(self, scene: Scene, query: Query) -> str:
        return f"solution.{query.right}" if query.kind == "force" else "solution.stronger"

    def facts(self, scene: Scene, query: Query, language: str) -> dict[str, Key]:
        if query.kind == "stronger":
            return {}
        first, second = _facing(scene, str(query.subject))
        return {"first": first, "second": second}

    def caption(self, scene: Scene, language: str) -> str:
        values: dict[str, Key] = {"closer": _closer(scene), "top": "top", "bottom": "bottom"}
        for pair in PAIRS:
            values[f"{pair}_first"], values[f"{pair}_second"] = _facing(scene, pair)
        return self.say(language, "caption", **values)

    def objects(self, scene: Scene) -> list[Traits]:
        smaller = _closer(scene)
        return [
            {
                "kind": "magnets",
                "place": pair,
                "gap": "smaller" if pair == smaller else "larger",
                "first": first,
                "second": second,
            }
            for pair in PAIRS
            for first, second in [_facing(scene, pair)]
        ]

    def check(self, statement: str, values: Sequence[str], scene: Scene) -> bool:
        if statement == "closer":
            return values[0] == _closer(scene)
        return sorted(values[1:]) == sorted(_facing(scene, values[0]))

    def draw(self, canvas: Canvas, scene: Scene) -> None:
        for pair in PAIRS:
            place = scene[pair]
            x, y, half = place["x"], place["y"], LENGTH / 2
            for magnet in range(2):
                for end in range(2):
                    rgb = canvas.palette[COLOUR_OF_POLE[place["poles"][2 * magnet + end]]]
                    canvas.rectangle(x + end * half, y, x + (end + 1) * half, y + 13, rgb)
                canvas.outline(x, y, x + LENGTH, y + 13, 1)
                x += LENGTH + place["gap"]


def _facing(scene: Scene, pair: str) -> tuple[str, str]:
    poles = scene[pair]["poles"]
    return COLOUR_OF_POLE[poles[1]], COLOUR_OF_POLE[poles[2]]


def _closer(scene: Scene) -> str:
    return min(PAIRS, key=lambda pair: scene[pair]["gap"])
