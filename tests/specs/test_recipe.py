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
        (["stages.0.objective.format=QCX-A"], "stages: 'answer': prompt format 'QCX-A': unknown input letter 'X'"),
        (["strategy.kind=two-stage"], "strategy.rationale: name the stage whose model writes the rationales"),
        (["tokenizer.path=t.json"], "give either 'path' (a tokenizer.json) or 'vocabulary'"),
        (["model=mm-cot-tyni"], "no preset is named 'mm-cot-tyni'; did you mean 'mm-cot-tiny'?"),
        (["model={like: 5}"], "model: like: expected the name of a preset, got 5"),
        (["model={like: [mm-cot-tiny]}"], "model: like: expected the name of a preset, got ['mm-cot-tiny']"),
        (["model={like: mm-cot-tiny, language: vit-base-16-224}"], "the preset 'vit-base-16-224' has no 'language'"),
        (["model={like: mm-cot-tiny, vision: t5-small}"], "the preset 't5-small' has no 'vision'"),
        (
            ["stages.0.data.reader=tidepol"],
            "data.reader: no dataset is named 'tidepol'; did you mean 'tidepool'?",
        ),
        (["stages.0.data.options.size=abc"], "stages[0].data.options: an option of 'tidepool': size: input should be"),
        (
            ["evaluation=[{reader: tidepool, options: {root: 1}}]"],
            "evaluation[0].options: the reader of 'tidepool'",
        ),
        (["name=../../x"], "name: the name '../../x' holds"),
        (["stages.0.name=a/b"], "stages[0].name: the name 'a/b' holds"),
        (["stages.0.data.split=../x"], "stages[0].data.split: the name '../x' holds"),
        (["seed=-1"], "seed: input should be greater than or equal to 0"),
        (["seed=18446744073709551616"], "'seed' is 18446744073709551616; expected a number of 64 bits"),
        (["stages.0.steps=null", "stages.0.epochs=.inf"], "stages[0].epochs: input should be a finite number"),
        (["stages.0.optimizer.betas=[2, 3]"], "stages[0].optimizer.betas[0]: input should be less than 1"),
        (["stages.0.optimizer.learning_rate=.inf"], "optimizer.learning_rate: input should be a finite number"),
        (["stages.0.optimizer.weight_decay=.nan"], "optimizer.weight_decay: input should be a finite number"),
        (
            ["stages.0.optimizer={learning_rate: 1, weight_decay: 1}"],
            "learning_rate (1) times weight_decay (1) is the share that a weight loses in each step",
        ),
        (
            ["stages.0.optimizer={learning_rate: 1e-4, final_learning_rate: 1e-3}"],
            "final_learning_rate (0.001) is above learning_rate (0.0001)",
        ),
        (["stages.0.objective={kind: [1]}"], "stages[0].objective: no objective is named [1]"),
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
