"""The recipes of reasoning at a tiny size: chains beside direct answers, rounds of learning beside none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import sepiola
from sepiola.experiments.compare import compare
from sepiola.experiments.recipe_files import ComparisonSpec, read_recipe
from sepiola.specs.recipe import RecipeSpec
from sepiola.tidepool.word_problems import textbook
from tests.tiny import QUIET

SMALL = [
    "model.language.width=32",
    "model.language.layers=1",
    "model.language.feed_forward.width=32",
    "tokenizer.vocabulary=400",
    "model.language.vocabulary=400",
    "evaluation.0.count=6",
]


def small(stage: str) -> list[str]:
    return [
        f"{stage}.data.count=24",
        f"{stage}.steps=3",
        f"{stage}.batch=8",
        f"{stage}.target_tokens=16",
        f"{stage}.optimizer.warmup=1",
    ]


def test_word_problems_compare_chains_with_direct_answers(tmp_path: Path) -> None:
    changes = [*SMALL, *small("stages.0"), *small("arms.direct.stages.0"), "seeds=[0]"]
    spec = read_recipe("reason/word-problems", changes)
    assert isinstance(spec, ComparisonSpec)
    recipes = spec.recipes()
    formats = [recipes[arm, 0].stages[0].objective.to_dict()["format"] for arm in ("chain of thought", "direct")]
    assert formats == ["Q-EA", "Q-A"]
    report = compare(spec, tmp_path, console=QUIET)
    assert [(row["name"], row["count"]) for row in report["rows"][:2]] == [("chain of thought", 6), ("direct", 6)]
    assert {"en", "zh"} == {*report["buckets"]["language"]} and "steps" in report["buckets"]
    assert report["hallucination"]["rationales"] == 6
    reply = sepiola.load(tmp_path).ask(textbook("en").prompt)
    assert reply.rationale is not None


def test_rounds_share_their_first_stage_and_name_their_writers() -> None:
    spec = read_recipe("reason/rounds")
    assert isinstance(spec, ComparisonSpec)
    arms = {arm: recipe for (arm, _), recipe in spec.recipes().items()}
    assert all(recipe.stages[:2] == arms["random"].stages[:2] for recipe in arms.values())
    rounds = arms["random"].stages[2:]
    learned = [stage.objective.to_dict() for stage in rounds]
    assert [(own["writer"], own["pick"]) for own in learned] == [("longer", "random"), ("round-1", "random")]
    assert [stage.start for stage in rounds] == ["longer", "round-1"]
    steps = {arm: sum(stage.steps or 0 for stage in recipe.stages) for arm, recipe in arms.items()}
    longer = [steps[f"{arm}, as long a time"] for arm in ("random", "no rounds")]
    assert steps["disagreements"] == steps["random"] < longer[0] == longer[1], "drawing chains takes time"


@pytest.mark.parametrize("gate", [True, False])
def test_a_dry_run_explains_rounds(tmp_path: Path, gate: bool) -> None:
    from sepiola.experiments.dry_run import explain

    one = ["stages.2.objective.questions.count=24", "stages.2.validation.count=4"]
    one += [f"stages.2.objective.gate={json.dumps(gate)}"]
    two = [change.replace("stages.2", "stages.3") for change in one]
    changes = [*SMALL, *(c for n in range(4) for c in small(f"stages.{n}")), *one, *two]
    spec = read_recipe("reason/rounds", changes)
    assert isinstance(spec, ComparisonSpec)
    explained = explain(spec.recipes()["disagreements", 0], QUIET)
    assert [stage["samples"] for stage in explained["runs"][0]["stages"]] == [24, 24, 48, 48]


def test_the_peer_is_taught_as_the_writer_is_and_is_what_the_strategy_names() -> None:
    spec = read_recipe("reason/verifier")
    assert isinstance(spec, RecipeSpec) and spec.strategy is not None
    writer, peer = spec.stages
    own = peer.objective.to_dict()
    assert (own["kind"], own["format"]) == ("peer", "Q-EA") and own.get("seed", 1) != spec.seed
    same = peer.model_copy(update={"name": writer.name, "objective": writer.objective})
    assert same == writer, "the same data, steps and optimizer"
    assert spec.strategy.to_dict()["verifier"] == peer.name
    base = read_recipe("reason/word-problems")
    assert isinstance(base, ComparisonSpec)
    assert base.recipes()["chain of thought", 0].stages == (writer,), "the model of reason/word-problems"
