"""Recipes that two processes share: what they print, write and leave, and which commands are for one process."""

from __future__ import annotations

import io
import json
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
import yaml

from sepiola.checkpoints.tensors import read_tensors
from sepiola.cli.training import train
from sepiola.errors import SepiolaError
from sepiola.experiments.recipe_files import read_recipe
from sepiola.experiments.run import Run
from sepiola.specs.recipe import RecipeSpec
from sepiola.training.ranks import Ranks
from tests import ranks as two
from tests import tiny
from tests.ranks import STEADY, Pair, assert_close

pair = two.pair
QUESTIONS = tiny.tidepool(20, "objects", "counting")
STAGE: dict[str, Any] = {"data": QUESTIONS, "steps": 2, "batch": 5, "target_tokens": 24, **STEADY}
RECIPE = tiny.recipe(
    "shared",
    tiny.vision_language({"kind": "projection"}),
    [
        {**STAGE, "name": "see", "objective": "detection", "learn": ["vision"]},
        {
            **STAGE,
            "name": "answer",
            "start": "see",
            "objective": {"format": "QCM-A"},
            "learn": ["language", "bridge"],
            "validation": {**QUESTIONS, "split": "val", "count": 4},
        },
        {
            **STAGE,
            "name": "reinforced",
            "start": "answer",
            "objective": {"kind": "grpo", "format": "QCM-A", "reward": "exact", "samples": 4, "beta": 0.1},
            "batch": 8,
            "lora": {"rank": 2},
            "learn": ["language"],
        },
    ],
    strategy={"answer": "reinforced", "by": "score"},
    evaluation=[{**QUESTIONS, "split": "test", "count": 4}],
)


def trained(ranks: Ranks, recipe: str, runs: Path) -> str:
    """What `sepiola train` prints on a rank."""
    with redirect_stdout(io.StringIO()) as printed, pytest.MonkeyPatch.context() as patch:
        patch.setattr("sepiola.training.ranks.ranks_of", lambda device: nullcontext(ranks))
        train(recipe, resume=True, runs=runs)
    return printed.getvalue()


def test_a_run_of_stages_that_two_ranks_share(pair: Pair, tmp_path: Path) -> None:
    """With pictures, an adapter, validation; evaluated once; and done stages are not done again."""
    recipe = tmp_path / "shared.yaml"
    recipe.write_text(yaml.safe_dump(RECIPE))
    printed = pair.run(trained, str(recipe), tmp_path / "two")
    assert "report:" in printed[0] and printed[1] == ""
    trained(Ranks(), str(recipe), tmp_path / "one")
    for stage in ("see", "answer", "reinforced"):
        one, two = (tiny.stage_weights(tmp_path / folder / "shared", stage) for folder in ("one", "two"))
        assert_close(two, one, 1e-5)
    files = [sorted(p.relative_to(tmp_path / f) for p in (tmp_path / f).rglob("*")) for f in ("one", "two")]
    named = [[p for p in each if not {"tensorboard", "features"} & {*p.parts}] for each in files]
    assert named[0] == named[1] and len(files[0]) == len(files[1]), "the others' names hold a time and a digest"
    again = pair.run(trained, str(recipe), tmp_path / "two")
    assert again[0].count("done before") == 3 and again[1] == ""


def test_a_comparison_is_for_one_process(pair: Pair, tmp_path: Path) -> None:
    for error in pair.run(trained, "compare/bridges", tmp_path):
        assert isinstance(error, SepiolaError) and "2 ranks train one model together; a comparison" in str(error)


def compared(ranks: Ranks, folder: Path) -> None:
    """Contrastive learning, of which every rank takes batches that are whole."""
    small = [f"model.{part}.{key}" for part in ("vision", "language") for key in ("width=32", "layers=1")]
    small += ["model.bridge.width=32", "tokenizer.vocabulary=300", "stages.0.epochs=null", "evaluation=[]"]
    stage = {"steps": 2, "batch": 6, "accumulate": 2, "data.count": 30, **STEADY}
    changes = [f"stages.0.{key}={json.dumps(value)}" for key, value in stage.items()]
    recipe = read_recipe("eyes/dual", [*small, "stages.0.optimizer={}", *changes])
    assert isinstance(recipe, RecipeSpec)
    Run(recipe, folder, console=tiny.QUIET, ranks=ranks).go()


def test_contrastive_batches_stay_whole(pair: Pair, tmp_path: Path) -> None:
    assert pair.run(compared, tmp_path / "two") == [None, None]
    compared(Ranks(), tmp_path / "one")
    (one,), (two,) = (list((tmp_path / f / "stages").glob("*/checkpoint/model.safetensors")) for f in ("one", "two"))
    assert_close(dict(read_tensors(two)), dict(read_tensors(one)))
