"""Reinforcement learning from human feedback with pictures: what each method buys, in a world whose truth is known.

The captioner of `align/captions` goes on for 150 steps with the captions of hasty annotators (stage 1): in 60% of them
one colour is called by another one's name, or one number is too high (`misnamed`). Its vision encoder, frozen, tells
what there is; it knows how to say it, and has learned not to. It describes training pictures six times each, and an
annotator who sees the truth (`sepiola.tidepool.annotator`) ranks what it has said. A reward model, the judge, learns
from these rankings, from captions of which two values have changed places, and from pairs as the recipe has them.

From stage 1 go on PPO and GRPO, paid by the judge; DPO, on the best and the worst of each picture's six captions; dense
DPO, on the worst one and the true caption, where they part; and best-of-16, which samples as many captions and says the
one that the judge likes best. `grpo, little KL` may go farther from stage 1, to show where the judge is hacked;
best-of-16 by the scene's own truth is what no judge can surpass.

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
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from alignment_figures import figures_of, plot, summary
from rich.console import Console
from torch import nn

from sepiola.api import Model, load
from sepiola.checkpoints import store
from sepiola.data.batching import Batch
from sepiola.data.example import Example
from sepiola.data.preferences import completions_of
from sepiola.datasets import DataCache
from sepiola.experiments.recipe_files import parse_recipe
from sepiola.experiments.stages import Stages
from sepiola.generation.image_features import ImageFeatures
from sepiola.models.multimodal.vision_language import vision_of
from sepiola.reasoning.reward import RewardModel
from sepiola.specs.data import DataSpec
from sepiola.specs.recipe import RecipeSpec
from sepiola.text.processor import Processor
from sepiola.tidepool import captions, preferences
from sepiola.tidepool.annotator import annotated, exchanged_pairs, worth
from sepiola.tidepool.hasty import misname
from sepiola.training.batches import Batches, ImageInputs
from sepiola.training.objectives.grpo import GRPO
from sepiola.training.policy import row_sums
from sepiola.training.sampler import Completion
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
SLOW = {**GENTLE, "learning_rate": 1.0e-4}
PPO = {
    "kind": "ppo",
    "samples": 4,
    "temperature": 1.1,
    "iterations": 1,
    "beta": 0.3,
    "gae_lambda": 1.0,
    "whiten_rewards": True,
    "value_epsilon": 1.0,
    "value_weight": 0.001,
}
GROUPS = {"kind": "grpo", "samples": 8, "beta": 0.1}
FASTER = {**GENTLE, "learning_rate": 2.5e-4}
FEWER = {**PICTURES, "count": 2400}
ARMS: dict[str, dict[str, Any]] = {
    "ppo": {"objective": PPO, "data": FEWER, "steps": 300, "batch": 64, "optimizer": FASTER},
    "grpo": {
        "objective": {**GROUPS, "temperature": 1.1},
        "data": FEWER,
        "steps": 240,
        "batch": 64,
        "optimizer": FASTER,
    },
    "dpo": {"objective": {"kind": "dpo", "beta": 0.3}, "data": PAIRS, "steps": 160, "batch": 32, "optimizer": SLOW},
    "dense dpo": {
        "objective": {"kind": "dpo", "dense": 5.0, "beta": 2.0},
        "data": PAIRS,
        "steps": 160,
        "batch": 32,
        "optimizer": SLOW,
    },
}
"""KL weights, rates and steps were chosen by pictures of the validation split."""
ARMS["grpo, little KL"] = {
    "objective": {**GROUPS, "beta": 0.02},
    "data": PICTURES,
    "steps": 240,
    "batch": 64,
    "optimizer": GENTLE,
}
BEST, TRUTH = "best of 16", "best of 16, by truth"
OWN = {"pictures": 2400, "samples": 6, "seed": 11}
"""What stage 1 says of training pictures."""
JUDGE = {
    "objective": {"kind": "reward", "centring": 0.001},
    "data": PAIRS,
    "steps": 800,
    "batch": 32,
    "target_tokens": 64,
    "optimizer": {**MUON, "warmup": 50},
}
SAMPLES = 16
FIRST = ("taught", "judge")
"""What is trained before all arms."""


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


class Given(Stages):
    """A run of a recipe whose data may be examples that are given."""

    examples: Sequence[Example] | None = None

    def read(self, data: DataSpec) -> list[Example]:
        return super().read(data) if self.examples is None else [*self.examples]


class Bench:
    """The captioner that all go on from, what it said of training pictures, the judge, and the held-out pictures."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.given, self.data = given, DataCache()
        self.first = load(given.rewards)
        self.source = (given.rewards / "checkpoint").resolve()
        options = {"task": "captions", **DRAWN}
        self.held_out = DataSpec(reader="tidepool", split=given.split, count=given.measured, options=options)
        self.begin = given.out / "taught" / "checkpoint"
        self.taught: nn.Module | None = None
        if not (self.begin / store.SPEC).is_file():
            captions = {**PICTURES["options"], "misnamed": given.misnamed}
            self.train("taught", {**TAUGHT, "data": {**PICTURES, "options": captions}}, 0)
        self.taught = load(self.begin).network.requires_grad_(False).eval()
        folder = given.out / "judge" / "checkpoint"
        if not (folder / store.SPEC).is_file():
            self.train("judge", JUDGE, 0, self.comparisons())
        self.reward = RewardModel.of(load(folder))

    @cached_property
    def own(self) -> list[tuple[Example, list[str]]]:
        """Training pictures, and what stage 1 says of each, drawn once."""
        examples = captions("train", OWN["pictures"], seed=OWN["seed"], **DRAWN)
        kept = self.given.out / "own.json"
        if not kept.is_file():
            assert self.taught is not None
            _, _, texts, _ = self.written(self.taught, examples, 1.0, OWN["samples"], OWN["seed"])
            rows = [texts[at : at + OWN["samples"]] for at in range(0, len(texts), OWN["samples"])]
            kept.write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
        return [*zip(examples, json.loads(kept.read_text(encoding="utf-8")), strict=True)]

    def comparisons(self) -> list[Example]:
        """What the judge learns from: stage 1's captions and the true one, exchanged values, and the recipe's pairs."""
        own = [annotated(e, [*texts, e.target]) for e, texts in self.own]
        exchanged = exchanged_pairs(captions("train", 6000, seed=12, size=DRAWN["size"]))
        pairs = preferences("train", 8000, size=DRAWN["size"], texts=["captions"])
        found = [*(one for one in own if one is not None), *exchanged, *pairs]
        return [replace(one, id=f"{place}-{one.id}") for place, one in enumerate(found)]

    def pairs(self, *, corrected: bool) -> list[Example]:
        """Of each picture the worst of stage 1's captions, and the best one, or the true one."""
        found = []
        for example, texts in self.own:
            ordered = sorted(texts, key=lambda text: worth(example, text))
            found.append(annotated(example, [ordered[0], example.target if corrected else ordered[-1]]))
        return [one for one in found if one is not None]

    def recipe(self, arm: str, stage: Mapping[str, Any], seed: int) -> RecipeSpec:
        """A recipe of one stage that goes on from the captioner, or teaches it."""
        spec = self.first.spec.to_dict()
        spec.pop("classifier")
        judge = self.given.out / "judge" / "checkpoint"  # before it is there, nothing is paid
        paid = {"reward": {"kind": "learned", "model": str(judge if judge.is_dir() else self.given.rewards)}}
        objective = stage["objective"]
        if isinstance(objective, dict) and objective["kind"] in ("ppo", "grpo"):
            objective = {**objective, **paid}
        named = {"name": arm.replace(" ", "-").replace(",", ""), "learn": ["language", "bridge"]}
        raw = {
            "name": "alignment",
            "seed": seed,
            "model": spec,
            "weights": str(self.captioner() / "checkpoint" if arm in FIRST else self.begin),
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

    def train(
        self, arm: str, stage: Mapping[str, Any], seed: int, examples: Sequence[Example] | None = None
    ) -> list[dict[str, Any]]:
        """An arm from the captioner to its end, over examples if they are given: what was measured on the way."""
        recipe = self.recipe(arm, stage, seed)
        (spec,) = recipe.stages
        folder = self.given.out / (arm if arm in FIRST else f"{spec.name}-{seed}")
        stages = Given(recipe, folder, self.data, "cpu")
        stages.examples = examples
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
        processor = objective.processor(Processor.of(kept, stages.tokenizer))
        Model(network, kept, processor, objective.replying()).save(folder / "checkpoint")
        return curve

    def images(self, network: nn.Module) -> ImageInputs:
        """Features of the frozen vision encoder, kept beside those of the reward model's run."""
        vision = self.first.spec.vision
        assert vision is not None
        return ImageInputs(features=ImageFeatures(vision_of(network), vision, self.given.rewards / "features").rows)

    def written(
        self, network: nn.Module, examples: Sequence[Example], temperature: float, samples: int, seed: int
    ) -> tuple[GRPO, list[Example], list[str], list[Completion]]:
        """Captions of pictures as they are drawn, so many of each, beside their pictures and who wrote them."""
        raw = {"objective": {"kind": "grpo", "beta": 0.1, "temperature": temperature}, "data": PICTURES, "steps": 1}
        recipe = self.recipe("measured", {**raw, "batch": 256}, seed)
        (spec,) = recipe.stages
        stages = Given(recipe, self.given.out, self.data, "cpu")
        stages.examples = examples
        objective = stages.objective(spec)
        assert isinstance(objective, GRPO)
        objective.policy = network
        images = self.images(network)
        rollouts = objective.batches(spec.data, images)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            rows = objective.sampler(rollouts.collate, images).write(rollouts.samples, samples)
        completions = [one for row in rows for one in row]
        texts = [objective.setting.tokenizer.decode(list(one.ids)) for one in completions]
        return objective, [example for example in examples for _ in range(samples)], texts, completions

    def drawn(self, network: nn.Module, temperature: float, samples: int, seed: int) -> tuple[Any, ...]:
        """Held-out pictures with captions of each, their scores by the judge, and the KL of what was drawn."""
        held_out = self.data.read(self.held_out)
        objective, examples, texts, completions = self.written(network, held_out, temperature, samples, seed)
        scores = self.reward.replies(examples, list(zip(texts, (one.ended for one in completions), strict=True)))
        kl = None
        if temperature == 1.0 and self.taught is not None:
            images = self.images(network)
            rollouts = objective.batches(objective.stage.data, images)
            asked = [sample for sample in rollouts.samples for _ in range(samples)]
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

    def best(self, seed: int, *, truth: bool) -> list[dict[str, Any]]:
        """What the captioner says best of 1, 2, 4 … captions, by the judge or by the scene's truth."""
        assert self.taught is not None
        found = self.drawn(self.taught, 1.0, SAMPLES, seed)[:4]
        liked = [worth(example, text) for example, text in zip(*found[:2], strict=True)] if truth else found[2]
        count, curve = 1, []
        while count <= SAMPLES:
            chosen = []
            for start in range(0, len(found[0]), SAMPLES):
                chosen.append(max(range(start, start + count), key=lambda at: liked[at]))
            some = [[column[at] for at in chosen] for column in found]
            curve.append({"step": count, "kl": math.log(count) - (count - 1) / count, **figures_of(*some)})
            count *= 2
        return curve

    def known(self) -> dict[str, float]:
        """How often the judge finds the true one of two captions of held-out pictures, by what is wrong (%)."""
        pictures = captions(self.given.split, 540, size=DRAWN["size"])
        pairs = {
            "exchanged": exchanged_pairs(pictures),
            "misnamed": [one for e in pictures if (one := annotated(e, [e.target, misname(e) or ""]))],
            "one fact": preferences(self.given.split, 600, size=DRAWN["size"], texts=["captions"]),
        }
        found = {}
        for name, examples in pairs.items():
            rows = [sorted(completions_of(e), key=lambda one: -one.score) for e in examples]
            asked = [e for e in examples for _ in (0, 1)]
            scores = self.reward.replies(asked, [(one.text, True) for row in rows for one in row])
            right = [better > worse for better, worse in zip(scores[::2], scores[1::2], strict=True)]
            found[name] = round(100 * fmean(right), 1)
        return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rewards", type=Path, required=True, help="a run of align/captions")
    parser.add_argument("--arms", nargs="+", choices=[*ARMS, BEST, TRUTH], default=[*ARMS, BEST, TRUTH])
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
    judge = known.get("judge") or bench.known()
    print(json.dumps({"arm": "stage 1", **before, "judge": judge}), flush=True)
    for seed in given.seeds:
        for arm in given.arms:
            if (arm, seed) not in {(run["arm"], run["seed"]) for run in runs}:
                if arm in (BEST, TRUTH):
                    curve = bench.best(seed, truth=arm == TRUTH)
                else:
                    pairs = bench.pairs(corrected=arm == "dense dpo") if "dpo" in arm else None
                    curve = bench.train(arm, ARMS[arm], seed, pairs)
                runs.append({"arm": arm, "seed": seed, "curve": curve})
            text = json.dumps(
                {"before": before, "judge": judge, "summary": summary(before, runs), "runs": runs}, indent=1
            )
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
