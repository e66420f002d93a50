"""The recipes of lamda at a tiny size: stages, what is measured, and the best of some replies."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import sepiola
from sepiola.experiments.recipe_files import read_recipe
from sepiola.experiments.run import Run
from sepiola.specs.recipe import RecipeSpec
from sepiola.specs.strategy import SampleAndRankSpec
from sepiola.training.objectives.classification import ClassificationSpec
from sepiola.training.objectives.grpo import GRPOSpec
from sepiola.training.rewards.rubric import RubricSpec
from tests.datasets.test_cdial import LONGER
from tests.tiny import QUIET


def folder(root: Path) -> Path:
    """Eighty replies in English with ratings, and dialogues of two and three turns in Chinese."""
    for name in ("diasafety", "cdial_gpt_toy"):
        (root / "align" / name).mkdir(parents=True)
    for split, first, count in (("train", 0, 60), ("val", 60, 8), ("test", 70, 8)):
        rows = [
            {"context": f"is {n} so?", "response": f"{'bad' if n % 2 else 'nice'} {n}", "category": "c"}
            | {"label": "Unsafe" if n % 2 else "Safe"}
            for n in range(first, first + count)
        ]
        (root / "align" / "diasafety" / f"{split}.json").write_text(json.dumps(rows), encoding="utf-8")
    for split, first in (("train", 0), ("valid", 40)):
        lines = [f"第{n}天去不去\t不去了我要睡{n}觉\n" for n in range(first, first + 30)]
        (root / "align" / "cdial_gpt_toy" / f"toy_{split}.txt").write_text("".join(lines), encoding="utf-8")
    (root / "align" / "cdial_gpt_toy" / "toy_data.json").write_text(json.dumps(LONGER), encoding="utf-8")
    return root


def test_the_recipe_runs_from_end_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEPIOLA_DATA", str(folder(tmp_path / "data")))
    changes = ["model.language.width=24", "model.language.layers=1", "model.language.attention.heads=2"]
    changes += ["model.language.feed_forward.width=32", "tokenizer.vocabulary=400", "model.language.vocabulary=400"]
    for stage in (0, 1):
        changes += [f"stages.{stage}.epochs=null", f"stages.{stage}.steps=4", f"stages.{stage}.validate_every=2"]
        changes += [f"stages.{stage}.optimizer.warmup=1", f"stages.{stage}.batch=8"]
    recipe = read_recipe("lamda/dialogue", [*changes, "strategy.candidates=3"])
    assert isinstance(recipe, RecipeSpec)
    report = Run(recipe, tmp_path / "run", console=QUIET).go()
    safe, proxies = report["evaluations"]
    assert safe["benchmark"] == proxies["benchmark"] == "ratings" and safe["ratings"]["SAFE"]["count"] == 8
    assert {*safe["ratings"]["SAFE"]["beside"]} == {"shuffled", "tfidf", "reply_alone"}
    assert safe["ratings"]["INTERESTING"]["count"] == 0 and "does not count" in safe["ratings"]["INTERESTING"]["labels"]
    assert proxies["ratings"]["SENSIBLE"]["count"] > 20 and "proxy" in proxies["ratings"]["SENSIBLE"]["labels"]
    model = sepiola.load(tmp_path / "run")
    assert model.answering is not None and model.answering.strategy == SampleAndRankSpec(
        kind="sample-and-rank", candidates=3
    )
    assert model.sample_and_rank("第3天去不去", candidates=3, max_tokens=4).candidates
    assert (tmp_path / "run" / "report.html").is_file()


def test_the_grounded_recipe_runs_without_data(tmp_path: Path) -> None:
    changes = ["model.language.width=16", "model.language.attention.heads=2", "model.language.feed_forward.width=24"]
    changes += ["stages.0.steps=3", "stages.0.batch=4", "stages.0.optimizer.warmup=1", "stages.0.validate_every=2"]
    for data, people in (("stages.0.data", 20), ("stages.0.validation", 4), ("evaluation.0", 4)):
        changes += [f"{data}.options.sums={people}", f"{data}.options.people={people}"]
    recipe = read_recipe("lamda/grounded", changes)
    assert isinstance(recipe, RecipeSpec)
    (figures,) = Run(recipe, tmp_path / "run", console=QUIET).go()["evaluations"]
    assert figures["benchmark"] == "grounded" and figures["count"] == 4 + 3 * 4
    assert {name for cell in figures["grounded"].values() for name in cell["systems"]} == {
        *("with_tools", "without", "toolset_alone", "nearest", "majority")
    }
    assert (tmp_path / "run" / "report.html").is_file()


def test_a_small_decoder_learns_from_what_its_judge_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both recipes read DiaSafety, and what the decoder drops by is what the judge tells apart."""
    monkeypatch.setenv("SEPIOLA_DATA", str(folder(tmp_path / "data")))
    changes = ["model.language.width=24", "model.language.attention.heads=2", "model.language.vocabulary=400"]
    changes += ["model.language.feed_forward.width=32", "tokenizer.vocabulary=400", "strategy.candidates=2"]
    for stage in (0, 1):
        changes += [f"stages.{stage}.epochs=null", f"stages.{stage}.steps=3", f"stages.{stage}.optimizer.warmup=1"]
    replies, judge = read_recipe("lamda/replies", changes), read_recipe("lamda/judge")
    assert isinstance(replies, RecipeSpec) and isinstance(judge, RecipeSpec)
    objective = judge.stages[0].objective
    assert isinstance(objective, ClassificationSpec) and objective.attribute is not None
    (figures,) = Run(replies, tmp_path / "run", console=QUIET).go()["evaluations"]
    assert objective.attribute.name == "SAFE" and figures["ratings"]["SAFE"]["count"] == 8
    assert sepiola.load(tmp_path / "run").rate("is 3 so?", ["nice 3"])[0].keys() == {"SENSIBLE", "SAFE"}


def test_what_the_rubric_pays_for_is_a_reply_of_the_small_decoder() -> None:
    """The policy is the decoder of `lamda/replies`, and every source says whether its requests are harmful."""
    replies, rubric = read_recipe("lamda/replies"), read_recipe("lamda/rubric")
    assert isinstance(replies, RecipeSpec) and isinstance(rubric, RecipeSpec)
    assert rubric.model == replies.model
    (stage,) = rubric.stages
    sources = stage.data.options["sources"]
    assert [source["harmful"] for source in sources] == [True, False] and stage.data.options["rate"] == []
    assert isinstance(stage.objective, GRPOSpec) and isinstance(stage.objective.reward, RubricSpec)
