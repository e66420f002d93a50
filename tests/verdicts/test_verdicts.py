"""Our verdict is that of the leaderboard's own package, where that is installed; and what is compared is varied."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from sepiola.datasets import read
from tests.verdicts.comparing import compare
from tests.verdicts.perturbing import WAYS, perturbed
from tests.verdicts.theirs import WHY_NOT, verdict


def test_our_verdict_is_that_of_the_leaderboards_own_package(data_root: Path) -> None:
    judge = verdict()
    if judge is None:
        pytest.skip(WHY_NOT)
    compared = compare(500, 1, data_root / "act" / "bfcl", judge)
    assert compared.different == [] and compared.agreed == compared.count == 500
    assert 100 < compared.right < 400 and set(compared.by) == set(WAYS)


def test_a_verdict_that_differs_is_seen(data_root: Path) -> None:
    def generous(functions: Sequence[Any], calls: Sequence[Any], answers: Sequence[Any], category: str) -> bool:
        return True

    compared = compare(60, 1, data_root / "act" / "bfcl", generous)
    assert compared.count == 60 and 0 < compared.agreed < 60
    assert len(compared.different) == 60 - compared.agreed and "ours: '" in compared.different[0]


@pytest.mark.parametrize("way", WAYS)
def test_every_change_changes_calls(way: str, data_root: Path) -> None:
    examples = read("bfcl", data_root / "act" / "bfcl", "test", categories=("parallel_multiple",))
    changed = 0
    for seed in range(40):
        rng = random.Random(seed)
        _, calls = perturbed(rng.choice(examples), random.Random(seed))
        before = repr(calls)
        WAYS[way](calls, examples[seed], rng)
        changed += repr(calls) != before
    assert (changed == 0) == (way == "nothing") and changed in (0, *range(8, 41))
