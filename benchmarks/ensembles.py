"""How long an ensemble's members take for one question: one alone, one after the other, and side by side.

    python benchmarks/ensembles.py RUN [--questions 40]

RUN is a run whose members differ in their weights alone and share a vision encoder (the arm `seeds alone`
of `ensembles/tidepool`).
Each question is opened, looked at and scored anew; times are the process's own (median), so that other processes of the
machine count little, and the kinds take turns.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import sepiola
from sepiola.data.example import Example, Message
from sepiola.datasets import read
from sepiola.reasoning.ensembles import Ensemble
from sepiola.reasoning.side_by_side import side_by_side

FAMILIES = ["magnets", "food webs"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run")
    parser.add_argument("--questions", type=int, default=40)
    given = parser.parse_args()
    model = sepiola.load(given.run)
    if model.ensemble is None or side_by_side(model.ensemble.members) is None:
        raise SystemExit(f"{given.run}: no ensemble whose members run side by side")
    members, combining = model.ensemble.members, model.ensemble.combining
    kinds: dict[str, Callable[[Sequence[Example]], object]] = {
        "one member": members[0].strategy(score=True).answer,
        "members in turn": Ensemble([member.strategy(score=True) for member in members], combining).answer,
        "members side by side": model.strategy().answer,
    }
    asked = read("tidepool", None, "test", count=given.questions + 5, size=64, families=FAMILIES)
    for look in (True, False):
        shown = asked if look else [_without_pictures(example) for example in asked]
        times: dict[str, list[float]] = {kind: [] for kind in kinds}
        for example in shown:
            for kind, answer in kinds.items():
                began = time.process_time()
                answer([example])
                times[kind].append(1000 * (time.process_time() - began))
        one = statistics.median(times["one member"][5:])
        print("with its picture:" if look else "the text alone:")
        for kind, taken in times.items():
            median = statistics.median(taken[5:])
            print(f"  {kind} ({len(members)}): {median:.2f} ms, {median / one:.2f} of one member's")


def _without_pictures(example: Example) -> Example:
    return replace(example, messages=tuple(Message(m.role, (m.text,)) for m in example.messages))


if __name__ == "__main__":
    main()
