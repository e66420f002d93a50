"""Text beside reinforcement: its mean cross-entropy, weighted, is added to the policy's loss, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy

from sepiola.data.metrics_log import read_metrics
from sepiola.errors import SpecError
from sepiola.experiments.recipe_files import parse_recipe
from sepiola.training.batches import ImageInputs
from sepiola.training.objectives.ptx import PtxBatch, PtxBatches
from tests import policies
from tests.policies import KINDS, PTX, TEXTS

Gradients = dict[str, torch.Tensor]


def begun(kind: str, objective: str, **stage: Any) -> tuple[Any, Any, PtxBatches]:
    made = policies.tokenizer()
    network, spec = policies.policy(KINDS[kind], made)
    learned = policies.objective({"kind": objective, "samples": 2, "ptx": PTX}, spec, made, **stage)
    network = learned.prepare(network)
    batches = learned.batches(learned.stage.data, ImageInputs())
    assert isinstance(batches, PtxBatches)
    batches.policy.reward = policies.Rising()  # type: ignore[attr-defined]
    return learned, network, batches


def gradients(network: Any, loss: torch.Tensor) -> Gradients:
    named = dict(network.named_parameters())
    found = torch.autograd.grad(loss, [*named.values()], allow_unused=True)
    return {n: torch.zeros_like(named[n]) if g is None else g for n, g in zip(named, found, strict=True)}


@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize("objective", ["ppo", "grpo", "rloo"])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_steps_loss_is_the_policys_and_the_weighted_mean_of_its_texts(
    kind: str, objective: str, accumulate: int
) -> None:
    """As the trainer sums it: by the labels of completions, whatever text has. InstructGPT's γ is the weight."""
    learned, network, batches = begun(kind, objective, accumulate=accumulate)
    step = batches.next()
    own = [batch for batch in step if not isinstance(batch, PtxBatch)]
    text = [batch for batch in step if isinstance(batch, PtxBatch)]
    assert len(own) == len(text) == accumulate
    labels = sum(batch.labelled for batch in step)
    assert labels == sum(batch.labelled for batch in own) > 0
    mine = gradients(network, sum((learned.loss(network, batch).total for batch in step), torch.zeros(())) / labels)

    nats, count = torch.zeros(()), 0
    for batch in text:
        if kind == "decoder":
            logits = network(batch.target).flatten(0, 1)
        else:
            logits = network(batch.source, batch.target, attention_mask=batch.source_mask).flatten(0, 1)
        wanted = batch.labels.flatten()
        logits, wanted = logits[wanted != -100], wanted[wanted != -100]
        nats = nats + cross_entropy(logits.float(), wanted, reduction="sum")
        count += len(wanted)
    policy = sum((learned.loss(network, batch).total for batch in own), torch.zeros(())) / labels
    expected = gradients(network, policy + PTX["weight"] * nats / count)
    for name, gradient in expected.items():
        torch.testing.assert_close(mine[name], gradient, atol=1e-5, rtol=1e-4)


def test_text_has_an_order_of_its_own_each_once_an_epoch() -> None:
    _, _, batches = begun("decoder", "ppo")
    names, steps = sorted(sample.id for sample in batches.text.samples), batches.text.steps_per_epoch
    for _ in range(2):
        step = [batch for _ in range(steps) for batch in batches.next() if isinstance(batch, PtxBatch)]
        assert sorted(identity for batch in step for identity in batch.ids) == names
    assert batches.counts["ptx_samples"] == len(names)
    assert batches.policy.epoch == batches.epoch


def test_plain_text_is_cut_into_windows_of_its_own_length() -> None:
    made = policies.tokenizer()
    _, spec = policies.policy(KINDS["decoder"], made)
    text = policies.objective({"kind": "ppo", "ptx": {**PTX, "target_tokens": 7}}, spec, made).text(ImageInputs())
    assert {len(sample.target) for sample in text.samples} <= {*range(1, 8)}
    assert len(text.samples) > len(TEXTS)
    long = policies.objective({"kind": "ppo", "ptx": {**PTX, "target_tokens": 64}}, spec, made).text(ImageInputs())
    assert len(long.samples) == len(TEXTS)


def test_several_sources_are_put_together() -> None:
    """Conversations in the policy's layout, and plain text."""
    made = policies.tokenizer()
    _, spec = policies.policy(KINDS["decoder"], made)
    both = [{"reader": "texts"}, {"reader": "digits"}]
    several = policies.objective({"kind": "ppo", "ptx": {**PTX, "data": both, "target_tokens": 64}}, spec, made)
    text = several.text(ImageInputs())
    assert [*several.rl.reads_beside] == ["ptx.data[0]", "ptx.data[1]"]
    assert [sample.id for sample in text.samples] == [example.id for example in (*TEXTS, *policies.DIGITS)]
    assert all(sample.source for sample in text.samples[len(TEXTS) :])


def test_the_loss_that_is_reported_is_the_policys_and_text_stands_beside(tmp_path: Path) -> None:
    made = policies.tokenizer()
    losses: dict[str, list[Any]] = {}
    for name, more in (("without", {}), ("with", {"ptx": {**PTX, "weight": 1e-9}})):
        network, spec = policies.policy(KINDS["decoder"], made)
        learned = policies.objective({"kind": "ppo", **more}, spec, made, steps=3)
        policies.trainer(learned, network, tmp_path / name, log_every=1).run()
        losses[name] = [line for line in read_metrics(tmp_path / name / "metrics.jsonl") if line["step"]]
    for plain, beside in zip(losses["without"], losses["with"], strict=True):
        assert beside["loss"] == pytest.approx(plain["loss"], rel=1e-4, abs=1e-5)
        assert beside["ptx_loss"] == pytest.approx(torch.tensor(320.0).log().item(), rel=0.3)
        assert "ptx_loss" not in plain


def test_what_stands_beside_is_kept_while_rewards_rise(tmp_path: Path) -> None:
    """With it text becomes likelier; without, the same steps make it less so."""
    made = policies.tokenizer()
    after = {}
    for name, more in (("without", {}), ("with", {"ptx": PTX})):
        network, spec = policies.policy(KINDS["decoder"], made)
        stage = {"steps": 30, "batch": 16, "learning_rate": 3e-3, "schedule": "constant"}
        learned = policies.objective({"kind": "ppo", "samples": 2, "beta": 0.0, **more}, spec, made, **stage)
        policies.trainer(learned, network, tmp_path / name).run()
        text = policies.objective({"kind": "ppo", "ptx": PTX}, spec, made).text(ImageInputs())
        network.eval()
        with torch.no_grad():
            sums = [learned_loss(network, batch) for batch in text.once()]
        after[name] = sum(nats for nats, _ in sums) / sum(count for _, count in sums)
    assert after["with"] < after["without"] - 1


def learned_loss(network: Any, batch: Any) -> tuple[float, int]:
    from sepiola.training.objectives.writing import language_modelling

    loss = language_modelling(network, batch)
    return float(loss.loss_sum), loss.tokens


def test_a_dataset_that_is_not_known_is_named_by_its_place() -> None:
    raw = {
        "name": "toy",
        "model": {"language": KINDS["decoder"]},
        "tokenizer": {"vocabulary": 320},
        "stages": [
            {"name": "ppo", "data": {"reader": "tidepool"}, "steps": 1,
             "objective": {"kind": "ppo", "reward": "exact", "ptx": {"data": {"reader": "texts"}}}}
        ],
    }  # fmt: skip
    with pytest.raises(SpecError, match=r"stages\[0\].objective.ptx.data\[0\].reader: no dataset is named 'texts'"):
        parse_recipe(raw, "toy.yaml")
