"""Which items stand for all."""

from __future__ import annotations

from sepiola.data.sampler import spread


def test_what_stands_for_all_meets_both_of_two_kinds_in_turn() -> None:
    items = [(number, ("en", "zh")[number % 2]) for number in range(1000)]
    for count in (10, 250, 500):
        drawn = spread(items, count)
        assert len(set(drawn)) == count and drawn == sorted(drawn) == spread(items, count)
        assert 0.3 * count - 2 < sum(language == "en" for _, language in drawn) < 0.7 * count + 2
    assert spread(items, 2000) == items and spread([], 3) == []
