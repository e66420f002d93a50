"""GRPO: its losses and gradients are trl's, its policy is the one that was sampled, and it learns."""

from __future__ import annotations

import contextlib
import json
from collections import defaultdict
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import fmean
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

import sepiola
from sepiola.acting.phone import functions
from sepiola.calling.constraints import ConstraintVocabulary
from sepiola.data.example import Example, Message
from sepiola.experiments.dry_run import explain
from sepiola.experiments.recipe_files import parse_recipe
from sepiola.training.objectives.grpo import GRPOSpec, advantages, token_losses, token_weights
from tests import policies, tiny
from tests.policies import KINDS, batch_of

LONGEST = 6
LENGTHS = ([3, 5, 1, 4], [2, 2, 5, 1])


def spec_of(**changes: Any) -> GRPOSpec:
    return GRPOSpec.model_validate({"kind": "grpo", "reward": "exact", **changes})


def padded(values: Tensor, lengths: list[int]) -> Tensor:
    """Numbers of labels as trl has them: a row a completion, padded on the right."""
    rows = torch.zeros(len(lengths), max(lengths))
    rows[torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]] = values
    return rows


def trl_loss(
    model: Any, spec: GRPOSpec, inputs: dict[str, Tensor], accumulated: int, log_probs: Any = None
) -> tuple[Tensor, dict[str, list[float]]]:
    """trl's loss of a batch and its metrics; with `log_probs` those of its model are not computed."""
    from trl import GRPOTrainer

    trainer: Any = SimpleNamespace(
        _get_per_token_logps_and_entropies=log_probs,
        aux_loss_enabled=False,
        top_entropy_quantile=1.0,
        off_policy_mask_threshold=None,
        importance_sampling_level=spec.importance,
        beta=spec.beta,
        loss_type=spec.loss,
        epsilon_low=spec.epsilon_low,
        epsilon_high=spec.epsilon_high,
        args=SimpleNamespace(delta=None, use_bias_correction_kl=False, steps_per_generation=accumulated),
        use_vllm=False,
        model=SimpleNamespace(training=True),
        current_gradient_accumulation_steps=accumulated,
        max_completion_length=LONGEST,
        accelerator=SimpleNamespace(
            num_processes=1,
            is_main_process=False,
            gather=lambda x: x,
            reduce=lambda x, **_: x,
            autocast=contextlib.nullcontext,
        ),
        _entropy_bonus_enabled=False,
        _metrics={"train": defaultdict(list)},
    )
    if log_probs is None:
        trainer._get_per_token_logps_and_entropies = partial(GRPOTrainer._get_per_token_logps_and_entropies, trainer)
    loss: Tensor = GRPOTrainer._compute_loss(trainer, model, inputs)
    return loss, dict(trainer._metrics["train"])


@pytest.mark.parametrize("importance", ["token", "sequence"])
@pytest.mark.parametrize("scale", ["group", "batch", "none"])
@pytest.mark.parametrize("beta", [0.0, 0.04])
@pytest.mark.parametrize("loss", ["grpo", "bnpo", "dr_grpo", "dapo"])
def test_losses_and_gradients_are_those_of_trl(loss: Any, beta: float, scale: Any, importance: str) -> None:
    """Of a step of two batches, whose ratios, of tokens or sequences, lie on both sides of what is clipped."""
    pytest.importorskip("trl", reason="compared with trl, from the dev extra")
    torch.manual_seed(0)
    spec = spec_of(loss=loss, beta=beta, epsilon_low=0.2, epsilon_high=0.28, importance=importance)
    worth = advantages(torch.randn(4, 2), scale).flatten().split(4)
    total, ours, theirs, clipped = torch.tensor(sum(map(sum, LENGTHS))), [], [], 0.0
    step = [batch_of(lengths) for lengths in LENGTHS]
    weights = token_weights(step, loss, LONGEST)
    for lengths, batch, rows, weight in zip(LENGTHS, step, worth, weights, strict=True):
        old, reference = -torch.rand(sum(lengths)) * 3, -torch.rand(sum(lengths)) * 3
        drawn = old + 0.5 * torch.randn(len(old)) + 0.4 * (importance == "sequence") * torch.randn(4)[batch.rows]
        mine, other = drawn.clone().requires_grad_(), padded(drawn, lengths).requires_grad_()
        kept = reference if beta else None
        batch = batch_of(lengths, old=old, reference=kept, advantages=rows[batch.rows], weights=weight)
        losses, parts = token_losses(mine, batch, spec)
        our = (losses * weight).sum() / total
        mask = padded(torch.ones(sum(lengths)), lengths)
        inputs = {
            "prompt_ids": mask.long(),
            "prompt_mask": mask,
            "completion_ids": mask.long(),
            "completion_mask": mask,
        }
        inputs |= {"advantages": rows, "old_per_token_logps": padded(old, lengths), "num_items_in_batch": total}
        inputs["ref_per_token_logps"] = padded(reference, lengths)
        given = other, torch.ones_like(other), None
        their, metrics = trl_loss(None, spec, inputs, 2, lambda *_, given=given, **__: given)
        our.backward()
        their.backward()
        assert mine.grad is not None and other.grad is not None
        torch.testing.assert_close(padded(mine.grad, lengths), other.grad, atol=1e-5, rtol=1e-5)
        if importance == "token":  # trl counts sequences there, and here their tokens are counted
            assert float(parts["clip_fraction"]) / sum(lengths) == pytest.approx(metrics["clip_ratio/region_mean"][0])
        if beta:
            assert parts["kl"].item() / sum(lengths) == pytest.approx(metrics["kl"][0], rel=1e-5)
        clipped += float(parts["clip_fraction"])
        ours.append(our.item())
        theirs.append(their.item())
    assert clipped > 0
    assert ours == pytest.approx(theirs, abs=1e-5)


