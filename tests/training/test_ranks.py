"""Two processes that train together end with the weights of one: for every kind of stage, and whoever goes on."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from sepiola.data.batching import Sample
from sepiola.data.example import Example
from sepiola.data.metrics_log import read_metrics
from sepiola.errors import TrainingError
from sepiola.models.build import build
from sepiola.specs.model import ModelSpec
from sepiola.training.batches import ImageInputs
from sepiola.training.ranks import RankError, Ranks, cut, ranks_of
from sepiola.training.rewards import RewardSpec, Written
from sepiola.training.trainer import Trainer
from tests import policies, preferences, tiny
from tests.trainers import stage_of, text_trainer

Weights = dict[str, Tensor]
DECODER = tiny.llama(40, 16)
STEADY: dict[str, Any] = {
    "learning_rate": 3e-3,
    "schedule": "constant",
    "precision": "float32",
    "weight_decay": 0.0,
    "optimizer": {"kind": "adagrad"},  # AdamW makes steps of one size of gradients that are 0 but for rounding
}


# What both ranks run: each a function of the ranks and a folder, which gives the weights at its end.


def supervised(ranks: Ranks, folder: Path, *, steps: int = 6, dropout: float = 0.0, **stage: Any) -> Weights:
    """Language modelling of samples of unequal lengths, 14 of them: the last step of an epoch has fewer."""
    samples = [Sample(f"s{i}", [2 + i % 7] * (1 + i % 5), [9 + i, *[20 + i % 3] * (i % 4), 1]) for i in range(14)]
    base = {**STEADY, "batch": 4}
    model = build(ModelSpec.parse({"language": {**DECODER, "dropout": dropout}}), seed=1)
    made = stage_of(**{**base, "steps": steps, **stage})
    run = text_trainer(model, made, samples, validation=samples[:6], folder=folder, log_every=1, ranks=ranks)
    run.run(resume=True)
    return weights(run)


def weights(run: Trainer) -> Weights:
    return {name: value.clone() for name, value in run.model.state_dict().items()}


def killed(ranks: Ranks, folder: Path) -> Weights:
    """Rank 1 dies in its third step."""
    steps = iter(range(100))
    gather = ranks.gather

    def die(value: Any) -> Any:
        if ranks.rank == 1 and next(steps) == 6:
            os.kill(os.getpid(), signal.SIGKILL)
        return gather(value)

    ranks.gather = die  # type: ignore[method-assign]
    return supervised(ranks, folder, save_every=1)


class Pair:
    """Two processes that run functions of this file together."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.pipes, self.processes = [], []
        for rank in range(2):
            here, there = context.Pipe()
            process = context.Process(target=work, args=(rank, port, there), daemon=True)
            process.start()
            there.close()
            self.pipes.append(here)
            self.processes.append(process)

    def run(self, case: Callable[..., Weights], *arguments: Any, **options: Any) -> list[Any]:
        """What each rank gives, or the exception that it raised."""
        for pipe in self.pipes:
            pipe.send((case, arguments, options))
        results = []
        for pipe in self.pipes:
            try:
                results.append(pipe.recv())
            except EOFError:
                results.append("killed")
        return results

    def end(self) -> None:
        for process in self.processes:
            process.kill()
            process.join()


def work(rank: int, port: int, pipe: Any) -> None:
    """A rank: does what it is sent until it is killed."""
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    with ranks_of("cpu") as ranks:
        while True:
            case, arguments, options = pipe.recv()
            try:
                pipe.send(case(ranks, *arguments, **options))
            except Exception as error:
                traceback.print_exc()
                pipe.send(error)


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    made = Pair()
    yield made
    made.end()


def assert_close(first: Weights, second: Weights, within: float = 1e-6) -> None:
    assert first.keys() == second.keys()
    far = {name: float((first[name] - second[name]).abs().max()) for name in first}
    assert max(far.values()) <= within, {name: value for name, value in far.items() if value > within}


def assert_same(first: Weights, second: Weights) -> None:
    assert_close(first, second, 0.0)


STAGES: dict[str, dict[str, Any]] = {
    "a batch cut in two": {},
    "accumulated batches cut": {"accumulate": 3, "batch": 3},
    "whole batches shared": {"accumulate": 2, "batch": 7},
    "packed": {"packed": True},
    "a batch smaller than the ranks": {"batch": 1},
    "an adapter": {"lora": {"rank": 2}},
    "adamw": {"optimizer": {"kind": "adamw"}},
    "muon": {"optimizer": {"kind": "muon"}},
}


