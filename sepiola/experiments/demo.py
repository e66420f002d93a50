"""The demo: a two-stage model trained on Tidepool beside its blind twin, and the lines to try next."""

from __future__ import annotations

import json
import shlex
import time
from pathlib import Path

from rich.console import Console

from sepiola.datasets import read_spec
from sepiola.experiments.compare import compare, comparison_table
from sepiola.experiments.recipe_files import ComparisonSpec, read_recipe
from sepiola.training.progress import say

# The same path with far less training: enough to show that it holds, not to learn.
QUICK = (
    "name=demo-quick",
    "stages.0.data.count=640",
    "stages.0.steps=10",
    "stages.1.data.count=640",
    "stages.1.steps=20",
    "stages.2.data.count=640",
    "stages.2.steps=20",
    "evaluation.0.count=72",
)


REQUEST = "Search the web for squid recipes"
"""What the agent is asked to do that the demo names at its end."""


def run_demo(*, quick: bool, runs: Path, console: Console, as_json: bool) -> None:
    """Trains (or finishes) the demo, prints its table, and ends with commands: one asks the model, two train an agent
    and let it act.
    """
    began = time.monotonic()
    spec = read_recipe("mm-cot/demo", QUICK if quick else [])
    assert isinstance(spec, ComparisonSpec)
    folder = runs / spec.name
    report = compare(spec, folder, console=console, resume=True)
    line, acting = _ask_line(spec, folder), _act_lines(runs)
    if as_json:
        said = {**report, "ask": line, "act": acting, "seconds": time.monotonic() - began}
        print(json.dumps(said, ensure_ascii=False, indent=2))
        return
    console.print(comparison_table(report))
    say(console, f"{time.monotonic() - began:.0f} seconds; report: {folder / 'report.html'}")
    say(console, "Ask it yourself, about this picture or one of your own:\n")
    print(line)
    say(console, "\nA model that acts takes a quarter of an hour more. Train it, and tell it what to do:\n")
    print("\n".join(acting))


def _act_lines(runs: Path) -> list[str]:
    """A command that trains an agent on the phone's functions, and one that asks it to act."""
    agent = shlex.quote(str(runs / "agent"))
    return [f"sepiola act train phone --out {agent}", f"sepiola act {shlex.quote(REQUEST)} --model {agent}"]


def _ask_line(spec: ComparisonSpec, folder: Path) -> str:
    """A command that asks the trained model a held-out question; its picture is written beside the report."""
    recipe = next(iter(spec.recipes().values()))
    example = read_spec(recipe.evaluation[0])[0]
    picture = folder / "picture.png"
    example.images[0].open().resize((256, 256)).save(picture)
    question = example.question
    assert question is not None
    choices = " ".join(f"--choices {shlex.quote(c)}" for c in question.choices)
    hint = f" --hint {shlex.quote(question.hint)}" if question.hint else ""
    return (
        f"sepiola ask --model {shlex.quote(str(folder))} --image {shlex.quote(str(picture))} "
        f"{shlex.quote(question.text)} {choices}{hint}"
    )