@pytest.mark.parametrize("beta", [0.0, 0.1])
@pytest.mark.parametrize("loss", ["grpo", "bnpo", "dr_grpo", "dapo"])
def test_a_models_loss_and_gradients_are_those_of_trl(loss: Any, beta: float, tmp_path: Path) -> None:
    """From weights that transformers wrote; prompts are padded on the left there, and the temperature is not 1."""
    utils = pytest.importorskip("trl.trainer.utils", reason="compared with trl, from the dev extra")
    made = policies.tokenizer()
    torch.manual_seed(0)
    config = LlamaConfig(**{**tiny.HUB_LLAMA, "vocab_size": made.vocabulary, "initializer_range": 0.3})
    reference = LlamaForCausalLM(config)
    reference.save_pretrained(tmp_path)
    utils.add_fused_lm_head(reference, temperature=0.7, outputs=("log_probs", "entropy"))
    model = sepiola.load(tmp_path)
    raw = {"kind": "grpo", "samples": 4, "temperature": 0.7, "loss": loss, "beta": beta, "iterations": 2}
    asked = [Example(text, (Message("user", (text,)),), "") for text in ("seven eight 九八七 nine", "一")]
    learned = policies.objective(raw, model.spec, made, asked, target_tokens=LONGEST)
    batches = policies.rollouts(learned, model.network)
    batches.reward = policies.Rising()
    batch: Any = batches.next()[0]
    moved = {"old": batch.old + 0.3 * torch.randn(batch.labelled), "advantages": torch.randn(8)[batch.rows]}
    batch = replace(batch, **moved, reference=torch.randn(batch.labelled) - 5 if beta else None)
    first = batch.chosen.int().argmax(1).tolist()
    prompts = [row[: place + 1] for row, place in zip(batch.target, first, strict=True)]
    width = max(map(len, prompts))
    inputs = {
        "prompt_ids": torch.stack([torch.nn.functional.pad(ids, (width - len(ids), 0)) for ids in prompts]),
        "prompt_mask": torch.stack([(torch.arange(width) >= width - len(ids)).long() for ids in prompts]),
        "completion_ids": padded(batch.labels[batch.chosen].float(), batch.lengths).long(),
        "completion_mask": padded(torch.ones(batch.labelled), batch.lengths).long(),
        "old_per_token_logps": padded(batch.old, batch.lengths),
        "advantages": torch.stack([part[0] for part in batch.advantages.split(batch.lengths)]),
        "num_items_in_batch": torch.tensor(batch.labelled),
    }
    if beta:
        inputs["ref_per_token_logps"] = padded(batch.reference, batch.lengths)
    their, metrics = trl_loss(reference, learned.rl, inputs, 1)
    their.backward()
    our = learned.loss(model.network, batch)
    (our.total / our.tokens).backward()
    assert len({*map(len, prompts)}) > 1
    assert (our.total / our.tokens).item() == pytest.approx(their.item(), abs=1e-5)
    assert our.parts["entropy"].item() / our.tokens == pytest.approx(metrics["entropy"][0], abs=1e-5)
    for mine, other in (
        (model.network.embedding.weight, reference.model.embed_tokens.weight),
        (model.network.head.weight, reference.lm_head.weight),
    ):
        assert other.grad is not None
        torch.testing.assert_close(mine.grad, other.grad, atol=1e-5, rtol=1e-4)


