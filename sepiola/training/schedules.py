"""Learning rate by step: linear warmup, then linear or cosine decay to the final rate, or none."""

from __future__ import annotations

import logging
import math

from sepiola.specs.stage import StageSpec

log = logging.getLogger(__name__)


def learning_rate(stage: StageSpec, step: int, steps: int) -> float:
    """The rate of step `step` (the first is 0) of `steps`. Warmup rises to the full rate at its last step."""
    spec = stage.optimizer
    peak, final = spec.learning_rate, spec.final_learning_rate
    if step < spec.warmup:
        return peak * (step + 1) / spec.warmup
    progress = (step - spec.warmup) / max(1, steps - spec.warmup)
    if spec.schedule == "cosine":
        return final + (peak - final) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    if spec.schedule == "linear":
        return peak + (final - peak) * min(1.0, progress)
    return peak


def planned_steps(stage: StageSpec, steps_per_epoch: int) -> int:
    """As `total_steps`; warns where the warmup is longer."""
    steps, warmup = total_steps(stage, steps_per_epoch), stage.optimizer.warmup
    if warmup > steps:
        log.warning(
            "stage '%s': warmup takes %d steps, and the stage has %d: the learning rate ends at %g, not at %g; "
            "shorten warmup",
            *(stage.name, warmup, steps, learning_rate(stage, steps - 1, steps), stage.optimizer.learning_rate),
        )
    return steps


def total_steps(stage: StageSpec, steps_per_epoch: int) -> int:
    """Optimizer steps of a stage; a part of a step counts as one."""
    if stage.steps is not None:
        return stage.steps
    assert stage.epochs is not None
    return max(1, math.ceil(stage.epochs * steps_per_epoch))
