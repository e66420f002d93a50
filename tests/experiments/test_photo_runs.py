"""Recipes on photographs, run whole at a size for tests: captions, open answers, whether a thing is there; blind."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

import sepiola
from sepiola.cli.app import app
from sepiola.datasets import DataCache, read
from sepiola.evaluation.benchmarks import measure
from sepiola.evaluation.benchmarks.settings import Settings
from sepiola.evaluation.metrics.caption_figures import caption_tables
from sepiola.evaluation.report.tables import terminal_tables
from sepiola.experiments.compare import compare
from sepiola.experiments.recipe_files import ComparisonSpec, read_recipe
from sepiola.experiments.run import Run
from sepiola.specs.recipe import DataSpec, RecipeSpec

QUIET = Console(file=open(os.devnull, "w"), width=200)  # noqa: SIM115 (open as long as the tests run)
SMALL = [
    "model.language.width=32",
    "model.language.layers=1",
    "model.language.feed_forward.width=48",
    "model.vision.pixels.size=32",
    "model.vision.width=16",
    "model.vision.layers=1",
    "model.vision.feed_forward.width=16",
    "tokenizer.vocabulary=600",
]
POPE = "{reader: pope, split: val, count: 12, options: {pictures: 4, size: 64}}"
FEW = [
    "stages.0.data.count=200",
    "stages.0.steps=2",
    "stages.1.data.count=10",
    "stages.1.epochs=2",
    "stages.2.data.count=20",
    "stages.2.epochs=2",
    "stages.2.validate_every=1",
    "stages.2.validation.count=4",
    "evaluation.0.count=6",
    "evaluation.1.count=5",
]


def recipe(name: str, *changes: str) -> RecipeSpec:
    spec = read_recipe(f"photos/{name}", [*SMALL, *changes])
    assert isinstance(spec, RecipeSpec)
    return spec


@pytest.fixture
def data(data_root: Path, monkeypatch: pytest.MonkeyPatch) -> DataCache:
    monkeypatch.setenv("SEPIOLA_DATA", str(data_root))
    return DataCache()


def test_photographs_are_captioned_and_measured(data: DataCache, tmp_path: Path, data_root: Path) -> None:
    report = Run(recipe("flickr8k", *FEW), tmp_path / "run", console=QUIET, data=data).go()
    found = report["captions"]
    assert found["en"]["count"] == found["zh"]["count"] == 3
    for language in ("en", "zh"):
        others = found[language]["baselines"]
        assert set(others) == {
            "most_frequent",
            "nearest_pixels",
            "nearest_features",
            "eyes_shut",
            "references",
        }
        # The captions of people, which these two repeat, are whole and share words with the references.
        for name in ("most_frequent", "nearest_pixels"):
            assert others[name]["bleu1"]["value"] > 0 and others[name]["fluency"]["repetition"]["rate"] == 0
    assert [s["data"] for s in report["evaluations"]] == ["flickr8k", "coco_mini"]
    assert list(report["evaluations"][1]["captions"]) == ["en"]
    titles = [str(table.title) for table in terminal_tables(report)]
    assert titles == ["Captions, flickr8k test, en", "Captions, flickr8k test, zh", "Captions, coco_mini val, en"]
    written = (tmp_path / "run" / "answers-flickr8k-test.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(written) == 6 and {"id", "output", "cut"} <= set(json.loads(written[0]))
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    reference = read("flickr8k", data_root / "flickr8k", "test", languages=["zh"])[0].metadata["references"][4]
    assert "CIDEr-D, zh" in page and reference in page and "data:image/" in page

    model = sepiola.load(tmp_path / "run")
    assert model.answering is not None and model.answering.answer_tokens == 48
    spec = DataSpec(reader="flickr8k", root=str(data_root / "flickr8k"), split="test", count=2)
    answered = measure(model, Settings(spec)).answered
    again = {a["id"]: a["output"] for a in map(json.loads, written)}
    assert [a.output for _, a in answered] == [again[e.id] for e, _ in answered], "the loaded model writes the same"
    command = f"eval flickr8k --model {tmp_path / 'run'} --data {data_root / 'flickr8k'} --option languages=[zh] --json"
    told = json.loads(CliRunner().invoke(app, command.split()).stdout)
    assert told["captions"]["zh"]["count"] == 6 and "nearest_features" in told["captions"]["zh"]["baselines"]


def test_eyes_and_blindness_compared(data: DataCache, tmp_path: Path) -> None:
    coco = {"reader": "coco_mini", "root": "$SEPIOLA_DATA/coco_mini"}
    base = recipe("flickr8k", *FEW).to_dict()
    stage = {"name": "captions", "data": {**coco, "count": 10}, "epochs": 1, "source_tokens": 96, "target_tokens": 16}
    base["stages"] = [stage]
    base["evaluation"] = [{**coco, "split": "val", "count": 5}]
    arms: dict[str, Any] = {"with eyes": {}, "blind": {"images": False}}
    spec = ComparisonSpec.parse({"name": "both", "base": base, "arms": arms, "seeds": [0, 1]})
    report = compare(spec, tmp_path, console=QUIET)
    assert report["rows"] == [], "captions have no accuracy"
    english = report["captions"]["en"]
    seeds = [json.loads((tmp_path / f"blind-seed{seed}" / "report.json").read_text()) for seed in (0, 1)]
    values = [seed["captions"]["en"]["rougeL"]["value"] for seed in seeds]
    over = english["baselines"]["blind"]["rougeL"]
    assert over["value"] == pytest.approx(sum(values) / 2) and over["seeds"] == values
    assert "over 2 seeds" in caption_tables(report)[0]["note"]
    assert "eyes_shut" in english["baselines"] and "eyes_shut" not in seeds[0]["captions"]["en"]["baselines"]
    (table, *_) = terminal_tables(report)
    assert [str(cell) for cell in table.columns[0].cells][:2] == ["with eyes", "blind"]
    # Who sees nothing writes one caption.
    lines = (tmp_path / "blind-seed0" / "answers-coco_mini-val.jsonl").read_text(encoding="utf-8").splitlines()
    assert len({json.loads(line)["output"] for line in lines}) == 1


def test_questions_on_photographs_and_whether_it_is_there(data: DataCache, tmp_path: Path) -> None:
    changes = ["stages.0.data.count=24", "stages.0.epochs=1", "evaluation.0.count=8"]
    spec = recipe("daquar", *changes, "strategy.by=score", f"evaluation=[{POPE}]")
    report = Run(spec, tmp_path / "pope", console=QUIET, data=data).go()
    assert [name for name in report["pope"] if "," not in name] == ["random", "popular", "adversarial"]
    assert all(told["unparsed"] == 0 for told in report["pope"].values()), "a strategy that scores always chooses"
    assert "Is it there?" in [table.title for table in terminal_tables(report)]

    report = Run(recipe("daquar", *changes), tmp_path / "daquar", console=QUIET, data=data).go()
    assert report["vqa"]["sets"]["count"] == 8 and "vqa" in report["baselines"]["nearest_neighbour"]
    page = (tmp_path / "daquar" / "report.html").read_text(encoding="utf-8")
    assert "Equal sets" in page and "data:image/" in page
