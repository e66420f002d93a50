"""A language model in the native core's form: its spec as plain numbers, its matrices packed in few bits.

The core (edge/native) knows neither PyTorch nor our specs; the folder of `sepiola export --to edge` holds the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sepiola.errors import SepiolaError
from sepiola.models.layers import Layer
from sepiola.models.transformer import EncoderDecoder, LanguageModel, Stack
from sepiola.models.vocabulary import Head
from sepiola.nn.feedforward import FeedForward, GatedFeedForward, MixtureOfExperts
from sepiola.nn.linear import BlockLinear
from sepiola.nn.norms import ZeroCentredRMSNorm
from sepiola.nn.positions import Learned, Sinusoidal
from sepiola.nn.rope import Frequencies
from sepiola.specs.bricks import AttentionSpec, FeedForwardSpec, NormSpec
from sepiola.specs.model import TransformerSpec

KINDS = {4: "int4", 8: "int8", 16: "bf16", 32: "f32"}
"""How matrices are packed, by bits of a weight."""
LOOKED_UP = 8
"""Bits of a weight at least in embeddings of which a token reads one row: fewer bits would save no time."""
ROUTER = ".router"
"""The name of matrices that stay as they are: what a router chooses, all else hangs on."""
NUMBERS = "f32"
"""The kind of what is no matrix."""

Packed = tuple[str, NDArray[np.uint8]] | tuple[str, NDArray[np.uint8], int, int]
Named = tuple[str, Tensor, nn.Module | None]
"""A tensor by the core's name, and the module whose weight it is, all of it or the last of it."""


def unsupported(spec: TransformerSpec) -> str | None:
    """What the core does not compute, to be read after the model's name; None where it computes all of it."""
    lacks = {
        "is an encoder": spec.kind == "encoder",
        "has Transformer-XL's positions": spec.positions.kind == "transformer-xl",
        "stretches positions by the text's length (positions.scaling)": spec.positions.border is not None,
        "has a transform before its head (head.transform)": spec.head.transform,
        "has no head": spec.head.kind == "none",
        "has token types": spec.token_types > 0,
    }
    return next((what for what, lacking in lacks.items() if lacking), None)


def core_spec(spec: TransformerSpec, network: LanguageModel | EncoderDecoder) -> dict[str, object]:
    """The spec as the core takes it. Raises SepiolaError for what it does not compute."""
    if (reason := unsupported(spec)) is not None:
        raise SepiolaError(f"the native core does not run this model: it {reason}; use runtime='torch'")
    core: dict[str, object] = {
        "width": spec.width,
        "vocabulary": spec.vocabulary,
        "length": spec.positions.length or 0 if spec.positions.kind == "learned" else 0,
        "embedding_scale": spec.embedding_scale or 1.0,
        "head_scale": spec.head_scale or 1.0,
        "decoder": _stack_spec(spec, network.decoder, cross=isinstance(network, EncoderDecoder)),
    }
    if isinstance(network, EncoderDecoder):
        core["encoder"] = _stack_spec(spec.encoder, network.encoder, cross=False)
    return core


def _stack_spec(spec: TransformerSpec, stack: Stack, *, cross: bool) -> dict[str, object]:
    amplitudes = [frequencies.amplitude for frequencies in _rotaries(stack).values()] or [1.0]
    return {
        **stack_spec(spec.width, spec.attention, spec.feed_forward, spec.norm, spec.layers),
        "causal": stack.causal,
        "cross": cross,
        "windows": [window or 0 for window in stack.windows],
        "amplitude": amplitudes[0],
        "local_amplitude": amplitudes[-1],
    }


