"""From nothing to an agent that reads what a request declares: functions are made up, requests are made for them, and a
small model learns to choose by descriptions.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from sepiola.acting.declaring import Distractors
from sepiola.acting.inventing import invent
from sepiola.acting.synthesis import synthesize
from sepiola.data.example import Example
from sepiola.data.files import make_folder, write_text
from sepiola.evaluation.figures import Figures
from sepiola.experiments.recipe_files import read_recipe
from sepiola.experiments.run import Run
from sepiola.specs.base import Plain
from sepiola.specs.recipe import RecipeSpec

RECIPE = "octopus-v3/declared"
REQUESTS = "requests"
MEASURED = 1000
REQUESTS_A_FUNCTION = 16
DECLARED = 4
"""Functions that a request of the test set declares, where it needs no more."""
KINDS = ("text", "text", "text", "several", "near miss")
KEPT = ("tools", "calls", "language", "kind", "irrelevant", "near_miss", "today", "group")


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
    given = [f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in fixed.items()]
    recipe = read_recipe(RECIPE, [*given, *changes])
    assert isinstance(recipe, RecipeSpec)
    make_folder(data)
    for split, some in {"train": count, "test": MEASURED}.items():
        path = data / f"{split}.jsonl"
        if path.is_file():  # made before, and perhaps edited
            console.print(f"requests for {split}: those of {path}")
            continue
        console.print(f"requests for {split}: {some}")
        write_text(path, "".join(f"{line}\n" for line in declared_requests(split, some, seed=seed)))
    return Run(recipe, out, console=console, device=device, resume=resume).go()


def declared_requests(split: str, count: int, *, seed: int = 0) -> list[str]:
    """So many requests for made-up functions, as lines of the reader `requests`. Those of the test set declare others
    beside the right ones; in training the objective does.
    """
    functions = invent(max(2 * DECLARED, count // REQUESTS_A_FUNCTION), split, seed=seed)
    tools = {str(function["name"]): {"type": "function", "function": function} for function in functions}
    others = Distractors([*tools.values()])
    lines = []
    for example in synthesize(functions, split, count, seed=seed, kinds=KINDS):
        called = dict.fromkeys([str(example.metadata["function"]), *(c["name"] for c in example.metadata["calls"])])
        own: list[Plain] = [tools[name] for name in called]
        if split != "train":
            rng = random.Random(f"declared {seed} {example.id}")
            own += others.draw(own, max(0, DECLARED - len(own)), rng)
            rng.shuffle(own)
        lines.append(_line(example, own))
    return lines


def _line(example: Example, tools: Sequence[Plain]) -> str:
    about = {**example.metadata, "tools": list(tools)}
    record = {"id": example.id, "text": example.prompt, **{key: about[key] for key in KEPT if key in about}}
    return json.dumps(record, ensure_ascii=False)
