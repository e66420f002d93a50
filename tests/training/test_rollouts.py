"""Rollouts: what is learned is what was sampled, by the same probabilities; and they resume bit for bit."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from sepiola.calling.constraints import ConstraintVocabulary
from sepiola.data.example import Example, Message
from sepiola.errors import SpecError, TrainingError
from sepiola.specs.data import DataSpec
from sepiola.specs.model import ModelSpec
from sepiola.text.encoding import IMAGE
from sepiola.text.tokenizer import Tokenizer
from sepiola.training.batches import ImageInputs
from sepiola.training.collate import pixel_inputs
from sepiola.training.policy import chosen_states, log_probabilities, packed, unpacked
from sepiola.training.rollouts import Rollouts, figures_of
from sepiola.training.sampler import Completion
from sepiola.training.trainer import Trainer
from tests import policies, tiny

TEXT = {
    "decoder": tiny.llama(),
    "learned positions": tiny.decoder(positions={"kind": "learned", "length": 40}, dropout=0.3),
    "encoder-decoder": tiny.encoder_decoder(dropout=0.3),
    "end is padding": tiny.llama(tokens={"pad": 1, "end": 1, "start": 1}),
}
PROMPTS = [
    Example("short", (Message("user", ("one",)),), "1"),
    Example("long", (Message("user", ("seven eight nine 九八七 seven",)),), "7"),
    Example("chinese", (Message("user", ("三四",)),), "3"),
]
PICTURES = [
    Example(
        e.id, (Message("user", (*(tiny.noise_picture(i + j, 16) for j in range(count)), *e.messages[0].content)),), "1"
    )
    for i, (e, count) in enumerate(zip(PROMPTS, (1, 1, 0), strict=True))
]
SEEING = {
    "prefix": ({"kind": "projection"}, tiny.llama(width=32)),
    "cross": ({"kind": "gated-cross", "attention": {"heads": 2, "head_width": 8}}, tiny.llama(width=32)),
    "prefix of an encoder-decoder": ({"kind": "projection"}, tiny.encoder_decoder(width=32)),
    "fused": ({"kind": "gated-fusion"}, tiny.encoder_decoder(width=32)),
}


def assert_sampled_as_trained(batches: Rollouts, network: Any, temperature: float = 1.0) -> Tensor:
    """The log-probabilities of training are those of the engine. Gives the former."""
    torch.manual_seed(3)
    sampler, prompts = batches.sampler, batches.samples
    sampler.forbidden = []  # the engine's scores leave out nothing
    drawn = [one for row in sampler.write(prompts, 4) for one in row]
    completions = [Completion(one.ids[: 1 + i % 5], ended=i % 3 > 0) for i, one in enumerate(drawn)]
    every = [prompt for prompt in prompts for _ in range(4)]
    batch = sampler.lay_out(every, completions, torch.zeros(len(every)))
    network.train()
    log_probs, entropies = log_probabilities(network, chosen_states(network, batch), batch, temperature)
    assert batch.lengths == [len(one.ids) + one.ended for one in completions]
    assert (entropies >= 0).all()
    end = sampler.engine.tokens.end
    options = [[(*one.ids, end)[: n + 1] for n in range(len(one.ids) + one.ended)] for one in completions]
    scores = sampler.engine.score([sampler.prompt(prompt) for prompt in every], options)
    sums = log_probs.split(batch.lengths)
    if temperature == 1.0:
        for mine, theirs in zip(sums, scores, strict=True):
            expected = torch.tensor([score.log_likelihood for score in theirs])
            torch.testing.assert_close(mine.cumsum(0), expected, atol=1e-5, rtol=1e-5)
    return log_probs


@pytest.mark.parametrize("kind", list(TEXT))
def test_training_and_engine_agree(kind: str) -> None:
    """Prompts of several lengths, which the engine pads on the left and training on the right; dropout is off."""
    made = policies.tokenizer()
    network, spec = policies.policy(TEXT[kind], made)
    tiny.randomise(network, std=0.3, generator=torch.Generator().manual_seed(0))
    learned = policies.objective({"kind": "grpo"}, spec, made, PROMPTS, target_tokens=6)
    assert_sampled_as_trained(policies.rollouts(learned, network), network)


@pytest.mark.parametrize("kind", list(SEEING))
def test_training_and_engine_agree_on_pictures(kind: str) -> None:
    bridge, language = SEEING[kind]
    made = Tokenizer.train([*policies.EN * 9, *(policies.ZH * 9)], 320, extra=[IMAGE])
    bridge = {**bridge, "token": made.id_of(IMAGE)} if kind != "fused" else bridge
    network, spec = policies.policy(language, made, vision=tiny.vit(), bridge=bridge)
    tiny.randomise(network, std=0.3, generator=torch.Generator().manual_seed(0))
    learned = policies.objective({"kind": "grpo"}, spec, made, PICTURES, target_tokens=6, source_tokens=40)
    learned.prepare(network)
    batches = learned.batches(learned.stage.data, pixel_inputs(network, spec.vision))
    with torch.no_grad():
        shown = assert_sampled_as_trained(batches, network)
        blind = learned.batches(learned.stage.data, ImageInputs())
    if kind != "fused":
        assert batches.sampler.sees is not None and batches._make_sampler().forbidden == [made.id_of(IMAGE)]
    else:
        assert not torch.equal(shown[:5], assert_sampled_as_trained(blind, network)[:5])


def test_the_temperature_divides_logits_before_the_softmax() -> None:
    made = policies.tokenizer()
    network, spec = policies.policy(tiny.llama(), made)
    learned = policies.objective({"kind": "grpo", "temperature": 0.5}, spec, made, PROMPTS)
    batches = policies.rollouts(learned, network)
    assert batches.sampler.temperature == 0.5
    batch: Any = batches.next()[0]
    states = chosen_states(network, batch)
    wanted = batch.labels[batch.chosen]
    expected = (network.head(states) / 0.5).log_softmax(-1)[torch.arange(len(wanted)), wanted]
    torch.testing.assert_close(log_probabilities(network, states, batch, 0.5)[0], expected)


def test_samples_follow_the_policy_at_its_temperature() -> None:
    """The first token's shares in many samples are the probabilities that training has."""
    made = policies.tokenizer()
    network, spec = policies.policy(tiny.llama(), made)
    tiny.randomise(network, std=0.3, generator=torch.Generator().manual_seed(0))
    raw = {"kind": "grpo", "temperature": 2.0, "samples": 8}
    learned = policies.objective(raw, spec, made, PROMPTS[:1], target_tokens=1)
    batches = policies.rollouts(learned, network)
    torch.manual_seed(0)
    (row,) = batches.sampler.write(batches.samples, 20_000)
    drawn = torch.tensor([one.ids[0] if one.ids else 1 for one in row]).bincount(minlength=made.vocabulary) / 20_000
    with torch.no_grad():
        logits = network(torch.tensor([list(batches.samples[0].source)]))[0, -1]
    wanted = (logits / 2.0).softmax(-1)
    assert (drawn - wanted).abs().sum() < 0.5 * (drawn - logits.softmax(-1)).abs().sum()
    assert (drawn - wanted).abs().max() < 5 * float(wanted.max() / 20_000) ** 0.5


