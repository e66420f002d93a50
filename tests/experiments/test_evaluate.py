"""What a trained recipe leaves beside its report."""

from __future__ import annotations

from pathlib import Path

from sepiola.experiments.evaluate import answers_files
from sepiola.experiments.recipe_files import parse_recipe
from sepiola.specs.recipe import RecipeSpec
from tests.tiny import RECIPE


def test_every_evaluation_set_has_its_own_answers() -> None:
    sets = [{"reader": "tidepool", "split": split, "options": {"size": s}} for split, s in (("val", 64), ("test", 64))]
    recipe = parse_recipe({**RECIPE, "evaluation": [*sets, {**sets[0], "options": {"size": 96}}]})
    assert isinstance(recipe, RecipeSpec)
    names = [path.name for path in answers_files(Path("run"), recipe)]
    assert names == ["answers-tidepool-val.jsonl", "answers-tidepool-test.jsonl", "answers-tidepool-val-2.jsonl"]
