"""Pretraining run whole on generated text: each objective learns, the report stands beside its baselines, and a
killed run goes on bit for bit."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import sepiola
from sepiola.checkpoints.tensors import read_tensors
from sepiola.data.metrics_log import read_metrics
from sepiola.errors import SpecError
from sepiola.experiments.recipe_files import read_recipe
from sepiola.experiments.run import Run
from sepiola.specs.base import override
from sepiola.specs.recipe import RecipeSpec
from tests.tiny import QUIET, decoder, wait_until

LINES = {
    "en": ["the squid hides", "the squid swims", "by night it hunts", "a shrimp is near", "the sea is deep"],
    "zh": ["乌贼躲在沙里。", "乌贼在夜里捕食。", "虾就在近处。", "海很深。", "月亮很亮。"],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe beside its text: sentences in either language, each followed by one of two."""
    folder = tmp_path_factory.mktemp("pretraining")
    (folder / "text").mkdir()
    draw = random.Random(0)
    for language, lines in LINES.items():
        at, paragraphs = 0, []
        for _ in range(300):
            places = [at := (at + draw.choice((1, 2))) % len(lines) for _ in range(12)]
            paragraphs.append((" " if language == "en" else "").join(lines[place] for place in places))
        (folder / "text" / f"{language}.txt").write_text("\n\n".join(paragraphs))
    data = {"reader": "text", "root": str(folder / "text"), "options": {"held_out": 4, "characters": 400}}
    raw = {
        "name": "tiny",
        "model": {"language": decoder(400, 32, hidden=64, positions={"kind": "rotary", "length": 64}, dropout=0.1)},
        "tokenizer": {"vocabulary": 400},
        "stages": [
            {
                "name": "pretrain",
                "data": data,
                "validation": {**data, "split": "validation"},
                "steps": 150,
                "batch": 8,
                "source_tokens": 64,
                "target_tokens": 64,
                "packed": True,
                "optimizer": {"kind": "muon", "learning_rate": 0.02, "warmup": 5},
                "precision": "float32",
                "validate_every": 50,
                "save_every": 7,
            }
        ],
        "evaluation": [{**data, "split": "test"}],
    }
    (folder / "tiny.yaml").write_text(yaml.safe_dump(raw, allow_unicode=True))
    return folder


READS = {"masked": "encoder", "span-corruption": "encoder-decoder", "denoising": "encoder-decoder"}


def recipe(folder: Path, *changes: str) -> RecipeSpec:
    path = folder / "changed.yaml"
    path.write_text(yaml.safe_dump(override(yaml.safe_load((folder / "tiny.yaml").read_text()), changes)))
    spec = read_recipe(str(path))
    assert isinstance(spec, RecipeSpec)
    return spec


def finish(spec: RecipeSpec, folder: Path, **options: Any) -> dict[str, Any]:
    return Run(spec, folder, console=QUIET, **options).go()


@pytest.fixture(scope="module")
def finished(folder: Path) -> Path:
    finish(recipe(folder), folder / "tiny")
    return folder / "tiny"


def test_it_beats_the_unigram_and_says_so_beside_every_baseline(finished: Path) -> None:
    report = json.loads((finished / "report.json").read_text())
    assert set(report["bits_per_byte"]) == {"en", "zh"}
    for figures in report["bits_per_byte"].values():
        assert set(figures["baselines"]) == {"unigram", "5-gram", "xz", "xz after training text"}
        assert figures["model"] < 0.7 * figures["baselines"]["unigram"]
    page = (finished / "report.html").read_text()
    assert "Held-out bits per byte" in page
    for figures in report["bits_per_byte"].values():
        assert f"{figures['model']:.3f}" in page and f"{figures['baselines']['5-gram']:.3f}" in page
    for shown in report["continuations"]:
        assert shown["prompt"][:20] in page
        assert shown["written"], "the model goes on"


def test_what_is_written_is_the_language_of_the_prompt(finished: Path) -> None:
    completer = sepiola.load(finished).text_scorer()
    english, chinese = completer.generate(["the squid swims by night it hunts", "乌贼躲在沙里。"], max_tokens=24)
    assert english.isascii() and any(word in english for line in LINES["en"] for word in line.split())
    assert not any(letter.isalpha() and letter.isascii() for letter in chinese)


@pytest.mark.parametrize("objective", READS)
def test_each_objective_learns(folder: Path, objective: str, tmp_path: Path) -> None:
    changes = [
        f"stages.0.objective={objective}",
        f"model.language.kind={READS[objective]}",
        "evaluation=[]",
        "stages.0.steps=300",
        "stages.0.validate_every=20",
    ]
    finish(recipe(folder, *changes), tmp_path / "run")
    metrics = read_metrics(tmp_path / "run" / "metrics.jsonl")
    losses = [line["validation_loss"] for line in metrics if "validation_loss" in line]
    assert len(losses) == 15 and losses[-1] < 0.8 * losses[0]


def test_an_objective_needs_its_model(folder: Path) -> None:
    with pytest.raises(SpecError, match="encoder"):
        recipe(folder, "stages.0.objective=masked")
    with pytest.raises(SpecError, match="decoder"):
        recipe(folder, "stages.0.objective=masked", "model.language.kind=encoder")


def test_killed_and_resumed_is_uninterrupted(folder: Path, finished: Path, tmp_path: Path) -> None:
    """With Muon, dropout, packed rows and validation, by a real SIGKILL."""
    command = [sys.executable, "-m", "sepiola", "train", str(folder / "tiny.yaml"), "--runs", str(tmp_path)]
    threads = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    with subprocess.Popen(command, env=threads, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        wait_until(lambda: list(tmp_path.rglob("state.pt")), process)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert not list(tmp_path.rglob("report.json"))
    spec = read_recipe(str(folder / "tiny.yaml"))
    assert isinstance(spec, RecipeSpec)
    report = finish(spec, tmp_path / "tiny", resume=True)
    assert report["bits_per_byte"] == json.loads((finished / "report.json").read_text())["bits_per_byte"]
    weights, expected = (
        read_tensors(run / "checkpoint" / "model.safetensors") for run in (tmp_path / "tiny", finished)
    )
    assert weights.keys() == expected.keys()
    for name in expected:
        assert torch.equal(weights[name], expected[name]), name
