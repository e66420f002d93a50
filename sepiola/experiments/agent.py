"""From a file of functions to a saved agent: requests are made for them, and a small model learns to call them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from rich.console import Console

from sepiola.acting.sets import functions_named
from sepiola.acting.synthesis import TO_LEARN, synthesize
from sepiola.calling.functions import Function
from sepiola.data.example import Example
from sepiola.data.files import make_folder, write_text
from sepiola.datasets.requests import IMAGE
from sepiola.errors import DataError
from sepiola.evaluation.figures import Figures
from sepiola.experiments.recipe_files import read_recipe
from sepiola.experiments.run import Run
from sepiola.experiments.teacher import Teacher, paraphrase
from sepiola.specs.base import Plain
from sepiola.specs.recipe import RecipeSpec
from sepiola.training.progress import say

RECIPE = "octopus-v3/functions"
REQUESTS = "requests"
MEASURED = 5000
PICTURES = "pictures"
KEPT = ("tools", "calls", "language", "kind", "function", "irrelevant", "near_miss", "today", "days", "group")
"""What is written of a request's metadata."""


def train_agent(
    functions: str,
    out: Path,
    *,
    console: Console,
    count: int = 60_000,
    changes: Sequence[str] = (),
    seed: int = 0,
    device: str = "cpu",
    resume: bool = False,
    teacher: Teacher | None = None,
) -> Figures:
    """Makes `count` requests for the functions of a file or a set, lets a teacher paraphrase some, trains on them in
    `out`, and returns the report. Requests that lie there already are used as they are.

    Raises SpecError for functions that are none, or whose requests cannot be made; as runs do for a folder that holds
    another run; SepiolaError for a teacher that does not answer.
    """
    made = functions_named(functions)
    source = functions if not functions.endswith(".py") else str(Path(functions).resolve())
    data = out.resolve() / REQUESTS
    fixed = {
        "name": out.name,
        "seed": seed,
        "stages.0.objective.functions": source,
        "stages.0.data.root": str(data),
        "evaluation.0.root": str(data),
    }
    recipe = filled_in(RECIPE, fixed, changes)
    make_requests(
        data,
        {"train": count, "test": MEASURED},
        lambda split, some: synthesize(
            described(made), split, some, seed=seed, kinds=TO_LEARN if split == "train" else None
        ),
        console,
    )
    if teacher is not None:
        paraphrase(data, made, teacher, console=console, seed=seed)
    return Run(recipe, out, console=console, device=device, resume=resume).go()


def filled_in(name: str, fixed: Mapping[str, object], changes: Sequence[str]) -> RecipeSpec:
    """A shipped recipe with what a command knows, and then what its user changes."""
    given = [f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in fixed.items()]
    recipe = read_recipe(name, [*given, *changes])
    assert isinstance(recipe, RecipeSpec)
    return recipe


def make_requests(
    data: Path, counts: Mapping[str, int], make: Callable[[str, int], Sequence[Example]], console: Console
) -> None:
    """Writes so many requests of each split; those that lie there already, and are perhaps edited, stay."""
    make_folder(data)
    for split, count in counts.items():
        path = data / f"{split}.jsonl"
        if path.is_file():
            say(console, f"requests for {split}: those of {path}")
            continue
        say(console, f"requests for {split}: {count}")
        write_requests(path, make(split, count))


def described(functions: Sequence[Function]) -> list[Plain]:
    """The functions as what requests are made of."""
    return [{**f.tool["function"], "examples": f.examples} for f in functions]


def write_requests(path: Path, examples: Sequence[Example]) -> None:
    """Writes requests as the reader `requests` reads them, pictures beside them. Raises DataError for several pictures
    in one.
    """
    lines = []
    for example in examples:
        line = {"id": example.id, "text": example.prompt, **_pictured(path.parent, example)}
        lines.append({**line, **{key: example.metadata[key] for key in KEPT if key in example.metadata}})
    write_text(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))


def _pictured(folder: Path, example: Example) -> dict[str, str]:
    """The place of the request's picture, written there unless it is there."""
    if len(example.images) > 1:
        raise DataError(f"{example.id}: {len(example.images)} pictures; a request that is written has one at most")
    for image in example.images:
        place = folder / PICTURES / image.digest
        make_folder(place.parent)
        if not place.exists():
            place.write_bytes(image.encoded)
        return {IMAGE: f"{PICTURES}/{image.digest}"}
    return {}
