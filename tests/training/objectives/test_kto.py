"""KTO: its loss and gradients are trl's and the paper's; what is desirable, and what it is compared with."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from sepiola.data.example import Example, Message
from sepiola.data.preferences import Completion, preference
from sepiola.errors import TrainingError
from sepiola.training.objectives.kto import judged, kto
from tests import preferences
from tests.policies import EN
from tests.trainers import stage_of


def singles(count: int = 7) -> list[Example]:
    """Replies alone, every third one right."""
    return [
        preference(name, [Message("user", (name,))], [Completion(f"{n} {name}"[: 1 + 4 * (n % 2)], float(n % 3 == 0))])
        for n, name in enumerate(EN[:count])
    ]


def learned_over(examples: list[Example], **raw: Any) -> Any:
    made = preferences.tokenizer()
    _, spec = preferences.model(preferences.LANGUAGES["decoder"], made)
    return preferences.objective({"kind": "kto", **raw}, spec, made, examples)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("drift", [0.5, -0.5])
def test_a_models_loss_and_gradients_are_those_of_trl(side: str, drift: float, tmp_path: Path) -> None:
    """trl 1.16, loss_type kto, weights 1.5 and 0.7; once with a divergence above 0, once with one that is cut to it."""
    trainer = pytest.importorskip("trl.trainer.kto_trainer", reason="compared with trl, from the dev extra").KTOTrainer
    made = preferences.tokenizer()
    reference, model, pad = preferences.llama(made, tmp_path)
    raw = {"kind": "kto", "beta": 0.2, "desirable": 1.5, "undesirable": 0.7}
    learned: Any = preferences.objective(raw, model.spec, made, singles())
    batch = preferences.all_of(learned)
    with torch.no_grad():
        before = learned.likelihoods(model.network, batch) - drift + 0.3 * torch.randn(14)
    our = learned.loss(model.network, replace(batch, before=before))
    (our.total / our.tokens).backward()
    own, strangers = [*range(0, 14, 2)], [*range(1, 14, 2)]
    inputs = preferences.laid_out_by_trl(batch, own, pad, side)
    others = preferences.laid_out_by_trl(batch, strangers, pad, side)
    inputs |= {f"KL_{name}": value for name, value in others.items()}
    inputs |= {"label": batch.rewards[own] > 0, "ref_logps": before[own], "ref_KL_logps": before[strangers]}
    trl = preferences.of_trl(beta=0.2, loss_type="kto", calculate_KL=True, desirable_weight=1.5, undesirable_weight=0.7)

    def divergence(network: Any, _: Any) -> torch.Tensor:
        with torch.no_grad():
            labels = others["input_ids"].masked_fill(others["completion_mask"] == 0, -100)
            keys = {name: others[name] for name in ("input_ids", "attention_mask", "position_ids")}
            found: torch.Tensor = network(**keys, labels=labels, fused_lm_head=True).log_probs.sum(-1)
            return found

    trl._compute_kl_logps = divergence
    inputs.pop("KL_position_ids")
    their = trainer._compute_loss(trl, reference, inputs, False)
    their.backward()
    metrics = trl._metrics["eval"]
    assert our.parts["kl"].item() / our.tokens == pytest.approx(metrics["kl"][0], abs=1e-5)
    assert (metrics["kl"][0] > 0) is (drift > 0)
    torch.testing.assert_close(our.total / our.tokens, their, atol=1e-5, rtol=1e-5)
    preferences.alike(model, reference)


def test_the_formula_written_out() -> None:
    batch = preferences.all_of(learned_over(singles(4)))
    log_probs = torch.tensor([-3.0, -9.0, -5.0, -2.0, -1.0, -7.0, -4.0, -6.0], dtype=torch.float64)
    before = torch.tensor([-4.0, -9.5, -4.0, -3.0, -2.5, -8.0, -4.0, -7.0], dtype=torch.float64)
    log_probs.requires_grad_()
    loss = kto(log_probs, replace(batch, before=before, prompt_weights=torch.ones(4)), 0.3)
    z = (0.5 + 1.0 + 1.0 + 1.0) / 4
    own, good = [1.0, -1.0, 1.5, 0.0], [True, False, False, True]
    values = [1 / (1 + math.exp(-0.3 * (r - z) * (1 if g else -1))) for r, g in zip(own, good, strict=True)]
    assert loss.total.item() == pytest.approx(sum(1 - value for value in values), abs=1e-9)
    (gradient,) = torch.autograd.grad(loss.total, log_probs)
    wanted = [-0.3 * v * (1 - v) * (1 if g else -1) for v, g in zip(values, good, strict=True)]
    torch.testing.assert_close(gradient[0::2], torch.tensor(wanted).double(), atol=1e-7, rtol=1e-7)
    assert gradient[1::2].eq(0).all(), "nothing is learned through the divergence"


def test_what_is_desirable() -> None:
    assert judged([1.0]) == [True]
    assert judged([0.0]) == judged([-1.0]) == [False]
    assert judged([1.0, 0.0]) == [True, False]
    assert judged([3.0, 2.0, 1.0]) == [True, None, False]
    assert judged([2.0, 2.0]) == [None, None]


def test_each_reply_is_beside_that_of_the_prompt_before() -> None:
    learned = learned_over(singles(4))
    records = learned.rankings(learned.setting.examples)
    own = [tuple(record.parts[0].target) for record in records]
    strangers = [tuple(record.parts[1].target) for record in records]
    assert strangers == [own[-1], *own[:-1]]
    assert all(record.parts[0].source == record.parts[1].source for record in records)
    assert not any(record.pairs for record in records)
    several = learned_over(preferences.rankings(replies=3)[:4])
    prompts = [example.id for example in several.setting.examples]
    for record in several.rankings(several.setting.examples):
        before = several.setting.examples[prompts.index(record.id.split("#")[0]) - 1]
        text = several.setting.tokenizer.decode(list(record.parts[1].target[:-1]))
        assert text in {one["text"] for one in before.metadata["completions"]}, "its prompt's own are no strangers"


def test_the_rarer_kind_counts_more() -> None:
    learned = learned_over(singles(7))  # three are right, four wrong
    weights = {record.scores[0] > 0: record.weight for record in learned.rankings(learned.setting.examples)}
    assert weights == {True: pytest.approx(4 / 3), False: 1.0}
    given = learned_over(singles(7), desirable=2.0, undesirable=0.5)
    assert {r.scores[0] > 0: r.weight for r in given.rankings(given.setting.examples)} == {True: 2.0, False: 0.5}


def test_ties_are_counted_and_what_does_not_fit_is_refused() -> None:
    learned = learned_over(preferences.rankings(replies=3))
    counts = preferences.batches(learned).counts
    assert counts["samples"] + counts["tied_replies"] == 60
    with pytest.raises(TrainingError, match="kto needs replies to two prompts or more"):
        preferences.batches(learned_over(singles(1)))
    with pytest.raises(ValueError, match="give batch: 2 or more"):
        stage_of(steps=1, batch=1, objective={"kind": "kto"}).check(learned.setting.spec)