def stack_spec(
    width: int, attention: AttentionSpec, feed_forward: FeedForwardSpec, norm: NormSpec, layers: int
) -> dict[str, object]:
    """A stack of layers as the core takes it; by itself all of its tokens see each other."""
    attention = attention.spelled_out(width)
    return {
        "layers": layers,
        "heads": attention.heads,
        "kv_heads": attention.kv_heads,
        "head_width": attention.head_width,
        "inner": feed_forward.width,
        "scale": attention.scale,
        "eps": norm.eps,
        "centred": norm.kind == "layer",
        "causal": False,
        "cross": False,
        "gated": feed_forward.gated,
        "place": norm.place,
        "activation": feed_forward.activation,
        "windows": [0] * layers,
        "amplitude": 1.0,
        "local_amplitude": 1.0,
        **_mixture(feed_forward),
        **({"joined": True} if attention.qk_norm == "joined" else {}),
    }


def _mixture(feed_forward: FeedForwardSpec) -> dict[str, object]:
    """What a mixture of experts adds to a stack's spec."""
    if feed_forward.experts is None:
        return {}
    dense = {"dense": [*feed_forward.dense], "dense_inner": feed_forward.dense_width} if feed_forward.dense else {}
    shared = {"shared": feed_forward.shared} if feed_forward.shared else {}
    chosen = {"chosen": feed_forward.chosen, "renormalise": feed_forward.renormalise}
    return {"experts": feed_forward.experts, **chosen, **shared, **dense}


def _rotaries(stack: Stack) -> dict[str, Frequencies]:
    """The frequencies of full attention, or of the only kind there is, and those of layers with a window."""
    tables = {window: rotary.frequencies for window, rotary in stack.rotaries.items() if rotary is not None}
    order = sorted(tables, key=lambda window: window is not None)
    return dict(zip(("rotary", "local_rotary"), (tables[window] for window in order), strict=False))


def core_tensors(network: LanguageModel | EncoderDecoder, bits: int, *, release: bool = False) -> dict[str, Packed]:
    """The weights by the core's names: packed matrices with their kind and shape, and numbers.

    With `release` the network gives its matrices up as they are packed.
    """
    tensors = packed(_tensors(network), bits, release=release)
    return tensors | packed(_tables(network), max(bits, LOOKED_UP), release=release)


def packed(tensors: Iterator[Named], bits: int, *, release: bool = False) -> dict[str, Packed]:
    """Matrices packed, and what is none as numbers."""
    from sepiola_edge._native import pack

    result: dict[str, Packed] = {}
    for name, tensor, owner in tensors:
        numbers = np.ascontiguousarray(tensor.detach().float().numpy())
        if tensor.dim() == 2 and not name.endswith((".relative", ".positions")):
            kind = KINDS[32 if name.endswith(ROUTER) else bits]
            result[name] = (f"packed {kind}", pack(numbers, kind), *numbers.shape)
            if release and owner is not None:
                owner.weight = nn.Parameter(tensor.new_empty(0, tensor.shape[1]), requires_grad=False)
        else:
            result[name] = (NUMBERS, numbers.reshape(-1).view(np.uint8).copy())
    return result


def _tensors(network: LanguageModel | EncoderDecoder) -> Iterator[Named]:
    head = network.head
    assert isinstance(head, Head)
    if head.projection is not None:
        yield "head", head.projection.weight, head.projection
    if head.bias is not None:
        yield "head.bias", head.bias, None
    if isinstance(network, EncoderDecoder):
        yield from _stack("encoder", network.encoder)
    yield from _stack("decoder", network.decoder)
    if head.projection is None:
        yield "embedding", network.embedding.weight, network.embedding  # which is the head too


def _tables(network: LanguageModel | EncoderDecoder) -> Iterator[Named]:
    """Embeddings that are no head."""
    assert isinstance(network.head, Head)
    if isinstance(network, EncoderDecoder) and network.decoder_embedding is not None:
        yield "decoder_embedding", network.decoder_embedding.weight, network.decoder_embedding
    if network.head.projection is not None:
        yield "embedding", network.embedding.weight, network.embedding


