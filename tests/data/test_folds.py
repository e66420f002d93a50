"""Bootstraps, weighted draws and folds keep groups whole."""

from __future__ import annotations

from collections import Counter

import pytest

from sepiola.data.example import Example
from sepiola.data.folds import bootstrap, folds, group_of, weighted_draw
from sepiola.errors import DataError
from tests.tiny import question_example


def examples(count: int, a_group: int = 3) -> list[Example]:
    return [question_example(f"e{n}", f"q{n}", ("a", "b"), 0, group=f"g{n // a_group}") for n in range(count)]


def test_a_bootstrap_draws_groups_and_not_rows() -> None:
    whole = examples(300)
    drawn = bootstrap(whole, seed=1)
    times = Counter(example.id for example in drawn)
    for start in range(0, 300, 3):
        assert len({times[f"e{start + n}"] for n in range(3)}) == 1, "rows of one group stand there as often"
    assert len(drawn) == 300, "groups of one size: as many rows as before"
    missing = 1 - len({group_of(e) for e in drawn}) / 100
    assert 0.25 < missing < 0.5, "about 1/e of the groups are out of the bag"
    assert [e.id for e in bootstrap(whole, seed=1)] == [e.id for e in drawn]
    assert [e.id for e in bootstrap(whole, seed=2)] != [e.id for e in drawn]


def test_without_a_group_an_example_is_its_own() -> None:
    alone = [question_example(f"e{n}", "q", ("a", "b")) for n in range(5)]
    assert [group_of(e) for e in alone] == [e.id for e in alone]
    assert bootstrap([], seed=0) == []


def test_a_weighted_draw_is_as_the_weights_say() -> None:
    whole = examples(8)
    assert [e.id for e in weighted_draw(whole, [0.125] * 8, seed=5)] == [e.id for e in whole]
    weights = [0.5, 0.25, 0.125, 0.125, 0, 0, 0, 0]
    for seed in range(20):
        assert Counter(e.id for e in weighted_draw(whole, weights, seed)) == {"e0": 4, "e1": 2, "e2": 1, "e3": 1}
    odd = [0.3, 0.7, 0.05, 0.05, 0.1, 0.1, 0.2, 0.5]
    mean = Counter[str]()
    for seed in range(2000):
        drawn = weighted_draw(whole, odd, seed)
        assert len(drawn) == 8
        mean.update(e.id for e in drawn)
    for n, weight in enumerate(odd):
        assert mean[f"e{n}"] / 2000 == pytest.approx(8 * weight / 2.0, abs=0.05)


@pytest.mark.parametrize("weights", [[1.0], [0.0] * 8, [-1.0, *[1.0] * 7], [float("nan"), *[1.0] * 7]])
def test_weights_that_do_not_fit_are_refused(weights: list[float]) -> None:
    with pytest.raises(DataError, match="one an example"):
        weighted_draw(examples(8), weights, seed=0)


def test_folds_hold_whole_groups_and_are_of_like_size() -> None:
    whole = examples(100, a_group=7)
    fold = folds(whole, 4, seed=0)
    where: dict[str, set[int]] = {}
    for example, number in zip(whole, fold, strict=True):
        where.setdefault(group_of(example), set()).add(number)
    assert all(len(numbers) == 1 for numbers in where.values())
    assert max(Counter(fold).values()) - min(Counter(fold).values()) <= 7
    assert set(fold) == {0, 1, 2, 3}
    assert folds(whole, 4, seed=0) == fold != folds(whole, 4, seed=1)
    with pytest.raises(DataError, match=r"from 2 to the number of groups \(2\)"):
        folds(examples(6), 3, seed=0)
