"""Reward models of real preferences over five folds, beside a linear machine over TF-IDF: English, hh-rlhf, Chinese.

Each fold's model is that of `align/preferences`, from scratch, taught by the other four; requests are of one fold.
Which families of features it reads, and its ridge, are chosen anew for each fold by the log-likelihood of three folds
within those four, where Newton's method finds the weights. Pairs that repeat are removed by the reader. What all folds'
models say of their own is put together: of all pairs, and of the half whose replies are most alike in length, where
length says little.

    python benchmarks/preferences.py --data "$SEPIOLA_DATA/align" --out /tmp/preferences
"""

from __future__ import annotations

import argparse
import json
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from given import Given
from rich.console import Console

from sepiola.api import Model
from sepiola.data.example import Example
from sepiola.data.preferences import completions_of
from sepiola.datasets import read
from sepiola.evaluation.baselines.preferences import linear_margins, pairs_of
from sepiola.evaluation.benchmarks.preferences import scored
from sepiola.evaluation.figures import Figures
from sepiola.evaluation.metrics.bootstrap import mean_interval
from sepiola.evaluation.metrics.preferences import preference_figures
from sepiola.experiments.recipe_files import read_recipe
from sepiola.models.linear_reward import LinearReward
from sepiola.specs.linear_reward import LinearRewardSpec
from sepiola.specs.recipe import RecipeSpec
from sepiola.text.processor import Processor
from sepiola.training.batches import ImageInputs
from sepiola.training.trainer import Trainer

FOLDS = 5
INNER = 3
NEWTON = 30
FAMILIES = (
    ("words", "characters", "form"),
    ("words", "characters", "form", "details"),
    ("characters", "form"),
    ("characters",),
    ("runs", "form"),
    ("runs", "form", "details"),
    ("runs",),
)
EVERY = ("words", "characters", "runs", "form", "details")
RIDGES = (1e-3, 3e-4, 1e-4, 3e-5)
SETS = {
    "english": ["preference_small/instruction_preference_en_1100.json"],
    "hh": ["hh_rlhf/harmless-base/test.jsonl.gz"],
    "chinese": ["llamafactory_demo/dpo_zh_demo.json", "preference_small/dpo_zh_500.jsonl"],
}


def fold_of(example: Example, folds: int = FOLDS, salt: str = "") -> int:
    """By what is asked first, as splits are."""
    first = example.messages[0].text if example.messages else example.id
    return zlib.crc32((salt + " ".join(first.split())).encode()) % folds


def setting(known: Sequence[Example]) -> list[str]:
    """Which families and which ridge make held-out parts of the known pairs likeliest, as changes of the recipe."""
    losses: dict[tuple[tuple[str, ...], float], float] = Counter()
    for inner in range(INNER):
        parts = [[e for e in known if (fold_of(e, INNER, "inner") == inner) == asked] for asked in (False, True)]
        products = {}
        for name in EVERY:
            rows, asked = _differences(name, *parts)
            products[name] = ((rows @ rows.T).toarray(), (asked @ rows.T).toarray())
        for families in FAMILIES:
            own, other = (sum(products[name][at] for name in families) for at in (0, 1))
            for ridge in RIDGES:
                leads = other @ dual_weights(own, ridge)
                losses[families, ridge] += float(np.logaddexp(0, -leads).sum())
    families, ridge = min(losses, key=lambda one: losses[one])
    return [f"model.linear_reward.families=[{', '.join(families)}]", f"stages.0.objective.ridge={ridge}"]


def dual_weights(products: Any, ridge: float) -> Any:
    """What each pair counts `(pairs,)` in the weights w that minimise the mean of log(1 + exp(−w·x)) + ridge/2 · ‖w‖²,
    by Newton's method; `products` are the pairs' differences x, each with each.
    """
    found = np.zeros(len(products))
    for _ in range(NEWTON):
        leads = products @ found
        slopes = 1 / (1 + np.exp(leads))
        bends = slopes * (1 - slopes) + 1e-9
        step = np.linalg.solve(products + len(products) * ridge * np.diag(1 / bends), leads + slopes / bends) - found
        found += step
        if np.abs(step).max() < 1e-6 * np.abs(found).max():
            break
    return found


def _differences(family: str, train: Sequence[Example], asked: Sequence[Example]) -> list[Any]:
    """Better less worse features of one family, a row a pair, of training pairs and of others; no column is empty."""
    from scipy import sparse

    network = LinearReward(LinearRewardSpec(families=(family,)))
    network.remember(one.text for example in train for one in completions_of(example))
    found = []
    for examples in (train, asked):
        sides = [sorted(completions_of(e), key=lambda one: -one.score) for e in examples]
        matrices = []
        for at in (0, 1):
            rows = [network.features(e.prompt, side[at].text) for e, side in zip(examples, sides, strict=True)]
            ends = np.cumsum([0, *(len(places) for places, _ in rows)])
            places, values = (np.concatenate([row[i] for row in rows]) for i in (0, 1))
            matrices.append(sparse.csr_matrix((values, places, ends), shape=(len(rows), network.spec.buckets)))
        found.append(matrices[0] - matrices[1])
    there = np.unique(found[0].indices)
    return [matrix[:, there] for matrix in found]


