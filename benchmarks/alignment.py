"""Reinforcement learning from human feedback with pictures: what each method buys, in a world whose truth is known.

The captioner of `align/captions` goes on for 150 steps with the captions of hasty annotators (stage 1): in 60% of them
one colour is called by another one's name, or one number is too high (`misnamed`). Its vision encoder, frozen, tells
what there is; it knows how to say it, and has learned not to. From it go on PPO and GRPO, paid by the reward model of
`align/captions`; DPO and dense DPO, on the pairs that the reward model has learned from; and best-of-16, which samples
as many captions and says the one that the reward model likes best. `grpo, longer` goes on four times as
long, to show where the reward model is hacked.

Held-out pictures are described twice: by captions drawn from the policy (temperature 1), as it was trained, and by the
likeliest ones. Their claims are checked against the scene (`sepiola.tidepool.false_claims`): that is the gold reward,
less what the captions say that is false; the proxy is the reward model's. KL is that of whole captions to the captioner
of stage 1, estimated over those drawn. What `figures.json` in the folder has already is not run again.

    sepiola train align/captions
    python benchmarks/alignment.py --rewards runs/align-captions --out runs/aligned
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from rich.console import Console
from torch import nn

from sepiola.api import load
from sepiola.checkpoints import store
from sepiola.data.batching import Batch
from sepiola.data.example import Example
from sepiola.datasets import DataCache
from sepiola.evaluation.metrics.captions import cider_d
from sepiola.evaluation.metrics.rationales import words
from sepiola.experiments.recipe_files import parse_recipe
from sepiola.experiments.stages import Stages
from sepiola.generation.image_features import ImageFeatures
from sepiola.models.multimodal.vision_language import vision_of
from sepiola.reasoning.reward import RewardModel
from sepiola.specs.data import DataSpec
from sepiola.specs.recipe import RecipeSpec
from sepiola.tidepool import false_claims
from sepiola.training.batches import Batches, ImageInputs
from sepiola.training.objectives.grpo import GRPO
from sepiola.training.policy import row_sums
from sepiola.training.trainer import Trainer

MOST = 48
"""Tokens of a caption, at most."""
GREEDY = 1e-5
"""The temperature of the likeliest caption."""
DRAWN = {"size": 64, "families": ["objects", "counting", "food webs", "thermometers"]}
"""Families whose captions are short."""
PICTURES = {"reader": "tidepool", "count": 6000, "options": {"task": "captions", "seed": 7, **DRAWN}}
PAIRS = {"reader": "tidepool", "count": 4000, "options": {"task": "preferences", "texts": ["captions"], **DRAWN}}
MUON = {"kind": "muon", "learning_rate": 1.0e-3, "warmup": 20, "betas": [0.9, 0.98]}
GENTLE = {"learning_rate": 3.0e-4, "warmup": 5, "betas": [0.9, 0.98], "weight_decay": 0.0}
TAUGHT = {"objective": "language-modelling", "steps": 150, "batch": 32, "optimizer": MUON}
PPO = {"kind": "ppo", "iterations": 2, "beta": 0.02, "value_weight": 0.01}
ARMS: dict[str, dict[str, Any]] = {
    "ppo": {"objective": PPO, "data": PICTURES, "steps": 120, "batch": 64, "optimizer": GENTLE},
    "grpo": {
        "objective": {"kind": "grpo", "samples": 8, "beta": 0.02},
        "data": PICTURES,
        "steps": 60,
        "batch": 64,
        "optimizer": GENTLE,
    },
    "dpo": {"objective": {"kind": "dpo"}, "data": PAIRS, "steps": 60, "batch": 32, "optimizer": GENTLE},
    "dense dpo": {
        "objective": {"kind": "dpo", "dense": 5.0, "beta": 0.5},
        "data": PAIRS,
        "steps": 60,
        "batch": 32,
        "optimizer": GENTLE,
    },
}
ARMS["grpo, longer"] = {**ARMS["grpo"], "steps": 240}
BEST = "best of 16"
SAMPLES = 16


class Watched:
    """Batches that let one look at the model before some steps; all else is theirs."""

    def __init__(self, batches: Batches, at: Sequence[int], look: Callable[[int], None]) -> None:
        self.batches, self.at, self.look, self.step = batches, set(at), look, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.batches, name)

    def next(self) -> list[Batch]:
        if self.step in self.at:
            self.look(self.step)
        self.step += 1
        return self.batches.next()


class Bench:
    """The reward model, the captioner that all go on from, and the held-out pictures."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.given, self.data = given, DataCache()
        self.judge = load(given.rewards)
        self.reward = RewardModel.of(self.judge)
        self.source = (given.rewards / "checkpoint").resolve()
        options = {"task": "captions", **DRAWN}
        self.held_out = DataSpec(reader="tidepool", split=given.split, count=given.measured, options=options)
        self.begin = given.out / "taught" / "checkpoint"
        self.taught: nn.Module | None = None
        if not (self.begin / store.SPEC).is_file():
            captions = {**PICTURES["options"], "misnamed": given.misnamed}
            self.train("taught", {**TAUGHT, "data": {**PICTURES, "options": captions}}, 0)
        self.taught = load(self.begin).network.requires_grad_(False).eval()

    def recipe(self, arm: str, stage: Mapping[str, Any], seed: int) -> RecipeSpec:
        """A recipe of one stage that goes on from the captioner, or teaches it."""
        spec = self.judge.spec.to_dict()
        spec.pop("classifier")
        paid = {"reward": {"kind": "learned", "model": str(self.given.rewards)}}
        objective = stage["objective"]
        if isinstance(objective, dict) and objective["kind"] in ("ppo", "grpo"):
            objective = {**objective, **paid}
        named = {"name": arm.replace(" ", "-").replace(",", ""), "learn": ["language", "bridge"]}
        raw = {
            "name": "alignment",
            "seed": seed,
            "model": spec,
            "weights": str(self.captioner() / "checkpoint" if arm == "taught" else self.begin),
            "tokenizer": {"path": str(self.source / "tokenizer.json")},
            "stages": [{**named, "source_tokens": 32, "target_tokens": MOST, **stage, "objective": objective}],
        }
        recipe = parse_recipe(raw, arm)
        assert isinstance(recipe, RecipeSpec)
        return recipe

    def captioner(self) -> Path:
        """Where the captioner lies that the reward model began with: the one that sees has the lower loss."""

        def loss(folder: Path) -> float:
            lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
            return float(json.loads(lines[-1])["loss"])

        return min(self.given.rewards.glob("stages/captioner-*"), key=loss)

    def train(self, arm: str, stage: Mapping[str, Any], seed: int) -> list[dict[str, Any]]:
        """An arm from the captioner to its end: what was measured on the way."""
        recipe = self.recipe(arm, stage, seed)
        (spec,) = recipe.stages
        folder = self.given.out / (arm if arm == "taught" else f"{spec.name}-{seed}")
        stages = Stages(recipe, folder, self.data, "cpu")
        objective = stages.objective(spec)
        network = objective.prepare(stages.begun(spec))
        images = self.images(network)
        curve: list[dict[str, Any]] = []

        def look(step: int) -> None:
            curve.append({"step": step, **self.measured(network, seed)})
            print(json.dumps({"arm": arm, "seed": seed, **curve[-1]}), flush=True)

        for name, parameter in network.named_parameters():
            parameter.requires_grad_(not name.startswith("vision"))
        moments = [round(spec.steps * part / self.given.moments) for part in range(1, self.given.moments)]
        batches = Watched(objective.batches(spec.data, images), moments if arm in ARMS else [], look)
        trainer = Trainer(network, spec, objective.loss, batches, folder=folder, seed=seed, console=Console(quiet=True))
        trainer.run()
        network, kept = objective.kept(network)
        if arm in ARMS:
            look(spec.steps)
        store.save(folder / "checkpoint", network, kept)
        return curve

    def images(self, network: nn.Module) -> ImageInputs:
        """Features of the frozen vision encoder, kept beside those of the reward model's run."""
        vision = self.judge.spec.vision
        assert vision is not None
        return ImageInputs(features=ImageFeatures(vision_of(network), vision, self.given.rewards / "features").rows)

    def drawn(self, network: nn.Module, temperature: float, samples: int, seed: int) -> tuple[Any, ...]:
        """Held-out pictures with captions of each, their scores by the reward model, and the KL of what was drawn."""
        raw = {"objective": {"kind": "grpo", "beta": 0.1, "temperature": temperature}, "data": PICTURES, "steps": 1}
        recipe = self.recipe("measured", {**raw, "batch": 256}, seed)
        (spec,) = recipe.stages
        objective = Stages(recipe, self.given.out, self.data, "cpu").objective(spec)
        assert isinstance(objective, GRPO)
        objective.policy = network
        images = self.images(network)
        rollouts = objective.batches(self.held_out, images)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            rows = objective.sampler(rollouts.collate, images).write(rollouts.samples, samples)
        completions = [one for row in rows for one in row]
        examples = [example for example in rollouts.examples for _ in range(samples)]
        asked = [sample for sample in rollouts.samples for _ in range(samples)]
        tokenizer = objective.setting.tokenizer
        texts = [tokenizer.decode(list(one.ids)) for one in completions]
        scores = self.reward.replies(examples, list(zip(texts, (one.ended for one in completions), strict=True)))
        kl = None
        if temperature == 1.0 and self.taught is not None:
            batch = objective.sampler(rollouts.collate, images).lay_out(asked, completions, torch.tensor(scores))
            apart = objective.log_probabilities_of(network, batch) - objective.log_probabilities_of(self.taught, batch)
            kl = float(row_sums(apart, batch).mean())
        lengths = [len(one.ids) for one in completions]
        return examples, texts, scores, lengths, kl

    def measured(self, network: nn.Module, seed: int) -> dict[str, Any]:
        """Figures of captions that are drawn, and `greedy` of the likeliest."""
        *found, kl = self.drawn(network, 1.0, 1, seed)
        *likeliest, _ = self.drawn(network, GREEDY, 1, seed)
        return {"kl": kl, **figures_of(*found), "greedy": figures_of(*likeliest)}

    def best(self, seed: int) -> list[dict[str, Any]]:
        """What the captioner says best of 1, 2, 4 … captions, by the reward model."""
        assert self.taught is not None
        found = self.drawn(self.taught, 1.0, SAMPLES, seed)[:4]
        count, curve = 1, []
        while count <= SAMPLES:
            chosen = []
            for start in range(0, len(found[0]), SAMPLES):
                chosen.append(max(range(start, start + count), key=lambda at: found[2][at]))
            some = [[column[at] for at in chosen] for column in found]
            curve.append({"step": count, "kl": math.log(count) - (count - 1) / count, **figures_of(*some)})
            count *= 2
        return curve


