"""Two processes that train together end with the weights of one: for every kind of stage, and whoever goes on."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from sepiola.calling.constraints import ConstraintVocabulary
from sepiola.data.batching import Sample
from sepiola.data.example import Example
from sepiola.data.metrics_log import MetricsLog, read_metrics
from sepiola.data.noise import Masking
from sepiola.errors import TrainingError
from sepiola.models.build import build
from sepiola.specs.model import ModelSpec
from sepiola.training.batches import ImageInputs
from sepiola.training.loss import Loss
from sepiola.training.ranks import RankError, Ranks, cut
from sepiola.training.rewards import RewardSpec, Written
from sepiola.training.signals import InterruptedTrainingError
from sepiola.training.trainer import Trainer
from tests import policies, preferences, tiny
from tests import ranks as two
from tests.ranks import STEADY, Pair, Weights, assert_close, assert_same, weights
from tests.trainers import stage_of, text_trainer

pair = two.pair
DECODER = tiny.llama(40, 16)
EXPERTS = {**DECODER, "feed_forward": {"width": 24, "gated": True, "experts": 4, "chosen": 2, "balance_loss": 0.1}}
FORGETFUL = {**DECODER, "dropout": 0.3}


# What both ranks run: each a function of the ranks and a folder, which gives the weights at its end.


def supervised(
    ranks: Ranks, folder: Path, *, steps: int = 6, language: dict[str, Any] = DECODER, seed: int = 1, **stage: Any
) -> Weights:
    """Language modelling of samples of unequal lengths, 14 of them: the last step of an epoch has fewer."""
    samples = [Sample(f"s{i}", [2 + i % 7] * (1 + i % 5), [9 + i, *[20 + i % 3] * (i % 4), 1]) for i in range(14)]
    base = {**STEADY, "batch": 4}
    model = build(ModelSpec.parse({"language": language}), seed=seed)
    made = stage_of(**{**base, "steps": steps, **stage})
    run = text_trainer(model, made, samples, validation=samples[:6], folder=folder, log_every=1, ranks=ranks)
    run.run(resume=True)
    return weights(run)


STAGES: dict[str, dict[str, Any]] = {
    "a batch cut in two": {},
    "accumulated batches cut": {"accumulate": 3, "batch": 3},
    "whole batches shared": {"accumulate": 2, "batch": 7},
    "packed": {"packed": True},
    "experts, whole batches shared": {"accumulate": 2, "batch": 7, "language": EXPERTS},
    "a batch smaller than the ranks": {"batch": 1},
    "an adapter": {"lora": {"rank": 2}},
    "adamw": {"optimizer": {"kind": "adamw", "learning_rate": 3e-3}},
    "muon": {"optimizer": {"kind": "muon", "learning_rate": 3e-3}},
}


@pytest.mark.parametrize("name", STAGES)
def test_two_ranks_end_with_the_weights_of_one(pair: Pair, tmp_path: Path, name: str) -> None:
    one = supervised(Ranks(), tmp_path / "one", **STAGES[name])
    first, second = pair.run(supervised, tmp_path / "two", **STAGES[name])
    assert_same(first, second)
    assert_close(first, one, 1e-6 if "optimizer" not in STAGES[name] else 3e-4)
    if name.endswith("whole batches shared"):
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
    "ppo beside text": {"kind": "ppo", "samples": 2, "ptx": policies.PTX},
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
    getattr(batches, "policy", batches).reward = Even()
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
        assert ours["step"] == 0 or ours["gradient_norm"] > 0
        for key in set(ours) - {"seconds", "tokens_per_second", "peak_memory_gb", "stage", "device", "precision"}:
            assert ours[key] == pytest.approx(theirs[key], rel=1e-3, abs=1e-6), key


@pytest.mark.parametrize("constrained", [False, True])
def test_completions_are_the_same_whoever_writes_them(constrained: bool) -> None:
    made = policies.tokenizer()
    network, spec = policies.policy(policies.KINDS["decoder"], made)
    batches = policies.rollouts(
        policies.objective({"kind": "grpo", "samples": 4}, spec, made, target_tokens=8), network
    )
    if constrained:
        vocabulary = ConstraintVocabulary(made, made.vocabulary, [spec.language.tokens.end])
        batches.sampler.grammar = vocabulary.compiled("lark", 'start: "(" /[0-9]/ /[a-z]{0,3}/ ")"')

    def write(places: Sequence[int] | None) -> list[list[tuple[int, ...]]]:
        torch.manual_seed(5)
        return [[one.ids for one in row] for row in batches.sampler.write(batches.samples, 4, places)]

    whole = write(None)
    assert len({ids for row in whole for ids in row}) > 20
    assert write([1, 4, 13]) == [whole[1], whole[4], whole[13]]
    assert write([]) == []


# Going on, ending, refusing.


@pytest.mark.parametrize("two_begin", [False, True])
@pytest.mark.parametrize("kind", ["supervised", "ppo"])
def test_a_run_goes_on_with_another_number_of_ranks(pair: Pair, tmp_path: Path, kind: str, two_begin: bool) -> None:
    """PPO in the middle of a rollout, whose completions it keeps."""
    train = supervised if kind == "supervised" else reinforced
    stage: dict[str, Any] = {} if kind == "supervised" else REINFORCEMENT["ppo, two minibatches twice"]
    whole = train(Ranks(), tmp_path / "whole", **stage, steps=6)
    if two_begin:
        pair.run(stopped, tmp_path / "cut", train, 1, 3, **stage, steps=6)
        last = train(Ranks(), tmp_path / "cut", **stage, steps=6)
    else:
        stopped(Ranks(), tmp_path / "cut", train, 0, 3, **stage, steps=6)
        last, _ = pair.run(train, tmp_path / "cut", **stage, steps=6)
    assert_close(last, whole)


@contextmanager
def before_steps(act: Callable[[Trainer], None]) -> Iterator[None]:
    """Has every step of trainers begin with this."""
    step = Trainer._step

    def acting(self: Trainer, log: MetricsLog | None) -> None:
        act(self)
        step(self, log)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "_step", acting)
        yield


def stopped(ranks: Ranks, folder: Path, train: Callable[..., Weights], rank: int, after: int, **stage: Any) -> str:
    """The message of a run of which one rank alone is asked to stop."""

    def stop(run: Trainer) -> None:
        if run.at.step == after - 1 and ranks.rank == rank:
            os.kill(os.getpid(), signal.SIGTERM)

    with before_steps(stop), pytest.raises(InterruptedTrainingError) as caught:
        train(ranks, folder, **stage)
    return str(caught.value)


def test_two_ranks_resume_bit_for_bit_where_tokens_are_dropped_too(pair: Pair, tmp_path: Path) -> None:
    whole, _ = pair.run(supervised, tmp_path / "whole", language=FORGETFUL)
    messages = pair.run(stopped, tmp_path / "cut", supervised, 1, 3, language=FORGETFUL)
    assert all("stopped by SIGTERM after step 3 of 6" in message for message in messages)
    resumed, _ = pair.run(supervised, tmp_path / "cut", language=FORGETFUL)
    assert_same(resumed, whole)


def test_ranks_that_begin_otherwise_are_refused(pair: Pair, tmp_path: Path) -> None:
    for error in pair.run(unlike, tmp_path):
        assert isinstance(error, TrainingError)
        assert "ranks 0 and 1 do not begin with the same weights" in str(error)


def unlike(ranks: Ranks, folder: Path) -> Weights:
    return supervised(ranks, folder, seed=ranks.rank)


def test_noise_falls_on_the_same_tokens(pair: Pair, tmp_path: Path) -> None:
    one = noised(Ranks(), tmp_path / "one")
    first, _ = pair.run(noised, tmp_path / "two")
    assert_close(first, one)


def noised(ranks: Ranks, folder: Path) -> Weights:
    """An encoder that tells tokens which are masked anew each time."""
    samples = [Sample(f"s{i}", (), [2 + (i + j) % 30 for j in range(8)]) for i in range(9)]
    model = build(ModelSpec.parse({"language": tiny.encoder(40)}), seed=1)
    made = stage_of(**STEADY, batch=4, steps=4)
    run = text_trainer(model, made, samples, noise=Masking(39, 38, frozenset({0, 1})), folder=folder, ranks=ranks)
    run.run()
    return weights(run)


def test_the_first_rank_alone_writes(pair: Pair, tmp_path: Path) -> None:
    pair.run(apart, tmp_path)
    assert {file.name for file in (tmp_path / "0").iterdir()} >= {"metrics.jsonl", "state.pt", "best.safetensors"}
    assert not (tmp_path / "1").exists()


def apart(ranks: Ranks, folder: Path) -> Weights:
    return supervised(ranks, folder / str(ranks.rank))


def test_a_loss_that_is_not_finite_on_one_rank_ends_both(pair: Pair, tmp_path: Path) -> None:
    messages = pair.run(faulty, tmp_path)
    assert messages[0] == messages[1]
    assert "step 2: the loss is not finite, first in the output head; samples s" in messages[0]


def faulty(ranks: Ranks, folder: Path) -> str:
    """The message of a run in which rank 1 meets a loss that is none, in its second step."""

    def spoil(run: Trainer) -> None:
        whole = run.loss
        if run.at.step == 1 and ranks.rank == 1:
            run.loss = lambda model, batch: Loss(whole(model, batch).loss_sum * torch.inf, batch.labelled)

    with before_steps(spoil), pytest.raises(TrainingError) as caught:
        supervised(ranks, folder)
    return str(caught.value)


def test_losses_that_compare_samples_take_whole_batches(pair: Pair, tmp_path: Path) -> None:
    for error in pair.run(preferred, tmp_path, objective="kto"):
        assert isinstance(error, TrainingError)
        assert "'answer': the loss of kto compares the samples of a batch" in str(error)
        assert "accumulate to 2" in str(error)


def test_a_killed_rank_ends_the_other_with_a_message(tmp_path: Path) -> None:
    pair = Pair()
    try:
        error, ended = pair.run(killed, tmp_path)
    finally:
        pair.end()
    assert ended == "killed"
    assert isinstance(error, RankError) and "another rank has ended" in str(error) and "--resume" in str(error)
    resumed = supervised(Ranks(), tmp_path)
    assert_close(resumed, supervised(Ranks(), tmp_path / "whole"))


def killed(ranks: Ranks, folder: Path) -> Weights:
    """Rank 1 dies as its third step begins."""

    def die(run: Trainer) -> None:
        if run.at.step == 2 and ranks.rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)

    with before_steps(die):
        return supervised(ranks, folder, save_every=1)


def test_pieces_lie_one_after_the_other() -> None:
    assert cut([1, 2, 3, 4, 5], 2) == [[1, 2], [3, 4, 5]]
    assert cut([1], 3) == [[1]]
    assert cut([1, 2, 3], 1) == [[1, 2, 3]]
