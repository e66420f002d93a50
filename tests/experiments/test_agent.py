"""`sepiola act train`: from a file of functions to an agent that is asked on the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from sepiola.cli.app import app
from sepiola.errors import TrainingError
from sepiola.experiments.agent import train_agent

FILE = '''
from typing import Annotated, Literal

import sepiola
from pydantic import Field


@sepiola.function
def feed_pet(pet: Literal["cat", "dog"], grams: Annotated[int, Field(ge=10, le=500)] = 100) -> str:
    """Feeds a pet.

    Args:
        pet: Which pet.
        grams: How much.

    Examples:
        feed the {pet} [with {grams} grams]
        给{pet}喂[{grams}克]饭
    """
    return f"{pet}: {grams}"


@sepiola.function
def play_song(title: Annotated[str, Field(min_length=1, max_length=40)]) -> str:
    """Plays a song."""
    return title
'''


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_functions_of_a_file_become_an_agent(tmp_path: Path) -> None:
    (tmp_path / "pets.py").write_text(FILE, encoding="utf-8")
    out = tmp_path / "agent"
    small = (
        "stages.0.steps=2",
        "stages.0.batch=4",
        "tokenizer.vocabulary=400",
        "model.language.layers=1",
        "evaluation.0.count=20",
    )
    arguments = ["act", "train", str(tmp_path / "pets.py"), "--out", str(out), "--count", "100", "--json"]
    done = CliRunner().invoke(
        app, [*arguments, *(part for one in small for part in ("--set", one))], catch_exceptions=False
    )
    assert done.exit_code == 0, done.output
    measured = json.loads(done.stdout)["acting"]
    assert measured["mode"] == "functional" and set(measured["by"]) >= {"en", "zh"}
    requests = {split: lines_of(out / "requests" / f"{split}.jsonl") for split in ("train", "test")}
    assert len(requests["test"]) == 5000
    several = {split: sum(one["kind"] == "several" for one in some) for split, some in requests.items()}
    assert several == {"train": 50, "test": 1500}  # what is harder is asked more often where it is learned
    asked = ["act", "Feed the cat", "--model", str(out), "--functions", str(tmp_path / "pets.py"), "--json"]
    said = CliRunner().invoke(app, asked, catch_exceptions=False)
    assert said.exit_code == 0, said.output
    assert all(call["name"] in ("feed_pet", "play_song") for call in json.loads(said.stdout)["calls"])


def test_requests_that_lie_there_are_used_and_a_changed_function_is_learnt_anew(tmp_path: Path) -> None:
    source, out = tmp_path / "pets.py", tmp_path / "agent"
    source.write_text(FILE, encoding="utf-8")
    small = [
        "stages.0.steps=1",
        "stages.0.batch=4",
        "tokenizer.vocabulary=400",
        "model.language.layers=1",
        "evaluation.0.count=8",
    ]
    console = Console(quiet=True)
    train_agent(str(source), out, console=console, count=100, changes=small)
    edited = (out / "requests" / "train.jsonl").read_text(encoding="utf-8")
    stages = set((out / "stages").glob("calls-*"))
    with pytest.raises(TrainingError, match="--resume"):
        train_agent(str(source), out, console=console, count=200, changes=small)
    assert (out / "requests" / "train.jsonl").read_text(encoding="utf-8") == edited
    source.write_text(FILE.replace("le=500", "le=900"), encoding="utf-8")
    train_agent(str(source), out, console=console, count=100, changes=small, resume=True)
    assert len(set((out / "stages").glob("calls-*")) - stages) == 1, "the token has another meaning"
