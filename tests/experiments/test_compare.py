"""Intervals over the seeds of a comparison."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from rich.console import Console

from sepiola.errors import SepiolaError
from sepiola.experiments.compare import compare
from sepiola.experiments.recipe_files import ComparisonSpec


def test_several_seeds_without_scipy_are_refused_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "scipy.stats", None)
    monkeypatch.setattr("sepiola.experiments.compare._run_all", None)
    spec = ComparisonSpec.parse({"name": "c", "base": {}, "arms": {"a": {}}, "seeds": [0, 1]})
    with pytest.raises(SepiolaError, match=r"pip install 'sepiola\[eval\]'"):
        compare(spec, tmp_path / "runs", console=Console(quiet=True))
    assert not (tmp_path / "runs").exists()