def test_under_a_grammar_only_what_was_chosen_counts_and_among_what_was_allowed() -> None:
    made = policies.tokenizer()
    network, spec = policies.policy(tiny.llama(), made)
    tiny.randomise(network, std=0.3, generator=torch.Generator().manual_seed(0))
    learned = policies.objective({"kind": "grpo"}, spec, made, PROMPTS, target_tokens=12)
    batches = policies.rollouts(learned, network)
    vocabulary = ConstraintVocabulary(made, made.vocabulary, [spec.language.tokens.end])
    sampler = batches.sampler
    sampler.grammar = vocabulary.compiled("lark", 'start: "seven" /[0-9]/ ("nine" /[一二]/ | "zero")')
    torch.manual_seed(0)
    completions = [one for row in sampler.write(batches.samples, 4) for one in row]
    every = [sample for sample in batches.samples for _ in range(4)]
    batch = sampler.lay_out(every, completions, torch.zeros(12))
    log_probs, entropies = log_probabilities(network, chosen_states(network, batch), batch, 1.0)
    texts = [made.decode(one.ids) for one in completions]
    assert all(text.startswith("seven") and text[5] in "0123456789" for text in texts)
    assert len({*texts}) > 4
    assert all(one.free is not None and not one.free[0] for one in completions), "'seven' is forced"
    first = [int(row.nonzero()[0]) for row in batch.chosen]
    with torch.no_grad():
        logits = network(batch.target)
    digits = torch.tensor([made.encode(str(n))[0] for n in range(10)])
    starts = torch.tensor([0, *batch.lengths[:-1]]).cumsum(0)
    for row, (place, start) in enumerate(zip(first, starts.tolist(), strict=True)):
        among = logits[row, place, digits].log_softmax(0)
        chosen = int((digits == batch.labels[row, place]).nonzero())
        assert log_probs[start].item() == pytest.approx(float(among[chosen]), abs=1e-5)
        assert float(entropies[start]) == pytest.approx(float(-(among.exp() * among).sum()), abs=1e-5)
    assert torch.isfinite(log_probs).all()


def test_bits_are_packed_and_come_back() -> None:
    allowed = torch.rand(5, 83) < 0.3
    assert unpacked(torch.from_numpy(packed(allowed.numpy())), 83).equal(allowed)


