"""Before a long run: how many steps, how much memory, how much time, from the shapes and one short
measurement.

Time is arithmetic over speed: a weight takes 6 operations for each token that passes it in training (2
forward, 4 backward; Kaplan et al., arXiv 2001.08361), and 4 where it is frozen, divided by the rate at which
this machine multiplies matrices.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from sepiola.data.batching import Batch
from sepiola.models.build import count
from sepiola.nn.precision import resolve
from sepiola.specs.model import TransformerSpec
from sepiola.specs.stage import StageSpec
from sepiola.training.batches import Batches
from sepiola.training.lora import adapter_size
from sepiola.training.preparation import learning_parts, parts_of
from sepiola.training.schedules import total_steps

# The share of a large matrix product's rate that a step reaches; measured with T5-base on a CPU.
EFFICIENCY = 0.6
CHUNK_GB = 0.2  # the loss's logits, once


@dataclass(frozen=True)
class Estimate:
    """What a stage will take. Memory in GB, time in seconds; both rough."""

    steps: int
    tokens_per_step: int
    weights: float
    gradients: float
    optimizer: float
    activations: float
    seconds_per_step: float
    matmul_rate: float

    @property
    def memory(self) -> float:
        """All memory of the training step."""
        return self.weights + self.gradients + self.optimizer + self.activations

    @property
    def seconds(self) -> float:
        """The whole stage."""
        return self.steps * self.seconds_per_step

    def __str__(self) -> str:
        hours, minutes = divmod(round(self.seconds / 60), 60)
        return (
            f"{self.steps} steps of about {self.tokens_per_step} tokens; about {self.memory:.1f} GB of "
            f"memory (weights {self.weights:.1f}, gradients {self.gradients:.1f}, optimizer "
            f"{self.optimizer:.1f}, activations {self.activations:.1f}); about {hours} h {minutes} min at "
            f"{self.seconds_per_step:.2f} s a step ({self.matmul_rate / 1e9:.0f} GFLOP/s measured)"
        )


def estimate(
    model: nn.Module,
    stage: StageSpec,
    batches: Batches,
    *,
    device: torch.device | str = "cpu",
    rate: float | None = None,
) -> Estimate:
    """The cost of a stage. `model` may be on the meta device, and `batches` without images; nothing is trained.

    `rate` is the machine's matrix products in operations a second, measured when absent.
    """
    device = torch.device(device)
    dtype = resolve(stage.precision, device)
    rate = rate or measure_rate(device, dtype)
    steps = batches.peek(8)
    learning = sum(map(count, learning_parts(model, stage).values()))
    if stage.lora is not None:
        learning = adapter_size(model, stage)
    operations = sum(_operations(model, stage, batch) for step in steps for batch in step) / len(steps)
    largest = max(_activations(model, batch) for step in steps for batch in step)
    half = 2 if dtype == torch.bfloat16 else 0  # autocast's copies of the weights
    return Estimate(
        steps=total_steps(stage, batches.steps_per_epoch),
        tokens_per_step=round(sum(b.tokens for step in steps for b in step) / len(steps)),
        weights=(4 + half) * count(model) / 1e9,
        gradients=4 * learning / 1e9,
        optimizer=8 * learning / 1e9,
        activations=largest * (2 if half else 4) / 1e9 + CHUNK_GB,
        seconds_per_step=operations / (rate * EFFICIENCY),
        matmul_rate=rate,
    )


def _places(batch: Batch) -> tuple[int, int]:
    """Positions that are computed, padding included: of the source, of the target."""
    return (0 if batch.source is None else batch.source.numel()), batch.target.numel()


def _operations(model: nn.Module, stage: StageSpec, batch: Batch) -> float:
    source, target = _places(batch)
    parts = parts_of(model)
    language: Any = parts["language"]
    learns = 6 if stage.lora is None else 4  # the adapter's own products are few
    weights = count(getattr(language, "encoder", nn.Identity())) * source + count(language.decoder) * target
    weights += getattr(language.head, "weight", torch.empty(0)).numel() * batch.labelled
    total = weights * (learns if "language" in stage.learn else 4)
    if "bridge" in parts:
        total += count(parts["bridge"]) * source * (learns if "bridge" in stage.learn else 4)
    if "vision" in parts and "vision" in stage.learn:
        total += learns * count(parts["vision"]) * len(batch.ids) * getattr(parts["vision"], "patches", 256)
    return total


def _activations(model: nn.Module, batch: Batch) -> float:
    """Numbers kept for the backward pass: some widths for each layer and token, and the attention's
    weights.
    """
    spec = model.spec
    assert isinstance(spec, TransformerSpec)
    source, target = _places(batch)
    if batch.source is None:
        return target * spec.layers * (_kept(spec) + 2 * spec.attention.heads * batch.target.shape[1])
    encoder, columns = spec.encoder, batch.source.shape[1]
    read = encoder.layers * source * (_kept(encoder) + 2 * encoder.attention.heads * columns)
    both = 2 * spec.attention.heads * (batch.target.shape[1] + columns)
    return read + spec.layers * target * (1.4 * _kept(spec) + both)


def _kept(spec: TransformerSpec) -> int:
    """Numbers kept for a token in one layer, the attention's weights apart."""
    return 14 * spec.width + 3 * spec.feed_forward.width * (2 if spec.feed_forward.gated else 1)


def measure_rate(device: torch.device, dtype: torch.dtype, side: int = 1024) -> float:
    """Matrix products of this machine, in operations a second; takes well under a second."""
    left, right = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    best = float("inf")
    for _ in range(4):
        began = time.perf_counter()
        left @ right
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        best = min(best, time.perf_counter() - began)
    return 2 * side**3 / best
