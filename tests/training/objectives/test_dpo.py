"""DPO: its loss and gradients are trl's and the paper's, its reference stays, and it learns."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import sepiola
from sepiola.data.example import Message
from sepiola.data.preferences import Completion, preference
from sepiola.errors import DataError
from sepiola.experiments.dry_run import explain
from sepiola.experiments.recipe_files import parse_recipe
from sepiola.training.lora import begin_learning, without_adapter
from sepiola.training.objectives.dpo import dpo
from sepiola.training.objectives.preference import summed
from sepiola.training.policy import chosen_states, log_probabilities
from sepiola.training.trainer import Trainer
from tests import policies, preferences, tiny
from tests.preferences import LANGUAGES


def prepared(kind: str = "decoder", raw: Mapping[str, Any] | None = None, **options: Any) -> tuple[Any, Any]:
    """An objective of random weights, and its network, whose padding token is its end token."""
    made = preferences.tokenizer()
    end = made.id_of("</s>")
    language = {**LANGUAGES[kind], "tokens": {"start": made.id_of("<unk>"), "end": end, "pad": end}}
    network, spec = preferences.model(language, made)
    learned: Any = preferences.objective({"kind": "dpo", **(raw or {})}, spec, made, **options)
    return learned, learned.prepare(tiny.randomise(network, std=0.3))


@pytest.mark.parametrize("beta", [0.1, 2.0])
def test_the_loss_and_its_gradient_are_those_of_trl(beta: float) -> None:
    """trl 1.16, loss_type sigmoid, of the same log-probabilities in float64; and −log σ written out."""
    trainer = pytest.importorskip("trl", reason="compared with trl, from the dev extra").DPOTrainer
    learned, _ = prepared(examples=preferences.rankings(replies=2)[:7])
    batch = preferences.all_of(learned)
    order = [*batch.better.tolist(), *batch.worse.tolist()]
    inputs = preferences.laid_out_by_trl(batch, order, pad=0)
    torch.manual_seed(0)
    mask = inputs["completion_mask"][:, 1:]
    each = (-torch.rand(mask.shape, dtype=torch.float64) * 3 * mask).requires_grad_()
    before = -torch.rand(len(order), dtype=torch.float64) * 9
    inputs |= dict(zip(("ref_chosen_logps", "ref_rejected_logps"), before.chunk(2), strict=True))
    trl = preferences.of_trl(loss_types=["sigmoid"], beta=beta)
    their = trainer._compute_loss(trl, preferences.stub(each), inputs, False)
    place = torch.tensor(order).argsort()
    ours = dpo(each.sum(1)[place], replace(batch, before=before[place]), beta)
    our = ours.total / ours.tokens
    torch.testing.assert_close(our, their, atol=1e-9, rtol=1e-9)
    gradients = [torch.autograd.grad(loss, each, retain_graph=True)[0] for loss in (our, their)]
    torch.testing.assert_close(*gradients, atol=1e-9, rtol=1e-9)
    (better, worse), (ref_better, ref_worse) = each.detach().sum(1).chunk(2), before.chunk(2)
    leads = ((better - ref_better) - (worse - ref_worse)).tolist()
    written_out = sum(math.log(1 + math.exp(-beta * lead)) for lead in leads) / len(leads)
    assert our.item() == pytest.approx(written_out, abs=1e-9)
    metrics, shown = trl._metrics["eval"], {name: part.item() / ours.tokens for name, part in ours.parts.items()}
    assert shown["better_log_prob"] == pytest.approx(metrics["logps/chosen"][0])
    assert shown["worse_log_prob"] == pytest.approx(metrics["logps/rejected"][0])
    assert shown["lead"] == pytest.approx(metrics["rewards/margins"][0])
    assert shown["accuracy"] == pytest.approx(metrics["rewards/accuracies"][0])


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_a_models_loss_and_gradients_are_those_of_trl(side: str, temperature: float, tmp_path: Path) -> None:
    """From weights that transformers wrote. Rows of odd lengths, which trl pads on either side by a token of its own;
    ours are padded by the end token, which still counts where a completion ends.
    """
    trainer = pytest.importorskip("trl", reason="compared with trl, from the dev extra").DPOTrainer
    made = preferences.tokenizer()
    reference, model, pad = preferences.llama(made, tmp_path, temperature)
    special = model.spec.language.tokens.model_copy(update={"start": 1, "end": 1, "pad": 1})
    spec = model.spec.model_copy(
        update={"language": model.spec.language.model_copy(update={"tokens": special})},
    )
    asked = preferences.rankings(replies=2)[:7]
    learned: Any = preferences.objective({"kind": "dpo", "temperature": temperature}, spec, made, asked)
    batch = preferences.all_of(learned)
    before = -10 * torch.rand(len(batch.prompts))
    our = learned.loss(model.network, replace(batch, before=before))
    (our.total / our.tokens).backward()
    order = torch.cat([batch.better, batch.worse])
    inputs = preferences.laid_out_by_trl(batch, order.tolist(), pad, side)
    inputs |= dict(zip(("ref_chosen_logps", "ref_rejected_logps"), before[order].chunk(2), strict=True))
    their = trainer._compute_loss(preferences.of_trl(loss_types=["sigmoid"]), reference, inputs, False)
    their.backward()
    assert len({*batch.lengths}) > 1
    torch.testing.assert_close(our.total / our.tokens, their, atol=1e-5, rtol=1e-5)
    preferences.alike(model, reference)


def test_rankings_are_the_mean_of_their_pairs() -> None:
    learned, network = prepared(examples=preferences.rankings(replies=4)[:3])
    batch = replace(preferences.all_of(learned), before=torch.zeros(12))
    log_probs = learned.likelihoods(network, batch).detach().double()
    total = 0.0
    for prompt in range(3):
        rows = [row for row in range(12) if batch.prompts[row] == prompt]
        pairs = [(i, j) for i in rows for j in rows if batch.rewards[i] > batch.rewards[j]]
        total += sum(math.log(1 + math.exp(-0.1 * float(log_probs[i] - log_probs[j]))) for i, j in pairs) / len(pairs)
    assert dpo(log_probs, batch, 0.1).total.item() == pytest.approx(total, abs=1e-9)


@pytest.mark.parametrize("kind", list(LANGUAGES))
def test_completions_are_sums_with_their_end_token_and_without_the_prompt(kind: str) -> None:
    """By the model's own logits, token by token. Without the end token, with the prompt, or as a mean it is another."""
    learned, network = prepared(kind)
    batch = preferences.all_of(learned)
    found = learned.likelihoods(network, batch)
    made, end = learned.setting.tokenizer, learned.language.tokens.end
    completions = [one for example in learned.setting.examples for one in example.metadata["completions"]]
    prompts = [example.prompt for example in learned.setting.examples for _ in example.metadata["completions"]]
    for row in (0, 1, 7, len(found) - 1):
        prompt, target = made.encode(prompts[row]), [*made.encode(completions[row]["text"]), end]
        with torch.no_grad():
            if kind == "decoder":
                logits = network(torch.tensor([[*prompt, *target]]))[0, len(prompt) - 1 : -1]
            else:
                start = learned.language.tokens.start
                logits = network(torch.tensor([[*prompt, end]]), torch.tensor([[start, *target[:-1]]]))[0]
        wanted = logits.log_softmax(-1)[range(len(target)), target].sum()
        assert found[row].item() == pytest.approx(float(wanted), abs=1e-4)