def test_each_epoch_asks_every_prompt_once() -> None:
    made = policies.tokenizer()
    network, spec = policies.policy(tiny.llama(), made)
    learned = policies.objective({"kind": "grpo", "samples": 2, "iterations": 3}, spec, made, batch=8)
    batches = policies.rollouts(learned, network)
    asked = [batches.asked(rollout) for rollout in range(10)]
    assert sorted(chain(*asked[:5])) == sorted(chain(*asked[5:])) == [*range(20)]
    assert asked[0] != asked[5]
    assert batches.steps_per_epoch == 15
    assert [len(batch.ids) for step in batches.peek(2) for batch in step] == [8, 8]
    for _ in range(15):
        batches.next()
    assert batches.epoch == 1.0


def test_groups_without_spread_are_counted() -> None:
    figures = figures_of(torch.tensor([[1.0, 1.0], [0.0, 1.0], [0.0, 0.0], [0.0, 0.0]]))
    assert figures["equal_groups"] == 0.75
    assert figures["reward"] == pytest.approx(3 / 8)
    assert figures["reward_std"] == pytest.approx(torch.tensor([1.0, 1, 0, 1, 0, 0, 0, 0]).std().item())


OBJECTIVES = {
    "grpo": {"kind": "grpo", "samples": 4, "beta": 0.1, "iterations": 2, "minibatches": 2},
    "grpo without a reference": {"kind": "grpo", "samples": 4},
    "ppo": {"kind": "ppo", "iterations": 2, "minibatches": 2, "whiten_rewards": True},
    "ppo beside text": {"kind": "ppo", "iterations": 2, "ptx": policies.PTX},
}


def resumable(name: str, folder: Path, language: Any = "decoder") -> Trainer:
    made = policies.tokenizer()
    network, spec = policies.policy(TEXT[language], made)
    stage = {"steps": 9, "save_every": 1, "batch": 8, "learning_rate": 3e-3, "target_tokens": 3}
    return policies.trainer(policies.objective(OBJECTIVES[name], spec, made, **stage), network, folder)


@pytest.mark.parametrize("after", [2, 5])
@pytest.mark.parametrize("language", ["learned positions", "encoder-decoder"])
@pytest.mark.parametrize("name", list(OBJECTIVES))
def test_killed_and_resumed_is_bit_for_bit_the_same(name: str, language: str, after: int, tmp_path: Path) -> None:
    """Within a rollout as between two; the policy has moved from the reference by then."""
    whole = resumable(name, tmp_path / "whole", language)
    whole.run()
    cut: Any = resumable(name, tmp_path / "cut", language)
    take = cut._step

    def step(log: Any) -> None:
        if cut.at.step == after:
            raise KeyboardInterrupt
        take(log)

    cut._step = step
    with pytest.raises(KeyboardInterrupt):
        cut.run()
    resumed = resumable(name, tmp_path / "cut", language)
    resumed.run(resume=True)
    assert resumed.at.step == 9
    for name_, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name_]), name_


@pytest.mark.parametrize("name", ["grpo", "ppo"])
def test_in_bfloat16_the_first_ratio_is_one_too(name: str) -> None:
    """Old and new log-probabilities are products of one kind, whatever the engine's are."""
    made = policies.tokenizer()
    network, spec = policies.policy(TEXT["decoder"], made)
    learned = policies.objective(OBJECTIVES[name], spec, made, batch=8, precision="bfloat16")
    batch: Any = policies.rollouts(learned, network).next()[0]
    with torch.autocast("cpu", torch.bfloat16):
        log_probs, _ = log_probabilities(network, chosen_states(network, batch), batch, 1.0)
    torch.testing.assert_close(log_probs.detach(), batch.old, atol=1e-6, rtol=0)


def test_a_rollout_that_serves_several_steps_keeps_the_policy_that_drew_it() -> None:
    """In its first step every ratio is 1 and nothing lies between policy and reference."""
    made = policies.tokenizer()
    network, spec = policies.policy(TEXT["decoder"], made)
    learned = policies.objective(OBJECTIVES["grpo"], spec, made, batch=8)
    batches = policies.rollouts(learned, network)
    first: Any = batches.next()[0]
    again, _ = log_probabilities(network, chosen_states(network, first), first, 1.0)
    assert first.old is not None and first.old.equal(first.reference)
    torch.testing.assert_close(again.detach(), first.old)
    assert float(learned.loss(network, first).parts["kl"]) == pytest.approx(0, abs=1e-5)
    with torch.no_grad():
        network.head.weight.add_(0.3 * torch.randn_like(network.head.weight))
    second, third = batches.next()[0], batches.next()[0]
    assert third is not second
    assert torch.equal(third.target, first.target)
    assert float(learned.loss(network, third).parts["kl"]) > 0.01


