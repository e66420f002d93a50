"""A toy for reinforcement: a prompt names a digit, and the answer is that digit in words of the other kind."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

import sepiola
from sepiola.data.example import Example, Message
from sepiola.specs.data import DataSpec
from sepiola.specs.model import ModelSpec
from sepiola.text.tokenizer import Tokenizer
from sepiola.training.batches import ImageInputs
from sepiola.training.objectives import objective_of
from sepiola.training.objectives.reinforcement import Reinforcement
from sepiola.training.policy import RolloutBatch
from sepiola.training.rewards import RewardSpec, Written
from sepiola.training.rollouts import Rollouts
from sepiola.training.trainer import Trainer
from tests import tiny
from tests.trainers import ExampleSetting, stage_of, text_trainer

EN = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
ZH = "零一二三四五六七八九"
DIGITS = [
    Example(f"{name}-{n}", (Message("user", (name,)),), str(n))
    for n, pair in enumerate(zip(EN, ZH, strict=True))
    for name in pair
]
KINDS = {"decoder": tiny.llama(width=32, hidden=64), "encoder-decoder": tiny.encoder_decoder(width=32, hidden=64)}
TEXTS = [
    Example(f"text-{n}", (), " ".join([*EN[n:], *EN[:n], *ZH[n:]]) if n % 2 else f"{EN[n]} {ZH[n]}") for n in range(6)
]
PTX = {"data": {"reader": "texts"}, "weight": 2.0, "batch": 3}
BASE: dict[str, Any] = {"steps": 2, "batch": 8, "source_tokens": 16, "target_tokens": 4, "precision": "float32"}


class Setting(ExampleSetting):
    """Examples as prompts, and beside them plain text."""

    def read(self, data: DataSpec) -> list[Example]:
        return [*TEXTS] if data.reader == "texts" else super().read(data)


class Rising:
    """Pays each completion more than the one before, so that all of them teach something."""

    spec = RewardSpec

    def __init__(self, spec: RewardSpec | None = None) -> None:
        pass

    def score(self, examples: Sequence[Example], written: Sequence[Written]) -> list[float]:
        return [float(place) for place in range(len(written))]


def tokenizer() -> Tokenizer:
    """One that has every name and digit as a token."""
    return Tokenizer.train([*EN * 9, *(ZH * 9), *("0123456789" * 9)], 320)


def policy(language: dict[str, Any], made: Tokenizer, seed: int = 0, **more: Any) -> Any:
    """A model of random weights for the tokenizer, and its spec."""
    spec = ModelSpec.parse({"language": {**language, "vocabulary": made.vocabulary}, **more})
    return sepiola.build(spec, seed=seed).network, spec


def batch_of(lengths: list[int], **more: Any) -> RolloutBatch:
    """Completions of these lengths; nothing else of them counts."""
    labels = torch.full((len(lengths), max(lengths)), -100)
    for row, length in enumerate(lengths):
        labels[row, :length] = 1
    empty = {"source": None, "source_mask": None, "target_mask": None, "images": None, "image_mask": None}
    sizes = {"image_sizes": None, "instructions": None, "tokens": 0, "labelled": sum(lengths)}
    none = torch.tensor([])
    return RolloutBatch(
        ids=(),
        **empty,
        **sizes,
        target=labels,
        labels=labels,
        rewards=none,
        forbidden=none,
        **more,  # type: ignore[arg-type]
    )


def objective(
    objective: dict[str, Any], spec: ModelSpec, made: Tokenizer, examples: Sequence[Example] = DIGITS, **stage: Any
) -> Reinforcement:
    """An objective of reinforcement over the digits."""
    raw = {**BASE, **stage, "objective": {"reward": "exact", **objective}}
    found = objective_of(stage_of(**raw), Setting(spec, made, examples))
    assert isinstance(found, Reinforcement)
    return found


def rollouts(learned: Reinforcement, network: Any) -> Rollouts:
    """Its batches over a network that begins the stage."""
    learned.prepare(network)
    return learned.rollouts(learned.stage.data, ImageInputs())


def trainer(learned: Reinforcement, network: Any, folder: Path, **more: Any) -> Trainer:
    """A trainer of the objective, from the network's weights on."""
    learner = learned.prepare(network)
    return Trainer(
        learner, learned.stage, learned.loss, learned.batches(learned.stage.data, ImageInputs()), folder=folder, **more
    )


def half_trained(
    language: dict[str, Any], made: Tokenizer, folder: Path, steps: int, **more: Any
) -> tuple[Any, ModelSpec]:
    """A policy that supervised training was stopped in."""
    network, spec = policy(language, made, **more)
    learned = objective({"kind": "grpo", "samples": 2}, spec, made)
    samples = [part for sample in learned.samples(learned.stage.data) for part in sample.parts]
    stage = stage_of(steps=steps, batch=20, learning_rate=3e-3, schedule="constant", precision="float32")
    text_trainer(network, stage, samples, folder=folder).run()
    return network, spec


@torch.no_grad()
def mean_reward(learned: Reinforcement, network: Any, samples: int = 64) -> float:
    """The reward of completions that the policy draws, from a seed."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        batches = rollouts(learned, network)
        written = batches.sampler.write(batches.samples, samples)
        numbers = [i for i in range(len(batches.samples)) for _ in range(samples)]
        rewards = batches._rewards(numbers, [one for row in written for one in row])
    return sum(rewards) / len(rewards)
