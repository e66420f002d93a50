"""Answers with a toolset and without (LaMDA, arXiv 2201.08239, section 6.2): one model, one loop, and a toolset that
gives what it finds or that gives nothing.

The calculator is there, and retrieval over what the set's own dialogues were given. An answer is right where it is the
wanted one: by its last number where a number is wanted, else word by word, marks and capitals aside. F1 is CMRC 2018's.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from sepiola.data.example import Example, Message
from sepiola.evaluation.baselines.questions import tfidf
from sepiola.evaluation.benchmarks.cmrc2018 import compare
from sepiola.evaluation.benchmarks.contract import Measurement
from sepiola.evaluation.benchmarks.settings import MeasuredModel, Settings
from sepiola.evaluation.figures import Figures, Headline, Table
from sepiola.evaluation.metrics.bootstrap import mean_interval
from sepiola.evaluation.metrics.seeds import mean_over_seeds
from sepiola.reasoning.answer import Answer
from sepiola.reasoning.grounding import Grounded, ground_all
from sepiola.reasoning.toolset import Toolset
from sepiola.reasoning.toolset.calculator import Calculator
from sepiola.reasoning.toolset.retrieval import Retrieval

TOKENS = 64
"""Of one turn at most."""
ROWS = 256
"""Dialogues that go on together."""
SYSTEMS = {
    "with_tools": "with tools",
    "without": "without",
    "toolset_alone": "the toolset, asked the question",
    "nearest": "nearest question",
    "majority": "majority",
}
_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")


class GroundedAnswers:
    """Dialogues whose turns ask a toolset."""

    split = "test"
    takes: Sequence[str] = ("option", "seed")

    def measures(self, model: MeasuredModel, settings: Settings) -> bool:
        asked = all({"part", "step", "answer"} <= example.metadata.keys() for example in settings.examples)
        return bool(settings.examples) and asked and model.spec.writes_no_text is None

    def run(self, model: MeasuredModel, settings: Settings) -> Measurement:
        """Each part and language: every system's share right and F1, with intervals; with tools, how loops ended."""
        asked = _first(settings.examples)
        tools = toolset_of(settings.examples)
        systems = {
            "with_tools": replies(model, asked, tools),
            "without": replies(model, asked, Toolset([])),
        }
        texts = {name: [reply.text for reply in found] for name, found in systems.items()}
        texts["toolset_alone"] = [next(iter(tools(e.prompt)), "") for e in asked]
        known, missing = settings.learnable(settings.data.reader)
        texts |= _learned(_first(known), asked)
        cells: dict[str, Figures] = {}
        for part, language in dict.fromkeys(map(_cell, asked)):
            places = [at for at, e in enumerate(asked) if _cell(e) == (part, language)]
            cells[f"{part} {language}"] = {
                "count": len(places),
                "systems": {
                    name: _figures([asked[at] for at in places], [said[at] for at in places], settings.seed)
                    for name, said in texts.items()
                },
                "ended": dict(Counter(systems["with_tools"][at].ended for at in places)),
                "calls": sum(len(systems["with_tools"][at].steps) for at in places) / len(places),
            }
        figures: Figures = {"count": len(asked), "grounded": cells, "seed": settings.seed}
        if missing:
            figures["baselines_left_out"] = {"baselines": "nearest, majority", "reason": missing}
        answered = [(e, Answer(e.id, text)) for e, text in zip(asked, texts["with_tools"], strict=True)]
        return Measurement(figures, answered)

    def tables(self, figures: Figures) -> list[Table]:
        """One table a figure: parts and languages in columns, systems in lines."""
        cells = figures["grounded"]
        names = [name for name in SYSTEMS if any(name in cell["systems"] for cell in cells.values())]
        return [
            Table(
                title=f"Grounded: {title}",
                columns=[{"name": name, "notes": [f"{cell['count']}"]} for name, cell in cells.items()],
                lines=[
                    {
                        "name": SYSTEMS[name],
                        "own": name == "with_tools",
                        "published": False,
                        "cells": [
                            {
                                "value": f"{100 * cell['systems'][name][measure]:.1f}",
                                "note": "{:.1f}–{:.1f}".format(
                                    *(100 * bound for bound in cell["systems"][name][f"{measure}_interval"])
                                ),
                            }
                            for cell in cells.values()
                        ],
                    }
                    for name in names
                ],
                note="95% intervals by a bootstrap over the dialogues",
            )
            for measure, title in (("right", "answers that are right"), ("f1", "F1 of answers"))
        ]

    def headlines(self, figures: Figures) -> list[Headline]:
        return [
            {
                "name": f"{name}, with tools",
                "value": f"{100 * cell['systems']['with_tools']['right']:.1f}%",
                "note": f"without {100 * cell['systems']['without']['right']:.1f}%, of {cell['count']:,}",
            }
            for name, cell in figures["grounded"].items()
        ]

    def merge(self, arms: Mapping[str, Sequence[Figures]]) -> Figures:
        """The first arm's figures, and of each arm the share right over its seeds."""
        rows = [
            {"name": arm, "cell": name, "system": system, **_over_seeds(seeds, name, system)}
            for arm, seeds in arms.items()
            for name in seeds[0]["grounded"]
            for system in ("with_tools", "without")
        ]
        return {**next(iter(arms.values()))[0], "grounded_rows": rows}

    def reward(self, example: Example, answer: Answer) -> float | None:
        """1 for the wanted answer, else 0."""
        return float(right(answer.output, str(example.metadata["answer"]))) if "answer" in example.metadata else None