def test_advantages_follow_their_formulas() -> None:
    rewards = torch.tensor([[1.0, 0.0, 0.0, 1.0], [1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 4.0]])
    deviation = torch.tensor([(4 * 0.25 / 3) ** 0.5, 0.0, 2.0])[:, None]
    centred = rewards - torch.tensor([0.5, 1.0, 1.0])[:, None]
    torch.testing.assert_close(advantages(rewards, "group"), centred / (deviation + 1e-4))
    spread = ((rewards - rewards.mean()).square().sum() / 11).sqrt()
    torch.testing.assert_close(advantages(rewards, "batch"), centred / (spread + 1e-4))
    assert advantages(rewards, "none").equal(centred)
    means = torch.tensor([0.5, 1.0, 1.0])[:, None]
    torch.testing.assert_close(advantages(rewards, "mean"), centred / (means + 1e-4))
    torch.testing.assert_close(advantages(rewards - 2, "mean"), centred / (torch.tensor([[1.5], [1], [1]]) + 1e-4))


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_half_trained_policy_earns_more(kind: str, tmp_path: Path) -> None:
    made = policies.tokenizer()
    network, spec = policies.half_trained(KINDS[kind], made, tmp_path / "first", 50)
    raw = {"kind": "grpo", "samples": 8, "temperature": 1.0}
    stage = {"steps": 30, "batch": 80, "learning_rate": 3e-3, "schedule": "constant", "weight_decay": 0.0}
    learned = policies.objective(raw, spec, made, **stage)
    before = policies.mean_reward(learned, network)
    trained = policies.trainer(learned, network, tmp_path / "second", log_every=1)
    trained.run()
    after = policies.mean_reward(learned, network)
    assert 0.2 < before < 0.6
    assert after > before + 0.2
    lines = [json.loads(line) for line in (tmp_path / "second" / "metrics.jsonl").read_text().splitlines()][1:]
    assert len(lines) == 30
    assert {"reward", "reward_std", "equal_groups", "completion_tokens", "ended", "clip_fraction"} <= set(lines[0])
    assert all(line["entropy"] >= 0 and 0 <= line["equal_groups"] <= 1 for line in lines)
    assert fmean(line["reward"] for line in lines[-5:]) > fmean(line["reward"] for line in lines[:5]) + 0.15


def test_under_a_grammar_a_policy_earns_more_too(tmp_path: Path) -> None:
    """A digit in brackets, of which the brackets are forced."""
    made = policies.tokenizer()
    network, spec = policies.half_trained(KINDS["decoder"], made, tmp_path / "first", 30)
    stage = {"steps": 30, "batch": 80, "learning_rate": 3e-3, "schedule": "constant", "weight_decay": 0.0}
    learned: Any = policies.objective(
        {"kind": "grpo", "reward": {"kind": "exact", "read": "number"}}, spec, made, **stage
    )
    changed = learned.rl.model_copy(update={"constrained": True})
    learned.stage = learned.stage.model_copy(update={"objective": changed})
    vocabulary = ConstraintVocabulary(made, made.vocabulary, [spec.language.tokens.end])
    learned.grammar = lambda: vocabulary.compiled("lark", 'start: "(" /[0-9]/ ")"')
    before = policies.mean_reward(learned, network)
    policies.trainer(learned, network, tmp_path / "second").run()
    assert 0.05 < before < 0.5
    assert policies.mean_reward(learned, network) > before + 0.2


QUESTIONS = {"reader": "tidepool", "count": 24, "options": {"size": 64, "families": ["magnets"]}}
STAGES = [
    {
        "name": "answer",
        "data": QUESTIONS,
        "objective": {"format": "QCM-A"},
        "steps": 60,  # until some completions of a question are right and some are wrong
        "batch": 8,
        "optimizer": {"learning_rate": 1e-2, "warmup": 0},
    },
    {
        "name": "reinforced",
        "start": "answer",
        "data": QUESTIONS,
        "validation": {**QUESTIONS, "split": "val", "count": 4},
        "objective": {"kind": "grpo", "format": "QCM-A", "reward": "exact", "samples": 4, "beta": 0.1},
        "steps": 4,
        "batch": 8,
        "target_tokens": 24,
    },
]


