"""Recipes: a fault is named by its key, and each shipped one is valid."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from sepiola.errors import SpecError
from sepiola.experiments.recipe_files import ComparisonSpec, parse_recipe, read_recipe, shipped
from sepiola.specs.recipe import RecipeSpec
from tests.tiny import RECIPE


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["stages.0.stpes=3"], "stages[0].stpes: unknown key; did you mean 'steps'?"),
        (["stages.0.epochs=3"], "stages[0]: give either 'steps' or 'epochs'"),
        (["stages.0.learn=[]"], "learn: no part would learn"),
        (["stages.0.start=eye"], "'answer' starts from 'eye', which is no earlier stage"),
        (["strategy.answer=anwser"], "strategy.answer: no stage is named 'anwser'; did you mean 'answer'?"),
        (
            ["stages.0.objective={}"],
            "strategy.answer: stage 'answer' answers no questions; give its objective a format",
        ),
        (["stages.0.objective.rationales=generated"], "'answer': rationales: generated needs a format that reads one"),
        (["stages.0.objective.format=QCX-A"], "prompt format 'QCX-A': unknown input letter 'X'"),
        (["strategy.kind=two-stage"], "'rationale' names the rationale stage of a two-stage strategy"),
        (["tokenizer.path=t.json"], "give either 'path' (a tokenizer.json) or 'vocabulary'"),
        (["model=mm-cot-tyni"], "no preset is named 'mm-cot-tyni'; did you mean 'mm-cot-tiny'?"),
    ],
)
def test_a_wrong_recipe_names_the_key(changes: list[str], message: str, tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(yaml.safe_dump(RECIPE))
    assert isinstance(read_recipe(str(path)), RecipeSpec)
    with pytest.raises(SpecError) as error:
        read_recipe(str(path), changes)
    assert message in str(error.value)


@pytest.mark.parametrize("name", list(shipped()))
def test_every_shipped_recipe_is_valid(name: str) -> None:
    recipe = read_recipe(name)
    for one in recipe.recipes().values() if isinstance(recipe, ComparisonSpec) else [recipe]:
        again = parse_recipe(yaml.safe_load(yaml.safe_dump(one.model_dump(mode="json"))))
        assert again == one
