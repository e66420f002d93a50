"""What a full ranking of K replies costs a reward model's step, beside the same comparisons as pairs.

All replies of a prompt are one element of a batch, and each is read once: K rows, where its K (K − 1) / 2 pairs are
K (K − 1) (InstructGPT, arXiv 2203.02155, section 3.5). Both steps, loss and gradients, are of the same weights and the
same comparisons, take turns, and have the same loss. Times are the process's own, so that other processes count little.

    python benchmarks/rankings.py --replies 9
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import torch
from given import Given
from measure import parser, report

from sepiola.data.example import Example, Message
from sepiola.data.preferences import Completion, preference
from sepiola.experiments.recipe_files import parse_recipe
from sepiola.specs.recipe import RecipeSpec
from sepiola.training.batches import ImageInputs

TEXT = "the seven red fish of this blue bay swim a round and then they all rest below stone number"


def recipe_of(width: int, layers: int, prompts: int) -> RecipeSpec:
    """A decoder from fresh weights whose one stage learns from rankings."""
    language = {
        "kind": "decoder",
        "vocabulary": 400,
        "width": width,
        "layers": layers,
        "attention": {"heads": 4},
        "feed_forward": {"width": 2 * width, "activation": "silu", "gated": True},
        "norm": {"kind": "rms"},
        "positions": {"kind": "rotary", "length": 256},
    }
    stage = {
        "name": "reward",
        "data": {"reader": "tidepool"},
        "objective": {"kind": "reward"},
        "steps": 1,
        "batch": prompts,
        "source_tokens": 64,
        "target_tokens": 64,
        "precision": "float32",
    }
    raw = {"name": "rankings", "model": {"name": "rankings", "language": language}, "stages": [stage]}
    recipe = parse_recipe({**raw, "tokenizer": {"vocabulary": 400}})
    assert isinstance(recipe, RecipeSpec)
    return recipe


def asked(prompt: int, replies: Sequence[Completion], name: str = "") -> Example:
    about = {"language": "en", "split": "train", "group": str(prompt)}
    return preference(f"{prompt}{name}", [Message("user", (f"Which is best, of request {prompt}?",))], replies, about)


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--replies", type=int, default=9, help="of a prompt, K")
    made.add_argument("--prompts", type=int, default=4, help="a step")
    made.add_argument("--width", type=int, default=192)
    made.add_argument("--layers", type=int, default=4)
    given = made.parse_args()
    torch.set_num_threads(given.threads)
    replies = [[Completion(f"{TEXT} {p} {n}", float(n)) for n in range(given.replies)] for p in range(given.prompts)]
    rankings = [asked(p, some) for p, some in enumerate(replies)]
    pairs = [asked(p, pair, f"-{n}") for p, some in enumerate(replies) for n, pair in enumerate(combinations(some, 2))]
    recipe = recipe_of(given.width, given.layers, len(pairs))
    steps: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        stages = Given(recipe, Path(folder), rankings)
        (stage,) = recipe.stages
        objective = stages.objective(stage)
        network = objective.prepare(stages.begun(stage)).eval()
        for name, examples in (("ranking", rankings), ("pairs", pairs)):
            stages.examples = examples
            batches: Any = stages.objective(stage).batches(stage.data, ImageInputs())
            steps[name] = batches.laid_out(range(len(examples)))

    def step(name: str) -> tuple[float, float]:
        network.zero_grad()
        began = time.process_time()
        loss = objective.loss(network, steps[name])
        mean = loss.total / loss.tokens
        mean.backward()
        return time.process_time() - began, float(mean.detach())

    for name in steps:
        step(name)
    taken = [{name: step(name) for name in steps} for _ in range(given.rounds)]
    figures = {
        "replies": given.replies,
        "rows": {name: len(batch.target) for name, batch in steps.items()},
        "seconds a step": {name: round(statistics.median(each[name][0] for each in taken), 4) for name in steps},
        "loss": {name: round(taken[-1][name][1], 6) for name in steps},
        "ratio": round(statistics.median(each["pairs"][0] / each["ranking"][0] for each in taken), 2),
    }
    report(given, figures)


if __name__ == "__main__":
    main()