def toolset_of(examples: Sequence[Example]) -> Toolset:
    """The calculator, and retrieval over what these dialogues were given that the calculator does not work out."""
    calculator, passages = Calculator(), dict[str, None]()
    for example in examples:
        for call, given in zip(example.messages[1::2], example.messages[2::2], strict=False):
            if not calculator(call.text.removeprefix("TS, ")):
                passages[given.text.removeprefix("TS: ")] = None
    passages.pop("-", None)
    return Toolset([calculator, *([Retrieval([*passages])] if passages else [])])


def replies(model: MeasuredModel, asked: Sequence[Example], tools: Toolset) -> list[Grounded]:
    """The reply to each dialogue, greedily."""
    generator = model.example_generator(TOKENS)

    def write(dialogues: Sequence[Sequence[Message]]) -> list[str]:
        turns = [Example(str(place), tuple(said), "") for place, said in enumerate(dialogues)]
        return [texts[0] for texts in generator.write(turns)]

    groups = [asked[at : at + ROWS] for at in range(0, len(asked), ROWS)]
    return [reply for group in groups for reply in ground_all(write, [e.messages for e in group], tools)]


def right(said: str, wanted: str) -> bool:
    """Whether a reply gives the wanted answer."""
    if _NUMBER.fullmatch(wanted):
        numbers = _NUMBER.findall(said)
        return bool(numbers) and _value(numbers[-1]) == _value(wanted)
    return _bare(said) == _bare(wanted)


def _value(number: str) -> float:
    return float(number.replace(",", ""))


def _bare(text: str) -> str:
    """The words of an answer in small letters, without marks."""
    words = re.sub(r"[^\w\s]", " ", text.lower().strip()).split()
    return _answer(" ".join(words))


def _answer(text: str) -> str:
    """A text without the words that lead to an answer, and without its full stop."""
    return re.sub(r"^(it is |是)", "", text, flags=re.IGNORECASE).rstrip(".。")


def _first(examples: Sequence[Example]) -> list[Example]:
    """The first turn of each dialogue."""
    return [example for example in examples if example.metadata.get("step") == 0]


def _cell(example: Example) -> tuple[str, str]:
    return example.metadata["part"], example.metadata["language"]


def _figures(asked: Sequence[Example], said: Sequence[str], seed: int) -> Figures:
    wanted = [str(e.metadata["answer"]) for e in asked]
    hits = [float(right(text, answer)) for text, answer in zip(said, wanted, strict=True)]
    shared = [compare(_answer(text), [answer])["f1"] for text, answer in zip(said, wanted, strict=True)]
    return {
        "right": sum(hits) / len(hits),
        "right_interval": mean_interval(hits, seed),
        "f1": sum(shared) / len(shared),
        "f1_interval": mean_interval(shared, seed),
    }


def _learned(train: Sequence[Example], asked: Sequence[Example]) -> dict[str, list[str]]:
    """By training dialogues of the same part and language: the commonest answer, and that to the nearest question."""
    found: dict[str, list[str]] = {"nearest": [""] * len(asked), "majority": [""] * len(asked)} if train else {}
    for cell in dict.fromkeys(map(_cell, asked)) if train else ():
        known = [e for e in train if _cell(e) == cell]
        known = random.Random(0).sample(known, min(len(known), 4000))
        if not known:
            continue
        counts = Counter(str(e.metadata["answer"]) for e in known)
        commonest = min(counts, key=lambda text: (-counts[text], text))
        vectors = tfidf([e.prompt for e in known], analyzer="char_wb", ngram_range=(1, 4))
        rows = vectors.transform([e.prompt for e in known]).T
        for place, example in enumerate(asked):
            if _cell(example) == cell:
                near = (vectors.transform([example.prompt]) @ rows).toarray()
                found["nearest"][place] = str(known[int(np.argmax(near))].metadata["answer"])
                found["majority"][place] = commonest
    return found


def _over_seeds(seeds: Sequence[Figures], cell: str, system: str) -> Figures:
    rows = [seed["grounded"][cell]["systems"][system] for seed in seeds]
    return mean_over_seeds([{"right": row["right"], "interval": row["right_interval"]} for row in rows], "right", 1.0)


BENCHMARK = GroundedAnswers()
