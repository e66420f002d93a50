"""Intervals over the seeds of a comparison."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from rich.console import Console

from sepiola.errors import SepiolaError
from sepiola.experiments.compare import _interval, compare
from sepiola.experiments.recipe_files import ComparisonSpec


@pytest.mark.parametrize(("values", "reach"), [([0.4, 0.6], 12.706 * 0.1), ([0.45, 0.55] * 6, 2.201 * 0.0150756)])
def test_the_interval_over_seeds_is_students(values: list[float], reach: float) -> None:
    """Reach: the two-sided 95% point for one less than the seeds, times the standard error; cut to a share."""
    low, high = _interval(values, [0.1, 0.2], 1.0)
    assert (low, high) == pytest.approx((max(0.0, 0.5 - reach), min(1.0, 0.5 + reach)), abs=1e-4)


def test_a_single_seed_has_the_interval_of_its_questions() -> None:
    assert _interval([0.5], [0.1, 0.2], 1.0) == [0.1, 0.2]


def test_several_seeds_without_scipy_are_refused_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "scipy.stats", None)
    monkeypatch.setattr("sepiola.experiments.compare._run_all", None)
    spec = ComparisonSpec.parse({"name": "c", "base": {}, "arms": {"a": {}}, "seeds": [0, 1]})
    with pytest.raises(SepiolaError, match=r"pip install 'sepiola\[eval\]'"):
        compare(spec, tmp_path / "runs", console=Console(quiet=True))
    assert not (tmp_path / "runs").exists()
