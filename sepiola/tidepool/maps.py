"""Maps: three towns and a compass that may be turned; which town is farthest north or south."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import ClassVar

from sepiola.tidepool.canvas import INK, WHITE, Canvas
from sepiola.tidepool.family import Family, Query, Scene, Statements, Texts, Traits, choose
from sepiola.tidepool.words import COLOURS, SIDES, Key

TOWN_COLOURS = tuple(colour for colour in COLOURS if colour != "black")
OPPOSITE = {"left": "right", "right": "left", "up": "down", "down": "up"}
STEP = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
CORNERS = ((12, 12), (52, 12), (12, 52), (52, 52))
APART, MARGIN = 15, 7


class Maps(Family):
    """A scene holds the side to which the compass points, its corner, and the towns' colours and places."""

    name = "maps"
    subject, grade, topic = "social science", "grade3", "geography"
    category, skill = "Maps", "Find directions with a compass"
    kinds = ("north", "south")
    text: ClassVar[Texts] = {
        "en": {
            "lecture": "First find north with the compass arrow; south is opposite to north.",
            "hint": "The arrow in the white circle points north.",
            "question.north": "Which town is farthest north?",
            "question.south": "Which town is farthest south?",
            "option": "the {option} town",
            "solution.north": "The arrow points {arrow}, so north is {side}. The town farthest {side} is {right}.",
            "solution.south": "The arrow points {arrow}, so south is {side}. The town farthest {side} is {right}.",
            "caption": "The arrow points {arrow}. The town farthest left is {left}, the town farthest right "
            "is "
            "{right}, the town farthest up is {up} and the town farthest down is {down}.",
        },
        "zh": {
            "lecture": "先根据指北箭头找到北方；南方与北方相反。",
            "hint": "白色圆圈里的箭头指向北方。",
            "question.north": "哪座小镇在最北边？",
            "question.south": "哪座小镇在最南边？",
            "option": "{option}小镇",
            "solution.north": "箭头指向{arrow}，所以北方在{side}。最{side}的小镇是{right}的。",
            "solution.south": "箭头指向{arrow}，所以南方在{side}。最{side}的小镇是{right}的。",
            "caption": "箭头指向{arrow}。最左边的小镇是{left}的，最右边的小镇是{right}的，"
            "最上边的小镇是{up}的，最下边的小镇是{down}的。",
        },
    }
    statements: ClassVar[Statements] = {
        "en": [
            ("arrow", "arrow points {side}"),
            ("farthest", "town farthest {side} is {colour}"),
            ("exists", "{colour} town"),
        ],
        "zh": [
            ("arrow", "箭头指向{side}"),
            ("farthest", "最{side}的小镇是{colour}"),
            ("exists", "{colour}小镇"),
        ],
    }

    def sample(self, rng: random.Random, kind: str) -> Scene:
        compass = rng.choice(CORNERS)
        while True:
            spots = sorted((rng.randint(8, 56), rng.randint(8, 56)) for _ in range(3))
            if _clear(spots, compass):
                break
        towns = [{"colour": c, "x": x, "y": y} for c, (x, y) in zip(rng.sample(TOWN_COLOURS, 3), spots, strict=True)]
        return {"arrow": rng.choice(SIDES), "compass": list(compass), "towns": towns}

    def ask(self, scene: Scene, kind: str, rng: random.Random) -> Query:
        right = _farthest(scene, _side(scene, kind))
        options, answer = choose(rng, right, [town["colour"] for town in scene["towns"]], 3)
        return Query(kind, options, answer)

    def facts(self, scene: Scene, query: Query, language: str) -> dict[str, Key]:
        return {"arrow": scene["arrow"], "side": _side(scene, query.kind)}

    def caption(self, scene: Scene, language: str) -> str:
        towns = {side: _farthest(scene, side) for side in SIDES}
        return self.say(language, "caption", arrow=scene["arrow"], **towns)

    def objects(self, scene: Scene) -> list[Traits]:
        towns: list[Traits] = [{"kind": "town", "place": side, "colour": _farthest(scene, side)} for side in SIDES]
        return [{"kind": "compass", "place": scene["arrow"]}, *towns]

    def check(self, statement: str, values: Sequence[str], scene: Scene) -> bool:
        if statement == "arrow":
            return bool(values[0] == scene["arrow"])
        if statement == "farthest":
            return values[1] == _farthest(scene, values[0])
        return values[0] in [town["colour"] for town in scene["towns"]]

    def draw(self, canvas: Canvas, scene: Scene) -> None:
        x, y = scene["compass"]
        dx, dy = STEP[scene["arrow"]]
        canvas.ellipse(x, y, 10, 10, WHITE, outline=1)
        canvas.arrow((x - 8 * dx, y - 8 * dy), (x + 9 * dx, y + 9 * dy), INK, width=3, head=10)
        for town in scene["towns"]:
            x, y, rgb = town["x"], town["y"], canvas.palette[town["colour"]]
            house = [(-5, 6), (-5, -1), (0, -6), (5, -1), (5, 6)]
            canvas.polygon([(x + dx, y + dy) for dx, dy in house], rgb, outline=1)


def _side(scene: Scene, direction: str) -> str:
    return scene["arrow"] if direction == "north" else OPPOSITE[scene["arrow"]]


def _farthest(scene: Scene, side: str) -> str:
    dx, dy = STEP[side]
    return str(max(scene["towns"], key=lambda town: dx * town["x"] + dy * town["y"])["colour"])


def _clear(spots: Sequence[tuple[int, int]], compass: tuple[int, int]) -> bool:
    """Whether no icons touch and the farthest town to each side leads by a margin that can be seen."""
    for i, (x, y) in enumerate(spots):
        if max(abs(x - compass[0]), abs(y - compass[1])) < APART + 3:
            return False
        if any(max(abs(x - other_x), abs(y - other_y)) < APART for other_x, other_y in spots[:i]):
            return False
    for axis in (0, 1):
        low, middle, high = sorted(spot[axis] for spot in spots)
        if middle - low < MARGIN or high - middle < MARGIN:
            return False
    return True