@pytest.mark.parametrize("kind", list(LANGUAGES))
def test_a_batch_is_its_prompts_alone(kind: str) -> None:
    learned, network = prepared(kind)
    made = preferences.batches(learned)

    def loss(numbers: list[int]) -> Any:
        batch = made.laid_out(numbers)
        return learned.loss(network, replace(batch, before=-made.rows(numbers).float() / 7))

    alone = [loss([i]) for i in range(6)]
    together = loss([*range(6)])
    assert together.total.item() == pytest.approx(sum(one.total.item() for one in alone), abs=1e-5)


def test_at_first_policy_and_reference_are_one() -> None:
    """log 2 a pair, exactly no lead; with dropout it would be another."""
    made = preferences.tokenizer()
    network, spec = preferences.model({**LANGUAGES["decoder"], "dropout": 0.5}, made)
    learned: Any = preferences.objective({"kind": "dpo"}, spec, made)
    learned.prepare(network).train()
    batch: Any = preferences.batches(learned).next()[0]
    loss = learned.loss(network, batch)
    assert loss.total.item() / loss.tokens == pytest.approx(math.log(2), abs=1e-6)
    assert loss.parts["lead"].item() == pytest.approx(0.0, abs=1e-4)


def test_corrected_tokens_count_more() -> None:
    """Written out: (Σ log p + γ Σ log p of corrected tokens) / (their number + γ · that of corrected ones)."""
    text = "four 四 4"
    completions = [Completion(text, 1.0, ((5, 6),)), Completion("five 四 5", 0.0, ((0, 4), (7, 8)))]
    asked = [preference(name, [Message("user", (name,))], completions) for name in ("four", "四")]
    learned, network = prepared(raw={"dense": 5.0}, examples=asked)
    plain, _ = prepared(examples=asked)
    batch = preferences.all_of(learned)
    assert batch.weights is not None
    pieces = [text[a:b] for a, b in learned.setting.tokenizer.spans(text)]
    counts = batch.weights.split(batch.lengths)[0].tolist()
    assert [count for count, piece in zip(counts, pieces, strict=False) if "四" in piece] == [5.0]
    assert counts.count(5.0) == 1
    assert counts[-1] == 1.0, "the end token"
    with torch.no_grad():
        log_probs, _ = log_probabilities(network, chosen_states(network, batch), batch, 1.0)
    for row, (each, weights) in enumerate(
        zip(log_probs.split(batch.lengths), batch.weights.split(batch.lengths), strict=True)
    ):
        wanted = float((each * weights).sum() / weights.sum())
        assert float(summed(log_probs, batch)[row]) == pytest.approx(wanted, abs=1e-5)
        bare = float(summed(log_probs, replace(batch, weights=None))[row])
        assert bare == pytest.approx(float(each.sum()), abs=1e-5)
    assert preferences.batches(learned).fingerprint() != preferences.batches(plain).fingerprint()
    none = [preference("e", [Message("user", ("four",))], [Completion("4", 1.0), Completion("5", 0.0)])]
    with pytest.raises(DataError, match="no completion has corrected segments"):
        preferences.all_of(prepared(raw={"dense": 5.0}, examples=none)[0])


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    ("kind", "objective"),
    [
        ("decoder", "dpo"),
        ("encoder-decoder", "dpo"),
        ("prefix", "dpo"),
        ("encoder-decoder", "ipo"),
        ("decoder", "kto"),
        ("prefix", "kto"),
    ],
)
def test_a_recipe_learns_from_preferences(kind: str, objective: str, preference_reader: str, tmp_path: Path) -> None:
    folder = tiny.run_recipe(preferences.recipe(kind, {"kind": objective}, steps=6), tmp_path)
    shown = lines(folder)
    assert {"lead", "kl", "log_prob", "better_log_prob"} & set(shown[-1])
    assert shown[-1]["validation_loss"] < {"dpo": math.log(2), "ipo": 25.0, "kto": 0.5}[objective]
    model = sepiola.load(folder)
    assert model.spec.classifier is None


