"""Perturbed calls under both verdicts, counted."""

from __future__ import annotations

import json
import random
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from sepiola.acting.checking import fault_of
from sepiola.calling.functions import Call
from sepiola.datasets import read
from sepiola.datasets.bfcl import ANSWERED
from tests.verdicts.perturbing import perturbed
from tests.verdicts.theirs import Verdict


@dataclass
class Compared:
    """How many calls both judged, by what was changed first; how many both found right, and where they differ.

    `raised` are calls on which theirs ends with an exception of Python's, by its kind and our verdict.
    """

    count: int = 0
    agreed: int = 0
    right: int = 0
    by: Counter[str] = field(default_factory=Counter)
    raised: Counter[str] = field(default_factory=Counter)
    different: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, object]:
        return {**vars(self), "different": self.different[:20]}


def compare(count: int, seed: int, root: Path, judge: Verdict) -> Compared:
    """`count` calls that both judge, of requests of all of BFCL's categories of one turn that have answers."""
    examples = read("bfcl", root, "test", categories=ANSWERED)
    raw = {}
    for category in ANSWERED:
        answers = _lines(root / "possible_answer" / f"BFCL_v4_{category}.json")
        right = {record["id"]: record["ground_truth"] for record in answers}
        for record in _lines(root / f"BFCL_v4_{category}.json"):
            raw[record["id"]] = (record["function"], right[record["id"]])
    rng, found = random.Random(seed), Compared()
    while found.count < count:
        example = rng.choice(examples)
        way, calls = perturbed(example, rng)
        functions, answers = raw[example.id]
        made = [Call(call["name"], call["arguments"]) for call in calls]
        fault = fault_of(made, example.metadata["allowed"], example.metadata["tools"])
        said = [{call["name"]: call["arguments"]} for call in calls]
        try:
            theirs = judge(functions, said, answers, example.metadata["category"])
        except Exception as error:
            found.raised[f"{type(error).__name__}: {str(error)[:60]} ({'wrong' if fault else 'right'} by ours)"] += 1
            continue
        found.count += 1
        found.by[way] += 1
        found.agreed += theirs is not bool(fault)
        found.right += theirs
        if theirs is bool(fault):
            found.different.append(f"{example.id}, {way}: {said}: {'right' if theirs else 'wrong'}; ours: {fault!r}")
    return found


def _lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
