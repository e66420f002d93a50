"""Encoder-decoders whose stacks differ: shapes, counts, fresh weights, and decoding with a cache."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from sepiola.errors import SpecError
from sepiola.models.build import build, parameter_counts
from sepiola.models.transformer import EncoderDecoder
from sepiola.specs.model import ModelSpec

LANGUAGE: dict[str, Any] = {
    "kind": "encoder-decoder",
    "vocabulary": 40,
    "width": 24,
    "layers": 2,
    "encoder_layers": 3,
    "encoder_heads": 6,
    "encoder_feed_forward": 56,
    "attention": {"heads": 2, "scale": 1.0},
    "feed_forward": {"width": 32},
    "positions": {"kind": "relative"},
}


def model(**changes: Any) -> tuple[ModelSpec, EncoderDecoder]:
    spec = ModelSpec.parse({"language": {**LANGUAGE, **changes}})
    network = build(spec)
    assert isinstance(network, EncoderDecoder)
    return spec, network.eval()


def test_each_stack_has_its_own_heads_widths_and_biases() -> None:
    spec, network = model()
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    assert shapes["encoder.relative.embedding.weight"] == (32, 6)
    assert shapes["decoder.relative.embedding.weight"] == (32, 2)
    assert shapes["encoder.layers.2.feed_forward.up.weight"] == (56, 24)
    assert shapes["decoder.layers.1.feed_forward.up.weight"] == (32, 24)
    assert (network.encoder.layers[0].attention.head_width, network.decoder.layers[0].cross.head_width) == (4, 12)
    same = model(encoder_heads=None, encoder_feed_forward=None)[0]
    wider = 3 * 2 * 24 * (56 - 32) + 32 * (6 - 2)  # of three feed-forwards, and the biases of four more heads
    assert parameter_counts(spec)["total"] - parameter_counts(same)["total"] == wider
    assert ModelSpec.parse(spec.to_dict()) == spec


def test_fresh_weights_follow_each_stacks_shape() -> None:
    _, network = model(width=192, encoder_feed_forward=1024)
    for stack, head_width in ((network.encoder, 192 // 6), (network.decoder, 192 // 2)):
        queries = stack.layers[0].attention.qkv.weight[:192]  # unscaled scores: the scale is in the queries
        assert queries.std().item() == pytest.approx(192**-0.5 * head_width**-0.5, rel=0.05)
    down = network.encoder.layers[0].feed_forward.down.weight
    assert down.std().item() == pytest.approx(1024**-0.5 * (2 * (2 + 3)) ** -0.5, rel=0.05)


@pytest.mark.parametrize("positions", ["relative", "rotary", "sinusoidal"])
def test_decoding_with_a_cache_gives_the_same_logits(positions: str) -> None:
    _, network = model(positions={"kind": positions})
    source, target = torch.randint(0, 40, (3, 9)), torch.randint(0, 40, (3, 7))
    mask = torch.ones_like(source)
    mask[1, 4:] = 0
    with torch.no_grad():
        expected = network(source, target, attention_mask=mask)
        state = network.begin(source, 7, attention_mask=mask)
        steps = [network.head(network.extend(target[:, t : t + 1], state)) for t in range(7)]
    torch.testing.assert_close(torch.cat(steps, 1), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"encoder_heads": 5}, r"width \(24\) must be a multiple of encoder_heads \(5\)"),
        (
            {"encoder_heads": 3, "attention": {"heads": 4, "kv_heads": 2}},
            r"encoder_heads \(3\) must be a multiple",
        ),
        ({"encoder_heads": 8, "positions": {"kind": "rotary"}}, "encoder_heads: rotary positions need"),
        ({"kind": "decoder", "encoder_layers": None}, "encoder_heads is for an encoder-decoder"),
        ({"kind": "decoder"}, "encoder_layers is for an encoder-decoder"),
    ],
)
def test_stacks_that_cannot_be_built_name_the_key(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        model(**changes)
