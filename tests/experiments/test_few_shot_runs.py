"""The shipped Flamingo recipe with a handful of steps: rows of episodes, what learns, and the curve in its report."""

from __future__ import annotations

import json

import pytest
import torch

import sepiola
from sepiola.checkpoints.tensors import read_tensors
from sepiola.data.batching import IGNORED, Collator
from sepiola.errors import SpecError
from sepiola.evaluation.benchmarks.answering import few_shot
from sepiola.evaluation.benchmarks.settings import Settings
from sepiola.experiments.recipe_files import read_recipe
from sepiola.experiments.run import Run
from sepiola.specs.recipe import RecipeSpec
from sepiola.text.encoding import IMAGE
from sepiola.training.objectives.language_modelling import LanguageModelling
from tests.tiny import QUIET

SMALL = ["tokenizer.vocabulary=400", "model.vision.layers=1", "stages.0.data.count=64", "stages.0.batch=16"]
SMALL += [f"stages.{n}.{key}" for n in range(1, 6) for key in ("data.count=16", "steps=3", "batch=4")]
SMALL += [f"stages.{n}.data.options.scenes=400" for n in range(1, 6)]
SMALL += [f"evaluation.{n}.{key}" for n in (0, 1) for key in ("count=8", "options.scenes=120", "options.length=7")]
SMALL += ["evaluation.1.options.families=[objects]"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    recipe = read_recipe("flamingo/tidepool", ["model={like: flamingo-tiny}", *SMALL, "few_shot.shots=[0, 2, 4]"])
    assert isinstance(recipe, RecipeSpec)
    run = Run(recipe, tmp_path_factory.mktemp("runs") / "flamingo", console=QUIET)
    run.go()
    return run


def test_a_row_holds_an_episode_and_never_asks_for_an_image(finished: Run) -> None:
    stage = finished.stages["bridge"]
    objective = finished.objective(stage)
    assert isinstance(objective, LanguageModelling)
    samples = objective.samples(stage.data)
    assert len(samples) == 16
    image = finished.tokenizer.id_of(IMAGE)
    for sample in samples:
        assert len(sample.images) == 9
        tokens = [*sample.source, *sample.target]
        assert tokens.count(image) == tokens.count(1) == 9, "each picture has its answer, closed by the end token"
        assert tokens[0] == image and tokens[-1] == 1
    batch = Collator(finished.spec.language.tokens, kind="decoder")(samples[:2])
    placeholders = batch.target.roll(-1, 1) == image
    assert int(placeholders[:, :-1].sum()) == 16
    assert bool((batch.labels[:, :-1][placeholders[:, :-1]] == IGNORED).all())


def test_eye_language_and_bridge_learn_one_after_the_other(finished: Run) -> None:
    states = [sepiola.build(finished.spec).state_dict()]
    states += [
        read_tensors(finished.stage_folder(s) / "checkpoint" / "model.safetensors") for s in finished.recipe.stages
    ]
    states[1] = {
        **states[0],
        **{f"vision.{name}": value for name, value in states[1].items()},
    }  # the vision encoder alone
    parts = ["vision", "language", "language", "bridge", "bridge", "bridge"]
    for before, after, part in zip(states[:-1], states[1:], parts, strict=True):
        assert {n.split(".")[0] for n in before if not torch.equal(before[n], after[n])} == {part}


def test_the_report_holds_the_curve_and_its_plot(finished: Run) -> None:
    report = json.loads((finished.folder / "report.json").read_text())
    curve = report["few_shot"]
    assert [p["shots"] for p in curve["points"]] == [0, 2, 4]
    assert ["shuffled" in p for p in curve["points"]] == [False, True, True]
    assert all(p["count"] == 8 and p["interval"] for p in curve["points"])
    assert curve["cost_of_shuffling"]["count"] == 8
    assert report["accuracy"] == curve["points"][-1]["accuracy"]
    assert report["baselines"]["chance"]["accuracy"] == 0.5
    assert set(report["buckets"]["family"]) == {"counting"}, "the unseen family stands first"
    assert [r["name"] for r in report["rows"]][:4] == [
        "tidepool test, 0 shots",
        "tidepool test, 2 shots",
        "tidepool test, 4 shots",
        "tidepool test, 2 shuffled",
    ]
    page = (finished.folder / "report.html").read_text()
    assert "Accuracy over the number of demonstrations" in page and "answers exchanged" in page


def test_rices_by_the_eye(finished: Run) -> None:
    spec = finished.recipe.few_shot.model_copy(update={"choose": "rices", "shots": (4,), "shuffled": False})
    settings = Settings(finished.recipe.evaluation[0], few_shot=spec)
    figures, questions, answers = few_shot(sepiola.load(finished.folder), settings)
    assert figures["choose"] == "rices" and len(questions) == len(answers) == 8


def test_what_does_not_go_together_is_refused() -> None:
    with pytest.raises(SpecError, match="'binding': shots are for language-modelling with a decoder"):
        read_recipe("flamingo/tidepool", ["model={like: flamingo-tiny, language: {kind: encoder-decoder}}"])
    with pytest.raises(SpecError, match="few_shot: demonstrations stand before the questions of a 'direct' strategy"):
        read_recipe("flamingo/tidepool", ["strategy.kind=one-stage"])
