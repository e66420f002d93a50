"""`instruct/bilingual` on a tiny model and tiny sources: tuned by replies, measured by kind, asked by its template."""

from __future__ import annotations

from pathlib import Path

import pytest

import sepiola
from sepiola.experiments.recipe_files import read_recipe
from sepiola.experiments.run import Run
from sepiola.specs.recipe import RecipeSpec
from tests.datasets.folders import instruction_sources
from tests.tiny import QUIET

TINY = [
    "weights=null",
    "tokenizer.path=null",
    "tokenizer.vocabulary=400",
    "model.language.width=24",
    "model.language.layers=1",
    "model.language.attention={heads: 2}",
    "model.language.feed_forward.width=32",
    "stages.0.steps=2",
    "stages.0.epochs=null",
    "stages.0.batch=4",
    "stages.0.validation=null",
    "stages.0.validate_every=null",
    "stages.0.precision=float32",
    "stages.0.data.options.each=4",
    "evaluation.0.options.each=1",
]


def test_the_recipe_trains_and_is_measured_by_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEPIOLA_DATA", str(instruction_sources(tmp_path / "data")))
    recipe = read_recipe("instruct/bilingual", TINY)
    assert isinstance(recipe, RecipeSpec)
    report = Run(recipe, tmp_path / "run", console=QUIET).go()
    cells = report["kinds"]
    assert len(cells) == 10
    for cell in cells.values():
        assert cell["count"] == 1 and set(cell["baselines"]) == {"copy", "majority", "nearest"}
        assert 0.0 <= cell["shots"][0]["score"] <= 1.0
    model = sepiola.load(tmp_path / "run")
    assert model.template is not None
    assert model.template.render([{"role": "user", "content": "你好"}]) == "User: 你好\nAssistant:"
    assert model.asking.layout == "chat"
    chat = model.example_generator(4).chat
    assert chat is not None and chat.template == model.template
