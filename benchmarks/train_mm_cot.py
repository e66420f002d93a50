"""A training step of Multimodal-CoT's first stage against the reference way: `python benchmarks/train_mm_cot.py`.

The peer is `transformers`' T5 with the reference's fusion, inputs and targets padded to 512 tokens, features read from
.npy files, AdamW (fused), bf16 autocast, its fastest attention, and the same allocator settings as ours. Both train
on the same real ScienceQA questions from the same weights, in alternating steps; the losses of each step are
compared. `trimmed` is the same peer with each batch padded only to its longest row: not the reference way, and the
fairer yardstick for our step itself.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure import alternate, matmul_rate, parser, peak_memory_gb, ratio, report
from mm_cot import PATCHES, WIDTH, ReferenceModel, both, padded, questions, samples_of, tokenizer_of
from torch.utils.flop_counter import FlopCounterMode

from sepiola.data.batching import Collator, Sample
from sepiola.data.sampler import BatchSampler
from sepiola.specs.stage import StageSpec
from sepiola.training.memory import keep_pages
from sepiola.training.objectives import objective_specs
from sepiola.training.objectives.writing import language_modelling
from sepiola.training.optimizers import optimizer_for


class Ours:
    """Our step: length-bucketed batches, loss only where there is a label."""

    def __init__(self, model: torch.nn.Module, stage: StageSpec, features: dict[str, Path]) -> None:
        self.model, self.features, self.losses = model.train(), features, list[float]()
        self.optimizer = optimizer_for(model, stage)
        self.collate = Collator(model.spec.tokens, features=self._rows)

    def _rows(self, rows: Any) -> list[torch.Tensor]:
        return [torch.from_numpy(np.load(self.features[image])) for row in rows for image in row]

    def step(self, samples: list[Sample]) -> None:
        batch = self.collate(samples)
        with torch.autocast("cpu", torch.bfloat16):
            outcome = language_modelling(self.model, batch)
            loss = outcome.loss_sum / outcome.tokens
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.losses.append(loss.item())


class Theirs:
    """The reference's step; `length` None trims each batch to its longest row."""

    def __init__(self, model: ReferenceModel, stage: StageSpec, features: dict[str, Path], length: int | None) -> None:
        self.model, self.features, self.length, self.losses = model.train(), features, length, list[float]()
        self.optimizer = optimizer_for(model, stage)

    def step(self, samples: list[Sample]) -> None:
        sources, targets = [s.source for s in samples], [s.target for s in samples]
        source = padded(sources, self.length or max(map(len, sources)), 0)
        labels = padded(targets, self.length or max(map(len, targets)), -100)
        images = torch.from_numpy(np.stack([np.load(self.features[s.images[0]]) for s in samples]))
        with torch.autocast("cpu", torch.bfloat16):
            loss = self.model(source, (source != 0).long(), images, labels)
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.losses.append(loss.item())


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--preset", default="mm-cot-base")
    options.add_argument("--batch", type=int, default=8)
    options.add_argument("--format", default="QCM-LE")
    arguments = options.parse_args()
    torch.set_num_threads(arguments.threads)
    keep_pages()
    report(arguments, run(arguments))


def run(arguments: Any) -> dict[str, Any]:
    """One comparison; every number that is printed."""
    examples = questions()
    tokenizer = tokenizer_of(examples)
    samples = samples_of(examples, arguments.format, tokenizer, arguments.preset)
    order = BatchSampler([s.length for s in samples], arguments.batch, seed=0)
    stage = StageSpec.parse({"name": "rationale", "data": {"reader": "scienceqa"}, "steps": 1}, kinds=objective_specs())
    with tempfile.TemporaryDirectory() as folder:
        steps, features = _steps(samples, order, arguments.rounds + 1, Path(folder))
        model, reference = both(arguments.preset)
        ours, theirs = Ours(model, stage, features), Theirs(reference, stage, features, 512)
        trimmed = Theirs(both(arguments.preset)[1], stage, features, None)
        sides = {"sepiola": ours, "transformers": theirs, "trimmed": trimmed}
        for side in sides.values():
            side.step(steps[0])
        numbers = {name: iter(range(1, arguments.rounds + 1)) for name in sides}
        times = alternate(
            {n: lambda s=s, n=n: s.step(steps[next(numbers[n])]) for n, s in sides.items()}, arguments.rounds
        )
        with FlopCounterMode(display=False) as counter:
            ours.step(steps[-1])
    rate, work = matmul_rate(), counter.get_total_flops()
    used = steps[1:]
    return {
        "preset": arguments.preset,
        "batch": arguments.batch,
        "dtype": "bfloat16 (autocast)",
        "rounds": arguments.rounds,
        "ratio": round(ratio(times["transformers"], times["sepiola"]), 2),
        "ratio_to_trimmed": round(ratio(times["trimmed"], times["sepiola"]), 2),
        "samples_per_second": {n: round(arguments.batch * len(t) / sum(t), 3) for n, t in times.items()},
        "tokens_per_second": {
            n: round(sum(s.length for step in used for s in step) / sum(t), 1) for n, t in times.items()
        },
        "loss_difference": max(abs(a - b) for a, b in zip(ours.losses, theirs.losses, strict=False)),
        "losses": {n: [round(v, 4) for v in s.losses[: arguments.rounds + 1]] for n, s in sides.items()},
        "matmul_tflops": round(rate / 1e12, 3),
        "share_of_matmul_peak": round(work / times["sepiola"][-1] / rate, 3),
        "peak_memory_gb_of_all": round(peak_memory_gb(), 1),
    }


def _steps(
    samples: list[Sample], order: BatchSampler, count: int, folder: Path
) -> tuple[list[list[Sample]], dict[Any, Path]]:
    """Some batches of the real order, each sample with a stored feature file."""
    import dataclasses

    steps, features = [], {}
    for _ in range(count):
        (group,) = order.next_step()
        step = []
        for i in group:
            path = folder / f"{samples[i].id}.npy"
            np.save(path, np.random.default_rng(i).standard_normal((PATCHES, WIDTH), dtype=np.float32))
            features[path] = path
            step.append(dataclasses.replace(samples[i], images=(path,)))
        steps.append(step)
    return steps, features


if __name__ == "__main__":
    main()
