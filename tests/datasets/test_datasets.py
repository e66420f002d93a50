"""The readers on the real datasets, on small folders in each layout, and on each fault they name."""

from __future__ import annotations

from pathlib import Path

from sepiola.datasets import DATASETS
from tests.tiny import read_fault


def test_unknown_names_are_refused_with_the_known_ones(tmp_path: Path) -> None:
    assert "did you mean 'scienceqa'?" in read_fault("scienceq", tmp_path, "train")
    assert "no option 'images'; known: with_image" in read_fault("scienceqa", tmp_path, "train", images=1)
    assert "it takes none" in read_fault("daquar", tmp_path, "train", images=1)
    for name in DATASETS:
        message = read_fault(name, tmp_path, "third")
        assert "split 'third'; known: train" in message
