"""Thermometers: two of them; what one shows, and which is warmer."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import ClassVar

from sepiola.tidepool.canvas import INK, WHITE, Canvas
from sepiola.tidepool.family import Family, Query, Scene, Statements, Texts, Traits, choose
from sepiola.tidepool.words import Key

PLACES = ("left", "right")
READINGS = (10, 20, 30, 40, 50)
TICK = 8.5


class Thermometers(Family):
    """A scene holds for the left and the right thermometer its reading in degrees Celsius and its place."""

    name = "thermometers"
    subject, grade, topic = "natural science", "grade3", "units-and-measurement"
    category, skill = "Temperature", "Read and compare thermometers"
    kinds = ("reading", "warmer")
    text: ClassVar[Texts] = {
        "en": {
            "lecture": "The higher the liquid stands, the warmer it is; read the tick at its top.",
            "hint": "From bottom to top the ticks are 10, 20, 30, 40 and 50 °C.",
            "question.reading": "What temperature does the {subject} thermometer show?",
            "question.warmer": "Which thermometer hangs in the warmer room?",
            "option.reading": "{option} °C",
            "option.warmer": "the {option} one",
            "solution.reading": "In the {subject} thermometer the liquid reaches tick {tick}, so it shows {right} °C.",
            "solution.warmer": "The left thermometer shows {left} °C and the right thermometer shows "
            "{right_reading} °C, so the {right} one is in the warmer room.",
            "caption": "The left thermometer shows {left} °C and the right thermometer shows {right} °C.",
        },
        "zh": {
            "lecture": "液柱越高，温度越高；读数要看液柱顶端所对的刻度线。",
            "hint": "刻度线从下到上依次是10、20、30、40、50 °C。",
            "question.reading": "{subject}的温度计显示多少度？",
            "question.warmer": "哪支温度计挂在更暖和的房间里？",
            "option.reading": "{option} °C",
            "option.warmer": "{option}的那支",
            "solution.reading": "{subject}温度计的液柱到达第{tick}条刻度线，所以它显示{right} °C。",
            "solution.warmer": "左边温度计显示{left} °C，右边温度计显示{right_reading} °C，所以{right}的房间更暖和。",
            "caption": "左边温度计显示{left} °C，右边温度计显示{right} °C。",
        },
    }
    statements: ClassVar[Statements] = {
        "en": [
            (
                "tick",
                "in the {place} thermometer the liquid reaches tick {number}(?:, so it shows {number} ?°C)?",
            ),
            ("shows", "{place} thermometer shows {number} ?°C"),
        ],
        "zh": [
            ("tick", "{place}的?温度计的?液柱到达第{number}条刻度线(?:，所以它显示{number}°C)?"),
            ("shows", "{place}的?温度计显示{number}°C"),
        ],
    }

    def sample(self, rng: random.Random, kind: str) -> Scene:
        left, right = rng.sample(READINGS, 2)
        return {
            "left": {"reading": left, "x": rng.randint(11, 17), "y": rng.randint(51, 55)},
            "right": {"reading": right, "x": rng.randint(43, 49), "y": rng.randint(51, 55)},
        }

    def ask(self, scene: Scene, kind: str, rng: random.Random) -> Query:
        if kind == "warmer":
            options, answer = choose(rng, max(PLACES, key=lambda p: scene[p]["reading"]), PLACES, 2)
            return Query(kind, options, answer)
        place = rng.choice(PLACES)
        options, answer = choose(rng, scene[place]["reading"], READINGS, 4)
        return Query(kind, options, answer, subject=place)

    def facts(self, scene: Scene, query: Query, language: str) -> dict[str, Key]:
        if query.kind == "reading":
            return {"tick": scene[str(query.subject)]["reading"] // 10}
        return {"left": scene["left"]["reading"], "right_reading": scene["right"]["reading"]}

    def caption(self, scene: Scene, language: str) -> str:
        return self.say(language, "caption", **{place: scene[place]["reading"] for place in PLACES})

    def objects(self, scene: Scene) -> list[Traits]:
        return [{"kind": "thermometer", "place": p, "number": str(scene[p]["reading"])} for p in PLACES]

    def check(self, statement: str, values: Sequence[str], scene: Scene) -> bool:
        reading = scene[values[0]]["reading"] if values[0] in PLACES else None
        if statement == "tick":
            return values[1] == str((reading or 0) // 10) and values[2] in ("", str(reading))
        return values[1] == str(reading)

    def draw(self, canvas: Canvas, scene: Scene) -> None:
        for place in PLACES:
            x, y = scene[place]["x"], scene[place]["y"]
            level = y - 10 - TICK * (scene[place]["reading"] // 10 - 1)
            top = y - 10 - TICK * 4 - 5
            canvas.rectangle(x - 4.5, top, x + 4.5, y, WHITE, outline=1)
            canvas.ellipse(x, y, 7.5, 7.5, canvas.palette["red"], outline=1)
            canvas.rectangle(x - 3, level, x + 3, y, canvas.palette["red"])
            for tick in range(5):
                height = y - 10 - TICK * tick
                canvas.line([(x + 4.5, height), (x + 10.5, height)], INK, 1.5)
