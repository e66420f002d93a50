"""The forecast of a stage: its arithmetic."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from sepiola.data.batching import Sample
from sepiola.models.build import build, count
from sepiola.specs.model import ModelSpec
from sepiola.specs.stage import StageSpec
from sepiola.training.estimate import estimate
from sepiola.training.objectives.writing import language_modelling
from tests.trainers import stage_of, text_batches

SPEC = ModelSpec.parse({
    "language": {
        "kind": "encoder-decoder", "vocabulary": 2000, "width": 256, "layers": 4, "attention": {"heads": 4},
        "feed_forward": {"width": 1024}, "positions": {"kind": "relative"}, "norm": {"kind": "rms"},
    },
})  # fmt: skip


def stage(**changes: Any) -> StageSpec:
    return stage_of(**{"batch": 8, "epochs": 3, **changes})


def samples() -> list[Sample]:
    generator = np.random.default_rng(0)
    return [Sample(str(i), generator.integers(2, 2000, 60).tolist(), [5] * 39 + [1]) for i in range(64)]


def test_counts_are_exact() -> None:
    with torch.device("meta"):
        model = build(SPEC)
    once, twice = (stage(precision="float32", accumulate=n) for n in (1, 2))
    found = estimate(model, once, text_batches(model, once, samples()), language_modelling, rate=1e11)
    assert (found.steps, found.tokens_per_step) == (24, 800)
    assert found.weights == found.gradients == 4 * count(model) / 1e9
    assert found.optimizer == pytest.approx(2 * found.weights, rel=1e-3)  # AdamW's two averages
    language = model.language if hasattr(model, "language") else model
    operations = 6 * 8 * (60 * count(language.encoder) + 40 * (count(language.decoder) + 2000 * 256))
    assert found.seconds_per_step * 1e11 * 0.6 == np.float64(operations)
    assert found.seconds == 24 * found.seconds_per_step
    assert "24 steps of about 800 tokens" in str(found)
    halved = estimate(model, twice, text_batches(model, twice, samples()), language_modelling, rate=1e11)
    assert (halved.steps, halved.tokens_per_step) == (12, 1600)
    assert halved.activations == found.activations


def test_the_rate_is_measured() -> None:
    """Any machine that runs this multiplies more than a million and less than 10^17 numbers a second."""
    model = build(SPEC)
    found = estimate(model, stage(), text_batches(model, stage(), samples()), language_modelling)
    assert 1e6 < found.matmul_rate < 1e17
    assert found.memory > found.weights > 0