def _stack(name: str, stack: Stack) -> Iterator[Named]:
    for table, frequencies in _rotaries(stack).items():
        yield f"{name}.{table}", frequencies.table, None
    if stack.relative is not None:
        reach = stack.relative.max_distance
        yield f"{name}.relative", stack.relative(1, 2 * reach + 1, reach)[0, :, 0], None
    positions = stack.positions
    if isinstance(positions, Learned):
        yield f"{name}.positions", positions.embedding.weight[positions.offset :], None
    elif isinstance(positions, Sinusoidal):
        half = torch.arange(0, positions.width, 2, dtype=torch.float32)
        yield f"{name}.sinusoids", torch.exp(half * (-math.log(positions.base) / positions.width)), None
    yield from norm_tensors(f"{name}.embedding_norm", stack.embedding_norm)
    yield from norm_tensors(f"{name}.norm", stack.norm)
    for number, layer in enumerate(stack.layers):
        yield from layer_tensors(f"{name}.{number}", layer)


def layer_tensors(name: str, layer: Layer) -> Iterator[Named]:
    attention, cross, inner = layer.attention, layer.cross, layer.feed_forward
    for norm, module in layer.named_children():
        if norm.endswith(("_norm", "_close")):
            yield from norm_tensors(f"{name}.{norm}", module)
    yield from norm_tensors(f"{name}.q_norm", attention.q_norm)
    yield from norm_tensors(f"{name}.k_norm", attention.k_norm)
    yield from linear_tensors(f"{name}.qkv", attention.qkv)
    yield from linear_tensors(f"{name}.out", attention.out)
    if cross is not None:
        yield from linear_tensors(f"{name}.cross_q", cross.q)
        yield from linear_tensors(f"{name}.cross_kv", cross.kv)
        yield from linear_tensors(f"{name}.cross_out", cross.out)
    yield from feed_forward_tensors(f"{name}.", inner)


def feed_forward_tensors(at: str, inner: nn.Module) -> Iterator[Named]:
    """Those of a feed-forward network; `at` stands before their names."""
    assert isinstance(inner, FeedForward | GatedFeedForward | MixtureOfExperts)
    if isinstance(inner, MixtureOfExperts):
        yield f"{at}router", inner.router.weight, inner.router
        yield from _block_tensors(f"{at}experts.", "", inner.gate_up)
        yield from _block_tensors(f"{at}experts.", ".down", inner.down)
        if inner.shared is not None and inner.shared_gate is not None:
            yield from feed_forward_tensors(f"{at}shared.", inner.shared)
            yield f"{at}shared{ROUTER}", inner.shared_gate.weight, inner.shared_gate
        return
    if isinstance(inner, GatedFeedForward):
        yield from _block_tensors(at, "", inner.gate_up)
    else:
        yield from linear_tensors(f"{at}up", inner.up)
    yield from linear_tensors(f"{at}down", inner.down)


def _block_tensors(at: str, end: str, linear: BlockLinear) -> Iterator[Named]:
    """The blocks of a linear layer, each a matrix; the last one gives up all of it."""
    weight, last = linear.weight, next(reversed(linear.blocks))
    for block, rows in linear.rows.items():
        yield f"{at}{block}{end}", weight[rows], linear if block == last else None
        if linear.bias is not None:
            yield f"{at}{block}{end}.bias", linear.bias[rows], None


def linear_tensors(name: str, linear: nn.Linear) -> Iterator[Named]:
    yield name, linear.weight, linear
    if linear.bias is not None:
        yield f"{name}.bias", linear.bias, None


def norm_tensors(name: str, norm: nn.Module) -> Iterator[Named]:
    if isinstance(norm, nn.LayerNorm | nn.RMSNorm):
        weight = norm.weight.float()
        yield f"{name}.weight", weight + 1 if isinstance(norm, ZeroCentredRMSNorm) else weight, None
        if isinstance(norm, nn.LayerNorm) and norm.bias is not None:
            yield f"{name}.bias", norm.bias, None
