"""A benchmark is one file and one line of a dict: a toy one is measured by a recipe and on the command line."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from sepiola.cli.app import app
from sepiola.data.example import Example
from sepiola.datasets import read_spec
from sepiola.errors import SpecError
from sepiola.evaluation.benchmarks import BENCHMARKS, benchmark_of
from sepiola.evaluation.benchmarks.contract import Measurement
from sepiola.evaluation.benchmarks.settings import MeasuredModel, Settings
from sepiola.evaluation.figures import Figures, Headline, Table
from sepiola.experiments.compare import compare
from sepiola.experiments.recipe_files import ComparisonSpec, parse_recipe
from sepiola.experiments.run import Run
from sepiola.reasoning.answer import Answer
from sepiola.specs.model import ModelSpec
from sepiola.specs.recipe import DataSpec, RecipeSpec
from sepiola.text.processor import Processor
from sepiola.tidepool import generate
from tests import tiny

QUIET = Console(quiet=True)


class AnswerLength:
    """How long a model's answers to Tidepool's questions are, in characters."""

    split = "val"
    takes: Sequence[str] = ()

    def measures(self, model: MeasuredModel, settings: Settings) -> bool:
        return True

    def run(self, model: MeasuredModel, settings: Settings) -> Measurement:
        examples = generate(settings.data.split, settings.data.count or 10, size=64)
        answers = model.answer(examples)
        length = sum(len(answer.output) for answer in answers) / len(answers)
        return Measurement({"length": length}, list(zip(examples, answers, strict=True)))

    def tables(self, figures: Figures) -> list[Table]:
        cell = {"value": f"{figures['length']:.2f}", "note": ""}
        line = {"name": "This model", "own": True, "published": False, "cells": [cell]}
        columns = [{"name": "Characters", "notes": []}]
        return [{"title": "Length of answers", "columns": columns, "lines": [line], "note": ""}]

    def headlines(self, figures: Figures) -> list[Headline]:
        return [{"name": "Length", "value": f"{figures['length']:.2f}", "note": "characters"}]

    def merge(self, arms: Mapping[str, Sequence[Figures]]) -> Figures:
        return {"lengths": {arm: [seed["length"] for seed in seeds] for arm, seeds in arms.items()}}

    def reward(self, example: Example, answer: Answer) -> float | None:
        return 1 / (1 + len(answer.output))


def toy_recipe() -> RecipeSpec:
    stage = {
        "name": "answers",
        "data": tiny.tidepool(16, "objects"),
        "objective": {"kind": "language-modelling", "format": "QCM-A"},
        "steps": 2,
        "batch": 4,
        "learn": ["language"],
        "target_tokens": 8,
    }
    raw = tiny.recipe(
        "toy",
        {"name": "toy", "language": tiny.decoder(300)},
        [stage],
        strategy={"answer": "answers"},
        evaluation=[{"reader": "answer_length", "split": "test", "count": 6}],
    )
    return parse_recipe(raw)


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BENCHMARKS, "answer_length", AnswerLength())


@pytest.mark.usefixtures("toy")
def test_a_recipe_and_the_command_line_measure_by_a_toy_benchmark(tmp_path: Path) -> None:
    report = Run(toy_recipe(), tmp_path / "run", console=QUIET).go()
    assert report["benchmark"] == "answer_length" and report["length"] == report["evaluations"][0]["length"]
    written = json.loads((tmp_path / "run" / "report.json").read_text(encoding="utf-8"))
    assert written["length"] == report["length"] and "rows" not in written
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "Length of answers" in page and f"{report['length']:.2f}" in page
    answers = list((tmp_path / "run").glob("answers-answer_length-*.jsonl"))
    assert len(answers[0].read_text(encoding="utf-8").splitlines()) == 6

    line = ["eval", "answer_length", "--model", str(tmp_path / "run"), "--count", "5"]
    figures = json.loads(CliRunner().invoke(app, [*line, "--json"]).stdout)
    assert figures["split"] == "val" and figures["length"] >= 0
    shown = CliRunner().invoke(app, line).stdout
    assert "Length of answers" in shown and f"{figures['length']:.2f}" in shown
    refused = CliRunner().invoke(app, [*line, "--shots", "2"]).exception
    assert isinstance(refused, SpecError) and "answer_length has no --shots" in str(refused)


@pytest.mark.usefixtures("toy")
def test_a_comparison_merges_arms_as_the_benchmark_says(tmp_path: Path) -> None:
    spec = ComparisonSpec.parse(
        {"name": "two", "base": toy_recipe().to_dict(), "arms": {"a": {}, "b": {"stages.0.steps": 1}}, "seeds": [0, 1]}
    )
    report = compare(spec, tmp_path, console=QUIET)
    assert set(report["lengths"]) == {"a", "b"} and len(report["lengths"]["a"]) == 2
    assert report["rows"] == [] and "Length of answers" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_every_benchmark_says_what_it_takes() -> None:
    known = {"shots", "rices", "seed", "show", "length", "only", "option", "no-chat-template", "retriever", "top",
             "one-call", "unconstrained", "kl-divergence", "strategy"}  # fmt: skip
    for name, benchmark in BENCHMARKS.items():
        assert benchmark.split and set(benchmark.takes) <= known, name


def test_a_dataset_that_nothing_measures_is_refused() -> None:
    class Mute:
        spec = ModelSpec.parse({"language": tiny.decoder()})
        processor = Processor()

    nothing = Settings(DataSpec(reader="pairs"), read=lambda spec: [Example("a", (), "")])
    with pytest.raises(
        SpecError, match=r"no benchmark measures this model on 'pairs'.*preferences: a reward model.*own: scienceqa"
    ):
        benchmark_of(Mute(), nothing)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_rewards_are_the_benchmarks_own_judgement(language: str) -> None:
    spec = DataSpec(reader="tidepool", split="test", count=12, options={"size": 64, "languages": [language]})
    for example in read_spec(spec):
        right = example.question.answer
        assert BENCHMARKS["tidepool"].reward(example, Answer(example.id, "", right)) == 1.0
        assert BENCHMARKS["tidepool"].reward(example, Answer(example.id, "", None)) == 0.0
    caption = read_spec(spec.model_copy(update={"options": {"task": "captions", "size": 64}}))[0]
    assert BENCHMARKS["captions"].reward(caption, Answer("", caption.target)) == pytest.approx(1.0)
    assert BENCHMARKS["captions"].reward(caption, Answer("", "???")) == 0.0
    assert BENCHMARKS["tidepool"].reward(caption, Answer("", "")) is None, "it asks no question"
    assert BENCHMARKS["retrieval"].reward(caption, Answer("", "")) is None


def test_bits_per_byte_are_for_a_decoder(tmp_path: Path) -> None:
    tiny.byte_model(tiny.encoder_decoder()).save(tmp_path / "model")
    ran = CliRunner().invoke(app, ["eval", "text", "--model", str(tmp_path / "model"), "--data", str(tmp_path)])
    assert isinstance(ran.exception, SpecError) and "bits per byte are for a decoder" in str(ran.exception)


def test_an_option_that_would_do_nothing_is_refused(tmp_path: Path) -> None:
    ran = CliRunner().invoke(app, ["eval", "tidepool", "--model", str(tmp_path), "--rices"])
    assert isinstance(ran.exception, SpecError) and "--rices chooses the examples that --shots shows" in str(
        ran.exception
    )
