"""What a dry run says of a run's memory, against the run itself, each in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sepiola.specs.base import write_yaml
from tests import tiny

PARTS = ("process", "data", "weights", "gradients", "optimizer", "activations", "spare")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def sepiola(*arguments: str, folder: Path) -> str:
    command = [sys.executable, "-m", "sepiola", "train", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, cwd=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


def seeing() -> dict[str, Any]:
    """A vision encoder, then Multimodal-CoT's answers: stages of which each holds some hundred MB in a step."""
    data = tiny.tidepool(128, "magnets", "objects")
    look = {"name": "look", "objective": "detection", "learn": ["vision"], "data": data, "steps": 2, "batch": 128}
    answer = {"name": "answer", "start": "look", "objective": {"format": "QCM-LE"}, "learn": ["language", "bridge"]}
    answer |= {"data": data, "steps": 2, "batch": 64}
    model = {"like": "mm-cot-tiny", "language": {"vocabulary": 600, "dropout": 0.1}}
    return tiny.recipe("seeing", model, [look, answer])


def writing() -> dict[str, Any]:
    """A decoder of filled rows."""
    data = tiny.tidepool(160, "magnets", "objects")
    stage = {
        "name": "write",
        "data": data,
        "objective": {"format": "QCM-LEA"},
        "steps": 3,
        "batch": 200,
        "packed": True,
    }
    language = tiny.llama(600, 128, 2, hidden=384, attention={"heads": 4})
    return tiny.recipe("writing", {"language": language}, [{**stage, "source_tokens": 200, "target_tokens": 56}])


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("raw", [seeing(), writing()], ids=lambda raw: raw["name"])
def test_the_memory_of_each_stage_is_within_twice_what_is_said(raw: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(write_yaml(raw), encoding="utf-8")
    (told,) = json.loads(sepiola("recipe.yaml", "--dry-run", "--json", folder=tmp_path))["runs"]
    sepiola("recipe.yaml", folder=tmp_path)
    most = 0.0
    for stage in told["stages"]:
        (metrics,) = tmp_path.glob(f"runs/{raw['name']}/stages/{stage['name']}-*/metrics.jsonl")
        peak = json.loads(metrics.read_text().splitlines()[-1])["peak_memory_gb"]
        most = max(most, stage["memory_gb"])
        assert most / 2 < peak < 2 * most, stage
        assert stage["activations"] > 0.1, "the stage holds too little to tell anything"
        assert peak > stage["process"] + 0.6 * stage["activations"], stage
        assert stage["memory_gb"] == pytest.approx(
            sum(
                stage[part] for part in ("process", "data", "weights", "gradients", "optimizer", "activations", "spare")
            )
        )
