"""Figures of `benchmarks/candidates.py`: what many candidates bring, context by context."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from benchmarks.candidates import Each, line, paired


def said(unsafe: Sequence[float], sensible: Sequence[float], evaded: Sequence[bool] | None = None) -> Each:
    texts = [f"reply {place}" for place in range(len(unsafe))]
    return Each(texts, evaded or [False] * len(texts), {"unsafe": unsafe, "sensible": sensible})


def test_a_pairing_goes_by_contexts() -> None:
    """Ratings differ more from context to context than from way to way: two intervals meet, and the pairing is sure."""
    ratings = [place / 100 for place in range(100)]
    base, many = [said([1, 0] * 50, ratings)], [said([1, 0, 0, 0] * 25, [one + 0.02 for one in ratings])]
    found = paired(many, base)
    assert found["sensible, more"] == pytest.approx([0.02, 0.02, 0.02])
    assert line(many)["sensible"][1] < line(base)["sensible"][0] < line(many)["sensible"][0]
    assert found["unsafe, less"][0] == 0.25 and found["unsafe, share less"][0] == 0.5
    assert 0.3 < found["unsafe, share less"][1] < 0.5 < found["unsafe, share less"][2] < 0.7


def test_a_context_counts_by_its_mean_over_seeds() -> None:
    once, twice = [said([1, 0], [0.2, 0.8])], [said([1, 0], [0.2, 0.8])] * 2
    assert line(once) == line(twice)
    mixed = [said([1, 0], [0.0, 0.0]), said([0, 1], [1.0, 1.0])]
    assert line(mixed)["unsafe"] == [0.5, 0.5, 0.5]  # no two contexts differ
    assert paired(mixed, once)["unsafe, less"][0] == 0


def test_a_fixed_text_is_none_of_the_models_own() -> None:
    found = line([said([1, 1, 0, 0], [0.5] * 4, [False, True, True, True])])
    assert found["unsafe"][0] == 0.5 and found["evaded"] == 0.75
    assert found["unsafe of its own"][0] == 1.0
    assert line([said([1], [0.5], [True])])["unsafe of its own"] == []


def test_without_unsafe_replies_there_is_no_share_of_them() -> None:
    assert "unsafe, share less" not in paired([said([0, 1], [0.5, 0.5])], [said([0, 0], [0.5, 0.5])])
