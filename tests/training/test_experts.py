"""Router losses against `transformers` and their formulas, under padding and packing, and what they do in training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transformers import MixtralConfig, MixtralForCausalLM
from transformers.models.mixtral.modeling_mixtral import load_balancing_loss_func

import sepiola
from sepiola.data.batching import Batch, Collator, Sample
from sepiola.data.metrics_log import read_metrics
from sepiola.models.build import build
from sepiola.specs.base import override
from sepiola.specs.model import ModelSpec, SpecialTokens
from sepiola.training.experts import balance_loss, routed, router_z_loss
from sepiola.training.objectives.writing import language_modelling
from tests.trainers import stage_of, text_trainer

SPARSE: dict[str, Any] = {
    "language": {
        "kind": "decoder",
        "vocabulary": 30,
        "width": 16,
        "layers": 2,
        "attention": {"heads": 2},
        "feed_forward": {"width": 20, "activation": "silu", "gated": True, "experts": 4, "chosen": 1},
        "positions": {"kind": "rotary"},
    }
}
BALANCED, SMALL_LOGITS = "language.feed_forward.balance_loss", "language.feed_forward.router_z_loss"


def samples(count: int = 6, longest: int = 9) -> list[Sample]:
    generator = np.random.default_rng(0)
    lengths = [1 + i % longest for i in range(count)]
    return [Sample(f"s{i}", generator.integers(2, 30, n).tolist(), [2 + i % 9, 5, 1]) for i, n in enumerate(lengths)]


def collate(few: list[Sample], *, packed: bool = False, kind: str = "decoder") -> Batch:
    return Collator(SpecialTokens(), kind=kind, packed=packed, source_tokens=10, target_tokens=10)(few)


def model(*changes: str) -> nn.Module:
    return build(ModelSpec.parse(override(SPARSE, list(changes))), seed=1)


def extra(trained: nn.Module, batch: Batch) -> Tensor:
    outcome = language_modelling(trained, batch)
    assert outcome.extra is not None
    return outcome.extra / batch.labelled


@pytest.mark.parametrize("packed", [False, True])
def test_balance_is_that_of_transformers(packed: bool, tmp_path: Path) -> None:
    """Of a padded batch and, from rows that hold several of its samples, of the same; the gradient too."""
    config = MixtralConfig(
        vocab_size=30,
        hidden_size=24,
        intermediate_size=52,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        num_local_experts=6,
        num_experts_per_tok=3,
        router_aux_loss_coef=0.25,
    )
    torch.manual_seed(0)
    theirs = MixtralForCausalLM(config)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.normal_(0.1, 0.3)
    theirs.save_pretrained(tmp_path / "theirs")
    ours = sepiola.load(tmp_path / "theirs")
    assert ours.spec.language.feed_forward.balance_loss == 0.25
    ours.save_hub(tmp_path / "back")
    assert MixtralConfig.from_pretrained(tmp_path / "back").router_aux_loss_coef == 0.25

    padded = collate(samples())
    mask = padded.real.long()
    assert 0 < mask.sum() < mask.numel()
    said = theirs(input_ids=padded.target, attention_mask=mask, output_router_logits=True).router_logits
    expected = 0.25 * load_balancing_loss_func(said, 6, 3, mask)
    got = extra(ours.network.train(), collate(samples(), packed=packed))
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=0)
    layer = ours.network.decoder.layers[1].feed_forward.router.weight
    (wanted,) = torch.autograd.grad(expected, theirs.model.layers[1].mlp.gate.weight)
    (given,) = torch.autograd.grad(got, layer)
    assert given.abs().max() > 1e-4
    torch.testing.assert_close(given, wanted, rtol=1e-4, atol=1e-7)


def test_router_z_loss_by_its_formula() -> None:
    """Mean over real tokens and layers; batches with as many tokens each add up to one large batch."""
    trained = model(f"{SMALL_LOGITS}=0.5")
    few = samples(6)
    batch = collate(few)
    with routed(trained) as logits:
        got = extra(trained, batch)
    real = torch.stack(logits["decoder"])[:, batch.real.flatten()]
    torch.testing.assert_close(got, 0.5 * real.exp().sum(-1).log().square().mean())
    equal = samples(6, longest=1)
    halves = extra(trained, collate(equal[:3])) + extra(trained, collate(equal[3:]))
    torch.testing.assert_close(halves / 2, extra(trained, collate(equal)))


@pytest.mark.parametrize("packed", [False, True])
def test_padding_of_source_and_target_does_not_count(packed: bool) -> None:
    """A batch's loss is that of the logits which its samples have alone; encoder and decoder are added."""
    changes = ["language.kind=encoder-decoder", "language.positions.kind=relative", "language.feed_forward.chosen=2"]
    trained = model(f"{BALANCED}=0.5", f"{SMALL_LOGITS}=0.25", *changes)
    few = [Sample("a", [3, 4], [5, 1]), Sample("b", [6, 7, 8, 9], [8, 8, 8, 1]), Sample("c", [9] * 8, [1])]
    expected = torch.zeros(())
    for stack in ("encoder", "decoder"):
        alone = []
        for sample in few:
            with routed(trained) as collected:
                extra(trained, collate([sample], kind="encoder-decoder"))
            alone += collected[stack]
        logits = torch.cat(alone)
        expected += 0.5 * balance_loss(logits, 2) + 0.25 * router_z_loss(logits)
    torch.testing.assert_close(extra(trained, collate(few, packed=packed, kind="encoder-decoder")), expected)


