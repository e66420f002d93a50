"""Reward models of real preferences over five folds, beside a linear machine over TF-IDF: English, hh-rlhf, Chinese.

Each fold's model is that of `align/preferences`, from scratch, taught by the other four; requests are of one fold.
Pairs that repeat are removed by the reader. What all folds' models say of their own is put together: of all pairs, and
of the half whose replies are most alike in length, where length says little.

    python benchmarks/preferences.py --data "$SEPIOLA_DATA/align" --out /tmp/preferences
"""

from __future__ import annotations

import argparse
import json
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from sepiola.api import Model
from sepiola.data.example import Example
from sepiola.data.preferences import completions_of
from sepiola.datasets import DataCache, read
from sepiola.evaluation.baselines.preferences import linear_margins, pairs_of
from sepiola.evaluation.benchmarks.preferences import scored
from sepiola.evaluation.metrics.preferences import preference_figures
from sepiola.experiments.recipe_files import read_recipe
from sepiola.experiments.stages import Stages
from sepiola.specs.data import DataSpec
from sepiola.specs.recipe import RecipeSpec
from sepiola.text.processor import Processor
from sepiola.training.batches import ImageInputs
from sepiola.training.trainer import Trainer

FOLDS = 5
SETS = {
    "english": ["preference_small/instruction_preference_en_1100.json"],
    "hh": ["hh_rlhf/harmless-base/test.jsonl.gz"],
    "chinese": ["llamafactory_demo/dpo_zh_demo.json", "preference_small/dpo_zh_500.jsonl"],
}


class Fold(Stages):
    """A run of a recipe whose data are those that are given."""

    def __init__(self, recipe: RecipeSpec, folder: Path, known: Sequence[Example]) -> None:
        super().__init__(recipe, folder, DataCache(), "cpu")
        self.known = [*known]

    def read(self, data: DataSpec) -> list[Example]:
        return self.known


def fold_of(example: Example) -> int:
    """By what is asked first, as splits are."""
    first = example.messages[0].text if example.messages else example.id
    return zlib.crc32(" ".join(first.split()).encode()) % FOLDS


def trained(recipe: RecipeSpec, folder: Path, known: Sequence[Example]) -> Model:
    """The recipe's reward model, taught by the known pairs."""
    (stage,) = recipe.stages
    stages = Fold(recipe, folder, known)
    objective = stages.objective(stage)
    network = objective.prepare(stages.begun(stage))
    batches = objective.batches(stage.data, ImageInputs())
    quiet = Console(quiet=True)
    Trainer(network, stage, objective.loss, batches, folder=folder, seed=recipe.seed, console=quiet).run()
    network, spec = objective.kept(network)
    processor = objective.processor(Processor.of(spec, stages.tokenizer))
    return Model(network, spec, processor, objective.replying())


def folded(examples: Sequence[Example], recipe: RecipeSpec, folder: Path) -> dict[str, Any]:
    """Figures of the reward models, and of the linear machines, over all folds."""
    asked: list[Example] = []
    ours: list[list[float]] = []
    linear: list[list[float]] = []
    for fold in range(FOLDS):
        held_out = [example for example in examples if fold_of(example) == fold]
        known = [example for example in examples if fold_of(example) != fold]
        model = trained(recipe, folder / f"fold-{fold}", known)
        for start in range(0, len(held_out), 16):
            ours += scored(model, held_out[start : start + 16])
        chinese = held_out[0].metadata.get("language") == "zh"
        margins = linear_margins(pairs_of(known), pairs_of(held_out), chinese=chinese)
        for example, margin in zip(held_out, margins, strict=True):
            linear.append([margin if one.score > 0 else 0.0 for one in completions_of(example)])
        asked += held_out
    return {"reward model": preference_figures(asked, ours), "TF-IDF": preference_figures(asked, linear)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder that holds preference_small, hh_rlhf, …")
    parser.add_argument("--out", type=Path, required=True, help="the folder of figures.json and the trainings")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=[*SETS])
    parser.add_argument("--set", dest="changes", action="append", default=[], help="KEY=VALUE, of the recipe")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    given = parser.parse_args()
    torch.set_num_threads(1)
    recipe = read_recipe("align/preferences", given.changes)
    assert isinstance(recipe, RecipeSpec)
    figures = {}
    for name in given.sets:
        examples = [
            replace(example, id=f"{split}-{example.id}")
            for split in ("train", "val", "test")
            for example in read("preferences", given.data, split, sets=SETS[name])
            if len({one.score for one in completions_of(example)}) == 2
        ]
        figures[name] = folded(examples, recipe, given.out / name)
        for what, found in figures[name].items():
            alike, (low, high) = found["alike_in_length"], found["interval"]
            shown = f"{100 * found['accuracy']:.1f} ({100 * low:.1f}–{100 * high:.1f}) of {found['count']:,}"
            if not given.json:
                print(f"{name}, {what}: {shown}; alike in length {100 * alike['accuracy']:.1f}", flush=True)
    (given.out / "figures.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    if given.json:
        print(json.dumps(figures))


if __name__ == "__main__":
    main()