@pytest.mark.parametrize("kind", ["cross", "fused"])
def test_other_models_that_see_learn_too(kind: str, preference_reader: str, tmp_path: Path) -> None:
    folder = tiny.run_recipe(
        preferences.recipe(kind, {"kind": "dpo"}, learn=["language", "bridge", "vision"]), tmp_path
    )
    assert lines(folder)[-1]["validation_loss"] < math.log(2)


def trainer(folder: Path, steps: int = 6, **stage: Any) -> Trainer:
    """A fresh run over the same weights and data."""
    made = preferences.tokenizer()
    network, spec = preferences.model(LANGUAGES["decoder"], made)
    raw = {"steps": steps, "batch": 4, "learning_rate": 1e-3, "schedule": "constant"}
    learned: Any = preferences.objective({"kind": "dpo"}, spec, made, **raw, **stage)
    return policies.trainer(learned, network, folder, log_every=1)


def test_a_run_that_goes_on_is_one_that_never_stopped(tmp_path: Path) -> None:
    """Its reference is still the stage's beginning, and not what the state holds."""
    whole = trainer(tmp_path / "whole")
    whole.run()
    first: Any = trainer(tmp_path / "parts")
    first.steps = 3
    first.run()
    assert first.batches.reference.said is not None
    again: Any = trainer(tmp_path / "parts")
    again.run(resume=True)
    for (name, one), other in zip(whole.model.state_dict().items(), again.model.state_dict().values(), strict=True):
        assert torch.equal(one, other), name
    assert [line["loss"] for line in lines(tmp_path / "whole")[1:]] == [
        line["loss"] for line in lines(tmp_path / "parts")[1:]
    ]


