"""A pretraining step of SmolLM2-135M's shape against `transformers`: `python benchmarks/train_lm.py`.

The peer is `transformers`' LlamaForCausalLM in its best plain loop: fused AdamW, the same allocator settings as ours,
each of its attentions (`sdpa`, its default, and `eager`, which a CPU may run faster), and bfloat16 in each of the two
ways in which people train: autocast over float32 weights, which has the same numbers as ours, and weights, gradients
and optimizer all in bfloat16, which learns less well. The ratio is to the fastest of the four. All train from the same
weights on the same tokens in alternating steps, and losses are compared. Memory is the peak of a process that runs one
side alone.
"""

from __future__ import annotations

import multiprocessing
import statistics
from argparse import Namespace
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from measure import alternate, matmul_rate, parser, peak_memory_gb, ratio, report
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import LlamaConfig, LlamaForCausalLM

from sepiola.checkpoints.families import llama
from sepiola.data.batching import Batch, Collator, Sample
from sepiola.models.build import build, preset
from sepiola.specs.stage import StageSpec
from sepiola.training.memory import keep_pages
from sepiola.training.objectives import objective_specs
from sepiola.training.objectives.writing import language_modelling
from sepiola.training.optimizers import optimizer_for

RATE, BETAS, DECAY, CLIP = 3e-4, (0.9, 0.95), 0.1, 1.0
OPTIMIZER = {"learning_rate": RATE, "betas": BETAS, "weight_decay": DECAY}


class Ours:
    """Our step, as the trainer takes it."""

    def __init__(self, name: str) -> None:
        stage = {"name": "pretrain", "data": {"reader": "text"}, "steps": 1, "optimizer": OPTIMIZER}
        self.model = build(preset(name), seed=0).train()
        self.optimizer = optimizer_for(self.model, StageSpec.parse(stage, kinds=objective_specs()))
        self.collate = Collator(self.model.spec.tokens, kind="decoder")
        self.losses: list[float] = []

    def step(self, tokens: Tensor) -> None:
        batch: Batch = self.collate([Sample("text", row[:1].tolist(), row[1:].tolist()) for row in tokens])
        with torch.autocast("cpu", torch.bfloat16):
            outcome = language_modelling(self.model, batch)
            loss = outcome.loss_sum / outcome.tokens
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), CLIP)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.losses.append(loss.item())


class Theirs:
    """The plain loop over `transformers`; with `cast`, everything is bfloat16."""

    def __init__(self, name: str, attention: str, cast: bool) -> None:
        spec = preset(name)
        config = LlamaConfig(**llama.config_from_spec(spec), attn_implementation=attention)
        config.use_cache = False
        self.model = LlamaForCausalLM(config)
        state = llama.to_hub(build(spec, seed=0).state_dict(), spec)
        self.model.load_state_dict(state, strict=False)
        self.model.train().to(torch.bfloat16 if cast else torch.float32)
        self.cast = cast
        learning = list(self.model.parameters())
        groups = [
            {"params": [p for p in learning if p.dim() > 1], "weight_decay": DECAY},
            {"params": [p for p in learning if p.dim() <= 1], "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=RATE, betas=BETAS, fused=True)
        self.losses: list[float] = []

    def step(self, tokens: Tensor) -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=not self.cast):
            loss = self.model(input_ids=tokens, labels=tokens).loss
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), CLIP)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.losses.append(loss.item())


SIDES: dict[str, Callable[[str], Ours | Theirs]] = {
    "sepiola": Ours,
    "sdpa": partial(Theirs, attention="sdpa", cast=False),
    "eager": partial(Theirs, attention="eager", cast=False),
    "sdpa_bf16": partial(Theirs, attention="sdpa", cast=True),
    "eager_bf16": partial(Theirs, attention="eager", cast=True),
}


def batches(arguments: Namespace, count: int) -> list[Tensor]:
    """Token ids `(batch, tokens)` that follow Zipf's law: what is frequent is soon learned."""
    generator = torch.Generator().manual_seed(0)
    vocabulary = preset(arguments.preset).to_dict()["language"]["vocabulary"]
    weights = 1.0 / torch.arange(1, vocabulary + 1)
    shape = (count, arguments.batch, arguments.tokens)
    drawn = torch.multinomial(weights.expand(count, -1), shape[1] * shape[2], replacement=True, generator=generator)
    return list(drawn.view(shape))


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--preset", default="smollm2-135m")
    options.add_argument("--batch", type=int, default=4, help="rows in a step")
    options.add_argument("--tokens", type=int, default=512, help="tokens in a row")
    arguments = options.parse_args()
    torch.set_num_threads(arguments.threads)
    keep_pages()
    report(arguments, run(arguments))


def memory_gb(arguments: Namespace, side: str) -> float:
    """The most memory that a process holds which takes two steps of one side."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return float(pool.apply(_two_steps, (arguments, side)))


def _two_steps(arguments: Namespace, side: str) -> float:
    torch.set_num_threads(arguments.threads)
    keep_pages()
    trained = SIDES[side](arguments.preset)
    for tokens in batches(arguments, 2):
        trained.step(tokens)
    return peak_memory_gb()


def run(arguments: Namespace) -> dict[str, Any]:
    """One comparison; every number that is printed."""
    memory = {side: round(memory_gb(arguments, side), 2) for side in SIDES}
    steps = batches(arguments, arguments.rounds + 1)
    sides = {name: make(arguments.preset) for name, make in SIDES.items()}
    for side in sides.values():
        side.step(steps[0])
    numbers = {name: iter(steps[1:]) for name in sides}
    times = alternate({n: lambda s=s, n=n: s.step(next(numbers[n])) for n, s in sides.items()}, arguments.rounds)
    with FlopCounterMode(display=False) as counter:
        sides["sepiola"].step(steps[-1])
    rate, tokens = matmul_rate(), arguments.batch * arguments.tokens
    best = min((n for n in sides if n != "sepiola"), key=lambda n: statistics.median(times[n]))
    ours, theirs = sides["sepiola"].losses, sides["sdpa"].losses
    used = slice(1, arguments.rounds + 1)
    return {
        "preset": arguments.preset,
        "batch": arguments.batch,
        "tokens": arguments.tokens,
        "rounds": arguments.rounds,
        "peer": best,
        "ratio": round(ratio(times[best], times["sepiola"]), 2),
        "ratios": {n: round(ratio(times[n], times["sepiola"]), 2) for n in sides if n != "sepiola"},
        "tokens_per_second": {n: round(tokens / statistics.median(t), 1) for n, t in times.items()},
        "losses": {n: [round(v, 4) for v in s.losses[used]] for n, s in sides.items()},
        "loss_difference": max(abs(a - b) for a, b in zip(ours[used], theirs[used], strict=True)),
        "matmul_tflops": round(rate / 1e12, 3),
        "share_of_matmul_peak": round(counter.get_total_flops() / statistics.median(times["sepiola"]) / rate, 3),
        "peak_memory_gb": memory,
    }


if __name__ == "__main__":
    main()
