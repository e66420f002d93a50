"""Before a long run: how many steps, how much memory, how much time, from the shapes and one short
measurement.

Memory is that of the process. What it holds already, with the data read, is measured; what a step holds is counted in
the step of the largest batch, run over shapes (`sepiola.training.shapes`). Time is arithmetic over speed: a weight
takes 6 operations for each token that passes it in training (2 forward, 4 backward; Kaplan et al., arXiv 2001.08361),
and 4 where it is frozen, divided by the rate at which this machine multiplies matrices.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from sepiola.data.batching import Batch
from sepiola.models.build import count
from sepiola.models.hashed_linear import HashedLinear
from sepiola.nn.precision import autocast, resolve
from sepiola.specs.stage import StageSpec
from sepiola.training.batches import Batches
from sepiola.training.lora import begin_learning
from sepiola.training.loss import Loss
from sepiola.training.memory import resident_memory
from sepiola.training.optimizers import optimizer_for
from sepiola.training.preparation import parts_of
from sepiola.training.schedules import planned_steps
from sepiola.training.shapes import Memory, outlined

# The share of a large matrix product's rate that a step reaches; measured with T5-base on a CPU.
EFFICIENCY = 0.6
# What a process holds beside, as a share of a step's activations: pages that the C library keeps between batches of
# several lengths. Measured with Multimodal-CoT on ScienceQA.
SPARE = 0.25


@dataclass(frozen=True)
class Estimate:
    """What a stage will take. Memory in GB, time in seconds; both rough.

    `process` is Python, torch and this package, `data` what is read before training, `spare` the pages that the C
    library keeps.
    """

    steps: int
    tokens_per_step: int
    process: float
    data: float
    weights: float
    gradients: float
    optimizer: float
    activations: float
    spare: float
    seconds_per_step: float
    matmul_rate: float

    @property
    def memory(self) -> float:
        """All memory of the process."""
        step = self.weights + self.gradients + self.optimizer + self.activations
        return self.process + self.data + step + self.spare

    @property
    def seconds(self) -> float:
        """The whole stage."""
        return self.steps * self.seconds_per_step

    def __str__(self) -> str:
        hours, minutes = divmod(round(self.seconds / 60), 60)
        return (
            f"{self.steps} steps of about {self.tokens_per_step} tokens; about {self.memory:.1f} GB of "
            f"memory ({self.parts}); about {hours} h {minutes} min at "
            f"{self.seconds_per_step:.2f} s a step ({self.matmul_rate / 1e9:.0f} GFLOP/s measured)"
        )

    @property
    def parts(self) -> str:
        """What the memory is made of."""
        names = ("process", "data", "weights", "gradients", "optimizer", "activations", "spare")
        return ", ".join(f"{name} {getattr(self, name):.2f}" for name in names)


def estimate(
    model: nn.Module,
    stage: StageSpec,
    batches: Batches,
    loss: Callable[[nn.Module, Batch], Loss],
    *,
    learner: nn.Module | None = None,
    device: torch.device | str = "cpu",
    rate: float | None = None,
    process: float | None = None,
) -> Estimate:
    """The cost of a stage. `model` may be on the meta device; nothing is trained, and nothing of the model allocated.

    `learner` is what trains, with what an objective puts on the model; by default the model as it is.
    `rate` is the machine's matrix products in operations a second, measured when absent. `process` is what the process
    held, in GB, before the data were read; by default, what it holds now.
    """
    device = torch.device(device)
    dtype = resolve(stage.precision, device)
    held = resident_memory() or 0.0
    process = held if process is None else process
    rate = rate or measure_rate(device, dtype)
    steps = batches.peek(8)
    operations = sum(_operations(model, stage, batch) for step in steps for batch in step) / len(steps)
    step = _step_memory(learner or model, stage, batches.largest(), loss, device, dtype)
    return Estimate(
        steps=planned_steps(stage, batches.steps_per_epoch),
        tokens_per_step=round(sum(b.tokens for step in steps for b in step) / len(steps)),
        process=process,
        data=max(0.0, held - process),
        **{name: size / 1e9 for name, size in step.items()},
        spare=SPARE * step["activations"] / 1e9 if device.type == "cpu" else 0.0,
        seconds_per_step=operations / (rate * EFFICIENCY),
        matmul_rate=rate,
    )


def _step_memory(
    model: nn.Module,
    stage: StageSpec,
    batch: Batch,
    loss: Callable[[nn.Module, Batch], Loss],
    device: torch.device,
    dtype: torch.dtype,
) -> dict[str, int]:
    """Bytes that a step holds at most, by what they are. Activations are all that is neither weight, gradient nor
    optimizer: the batch, what the backward pass needs, autocast's copies of weights.
    """
    network = outlined(model)
    begin_learning(network, stage, seed=0)
    memory = Memory(device)
    memory.take(network)
    weights = memory.held
    batch = memory.taken(batch)
    before = memory.held
    with memory:
        optimizer = optimizer_for(network, stage)
        begun = memory.held - before
        with autocast(device, dtype):
            (loss(network, batch).total / max(batch.labelled, 1)).backward()
        passes = memory.peak
        gradients = memory.held - before - begun
        memory.peak = 0
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    kept = memory.held - before
    most = max(passes + kept - begun, memory.peak)  # from the second step on, the passes meet the optimizer's tensors
    return {
        "weights": weights,
        "gradients": gradients,
        "optimizer": kept,
        "activations": max(0, most - weights - gradients - kept),
    }


def _places(batch: Batch) -> tuple[int, int]:
    """Positions that are computed, padding included: of the source, of the target."""
    return (0 if batch.source is None else batch.source.numel()), batch.target.numel()


def _operations(model: nn.Module, stage: StageSpec, batch: Batch) -> float:
    source, target = _places(batch)
    if isinstance(model, HashedLinear):
        return 6.0 * target  # each place is one weight
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
