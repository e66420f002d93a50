"""What PPO costs beside supervised training of the same model: memory, and seconds a rollout and its update.

A decoder of 22 million parameters (`pretrain/bilingual`'s shape) and a tokenizer of drawn words. Each stage trains in a
process of its own: `sft` learns replies of 24 tokens, 64 a step; `ppo` writes 64 completions of 24 tokens, has them
judged by an exact reward, measures them under the policy and the reference, and takes one step by all of them. Of the
steps after the first two the fastest and the median are told, by the clock and by the processor (a machine that is busy
with other things slows the clock alone), and the most memory that the process held (RSS).

    python benchmarks/ppo.py --threads 2
"""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

REPLY, ROWS, PROMPT = 24, 64, 24
"""Tokens of a reply, replies a step, and words of a prompt."""
OBJECTIVES: dict[str, dict[str, Any]] = {
    "sft": {"kind": "language-modelling"},
    "ppo": {"kind": "ppo", "reward": {"kind": "exact", "read": "text"}, "iterations": 1},
}


def recipe_of(name: str, data: Path, steps: int) -> dict[str, Any]:
    """One stage from fresh weights."""
    language = {
        "kind": "decoder",
        "vocabulary": 16384,
        "width": 384,
        "layers": 6,
        "attention": {"heads": 6, "kv_heads": 2, "qk_norm": True},
        "feed_forward": {"width": 1024, "activation": "silu", "gated": True},
        "norm": {"kind": "rms"},
        "positions": {"kind": "rotary", "length": 256},
        "tied": False,
    }
    stage = {
        "name": name,
        "data": {"reader": "turns", "root": str(data)},
        "objective": OBJECTIVES[name],
        "steps": steps,
        "batch": ROWS,
        "source_tokens": 64,
        "target_tokens": REPLY,
        "optimizer": {"learning_rate": 1.0e-6},
    }
    return {
        "name": name,
        "model": {"name": "22m", "language": language},
        "tokenizer": {"vocabulary": 16384},
        "stages": [stage],
    }


def write_turns(folder: Path, count: int) -> None:
    """Prompts and replies of drawn words, each a token of its own to a tokenizer that has learned them."""
    rng = random.Random(0)
    words = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(3, 6))) for _ in range(4000)]
    rows = []
    for _ in range(count):
        asked, said = (" ".join(rng.choices(words, k=length)) for length in (PROMPT, REPLY - 1))
        rows.append({"messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]})
    folder.mkdir()
    (folder / "turns.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def train(name: str, folder: str, steps: str) -> None:
    """Trains one stage and prints what it took."""
    from measure import peak_memory_gb
    from rich.console import Console

    from sepiola.api import build
    from sepiola.experiments.recipe_files import parse_recipe
    from sepiola.experiments.run import Run
    from sepiola.specs.recipe import RecipeSpec

    recipe = parse_recipe(recipe_of(name, Path(folder) / "data", int(steps)))
    assert isinstance(recipe, RecipeSpec)
    times: list[tuple[float, float]] = []
    tokens: list[int] = []

    class Timed(Run):
        """A run that notes when each batch is asked for: between two of them lie a rollout, its update, or a step."""

        def objective(self, stage: Any) -> Any:
            objective: Any = super().objective(stage)
            made_by = objective.batches

            def batches(data: Any, images: Any) -> Any:
                made = made_by(data, images)
                following = made.next

                def timed() -> Any:
                    times.append((time.perf_counter(), time.process_time()))
                    step = following()
                    tokens.append(sum(batch.labelled for batch in step))
                    return step

                made.next = timed
                return made

            objective.batches = batches
            return objective

    run = Timed(recipe, Path(folder) / name, console=Console(stderr=True, quiet=True))
    run.train(recipe.stages[0])
    peak = peak_memory_gb()
    spent = [[b[way] - a[way] for a, b in pairwise(times[2:])] for way in (0, 1)]
    print(
        json.dumps(
            {
                "peak_gb": round(peak, 3),
                "parameters": sum(weight.numel() for weight in build(recipe.model).parameters()),
                "labels_a_step": round(statistics.fmean(tokens)),
                "seconds": [round(min(spent[0]), 2), round(statistics.median(spent[0]), 2)],
                "processor_seconds": [round(min(spent[1]), 2), round(statistics.median(spent[1]), 2)],
            }
        )
    )


def main() -> None:
    from measure import parser, report

    options = parser(__doc__)
    options.add_argument("--steps", type=int, default=8, help="steps of each stage")
    arguments = options.parse_args()
    figures: dict[str, Any] = {"seconds": "of a step: the fastest and the median"}
    with tempfile.TemporaryDirectory() as folder:
        write_turns(Path(folder) / "data", ROWS * arguments.steps)
        for name in OBJECTIVES:
            command = [sys.executable, __file__, "--stage", name, folder, str(arguments.steps)]
            environment = {**os.environ, "OMP_NUM_THREADS": str(arguments.threads)}
            done = subprocess.run(command, env=environment, capture_output=True, text=True)
            if done.returncode:
                sys.exit(f"{name}: {done.stderr[-2000:]}")
            figures[name] = json.loads(done.stdout[done.stdout.index("{") :])
    figures["memory, ppo / sft"] = round(figures["ppo"]["peak_gb"] / figures["sft"]["peak_gb"], 2)
    report(arguments, figures)


if __name__ == "__main__":
    train(*sys.argv[2:]) if sys.argv[1:2] == ["--stage"] else main()