def test_an_adapter_learns_from_what_lies_under_it(tmp_path: Path) -> None:
    """The reference is the network without the adapter, of which there is no copy."""
    made = preferences.tokenizer()
    network, spec = preferences.model(LANGUAGES["decoder"], made)
    raw = {"steps": 8, "batch": 8, "learning_rate": 1e-2, "schedule": "constant", "lora": {"rank": 2, "tokens": [3]}}
    learned: Any = preferences.objective({"kind": "dpo"}, spec, made, **raw)
    learned.prepare(network)
    begin_learning(network, learned.stage, 0)
    batches = preferences.batches(learned)
    run = Trainer(network, learned.stage, learned.loss, batches, folder=tmp_path, log_every=1)
    run.run()
    shown = lines(tmp_path)
    assert shown[1]["loss"] == pytest.approx(math.log(2), abs=1e-6)
    assert shown[-1]["loss"] < math.log(2)
    batch = batches.laid_out([0, 1])
    said: Tensor = batches.reference.of(batches)[batches.rows([0, 1])]  # type: ignore[union-attr]
    with torch.no_grad(), without_adapter(network):
        torch.testing.assert_close(learned.likelihoods(network, batch), said, atol=1e-5, rtol=1e-5)
    with torch.no_grad():
        assert not torch.allclose(learned.likelihoods(network, batch), said, atol=1e-3)


def test_a_dry_run_explains_it(preference_reader: str) -> None:
    (run,) = explain(parse_recipe(preferences.recipe("decoder", {"kind": "dpo"})), tiny.QUIET)["runs"]
    assert run["stages"][0]["samples"] == 20


def test_a_chat_template_lays_out_what_is_preferred() -> None:
    """The prompt with the header of the assistant's turn, and replies up to the token that ends them."""
    learned, _ = prepared(raw={"layout": "chat"}, source_tokens=32)
    made, ranking = learned.setting.tokenizer, preferences.batches(learned).samples[0]
    assert {made.decode(list(part.source), special_tokens=True) for part in ranking.parts} == {
        "User: zero?\nAssistant:"
    }
    texts = [made.decode(list(part.target), special_tokens=True) for part in ranking.parts]
    assert texts == [" 1</s>", " 2 zero</s>", " 0 zero</s>"]