@pytest.mark.parametrize("name", STAGES)
def test_two_ranks_end_with_the_weights_of_one(pair: Pair, tmp_path: Path, name: str) -> None:
    one = supervised(Ranks(), tmp_path / "one", **STAGES[name])
    first, second = pair.run(supervised, tmp_path / "two", **STAGES[name])
    assert_same(first, second)
    assert_close(first, one, 1e-6 if "optimizer" not in STAGES[name] else 3e-4)
    if name == "whole batches shared":
        assert_same(first, one)
    logs = [read_metrics(tmp_path / folder / "metrics.jsonl") for folder in ("one", "two")]
    for ours, theirs in zip(*logs, strict=True):
        for key in ("step", "samples", "loss", "validation_loss", "gradient_norm", "epoch"):
            assert (ours.get(key) or 0) == pytest.approx(theirs.get(key) or 0, rel=1e-3), key


# Reinforcement and preferences.

PREFERENCES: dict[str, dict[str, Any]] = {
    "reward": {"objective": "reward"},
    "dpo": {"objective": "dpo"},
    "ipo, accumulated": {"objective": "ipo", "accumulate": 2},
    "kto, whole batches": {"objective": "kto", "accumulate": 2},
}


def preferred(ranks: Ranks, folder: Path, *, objective: str, **stage: Any) -> Weights:
    """Three steps over prompts with replies, of which an epoch has a number that is odd."""
    made = preferences.tokenizer()
    network, spec = preferences.model(preferences.LANGUAGES["decoder"], made)
    raw = {"kind": objective}
    examples = preferences.rankings()[:13]
    learned = preferences.objective(raw, spec, made, examples, **{**STEADY, "steps": 4, "batch": 5, **stage})
    learner = learned.prepare(network)
    batches = preferences.batches(learned)
    run = Trainer(learner, learned.stage, learned.loss, batches, folder=folder, log_every=1, ranks=ranks)
    run.run(resume=True)
    return weights(run)


@pytest.mark.parametrize("name", PREFERENCES)
def test_preferences_and_reward_models(pair: Pair, tmp_path: Path, name: str) -> None:
    one = preferred(Ranks(), tmp_path / "one", **PREFERENCES[name])
    first, second = pair.run(preferred, tmp_path / "two", **PREFERENCES[name])
    assert_same(first, second)
    assert_close(first, one)


REINFORCEMENT: dict[str, dict[str, Any]] = {
    "grpo": {"kind": "grpo", "beta": 0.1},
    "grpo, bnpo, scaled by the batch": {"kind": "grpo", "loss": "bnpo", "scale": "batch", "accumulate": 2},
    "ppo, two minibatches twice": {
        "kind": "ppo",
        "samples": 2,
        "iterations": 2,
        "minibatches": 2,
        "whiten_rewards": True,
    },
    "rloo": {"kind": "rloo", "samples": 4, "normalised": True},
}


class Even:
    """Pays for digits that are even, half for others, and a little for the length: all completions teach something."""

    spec = RewardSpec

    def __init__(self, spec: RewardSpec | None = None) -> None:
        pass

    def score(self, examples: Sequence[Example], written: Sequence[Written]) -> list[float]:
        return [sum(ord(letter) % 7 for letter in one.text) / 7 - len(one.text) / 5 for one in written]


def reinforced(ranks: Ranks, folder: Path, *, kind: str, steps: int = 3, accumulate: int = 1, **raw: Any) -> Any:
    """Some steps of reinforcement; the weights, and all that was drawn last."""
    made = policies.tokenizer()
    network, spec = policies.policy(policies.KINDS["decoder"], made)
    settings = {**STEADY, "steps": steps, "batch": 8, "accumulate": accumulate}
    learned = policies.objective({"kind": kind, "samples": 4, **raw}, spec, made, **settings)
    learner = learned.prepare(network)
    batches = learned.batches(learned.stage.data, ImageInputs())
    batches.reward = Even()
    run = Trainer(learner, learned.stage, learned.loss, batches, folder=folder, log_every=1, ranks=ranks)
    run.run(resume=True)
    return weights(run)


@pytest.mark.parametrize("name", REINFORCEMENT)
def test_reinforcement(pair: Pair, tmp_path: Path, name: str) -> None:
    one = reinforced(Ranks(), tmp_path / "one", **REINFORCEMENT[name])
    first, second = pair.run(reinforced, tmp_path / "two", **REINFORCEMENT[name])
    assert_same(first, second)
    assert_close(first, one)
    logs = [read_metrics(tmp_path / folder / "metrics.jsonl") for folder in ("one", "two")]
    for ours, theirs in zip(*logs, strict=True):
        for key in set(ours) - {"seconds", "tokens_per_second", "peak_memory_gb", "stage", "device", "precision"}:
            assert ours[key] == pytest.approx(theirs[key], rel=1e-3, abs=1e-6), key