def test_validation_is_the_mean_reward_negated() -> None:
    made = policies.tokenizer()
    network, spec = policies.policy(TEXT["decoder"], made)
    learned = policies.objective({"kind": "grpo"}, spec, made)
    batches = policies.rollouts(learned, network)
    batches.reward = lengths = Lengths()  # type: ignore[assignment]
    losses = [learned.loss(network, batch) for batch in batches.once()]
    assert sum(loss.tokens for loss in losses) == 20
    assert sum(float(loss.loss_sum) for loss in losses) == -sum(lengths.given)


class Lengths:
    """Pays for every character."""

    def __init__(self) -> None:
        self.given: list[int] = []

    def score(self, examples: Any, written: Any) -> list[float]:
        self.given += [len(one.text) for one in written]
        return [len(one.text) for one in written]


def test_a_reward_that_is_no_number_is_refused() -> None:
    made = policies.tokenizer()
    network, spec = policies.policy(TEXT["decoder"], made)
    batches = policies.rollouts(policies.objective({"kind": "grpo"}, spec, made), network)
    batches.reward = type("Broken", (), {"score": lambda self, e, w: [float("nan")] * len(e)})()
    with pytest.raises(TrainingError, match="its reward is nan; expected a finite number"):
        batches.next()


def test_plain_text_is_refused() -> None:
    made = policies.tokenizer()
    _, spec = policies.policy(TEXT["decoder"], made)
    learned = policies.objective({"kind": "grpo"}, spec, made, [Example("d", (), "a text")])
    with pytest.raises(TrainingError, match="is plain text; grpo needs prompts"):
        learned.batches(DataSpec(reader="text"), ImageInputs())


@pytest.mark.parametrize(
    "objective, stage, message",
    [
        ({"samples": 3}, {}, r"completions of a rollout, and must be whole prompts of samples \(3\) each"),
        ({"samples": 1}, {}, "grpo compares the completions of one prompt; give samples: 2 or more"),
        ({"shots": 2}, {}, "asks one prompt a row"),
        ({}, {"packed": True}, "asks one prompt a row"),
        ({"kind": "ppo"}, {"lora": {}}, "ppo lays a value head on the model, which no adapter can hold"),
        (
            {"kind": "ppo", "filter_groups": True, "samples": 1, "beta": 0.0},
            {},
            "filter_groups compares the completions",
        ),
        ({"kind": "ppo", "filter_groups": True, "samples": 2}, {}, "give samples: 2 or more, and beta: 0"),
        ({"kind": "ppo"}, {"learn": ["bridge"]}, "learn must name language"),
        ({"constrained": True}, {}, "constrained needs a reward of calls; 'exact' names no functions"),
    ],
)
def test_what_does_not_fit_is_refused(objective: Any, stage: Any, message: str) -> None:
    made = policies.tokenizer()
    _, spec = policies.policy(TEXT["decoder"], made)
    learned = policies.objective({"kind": "grpo", **objective}, spec, made, **stage)
    with pytest.raises(ValueError, match=message):
        learned.stage.check(spec)


def test_an_encoder_is_refused() -> None:
    made = policies.tokenizer()
    spec = ModelSpec.parse({"language": tiny.encoder(made.vocabulary)})
    with pytest.raises(ValueError, match="an encoder sees both ways"):
        policies.objective({"kind": "grpo"}, spec, made).stage.check(spec)


def test_faults_of_a_reward_name_their_keys() -> None:
    made = policies.tokenizer()
    _, spec = policies.policy(TEXT["decoder"], made)
    for reward, message in [
        ("exakt", "objective.reward: no reward is named 'exakt'; did you mean 'exact'"),
        (3, "objective.reward: expected a reward's name, or its keys and values; got 3"),
        ({"kind": "exact", "read": "all"}, "objective.*read: .*'text', 'number', 'final' or 'open'"),
    ]:
        with pytest.raises(SpecError, match=message):
            policies.objective({"kind": "grpo", "reward": reward}, spec, made)
    kept = policies.objective({"kind": "grpo", "reward": {"kind": "exact", "read": "number"}}, spec, made).stage
    assert kept.to_dict()["objective"]["reward"] == {"kind": "exact", "read": "number"}


def test_a_stage_that_goes_on_adds_nothing_to_the_tokenizer() -> None:
    made = policies.tokenizer()
    _, spec = policies.policy(tiny.llama(), made)
    alone = policies.objective({"kind": "grpo"}, spec, made)
    assert "one" in " ".join(alone.texts(alone.stage, PROMPTS[0]))
    assert [*alone.texts(alone.stage.model_copy(update={"start": "answer"}), PROMPTS[0])] == []
