"""The benchmark of intents: a classifier in both languages, its threshold from validation, and the baselines."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from typer.testing import CliRunner

import sepiola
from sepiola.cli.app import app
from sepiola.errors import DataError
from sepiola.evaluation.benchmarks import BENCHMARKS, benchmark_of
from sepiola.evaluation.benchmarks.settings import Settings
from sepiola.experiments.recipe_files import parse_recipe
from sepiola.experiments.run import Run
from sepiola.reasoning.answer import Answer
from sepiola.specs.data import DataSpec
from tests import tiny

SAID = {
    "alarm": ("wake me at {}", "set the alarm to {}", "叫我{}点起床"),
    "weather": ("is it raining in {}", "how cold is it on day {}", "第{}天冷不冷"),
    "oos": ("who wrote book {}", "what is the mass of {}", "谁画了第{}幅画"),
}


def lists(intents: tuple[str, ...], count: int, seed: int) -> list[list[str]]:
    rng = random.Random(seed)
    return [[rng.choice(SAID[name]).format(rng.randrange(1000)), name] for name in intents for _ in range(count)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("clinc")
    data = {}
    for number, (split, count) in enumerate({"train": 60, "val": 40, "test": 50}.items()):
        data[split] = lists(("alarm", "weather"), count, number)
        data[f"oos_{split}"] = lists(("oos",), 20, number + 10)
    (root / "data_full.json").write_text(json.dumps(data), encoding="utf-8")
    return root


@pytest.fixture(scope="module")
def finished(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = {"reader": "clinc_oos", "root": str(folder)}
    stage = {
        "name": "intents",
        "data": data,
        "objective": {"kind": "classification", "lm_weight": 0, "pooling": "mean", "hidden": 0.1},
        "steps": 60,
        "batch": 16,
        "optimizer": {"learning_rate": 5e-3},
    }
    raw = tiny.recipe(
        "intents",
        {"name": "intents", "language": tiny.decoder(300, kind="encoder")},
        [stage],
        strategy={"answer": "intents"},
        evaluation=[{**data, "split": "test"}],
    )
    run = tmp_path_factory.mktemp("runs") / "intents"
    Run(parse_recipe(raw), run, console=tiny.QUIET).go()
    return run


def test_a_run_sorts_requests_and_rejects_what_is_none_of_them(finished: Path) -> None:
    report = json.loads((finished / "report.json").read_text())
    intents = report["intents"]
    assert report["benchmark"] == "intents" and report["count"] == 120
    assert intents["in_scope"]["count"] == 100 and intents["recall"]["count"] == 20
    assert intents["in_scope"]["value"] > 0.85 and intents["auroc"]["value"] > 0.8
    assert intents["unrejected"]["value"] >= intents["in_scope"]["value"]
    validation = intents["validation"]
    assert validation["unrejected"]["value"] - validation["in_scope"]["value"] <= intents["cost"]
    assert intents["baselines"]["linear"]["unrejected"]["value"] > 0.9
    majority = intents["baselines"]["majority"]
    assert (majority["in_scope"]["value"], majority["auroc"]["value"], majority["recall"]["value"]) == (0.5, 0.5, 0.0)
    page = (finished / "report.html").read_text()
    assert "Out of scope: recall" in page and "linear" in page


def test_answers_are_those_at_the_threshold(finished: Path) -> None:
    intents = json.loads((finished / "report.json").read_text())["intents"]
    told = [json.loads(line) for line in (finished / "answers-clinc_oos-test.jsonl").read_text().splitlines()]
    rejected = [answer for answer in told if answer["output"] == "oos"]
    assert len(rejected) == intents["precision"]["count"]
    right = sum(answer["id"].startswith("clinc-oos") for answer in rejected)
    assert right == round(20 * intents["recall"]["value"]) and all(answer["choice"] == 2 for answer in rejected)


def test_the_command_line_says_the_same(finished: Path, folder: Path) -> None:
    line = ["eval", "clinc_oos", "--model", str(finished), "--data", str(folder)]
    done = CliRunner().invoke(app, [*line, "--json"])
    intents = json.loads(done.stdout)["intents"]
    written = json.loads((finished / "report.json").read_text())["intents"]
    for name in ("in_scope", "recall", "precision"):
        assert intents[name] == written[name]
    assert "Intents" in CliRunner().invoke(app, line).stdout


def test_requests_out_of_scope_are_needed(finished: Path, folder: Path) -> None:
    model = sepiola.load(finished)
    for options, count in (({"out_of_scope": False}, None), ({}, 10)):
        settings = Settings(DataSpec(reader="clinc_oos", root=str(folder), split="test", count=count, options=options))
        assert benchmark_of(model, settings) == "intents"
        with pytest.raises(DataError, match=r"tells one set of labels apart|in scope and out of it"):
            BENCHMARKS["intents"].run(model, settings)


def test_rewards_are_the_right_intent(folder: Path) -> None:
    examples = sepiola.datasets.read("clinc_oos", folder, "test")
    for example in (examples[0], examples[-1]):
        assert example.question is not None and example.question.answer is not None
        assert BENCHMARKS["intents"].reward(example, Answer(example.id, "", example.question.answer)) == 1.0
        assert BENCHMARKS["intents"].reward(example, Answer(example.id, "", 1)) == 0.0
