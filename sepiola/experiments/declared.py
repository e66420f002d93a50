"""From nothing to an agent that reads what a request declares: functions are made up, requests are made for them, and a
small model learns to choose by descriptions.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from sepiola.acting.declaring import Distractors
from sepiola.acting.inventing import invent
from sepiola.acting.synthesis import synthesize
from sepiola.data.example import Example
from sepiola.evaluation.figures import Figures
from sepiola.experiments.agent import REQUESTS, filled_in, make_requests
from sepiola.experiments.run import Run
from sepiola.specs.base import Plain

RECIPE = "octopus-v3/declared"
MEASURED = 1000
REQUESTS_A_FUNCTION = 16
DECLARED = 4
"""Functions that a request of the test set declares, where it needs no more."""
KINDS = ("text", "text", "text", "several", "near miss")


def train_declared(
    out: Path,
    *,
    console: Console,
    count: int = 40_000,
    changes: Sequence[str] = (),
    seed: int = 0,
    device: str = "cpu",
    resume: bool = False,
) -> Figures:
    """Makes `count` requests for made-up functions, trains on them in `out`, and returns the report. Requests that lie
    there already are used as they are.

    Raises SpecError as runs do for a folder that holds another run.
    """
    data = out.resolve() / REQUESTS
    fixed = {"name": out.name, "seed": seed, "stages.0.data.root": str(data), "evaluation.0.root": str(data)}
    recipe = filled_in(RECIPE, fixed, changes)
    counts = {"train": count, "test": MEASURED}
    make_requests(data, counts, lambda split, some: declared_requests(split, some, seed=seed), console)
    return Run(recipe, out, console=console, device=device, resume=resume).go()


def declared_requests(split: str, count: int, *, seed: int = 0) -> list[Example]:
    """So many requests for made-up functions. Those of the test set declare others beside the right ones; in training
    the objective does.
    """
    functions = invent(max(2 * DECLARED, count // REQUESTS_A_FUNCTION), split, seed=seed)
    tools = {str(function["name"]): {"type": "function", "function": function} for function in functions}
    others = Distractors([*tools.values()])
    examples = []
    for example in synthesize(functions, split, count, seed=seed, kinds=KINDS):
        called = dict.fromkeys([str(example.metadata["function"]), *(c["name"] for c in example.metadata["calls"])])
        own: list[Plain] = [tools[name] for name in called]
        if split != "train":
            rng = random.Random(f"declared {seed} {example.id}")
            own += others.draw(own, max(0, DECLARED - len(own)), rng)
            rng.shuffle(own)
        examples.append(replace(example, metadata={**example.metadata, "tools": own}))
    return examples
