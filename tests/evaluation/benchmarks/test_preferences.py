"""Preferences: a reward model is measured by a recipe, a comparison and on the command line; other models are not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

import sepiola
from sepiola.cli.app import app
from sepiola.errors import SpecError
from sepiola.evaluation.benchmarks import BENCHMARKS, benchmark_of, measure
from sepiola.evaluation.benchmarks.preferences import scored
from sepiola.evaluation.benchmarks.settings import Settings
from sepiola.specs.data import DataSpec
from tests import preferences, tiny


def test_a_recipe_and_the_command_line_measure_it(preference_reader: str, tmp_path: Path) -> None:
    """The same figures, which are those of `model.reward`."""
    raw = preferences.recipe("decoder", {"kind": "reward"}, steps=30, batch=10)
    data = {"reader": preference_reader, "split": "test"}
    folder = tiny.run_recipe({**raw, "evaluation": [data]}, tmp_path)
    report = json.loads((folder / "report.json").read_text())
    assert report["benchmark"] == "preferences"
    assert report["accuracy"] > 0.6
    assert (report["rows"][0]["accuracy"], report["rows"][0]["count"]) == (report["accuracy"], report["count"])
    assert {*report["baselines"]} == {"longer", "shorter", "linear"}
    assert "TF-IDF, linear" in (folder / "report.html").read_text()
    result = CliRunner().invoke(app, ["eval", preference_reader, "--model", str(folder), "--json"])
    assert result.exit_code == 0, result.output
    shown = json.loads(result.stdout)
    assert shown["accuracy"] == pytest.approx(report["accuracy"])
    assert shown["kendall_tau"]["value"] == pytest.approx(report["kendall_tau"]["value"])
    model, examples = sepiola.load(folder), preferences.rankings()
    first = model.reward([*examples[0].messages, {"role": "assistant", "content": "1"}])
    assert scored(model, examples)[0][0] == pytest.approx(first, abs=1e-5)


def test_of_pictures_a_model_of_text_reads_the_text(preference_reader: str, tmp_path: Path) -> None:
    for shape in ("decoder", "encoder-decoder"):
        folder = tmp_path / shape
        model = sepiola.load(tiny.run_recipe(preferences.recipe(shape, {"kind": "reward"}, steps=2, batch=4), folder))
        assert scored(model, preferences.rankings(picture=True)) == scored(model, preferences.rankings())


def test_arms_are_compared_over_seeds() -> None:
    figures = {"accuracy": 0.8, "interval": [0.7, 0.9], "count": 10, "prompts": 5}
    figures |= {
        "kendall_tau": {"value": 0.6, "interval": [0.5, 0.7]},
        "baselines": {"longer": {"accuracy": 0.5, "interval": None}},
    }
    figures["alike_in_length"] = {"accuracy": 0.7, "interval": [0.6, 0.8], "count": 5}
    figures |= {"title": "the first arm's", "rows": [{"name": "test"}]}
    better = {**figures, "accuracy": 0.9}
    merged = BENCHMARKS["preferences"].merge({"seeing": [figures, better], "blind": [figures, figures]})
    assert merged["arms"]["seeing"]["accuracy"] == pytest.approx(0.85)
    assert not {"title", "rows"} & {*merged}, "the comparison has its own"
    (table,) = BENCHMARKS["preferences"].tables(merged)
    assert [line["name"] for line in table["lines"]] == ["seeing", "blind", "the longer one"]


def test_a_baseline_learns_from_preferences_alone(preference_reader: str, tmp_path: Path) -> None:
    """Earlier stages may have read the same data as something else: these examples have no completions."""
    raw = preferences.recipe("decoder", {"kind": "reward"}, steps=1, batch=10)
    folder = tiny.run_recipe(raw, tmp_path)
    asked = preferences.rankings()
    alone = [replace(example, metadata={"language": "en"}) for example in asked]
    settings = Settings(
        DataSpec(reader=preference_reader, split="test"),
        Console(quiet=True),
        read=lambda _: asked,
        training=lambda _: [*alone, *asked],
    )
    figures = measure(sepiola.load(folder), settings).figures
    assert figures["baselines"]["linear"]["count"] == figures["count"]


def test_other_models_are_not_measured_so(preference_reader: str) -> None:
    model = tiny.byte_model(tiny.decoder())
    settings = Settings(DataSpec(reader=preference_reader, split="test"), Console(quiet=True))
    with pytest.raises(SpecError, match="no benchmark measures this model on"):
        benchmark_of(model, settings)
    with pytest.raises(SpecError, match="no benchmark measures this model on"):
        measure(model, settings)