@pytest.mark.parametrize("kind", [*KINDS, "lora", "ppo"])
def test_a_recipe_ends_with_a_reinforced_stage(kind: str, tmp_path: Path) -> None:
    """From the stage before on; a checkpoint that is loaded answers."""
    stages = [STAGES[0], STAGES[1] | ({"lora": {"rank": 2}} if kind == "lora" else {})]
    if kind == "ppo":
        stages[1] = {**STAGES[1], "objective": {**STAGES[1]["objective"], "kind": "ppo", "iterations": 1}}
    language = {**KINDS.get(kind, KINDS["decoder"]), "vocabulary": 400}
    raw = tiny.recipe("reinforced", {"language": language}, stages, strategy={"answer": "reinforced"})
    folder = tiny.run_recipe(raw, tmp_path)
    before, after = tiny.stage_weights(folder, "answer"), tiny.stage_weights(folder, "reinforced")
    assert before.keys() == after.keys()
    assert any(not torch.equal(before[name], after[name]) for name in before)
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    last = [line for line in lines if line["stage"] == "reinforced"][-1]
    assert 0 <= -last["validation_loss"] <= 1
    assert last["kl"] >= 0 and last["reward_std"] > 0
    explained = explain(parse_recipe(raw), tiny.QUIET)
    assert [stage["samples"] for run in explained["runs"] for stage in run["stages"]] == [24, 24]


@pytest.mark.parametrize("learn", [["language", "bridge"], ["language", "bridge", "vision"]])
@pytest.mark.parametrize("kind", ["grpo", "ppo"])
@pytest.mark.parametrize("bridge", ["projection", "gated-fusion"])
def test_policies_that_see_are_reinforced(bridge: str, kind: str, learn: list[str], tmp_path: Path) -> None:
    """By features of a frozen vision encoder, and by pixels for one that learns."""
    model = tiny.vision_language({"kind": bridge})
    if bridge == "gated-fusion":
        model["language"] = tiny.encoder_decoder(400, 32)
    objective = {"kind": kind, "format": "QCM-A", "reward": "exact", "samples": 2}
    stage = {"name": "answer", "data": QUESTIONS, "objective": objective, "learn": learn, "steps": 2, "batch": 4}
    stage |= {"target_tokens": 6, "precision": "float32"}
    folder = tiny.run_recipe(tiny.recipe("seeing", model, [stage], strategy={"answer": "answer"}), tmp_path)
    assert "reward" in (folder / "metrics.jsonl").read_text()
    fresh = dict(sepiola.build(sepiola.load(folder).spec, seed=0).network.named_parameters())
    changed = tiny.changed_parts(fresh, tiny.stage_weights(folder, "answer"))
    assert changed <= {*learn}, "what the stage does not teach stays"


REQUESTS = {"reader": "tidepool", "count": 24, "options": {"task": "phone", "size": 64, "kinds": ["text"]}}
CALLING = [
    {"name": "taught", "data": REQUESTS, "objective": "function-calling", "steps": 2, "batch": 8},
    {
        "name": "reinforced",
        "start": "taught",
        "data": REQUESTS,
        "objective": {"kind": "grpo", "samples": 4, "constrained": True, "iterations": 2},
        "steps": 4,
        "batch": 8,
        "target_tokens": 96,
    },
]


@pytest.mark.parametrize("reward", [{"kind": "calls", "partial": True}, "end-state"])
def test_calls_are_reinforced_under_their_grammar(reward: Any, tmp_path: Path) -> None:
    """Even a policy that can do nothing writes calls; what it leaves is an agent that knows its functions."""
    objective = {**CALLING[1]["objective"], "reward": reward}  # type: ignore[dict-item]
    model = {"language": tiny.llama(640, width=32, hidden=64)}
    raw = tiny.recipe("calling", model, [CALLING[0], {**CALLING[1], "objective": objective}])
    folder = tiny.run_recipe(raw, tmp_path)
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    last = [line for line in lines if line["stage"] == "reinforced"][-1]
    assert last["ended"] == 1, "the grammar ends them all"
    assert 0 <= last["reward"] <= 1
    if reward != "end-state":
        assert last["reward"] > 0
    agent = sepiola.Agent(sepiola.load(folder), functions())
    assert agent.mode.name == "functional"
    assert all(call.name in {f.name for f in functions()} for call in agent.run("给 Anna 发短信").calls)
