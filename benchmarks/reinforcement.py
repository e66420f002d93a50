"""Reinforcement beside supervised training and rejection sampling: each goes on from one agent that has learned from
few known calls, for the same time.

GRPO, PPO and rejection sampling learn from what a reward says of their own replies to requests that are made anew,
whose calls nobody shows them. Rejection sampling draws for half of its time, by the agent as it begins, and then trains
on the right replies; online it learns those of each rollout. Supervised training goes on with the known calls, those
that the agent was trained on; `supervised, all known` is shown the right calls of the new requests: what that knowledge
would be worth. Time is the processor's, of one thread, so that what else the machine does counts for nothing; measuring
is left out of it. Held-out requests, whose phrasings and values no training request has, are answered greedily without
a grammar as time goes by (`exact`), and after all trainings as an agent answers them, under its grammar (`as agent`).
What `figures.json` in the folder has already is not run again.

What is missing may be knowledge, as in an agent of few known calls, or behaviour: with `--sloppy SHARE` the agent first
goes on with its known requests, of which that share of those for several calls show the first call alone, and with
`--faults cut omit` that share of arguments that have a default is missing too. It still knows how to call several
times, and has learned not to. These sloppy demonstrations are then what is known.

    sepiola act train phone --out runs/early --count 10000 --set stages.0.steps=2500
    python benchmarks/reinforcement.py --agent runs/early --out /tmp/reinforced
    sepiola act train phone --out runs/agent
    python benchmarks/reinforcement.py --agent runs/agent --sloppy 0.9 --faults cut omit --minutes 2 --out /tmp/mended
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import yaml
from reinforcement_figures import plot, summary
from rejection_sampling import OnlineRejectionSampling, right_replies
from rich.console import Console
from sloppy import FAULTS, sloppy
from torch import nn

from sepiola.acting.sets import functions_named
from sepiola.acting.synthesis import synthesize
from sepiola.api import Model, load
from sepiola.data.batching import Batch
from sepiola.data.example import Example
from sepiola.datasets import DataCache
from sepiola.datasets.requests import read_requests
from sepiola.evaluation.benchmarks import measure
from sepiola.evaluation.benchmarks.settings import Settings
from sepiola.experiments.agent import REQUESTS, described, write_requests
from sepiola.experiments.recipe_files import parse_recipe
from sepiola.experiments.run import Run
from sepiola.experiments.stages import Stages
from sepiola.specs.data import DataSpec
from sepiola.specs.recipe import RecipeSpec
from sepiola.training.batches import Batches, ImageInputs
from sepiola.training.objectives.grpo import GRPO
from sepiola.training.policy import RolloutBatch
from sepiola.training.trainer import Trainer

CALLS = {"kind": "function-calling", "functions": "phone"}
REWARD = {"kind": "calls", "functions": "phone"}
NEW = 1_000_003
"""The seed of new requests."""
GENTLE = {"warmup": 3, "betas": [0.9, 0.98], "weight_decay": 0.0}
ARMS: dict[str, dict[str, Any]] = {
    "grpo": {
        "objective": {"kind": "grpo", "reward": REWARD, "samples": 8, "scale": "mean"},
        "batch": 128,
        "optimizer": {**GENTLE, "learning_rate": 5.0e-4},
    },
    "ppo": {
        "objective": {
            "kind": "ppo",
            "reward": REWARD,
            "samples": 8,
            "iterations": 2,
            "beta": 0.0,
            "gae_lambda": 1.0,
            "filter_groups": True,
        },
        "batch": 128,
        "optimizer": {**GENTLE, "learning_rate": 5.0e-4},
    },
    "rejection sampling, online": {
        "objective": {"kind": "grpo", "reward": REWARD, "samples": 8},
        "batch": 128,
        "optimizer": {**GENTLE, "learning_rate": 5.0e-4},
    },
    "supervised": {
        "objective": CALLS,
        "batch": 16,
        "optimizer": {"kind": "muon", "learning_rate": 2.0e-3, "warmup": 20, "betas": [0.9, 0.98]},
    },
}
ARMS["supervised, all known"] = ARMS["supervised"]
ARMS["rejection sampling"] = {
    **ARMS["supervised"],
    "optimizer": {**ARMS["supervised"]["optimizer"], "learning_rate": 5.0e-4},
}
DRAWING = 0.5
"""The share of its time in which rejection sampling draws."""


SLOPPY_STEPS = 400
"""How long an agent goes on with sloppy demonstrations."""


class Timed:
    """Batches that end a training when its time is over, and measure it at some moments, which costs it no time.

    Steps are as many as fit, so that the schedule of the learning rate ends when the time does.
    """

    def __init__(self, batches: Batches, seconds: float, moments: int, at_moment: Callable[[float], None]) -> None:
        self.batches = batches
        self.seconds = seconds
        self.moments = [seconds * part / moments for part in range(1, moments)]
        self.at_moment = at_moment
        self.trainer: Trainer | None = None
        self.began: float | None = None
        self.steps_per_epoch = batches.steps_per_epoch
        self.counts = batches.counts
        self.ranks, self.whole = batches.ranks, batches.whole
        self.once, self.peek, self.largest = batches.once, batches.peek, batches.largest
        self.state, self.restore, self.fingerprint = batches.state, batches.restore, batches.fingerprint

    @property
    def epoch(self) -> float:
        return self.batches.epoch

    def spent(self) -> float:
        """Seconds of the processor."""
        return time.process_time() - (self.began or 0.0)

    def next(self) -> list[Batch]:
        assert self.trainer is not None
        if self.began is None:
            self.began = time.process_time()
        if self.moments and self.spent() >= self.moments[0]:
            del self.moments[0]
            began = time.process_time()
            self.at_moment(self.spent())
            self.began += time.process_time() - began
        step, spent = self.trainer.at.step, self.spent()
        over = spent >= self.seconds
        if step > 2 or over:
            self.trainer.steps = step + 1 if over else max(step + 2, round(step * self.seconds / spent))
        return self.batches.next()


class Bench:
    """One agent, the requests that it is asked anew, and those that measure it."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.given = given
        self.begin = given.agent
        self.agent = load(self.begin)
        self.at_first: float | None = None
        self.known = self.begin / REQUESTS
        self.held_out = given.out / "held-out"
        self.test = self._measured_by()
        self.prompts = given.out / "prompts"
        for folder in (self.prompts, self.held_out):
            folder.mkdir(parents=True, exist_ok=True)
        if not (self.prompts / "train.jsonl").is_file():
            write_requests(self.prompts / "train.jsonl", self._prompts())
        write_requests(self.held_out / "test.jsonl", self.test)
        self.changes = [change.split("=", 1) for change in given.changes]
        if given.sloppy:
            self._made_sloppy(given.out / "sloppy")

    def _made_sloppy(self, folder: Path) -> None:
        """The agent after some more training on demonstrations that say too little; all arms begin from it."""
        if not (folder / "checkpoint").is_dir():
            (folder / REQUESTS).mkdir(parents=True, exist_ok=True)
            known = read_requests(self.known, "train")
            functions = {function.name: function for function in functions_named("phone")}
            shown = [sloppy(example, self.given.sloppy, self.given.faults, functions) for example in known]
            write_requests(folder / REQUESTS / "train.jsonl", shown)
            write_requests(folder / REQUESTS / "test.jsonl", read_requests(self.known, "test"))
            self.known = folder / REQUESTS
            Run(self.recipe("supervised", 0, SLOPPY_STEPS), folder, console=Console(quiet=True), resume=True).go()
        self.begin, self.known = folder, folder / REQUESTS
        self.agent = load(self.begin)

    def _measured_by(self) -> list[Example]:
        """The requests that measure: held out, or of the validation split, whose phrasings and values are others."""
        if self.given.split == "test":
            requests = read_requests(self.known, "test")
        else:
            requests = synthesize(described(functions_named("phone")), "val", 2 * self.given.measured, seed=NEW)
        return [e for e in requests if e.metadata["calls"]][: self.given.measured]

    def _prompts(self) -> list[Example]:
        """New requests of the training split that call something: half of them several times."""
        made = synthesize(described(functions_named("phone")), "train", 3 * self.given.prompts, seed=NEW)
        known = {e.prompt for e in read_requests(self.known, "train")}
        new = [e for e in made if e.metadata["calls"] and e.prompt not in known]
        several = [e for e in new if len(e.metadata["calls"]) > 1][: self.given.prompts // 2]
        one = [e for e in new if len(e.metadata["calls"]) == 1][: self.given.prompts - len(several)]
        return [*several, *one]

    def recipe(self, arm: str, seed: int, steps: int = 1 << 30) -> RecipeSpec:
        """A recipe of one stage that goes on from the agent."""
        checkpoint = self.begin / "checkpoint"
        stage = {
            "name": arm.replace(" ", "-").replace(",", ""),
            "learn": ["language"],
            "data": {
                "reader": "requests",
                "root": str(self.known if arm == "supervised" else self.prompts),
            },
            "steps": steps,
            "source_tokens": 160,
            "target_tokens": 120,
            **ARMS[arm],
        }
        raw = {
            "name": "reinforcement",
            "seed": seed,
            "images": False,
            "model": self.agent.spec.to_dict(),
            "weights": str(checkpoint),
            "tokenizer": {"path": str(checkpoint / "tokenizer.json")},
            "stages": [stage],
        }
        for key, value in self.changes:
            name, path = key.split(".", 1)
            if name == arm:
                place: Any = stage
                *folders, last = path.split(".")
                for folder in folders:
                    place[folder] = dict(place.get(folder, {}))
                    place = place[folder]
                place[last] = yaml.safe_load(value)
        recipe = parse_recipe(raw, arm)
        assert isinstance(recipe, RecipeSpec)
        return recipe

    def run(self, arm: str, seed: int) -> dict[str, Any]:
        """An arm from the agent to its end."""
        recipe = self.recipe(arm, seed)
        folder = self.given.out / f"{recipe.stages[0].name}-{seed}"
        seconds, drawing = 60 * self.given.minutes, 0.0
        if arm == "rejection sampling":
            recipe, drawing = self.drawn(recipe, seed, DRAWING * seconds, folder / REQUESTS)
        stages = Stages(recipe, folder, DataCache(), "cpu")
        (stage,) = recipe.stages
        online = arm == "rejection sampling, online"
        objective = OnlineRejectionSampling(stage, stages) if online else stages.objective(stage)
        network = objective.prepare(stages.begun(stage))
        if self.at_first is None:
            self.at_first = self.greedy(stages, network)
        curve = [{"seconds": moment, "exact": self.at_first} for moment in dict.fromkeys([0.0, round(drawing, 1)])]

        def measured(seconds: float) -> None:
            curve.append({"seconds": round(drawing + seconds, 1), "exact": self.greedy(stages, network)})
            print(json.dumps({"arm": arm, "seed": seed, **curve[-1]}), flush=True)

        own = objective.batches(stage.data, ImageInputs())
        batches = Timed(own, seconds - drawing, self.given.moments, measured)
        console = Console(quiet=True)
        trainer = Trainer(network, stage, objective.loss, batches, folder=folder, seed=seed, console=console)
        batches.trainer = trainer
        result = trainer.run()
        measured(batches.spent())
        network, _ = objective.kept(network)
        lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
        wall = max(result.seconds, 1e-9)
        rewards = [
            {"seconds": round(line["seconds"] / wall * batches.spent(), 1), "reward": round(100 * line["reward"], 2)}
            for line in lines
            if "reward" in line
        ]
        Model(network, self.agent.spec, self.agent.processor, self.agent.answering).save(folder / "agent")
        done = {"arm": arm, "seed": seed, "folder": folder.name, "steps": result.steps}
        return {**done, "curve": curve, "rewards": rewards}

    def drawn(self, recipe: RecipeSpec, seed: int, seconds: float, folder: Path) -> tuple[RecipeSpec, float]:
        """The recipe on the right replies that the agent draws in so many seconds, and the seconds that it took."""
        asking = self.recipe("rejection sampling, online", seed)
        stages = Stages(asking, folder, DataCache(), "cpu")
        objective = GRPO(asking.stages[0], stages)
        objective.prepare(stages.begun(asking.stages[0]))
        torch.manual_seed(seed)
        right, spent = right_replies(objective.rollouts(asking.stages[0].data, ImageInputs()), seconds)
        folder.mkdir(parents=True, exist_ok=True)
        write_requests(folder / "train.jsonl", right)
        (stage,) = recipe.stages
        data = stage.data.model_copy(update={"root": str(folder)})
        return recipe.model_copy(update={"stages": (stage.model_copy(update={"data": data}),)}), spent

    def greedy(self, stages: Stages, network: nn.Module) -> float:
        """Percent of held-out requests whose likeliest reply is right, without a grammar."""
        (stage,) = stages.recipe.stages
        raw = {"kind": "grpo", "reward": REWARD, "temperature": 1e-5}
        asked = stage.model_copy(update={"batch": 256, "objective": GRPO.spec.model_validate(raw)})
        objective = GRPO(asked, stages)
        objective.policy = network
        data = DataSpec(reader="requests", root=str(self.held_out), split="test")
        with torch.random.fork_rng(devices=[]):
            batches = objective.batches(data, ImageInputs())
            right = torch.cat([batch.rewards for batch in batches.once() if isinstance(batch, RolloutBatch)])
        return round(100 * float(right.mean()), 2)

    def as_agent(self, folder: Path) -> float:
        """Percent of whole calls that an agent writes rightly, under its grammar."""
        data = DataSpec(reader="requests", root=str(self.begin))
        figures = measure(load(folder), Settings(data, read=lambda _: self.test)).figures["acting"]
        return round(100 * figures["exact"]["value"], 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agent", type=Path, required=True, help="a run of `sepiola act train phone`")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=[*ARMS])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--minutes", type=float, default=3.0, help="of the processor, for each arm and seed")
    parser.add_argument("--moments", type=int, default=6, help="how often the curve is measured")
    parser.add_argument(
        "--prompts", type=int, default=20_000, help="new requests, whose calls reinforcement is not shown"
    )
    parser.add_argument("--measured", type=int, default=2000, help="held-out requests, at most")
    parser.add_argument(
        "--split", choices=["val", "test"], default="test", help="what measures: val, to choose rates by"
    )
    parser.add_argument("--set", dest="changes", action="append", default=[], help="ARM.KEY=VALUE, of an arm's stage")
    parser.add_argument(
        "--out", type=Path, required=True, help="the folder of figures.json, reinforcement.svg and the trainings"
    )
    parser.add_argument("--sloppy", type=float, default=0.0, help="share of cases shown with a fault, first")
    parser.add_argument("--faults", nargs="+", choices=FAULTS, default=["cut"], help="of sloppy demonstrations")
    parser.add_argument("--as-agent", action=argparse.BooleanOptionalAction, default=True, help="measure agents, too")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
    given = parser.parse_args()
    torch.set_num_threads(1)
    given.out.mkdir(parents=True, exist_ok=True)
    bench = Bench(given)
    kept = given.out / "figures.json"
    runs: list[dict[str, Any]] = json.loads(kept.read_text(encoding="utf-8"))["runs"] if kept.is_file() else []
    before: dict[str, float] = {}

    def written() -> list[dict[str, Any]]:
        rows = summary(len(bench.test), runs)
        text = json.dumps({"held out": len(bench.test), "summary": rows, "runs": runs, "before": before}, indent=1)
        kept.write_text(text + "\n", encoding="utf-8")
        plot(runs, given.out / "reinforcement.svg")
        return rows

    for seed in given.seeds:
        for arm in given.arms:
            if (arm, seed) not in {(run["arm"], run["seed"]) for run in runs}:
                runs.append(bench.run(arm, seed))
            rows = written()
    if given.as_agent:
        before["as agent"] = bench.as_agent(bench.begin)
        for run in [run for run in runs if "as agent" not in run]:
            run["as agent"] = bench.as_agent(given.out / run["folder"] / "agent")
            rows = written()
    if given.json:
        print(json.dumps({"held out": len(bench.test), "summary": rows, "before": before}))
        return
    for row in rows:
        print(f"{row['arm']}: {row['before']} to {row['exact']} ({row['low']} to {row['high']}), each {row['each']}")


if __name__ == "__main__":
    main()
