"""What every test shares: one thread a worker, a fixed seed, no network, and the folder of real data."""

from __future__ import annotations

import os
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings

from sepiola.data.example import Example

REPOSITORY = Path(__file__).resolve().parent.parent

# Threads of several workers on the same cores only wait for one another. The variable is for child processes.
if "PYTEST_XDIST_WORKER" in os.environ:
    torch.set_num_threads(1)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

# A busy machine is no defect, and a test that fails must fail again.
settings.register_profile("house", deadline=None, derandomize=True)
settings.load_profile("house")


@pytest.fixture(autouse=True)
def seed() -> int:
    """Seeds Python, NumPy and torch before each test; a test may use the number for its own generators."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    return 0


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of real datasets: SEPIOLA_DATA, or ../shared/data from the checkout. Skips when absent."""
    root = Path(os.environ.get("SEPIOLA_DATA") or REPOSITORY.parent / "shared" / "data")
    if not root.is_dir():
        pytest.skip(f"no real data at {root}; set SEPIOLA_DATA to the folder that holds scienceqa/")
    return root


@pytest.fixture
def preference_reader(monkeypatch: pytest.MonkeyPatch) -> str:
    """The toy of `tests.preferences` as a dataset that recipes may name."""
    from sepiola.datasets import DATASETS, Dataset
    from tests import preferences  # takes long, and few tests need it

    def read(root: Path | None, split: str, *, pictures: bool = False, replies: int = 3) -> list[Example]:
        return preferences.rankings(picture=pictures, replies=replies)

    monkeypatch.setitem(DATASETS, preferences.READER, Dataset(read, drawn=True))
    return preferences.READER
