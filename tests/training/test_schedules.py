"""Learning rates, and what a stage's length means in steps."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from sepiola.specs.stage import StageSpec
from sepiola.training.schedules import learning_rate, planned_steps, total_steps
from tests.trainers import stage_of


def stage(**changes: Any) -> StageSpec:
    raw = {"steps": 10, "learning_rate": 1.0}
    return stage_of(**{**raw, **changes})


@pytest.mark.parametrize("schedule", ["linear", "cosine", "constant"])
def test_warmup_rises_to_the_full_rate(schedule: str) -> None:
    spec = stage(schedule=schedule, warmup=4)
    assert [learning_rate(spec, step, 10) for step in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]


def test_decay_ends_at_the_final_rate() -> None:
    assert [learning_rate(stage(), step, 4) for step in range(5)] == [1.0, 0.75, 0.5, 0.25, 0.0]
    cosine = stage(schedule="cosine", final_learning_rate=0.2)
    assert [learning_rate(cosine, step, 4) for step in (0, 2, 4)] == pytest.approx([1.0, 0.6, 0.2])
    assert learning_rate(stage(schedule="constant"), 9, 10) == 1.0
    assert learning_rate(stage(schedule="linear", warmup=20), 9, 10) == 0.5


def test_steps_of_a_stage() -> None:
    assert total_steps(stage(), 7) == 10
    assert total_steps(stage(steps=None, epochs=2.5), 7) == 18
    assert total_steps(stage(steps=None, epochs=0.01), 7) == 1


def test_a_warmup_that_outlasts_its_stage_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert planned_steps(stage(warmup=10), 7) == 10
        assert not caplog.records
        assert planned_steps(stage(warmup=20), 7) == 10
    assert "warmup takes 20 steps, and the stage has 10: the learning rate ends at 0.5, not at 1" in caplog.text
