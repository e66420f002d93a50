"""Food webs: three fish joined by arrows from the eaten to the eater; who eats whom."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import ClassVar

from sepiola.tidepool.canvas import INK, WHITE, Canvas
from sepiola.tidepool.family import Family, Query, Scene, Statements, Texts, Traits, choose
from sepiola.tidepool.words import COLOURS, Key, join

CENTRES = ((13, 14), (50, 14), (50, 50))
NEIGHBOURS = ((0, 1), (1, 2))


class FoodWebs(Family):
    """A scene holds three fish, clockwise from the top left, and arrows [eaten, eater] between neighbours."""

    name = "food webs"
    subject, grade, topic = "natural science", "grade4", "biology"
    category, skill = "Ecosystems", "Interpret food webs"
    kinds = ("eater", "food")
    text: ClassVar[Texts] = {
        "en": {
            "lecture": "An arrow in a food web shows that matter moves from what is eaten to its eater.",
            "hint": "Each arrow points from the food to its eater.",
            "question.eater": "Which fish eats the {subject} fish?",
            "question.food": "Which fish does the {subject} fish eat?",
            "option": "the {option} fish",
            "solution.eater": "An arrow points {arrow}, so the {right} fish eats the {subject} fish.",
            "solution.food": "An arrow points {arrow}, so the {subject} fish eats the {right} fish.",
            "arrows": "Arrows point {arrows}",
            "arrow": "from the {eaten} fish to the {eater} fish",
        },
        "zh": {
            "lecture": "食物网中的箭头表示物质从被吃的生物转移到吃它的生物。",
            "hint": "每个箭头都从食物指向吃它的鱼。",
            "question.eater": "哪条鱼吃{subject}的鱼？",
            "question.food": "{subject}的鱼吃哪条鱼？",
            "option": "{option}的鱼",
            "solution.eater": "有一个箭头{arrow}，所以{right}的鱼吃{subject}的鱼。",
            "solution.food": "有一个箭头{arrow}，所以{subject}的鱼吃{right}的鱼。",
            "arrows": "箭头{arrows}",
            "arrow": "从{eaten}的鱼指向{eater}的鱼",
        },
    }
    statements: ClassVar[Statements] = {
        "en": [
            ("arrow", "from the {colour} fish to the {colour} fish"),
            ("eats", "{colour} fish eats the {colour} fish"),
            ("exists", "{colour} fish"),
        ],
        "zh": [
            ("arrow", "从{colour}鱼指向{colour}鱼"),
            ("eats", "{colour}鱼吃{colour}鱼"),
            ("exists", "{colour}鱼"),
        ],
    }

    def sample(self, rng: random.Random, kind: str) -> Scene:
        fish = [
            {"colour": colour, "x": x + rng.randint(-2, 2), "y": y + rng.randint(-3, 3)}
            for colour, (x, y) in zip(rng.sample(COLOURS, 3), CENTRES, strict=True)
        ]
        while True:
            arrows = [list(side if rng.random() < 0.5 else side[::-1]) for side in NEIGHBOURS]
            if _known(arrows, kind):
                break
        return {"arrows": arrows, "fish": fish}

    def ask(self, scene: Scene, kind: str, rng: random.Random) -> Query:
        end = 0 if kind == "eater" else 1
        arrow = rng.choice(_known(scene["arrows"], kind))
        colours = [fish["colour"] for fish in scene["fish"]]
        subject, right = colours[arrow[end]], colours[arrow[1 - end]]
        absent = rng.sample([colour for colour in COLOURS if colour not in colours], 2)
        options, answer = choose(rng, right, [c for c in colours if c != subject] + absent, 4)
        return Query(kind, options, answer, subject=subject)

    def facts(self, scene: Scene, query: Query, language: str) -> dict[str, Key]:
        eaten, eater = (query.subject, query.right) if query.kind == "eater" else (query.right, query.subject)
        return {"arrow": self.say(language, "arrow", eaten=eaten, eater=eater)}

    def caption(self, scene: Scene, language: str) -> str:
        return self._arrows(scene, language) + ("。" if language == "zh" else ".")

    def _arrows(self, scene: Scene, language: str) -> str:
        arrows = [self.say(language, "arrow", eaten=a, eater=b) for a, b in _pairs(scene)]
        return self.say(language, "arrows", arrows=join(language, arrows))

    def objects(self, scene: Scene) -> list[Traits]:
        return [{"kind": "fish", "colour": str(eaten), "eater": str(eater)} for eaten, eater in _pairs(scene)]

    def check(self, statement: str, values: Sequence[str], scene: Scene) -> bool:
        if statement == "exists":
            return values[0] in [fish["colour"] for fish in scene["fish"]]
        eaten, eater = values if statement == "arrow" else reversed(values)
        return (eaten, eater) in _pairs(scene)

    def draw(self, canvas: Canvas, scene: Scene) -> None:
        for eaten, eater in scene["arrows"]:
            a, b = scene["fish"][eaten], scene["fish"][eater]
            across = abs(b["x"] - a["x"]) > abs(b["y"] - a["y"])
            canvas.arrow(_edge(a, b, across), _edge(b, a, across), INK, width=3, head=9)
        for fish in scene["fish"]:
            x, y, rgb = fish["x"], fish["y"], canvas.palette[fish["colour"]]
            canvas.polygon([(x + 3, y), (x + 9, y - 5), (x + 9, y + 5)], rgb, outline=1)
            canvas.ellipse(x - 1.5, y, 7, 6, rgb, outline=1)
            canvas.ellipse(x - 4.5, y - 1, 1.5, 1.5, WHITE)


def _edge(fish: dict[str, int], other: dict[str, int], across: bool) -> tuple[float, float]:
    """The point beside a fish where the arrow to or from its neighbour begins or ends."""
    if across:
        return fish["x"] + (10.5 if other["x"] > fish["x"] else -10), fish["y"]
    return fish["x"], fish["y"] + (8 if other["y"] > fish["y"] else -8)


def _known(arrows: list[list[int]], kind: str) -> list[list[int]]:
    """The arrows whose one end decides the other: of a fish with two eaters, none can be asked for."""
    ends = [arrow[0 if kind == "eater" else 1] for arrow in arrows]
    return [arrow for arrow, end in zip(arrows, ends, strict=True) if ends.count(end) == 1]


def _pairs(scene: Scene) -> list[tuple[Key, Key]]:
    colours = [fish["colour"] for fish in scene["fish"]]
    return [(colours[eaten], colours[eater]) for eaten, eater in scene["arrows"]]
