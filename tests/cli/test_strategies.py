"""One key chooses how answers are reached: in a recipe, in `sepiola ask` and in `sepiola eval`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import sepiola
from sepiola.cli.app import app
from sepiola.errors import SepiolaError
from sepiola.specs.strategy import SelfConsistencySpec
from tests.tiny import encoder_decoder, recipe, run_recipe, tidepool

FAMILIES = ("magnets", "objects")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a recipe whose strategy is chains of rationale and answer."""
    stage = {
        "name": "answer",
        "objective": {"format": "QCM-LEA"},
        "data": tidepool(40, *FAMILIES),
        "steps": 2,
        "batch": 4,
        "target_tokens": 12,
    }
    raw = recipe(
        "chained",
        {"name": "tiny", "language": encoder_decoder(400, 32)},
        [stage],
        strategy={"kind": "self-consistency", "chains": 3, "answer": "answer"},
        evaluation=[{**tidepool(5, *FAMILIES), "split": "test"}],
    )
    return run_recipe(raw, tmp_path_factory.mktemp("run"))


def said(capsys: pytest.CaptureFixture[str], *command: str) -> Any:
    capsys.readouterr()
    app([*command, "--json"], standalone_mode=False)
    return json.loads(capsys.readouterr().out)


def test_a_recipe_trains_for_chains_is_measured_by_them_and_answers_by_them(run: Path) -> None:
    report = json.loads((run / "report.json").read_text(encoding="utf-8"))
    assert report["count"] == 5 and {"accuracy", "interval", "unparsed", "buckets", "baselines"} <= report.keys()
    assert [point["chains"] for point in report["chains"]["votes"]["plain"]] == [1, 2, 3]
    (answers,) = run.glob("answers-*.jsonl")
    assert all(len(json.loads(line)["chains"]) == 3 for line in answers.read_text(encoding="utf-8").splitlines())
    model = sepiola.load(run)
    assert model.answering is not None and isinstance(model.answering.strategy, SelfConsistencySpec)
    assert model.answering.strategy.answer is None
    assert len(model.ask("What?", choices=["a", "b"]).chains) == 3


def test_ask_takes_a_strategy_and_a_number_of_chains(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ("ask", "Which one?", "--choices", "red|blue", "--model", str(run))
    reply = said(capsys, *asked, "--strategy", "self-consistency", "--chains", "4")
    assert len(reply["chains"]) == 4 and 0 <= reply["confidence"] <= 1
    assert set(reply["chains"][0]) >= {"text", "choice", "log_probability", "tokens"}
    scored = said(capsys, *asked, "--strategy", "{kind: one-stage, by: score}")
    assert scored["confidence"] == max(scored["probabilities"].values()) and "chains" not in scored


def test_eval_takes_a_strategy(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    measure = ("eval", "tidepool", "--model", str(run), "--count", "6", "--option", "size=64")
    figures = said(capsys, *measure, "--strategy", "{kind: self-consistency, chains: 2, calibration: 0.5}")
    assert list(figures["chains"]["tokens"]) == ["1", "2"] and figures["count"] == 6
    plain = said(capsys, *measure, "--strategy", "one-stage")
    assert "chains" not in plain


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--chains", "4"], "add --strategy self-consistency"),
        (["--strategy", "selfconsistency"], "unknown kind 'selfconsistency'; did you mean 'self-consistency'"),
        (["--strategy", "direct", "--chains", "4"], "unknown key"),
        (["--strategy", "{kind: self-consistency, temperature: 0}"], "0 writes the same chain every time"),
        (["--strategy", "{kind: two-stage}"], "its rationale model is not there"),
    ],
)
def test_what_is_no_strategy_is_refused(run: Path, options: list[str], message: str) -> None:
    with pytest.raises(SepiolaError, match=message):
        app(["ask", "Which?", "--choices", "a|b", "--model", str(run), *options], standalone_mode=False)