def test_what_is_reported_is_the_cross_entropy() -> None:
    plain, batch = model(), collate(samples())
    weighed = model(f"{BALANCED}=0.1", f"{SMALL_LOGITS}=0.1", "language.head.z_loss=0.1")
    expected, got = language_modelling(plain, batch), language_modelling(weighed, batch)
    torch.testing.assert_close(got.loss_sum, expected.loss_sum)
    assert got.total > got.loss_sum + 1.0 and expected.total == expected.loss_sum
    logits = plain(batch.target)[batch.labels >= 0]
    z_loss = 0.1 * logits.logsumexp(-1).square().sum()
    torch.testing.assert_close(language_modelling(weighed.eval(), batch).extra, z_loss)
    assert not any(module._forward_hooks for module in weighed.modules())


def biased(*changes: str) -> nn.Module:
    """A model whose routers send nearly every token to the first expert."""
    made: Any = model("language.layers=1", *changes)
    layer = made.decoder.layers[0]
    with torch.no_grad():
        layer.feed_forward_norm.bias[0] = 3.0
        layer.feed_forward.router.weight[0, 0] = 1.5
    return made


def largest_share(trained: nn.Module) -> float:
    """The share of tokens that the busiest expert is sent."""
    batch, given = collate(samples(40)), []
    router = trained.decoder.layers[0].feed_forward.router
    hook = router.register_forward_hook(lambda _, inputs, logits: given.append(logits))
    with torch.no_grad():
        trained.eval().states(batch.target)
    hook.remove()
    counts = given[0][batch.real.flatten()].argmax(-1).bincount(minlength=4)
    return (counts.max() / counts.sum()).item()


def test_a_biased_router_finds_its_balance(tmp_path: Path) -> None:
    """With the balance loss and not without; the loss that is reported leaves it out."""
    shares, losses = [], []
    for weight in (0.0, 0.1):
        trained = biased(f"{BALANCED}={weight}")
        assert largest_share(trained) > 0.9
        stage = stage_of(batch=10, learning_rate=1e-2, steps=40, accumulate=2)
        text_trainer(trained, stage, samples(40), folder=tmp_path / str(weight), log_every=1).run()
        shares.append(largest_share(trained))
        losses.append(read_metrics(tmp_path / str(weight) / "metrics.jsonl")[1]["loss"])
    assert shares[0] > 0.7 and shares[1] < 0.5, shares
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
