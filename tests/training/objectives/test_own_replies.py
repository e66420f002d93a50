"""Ratings of a model's own replies: what is drawn, who rates it, and that it is learned as a rating alone."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Any

import pytest

import sepiola
from sepiola.errors import SepiolaError, TrainingError
from sepiola.experiments.recipe_files import parse_recipe
from sepiola.experiments.run import Run
from sepiola.specs.recipe import RecipeSpec
from sepiola.training.batches import ImageInputs
from sepiola.training.objectives.own_replies import RatesOwnReplies
from tests.tiny import QUIET, Raw, run_recipe
from tests.training.objectives.test_generate_and_rate import dialogue_recipe, folder
from tests.training.objectives.test_judge import folder as rated_folder
from tests.training.objectives.test_judge import judging


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Dialogues, and a judge of SAFE."""
    root = tmp_path_factory.mktemp("own")
    folder(root)
    raw = judging(rated_folder(root / "turns"))
    raw["stages"][0]["steps"] = 3
    run_recipe(raw, root / "judge")
    return root


def own_recipe(root: Path, **objective: Any) -> Raw:
    """A stage that learns to write and rate, and one that rates what it says."""
    raw = dialogue_recipe(root)
    (talk,) = raw["stages"]
    talk["steps"] = 20
    asked = {"kind": "rate-own-replies", "writer": "talk", "rater": str(root / "judge"), "replies": 3}
    own = {**talk, "name": "own", "start": "talk", "steps": 4, "objective": {**talk["objective"], **asked, **objective}}
    raw["stages"].append(own)
    raw["strategy"]["answer"] = "own"
    return raw


def objective_of_own(raw: Raw, run: Path) -> RatesOwnReplies:
    recipe = parse_recipe(raw, "own")
    assert isinstance(recipe, RecipeSpec)
    objective = Run(recipe, run, console=QUIET, resume=True).objective(recipe.stages[1])
    assert isinstance(objective, RatesOwnReplies)
    return objective


def test_own_replies_are_rated_by_the_judge_and_never_learned_as_replies(root: Path) -> None:
    run = run_recipe(own_recipe(root), root / "run")
    model, judge = sepiola.load(run), sepiola.load(root / "judge")
    assert set(model.rate("is 7 so?", ["nice 7"])[0]) == {"SAFE", "INTERESTING"}
    objective = objective_of_own(own_recipe(root), run)
    data = objective.stage.data
    whole = objective.examples(data)
    people = [example for example in whole if "written" not in example.metadata]
    own = whole[len(people) :]
    assert len({e.prompt for e in people}) < len(own) <= 3 * len(people), "several texts of a context, each once"
    ratings = [judge.rate(example.messages, [example.target])[0]["SAFE"] for example in own]
    middle = median(ratings)
    for example, rating in zip(own, ratings, strict=True):
        assert abs(rating - middle) < 1e-5 or example.metadata["ratings"] == {"SAFE": int(rating > middle)}
    samples = [sample for sample in objective.samples(data) if ": own" in sample.id]
    assert [sample.id for sample in samples] == [f"{example.id}: SAFE" for example in own], "ratings alone"
    assert objective_of_own(own_recipe(root), run).examples(data) == whole, "drawn alike, run by run"


def test_validation_has_no_replies_of_its_own(root: Path) -> None:
    objective = objective_of_own(own_recipe(root), root / "run")
    held_out = objective.stage.data.model_copy(update={"split": "val"})
    assert not any("written" in example.metadata for example in objective.examples(held_out))
    assert objective.batches(held_out, ImageInputs()).counts["samples"] > 0


def test_a_judge_of_something_else_is_refused(root: Path) -> None:
    other = own_recipe(root, attributes=[{"name": "KIND", "labels": "none"}])
    with pytest.raises(TrainingError, match=r"rates SAFE, which is none of the stage's attributes \(KIND\)"):
        run_recipe(other, root / "other")
    with pytest.raises(SepiolaError, match="tells other things apart"):
        run_recipe(own_recipe(root, rater=str(root / "run" / "checkpoint")), root / "none")


def test_a_writer_that_says_nothing_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    objective = objective_of_own(own_recipe(root), root / "run")
    monkeypatch.setattr(objective, "drawn", lambda contexts: [["", ""] for _ in contexts])
    with pytest.raises(TrainingError, match=r"'talk' says nothing to any of \d+ contexts; teach it"):
        objective.examples(objective.stage.data)