def trained(recipe: RecipeSpec, folder: Path, known: Sequence[Example]) -> Model:
    """The recipe's reward model, taught by the known pairs."""
    (stage,) = recipe.stages
    stages = Given(recipe, folder, known)
    objective = stages.objective(stage)
    network = objective.prepare(stages.begun(stage))
    batches = objective.batches(stage.data, ImageInputs())
    quiet = Console(quiet=True)
    Trainer(network, stage, objective.loss, batches, folder=folder, seed=recipe.seed, console=quiet).run()
    network, spec = objective.kept(network)
    processor = objective.processor(Processor.of(spec, None if recipe.tokenizer is None else stages.tokenizer))
    return Model(network, spec, processor, objective.replying())


def folded(examples: Sequence[Example], changes: Sequence[str], folder: Path) -> dict[str, Any]:
    """Figures of the reward models, and of the linear machines, over all folds."""
    asked: list[Example] = []
    settings: list[list[str]] = []
    ours: list[list[float]] = []
    linear: list[list[float]] = []
    for fold in range(FOLDS):
        held_out = [example for example in examples if fold_of(example) == fold]
        known = [example for example in examples if fold_of(example) != fold]
        chosen = setting(known)
        recipe = read_recipe("align/preferences", [*chosen, *changes])
        assert isinstance(recipe, RecipeSpec)
        model = trained(recipe, folder / f"fold-{fold}", known)
        for start in range(0, len(held_out), 16):
            ours += scored(model, held_out[start : start + 16])
        settings.append(chosen)
        chinese = held_out[0].metadata.get("language") == "zh"
        margins = linear_margins(pairs_of(known), pairs_of(held_out), chinese=chinese)
        for example, margin in zip(held_out, margins, strict=True):
            linear.append([margin if one.score > 0 else 0.0 for one in completions_of(example)])
        asked += held_out
    return {
        "settings": settings,
        "reward model": preference_figures(asked, ours),
        "TF-IDF": preference_figures(asked, linear),
        "paired": paired(asked, ours, linear),
    }


def paired(asked: Sequence[Example], ours: Sequence[Sequence[float]], linear: Sequence[Sequence[float]]) -> Figures:
    """How many of 100 pairs more the reward model finds, with a 95% interval: of all, and of those alike in length."""
    apart, gaps = [], []
    for example, both in zip(asked, zip(ours, linear, strict=True), strict=True):
        row = completions_of(example)
        better = max((0, 1), key=lambda at: row[at].score)
        leads = [scores[better] - scores[1 - better] for scores in both]
        right = [(lead > 0) + (lead == 0) / 2 for lead in leads]
        apart.append(100 * (right[0] - right[1]))
        lengths = [len(one.text) for one in row]
        gaps.append(abs(lengths[0] - lengths[1]) / max(lengths))
    alike = np.argsort(gaps, kind="stable")[: (len(gaps) + 1) // 2]
    every = np.array(apart)
    return {
        name: {"difference": float(some.mean()), "interval": [*mean_interval(some, 0)]}
        for name, some in (("all", every), ("alike_in_length", every[alike]))
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder that holds preference_small, hh_rlhf, …")
    parser.add_argument("--out", type=Path, required=True, help="the folder of figures.json and the trainings")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=[*SETS])
    parser.add_argument("--set", dest="changes", action="append", default=[], help="KEY=VALUE, of the recipe")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    given = parser.parse_args()
    torch.set_num_threads(1)
    figures = {}
    for name in given.sets:
        examples = [
            replace(example, id=f"{split}-{example.id}")
            for split in ("train", "val", "test")
            for example in read("preferences", given.data, split, sets=SETS[name])
            if len({one.score for one in completions_of(example)}) == 2
        ]
        figures[name] = folded(examples, given.changes, given.out / name)
        for what in ("reward model", "TF-IDF"):
            found = figures[name][what]
            alike, (low, high) = found["alike_in_length"], found["interval"]
            shown = f"{100 * found['accuracy']:.1f} ({100 * low:.1f}–{100 * high:.1f}) of {found['count']:,}"
            if not given.json:
                print(f"{name}, {what}: {shown}; alike in length {100 * alike['accuracy']:.1f}", flush=True)
        if not given.json:
            print(f"{name}, paired difference: {json.dumps(figures[name]['paired'])}", flush=True)
    (given.out / "figures.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    if given.json:
        print(json.dumps(figures))


if __name__ == "__main__":
    main()