def figures_of(
    examples: Sequence[Example], texts: Sequence[str], scores: Sequence[float], lengths: Sequence[int]
) -> dict[str, float]:
    """What captions are like: false claims by the scene, of all claims (%) and a caption; the mean score by the reward
    model; tokens; CIDEr-D, the mean of the two languages.
    """
    about = [example.metadata for example in examples]
    counted = [false_claims(text, a["scene"], a["family"], a["language"]) for text, a in zip(texts, about, strict=True)]
    false, claims = (sum(column) for column in zip(*counted, strict=True))
    cider = []
    for language in sorted({a["language"] for a in about}):
        pairs = [(t, e.target) for t, e in zip(texts, examples, strict=True) if e.metadata["language"] == language]
        cider.append(100 * fmean(cider_d([words(t) for t, _ in pairs], [[words(t)] for _, t in pairs])))
    return {
        "false": round(100 * false / max(claims, 1), 2),
        "gold": round(-false / len(texts), 4),
        "claims": round(claims / len(texts), 3),
        "proxy": round(fmean(scores), 4),
        "tokens": round(fmean(lengths), 2),
        "letters": round(fmean(map(len, texts)), 2),
        "cider": round(fmean(cider), 1),
    }


def summary(before: Mapping[str, Any], runs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Each arm's figures at its end, the mean of its seeds, beside the captioner's."""
    rows = [{"arm": "stage 1", "seeds": 1, **before}]
    for arm in dict.fromkeys(run["arm"] for run in runs):
        ends = [run["curve"][-1] for run in runs if run["arm"] == arm]
        row: dict[str, Any] = {
            key: round(fmean(end[key] for end in ends), 2) for key in ends[0] if key not in ("step", "greedy")
        }
        row["each"] = [end["false"] for end in ends]
        if "greedy" in ends[0]:
            row["greedy"] = {k: round(fmean(end["greedy"][k] for end in ends), 2) for k in ends[0]["greedy"]}
        rows.append({"arm": arm, "seeds": len(ends), **row})
    return rows


def plot(before: Mapping[str, Any], runs: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Gold and proxy over the KL, each arm's seeds thin lines of one colour."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(10, 4.5))
    for number, arm in enumerate(dict.fromkeys(run["arm"] for run in runs)):
        for place, run in enumerate(run for run in runs if run["arm"] == arm):
            points = sorted([{**before, "kl": 0.0}, *run["curve"]], key=lambda point: point.get("step", 0))
            for axis, key in zip(axes, ("gold", "proxy"), strict=True):
                label = arm if place == 0 else None
                axis.plot(
                    [p["kl"] for p in points], [p[key] for p in points], ".-", color=f"C{number}", lw=1, label=label
                )
    axes[0].set(xlabel="KL to stage 1, nats a caption", ylabel="false claims a caption, negated", title="Gold")
    axes[1].set(xlabel="KL to stage 1, nats a caption", ylabel="mean score", title="Proxy: the reward model")
    axes[1].legend()
    figure.tight_layout()
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rewards", type=Path, required=True, help="a run of align/captions")
    parser.add_argument("--arms", nargs="+", choices=[*ARMS, BEST], default=[*ARMS, BEST])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--split", default="test", help="of the pictures that are measured; val to choose settings by")
    parser.add_argument("--measured", type=int, default=540, help="held-out pictures")
    parser.add_argument("--moments", type=int, default=8, help="how often a curve is measured")
    parser.add_argument("--misnamed", type=float, default=0.6, help="share of stage 1's captions that are wrong")
    parser.add_argument(
        "--out", type=Path, required=True, help="the folder of figures.json, alignment.svg and the trainings"
    )
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
    given = parser.parse_args()
    torch.set_num_threads(1)
    given.out.mkdir(parents=True, exist_ok=True)
    bench = Bench(given)
    kept = given.out / "figures.json"
    known = json.loads(kept.read_text(encoding="utf-8")) if kept.is_file() else {}
    assert bench.taught is not None
    before, runs = known.get("before") or bench.measured(bench.taught, 0), known.get("runs", [])
    print(json.dumps({"arm": "stage 1", **before}), flush=True)
    for seed in given.seeds:
        for arm in given.arms:
            if (arm, seed) not in {(run["arm"], run["seed"]) for run in runs}:
                curve = bench.best(seed) if arm == BEST else bench.train(arm, ARMS[arm], seed)
                runs.append({"arm": arm, "seed": seed, "curve": curve})
            text = json.dumps({"before": before, "summary": summary(before, runs), "runs": runs}, indent=1)
            kept.write_text(text + "\n", encoding="utf-8")
            plot(before, runs, given.out / "alignment.svg")
    rows = summary(before, runs)
    if given.json:
        print(json.dumps(rows))
        return
    for row in rows:
        print({key: value for key, value in row.items() if key != "greedy"})


if __name__ == "__main__":
    main()
