"""A run goes on with the data and the tokenizer that it began with, or says what changed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from sepiola.errors import DataError, TrainingError
from sepiola.experiments.compare import compare
from sepiola.experiments.recipe_files import ComparisonSpec, read_recipe
from sepiola.experiments.run import Run
from sepiola.specs.recipe import RecipeSpec
from sepiola.text.tokenizer import Tokenizer
from tests.tiny import QUIET, decoder, picture_file, vision_language


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A folder of text, of which every third document is held out for each of the other splits."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    lines = [f"The squid number {i} hides.\n\n第{i}只乌贼躲在沙里。" for i in range(60)]
    (folder / "squids.txt").write_text("\n\n".join(lines), encoding="utf-8")
    return folder


def text_recipe(corpus: Path, tokenizer: dict[str, Any]) -> dict[str, Any]:
    data = {"reader": "text", "root": str(corpus), "options": {"held_out": 3, "characters": 40}}
    stage = {
        "name": "text",
        "data": data,
        "validation": {**data, "split": "validation"},
        "steps": 2,
        "batch": 2,
        "source_tokens": 32,
        "target_tokens": 32,
    }
    model = {"language": decoder(300, positions={"kind": "rotary", "length": 32})}
    return {"name": "t", "model": model, "tokenizer": tokenizer, "stages": [stage]}


def parsed(raw: dict[str, Any], path: Path) -> RecipeSpec | ComparisonSpec:
    path.write_text(yaml.safe_dump(raw), encoding="utf-8")
    return read_recipe(str(path))


def add_text(corpus: Path) -> None:
    """Documents that fall into every split."""
    lines = [f"A new shrimp, number {i}.\n\n新来的第{i}只虾。" for i in range(20)]
    (corpus / "shrimps.txt").write_text("\n\n".join(lines), encoding="utf-8")


@pytest.mark.parametrize("trained", [True, False])
def test_data_that_changed_are_refused_on_resume(corpus: Path, tmp_path: Path, trained: bool) -> None:
    """A tokenizer that is trained anew would make another stage; with one by path the stage would be done before."""
    (tmp_path / "tokenizer.json").write_text(Tokenizer.train(["乌贼 squid"] * 9, 300).to_json(), encoding="utf-8")
    tokenizer = {"vocabulary": 300} if trained else {"path": str(tmp_path / "tokenizer.json")}
    spec = parsed(text_recipe(corpus, tokenizer), tmp_path / "t.yaml")
    assert isinstance(spec, RecipeSpec)
    Run(spec, tmp_path / "t", console=QUIET).go()
    kept = (corpus / "squids.txt").read_text(encoding="utf-8")
    stages = sorted((tmp_path / "t" / "stages").iterdir())
    add_text(corpus)
    refused = r"stage text: data \(\w{8}… then, \w{8}… now\), stage text: validation .*give it as it was.*--runs"
    with pytest.raises(TrainingError, match=refused):
        Run(spec, tmp_path / "t", console=QUIET, resume=True).go()
    assert sorted((tmp_path / "t" / "stages").iterdir()) == stages
    (corpus / "shrimps.txt").unlink()
    Run(spec, tmp_path / "t", console=QUIET, resume=True).go()  # as they were
    (corpus / "squids.txt").write_text(kept.replace("hides", "sleeps"), encoding="utf-8")
    with pytest.raises(TrainingError, match="stage text: data"):
        Run(spec, tmp_path / "t", console=QUIET, resume=True).go()
    (tmp_path / "t" / "data.json").write_text("[", encoding="utf-8")
    with pytest.raises(TrainingError, match=r"data\.json: damaged"):
        Run(spec, tmp_path / "t", console=QUIET, resume=True).go()


def test_a_tokenizer_that_changed_is_refused_on_resume(corpus: Path, tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(Tokenizer.train(["乌贼 squid"] * 9, 300).to_json(), encoding="utf-8")
    spec = parsed(text_recipe(corpus, {"path": str(path)}), tmp_path / "t.yaml")
    assert isinstance(spec, RecipeSpec)
    Run(spec, tmp_path / "t", console=QUIET).go()
    path.write_text(Tokenizer.train(["虾 shrimp"] * 9, 300).to_json(), encoding="utf-8")
    with pytest.raises(TrainingError, match=r"the tokenizer .* then"):
        Run(spec, tmp_path / "t", console=QUIET, resume=True).go()


def test_evaluation_data_may_change(corpus: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "test.txt").write_bytes((corpus / "squids.txt").read_bytes())
    raw = text_recipe(corpus, {"vocabulary": 300})
    raw["evaluation"] = [{**raw["stages"][0]["data"], "root": str(other), "split": "test"}]
    spec = parsed(raw, tmp_path / "t.yaml")
    assert isinstance(spec, RecipeSpec)
    Run(spec, tmp_path / "t", console=QUIET).go()
    add_text(other)
    Run(spec, tmp_path / "t", console=QUIET, resume=True).go()


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_comparison_refuses_data_that_changed_before_any_arm_trains(corpus: Path, tmp_path: Path, jobs: int) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "squids.txt").write_bytes((corpus / "squids.txt").read_bytes())
    base = text_recipe(corpus, {"vocabulary": 300})
    raw = {"name": "c", "base": base, "jobs": jobs, "arms": {"a": {}, "b": {"stages.0.data.root": str(other)}}}
    spec = parsed(raw, tmp_path / "c.yaml")
    assert isinstance(spec, ComparisonSpec)
    for (arm, _), made in spec.recipes().items():
        Run(made, tmp_path / "c" / arm, console=QUIET).check_data()
    add_text(other)
    with pytest.raises(TrainingError, match=r"c/b: what the run reads has changed .* stage text: data"):
        compare(spec, tmp_path / "c", console=QUIET, resume=True)
    assert not (tmp_path / "c" / "stages").exists()


def test_a_picture_of_the_same_length_in_anothers_place_is_refused_on_resume(tmp_path: Path) -> None:
    folder = tmp_path / "pairs"
    picture = picture_file(folder / "a.bmp", "red")
    pair = {"id": "一", "image": "a.bmp", "request": "What is it?", "text": "It is red. 红色。", "language": "en"}
    (folder / "pairs.jsonl").write_text(json.dumps(pair) + "\n", encoding="utf-8")
    raw = text_recipe(tmp_path, {"vocabulary": 300})
    stage = {"data": {"reader": "pairs", "root": str(folder)}}
    raw["stages"] = [{**raw["stages"][0], **stage, "validation": None}]
    raw["model"] = vision_language({"kind": "projection"})
    spec = parsed(raw, tmp_path / "t.yaml")
    assert isinstance(spec, RecipeSpec)
    Run(spec, tmp_path / "t", console=QUIET).check_data()
    length = picture.stat().st_size
    picture_file(picture, "blue")
    assert picture.stat().st_size == length
    with pytest.raises(TrainingError, match="stage text: data"):
        Run(spec, tmp_path / "t", console=QUIET, resume=True).check_data()
    picture_file(picture, "red")
    Run(spec, tmp_path / "t", console=QUIET, resume=True).check_data()
    picture.unlink()
    with pytest.raises(DataError, match=r"example '一': the image .* is missing"):
        Run(spec, tmp_path / "t", console=QUIET, resume=True).check_data()
