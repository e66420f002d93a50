"""A language model as a GGUF file, which llama.cpp runs: of LLaMA's, Qwen2's, Qwen3's or Gemma 3's shape.

The shape decides, not the family's name: what a recipe of ours trained leaves too. llama.cpp turns pairs that lie side
by side for LLaMA, so that rows of queries and keys change places; a norm held as its difference from one is written
whole; a scale of attention that llama.cpp does not know goes into the queries.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sepiola.checkpoints.gguf_tokenizer import ENDS_BY_NAME, GgufTokenizer, gguf_tokenizer
from sepiola.data.files import make_folder, replacing
from sepiola.errors import SepiolaError, SpecError, shown
from sepiola.models.layers import Layer
from sepiola.models.transformer import LanguageModel
from sepiola.models.vocabulary import Head
from sepiola.nn.feedforward import GatedFeedForward
from sepiola.nn.norms import ZeroCentredRMSNorm
from sepiola.nn.rope import frequencies
from sepiola.nn.rounding import q4_0
from sepiola.specs.generation import PENALTIES
from sepiola.specs.model import PositionSpec, TransformerSpec
from sepiola.specs.rope import LinearScaling, Llama3Scaling, YarnScaling
from sepiola.text.processor import Processor
from sepiola.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from gguf import GGUFWriter

KINDS = {4: "Q4_0", 8: "Q8_0", 16: "BF16"}
"""How matrices are held, by bits of a weight."""
CONTEXT = 4096
"""The context that is stated for a model which states none."""
_GEMMA_EVERY = 6  # which layers of Gemma 3 have no window, where a file does not say it
_LLAMA, _QWEN2, _QWEN3, _GEMMA = "llama", "qwen2", "qwen3", "gemma3"


def save_gguf(
    path: Path, network: nn.Module, processor: Processor, tokenizer: Tokenizer, bits: int, ends: Collection[int]
) -> list[str]:
    """Writes the file, whole or not at all; returns what llama.cpp will do otherwise, as sentences.

    `ends` are the tokens that end a reply. Raises SepiolaError for what GGUF or llama.cpp has no place for, before
    anything is written, and where the gguf package is missing.
    """
    if bits not in KINDS:
        raise SpecError(f"bits: got {shown(bits)}; expected 4 (Q4_0), 8 (Q8_0) or 16 (BF16)")
    if not isinstance(network, LanguageModel):
        raise SepiolaError("GGUF is written for decoders that read text alone; export this model --to edge or hf")
    spec = network.spec
    architecture = architecture_of(spec)
    try:
        from gguf import GGUFWriter
    except ImportError:
        raise SepiolaError("GGUF files are written by the gguf package: pip install 'sepiola[gguf]'") from None
    words = gguf_tokenizer(tokenizer, spec.vocabulary)
    writer = GGUFWriter(None, architecture)
    notes = [*words.notes]
    _write_sizes(writer, spec, processor, bits, notes)
    _write_positions(writer, spec, architecture)
    _write_words(writer, words, processor, [*processor.ends, *sorted(set(ends) - {*processor.ends})], notes)
    plain = sum([_write_tensor(writer, *named, bits) for named in _tensors(network, architecture)])
    if plain:
        notes.append(f"matrices in BF16, whose rows are no multiple of 32 numbers, as {KINDS[bits]} needs: {plain}")
    make_folder(path.parent)
    with replacing(path) as temporary:
        writer.write_header_to_file(temporary)
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
    return notes


def architecture_of(spec: TransformerSpec) -> str:
    """llama.cpp's name of the shape. Raises SepiolaError for a model that is of none."""
    attention, inner = spec.attention.spelled_out(spec.width), spec.feed_forward
    only_qkv = bool(attention.bias and not attention.output_bias and not inner.bias)
    assert attention.head_width is not None
    if spec.norm.place == "sandwich":
        name = _GEMMA
    elif attention.qk_norm:
        name = _QWEN3
    elif only_qkv and attention.heads * attention.head_width == spec.width:
        name = _QWEN2
    else:
        name = _LLAMA
    gemma = name == _GEMMA
    scale, expected = spec.embedding_scale or 1.0, spec.width**0.5 if gemma else 1.0
    activation = "gelu_tanh" if gemma else "silu"
    biased = attention.bias or attention.output_bias or inner.bias
    reach = spec.positions.length or math.inf
    lacks = {
        "is no decoder": spec.kind != "decoder",
        "has mixtures of experts (feed_forward.experts)": inner.experts is not None,
        "normalises the queries and keys of all heads as one (attention.qk_norm: joined)": attention.qk_norm
        == "joined",
        "has a feed-forward without a gate": not inner.gated,
        f"has the activation {inner.activation}, where {name} has {activation}": inner.activation != activation,
        f"has norms of kind {spec.norm.kind}": spec.norm.kind != "rms",
        f"has norms {spec.norm.place}": spec.norm.place not in ("pre", "sandwich"),
        f"has {spec.positions.kind} positions": spec.positions.kind != "rotary",
        f"has biases, where {name} has none": biased and name in (_QWEN3, _GEMMA),
        "has no norms of queries and keys, where Gemma 3 has them": gemma and not attention.qk_norm,
        f"sees {attention.window} tokens of {reach} (attention.window)": not gemma
        and attention.window is not None
        and attention.window < reach,
        f"scales its embeddings by {scale}": not math.isclose(scale, expected, rel_tol=1e-3),
        "scales its head (head_scale)": spec.head_scale not in (None, 1.0),
        "has a transform before its head (head.transform)": spec.head.transform,
        "has a bias in its head (head.bias)": spec.head.bias,
        "has no head": spec.head.kind == "none",
        "normalises its embeddings (embedding_norm)": spec.embedding_norm,
        "has token types": spec.token_types > 0,
    }
    reason = next((what for what, lacking in lacks.items() if lacking), None)
    if reason is not None:
        raise SepiolaError(f"llama.cpp has no place for this model: it {reason}; export it --to edge or hf")
    return name


def _write_sizes(writer: GGUFWriter, spec: TransformerSpec, processor: Processor, bits: int, notes: list[str]) -> None:
    from gguf import GGML_QUANT_VERSION, LlamaFileType

    attention = spec.attention.spelled_out(spec.width)
    context = processor.context or spec.positions.length
    if context is None:
        notes.append(f"the model states no context; the file states {CONTEXT} tokens")
    asked = processor.generation.model_dump(exclude_defaults=True).keys() & {*PENALTIES, "stop_strings"}
    if asked:
        notes.append(f"the file does not hold {', '.join(sorted(asked))}: give llama.cpp the same")
    writer.add_type("model")
    writer.add_file_type(LlamaFileType[f"MOSTLY_{KINDS[bits]}"])
    writer.add_quantization_version(GGML_QUANT_VERSION)
    writer.add_vocab_size(spec.vocabulary)
    writer.add_context_length(context or CONTEXT)
    writer.add_embedding_length(spec.width)
    writer.add_block_count(spec.layers)
    writer.add_feed_forward_length(spec.feed_forward.width)
    writer.add_head_count(attention.heads)
    width, heads = attention.head_width or 0, attention.kv_heads or attention.heads
    writer.add_head_count_kv(heads)
    writer.add_key_length(width)
    writer.add_value_length(width)
    writer.add_layer_norm_rms_eps(spec.norm.eps)
    if attention.window is not None and spec.norm.place == "sandwich":
        windows = [spec.attention.of_layer(layer).window is not None for layer in range(spec.layers)]
        writer.add_sliding_window(attention.window)
        if attention.full_every != _GEMMA_EVERY:
            writer.add_sliding_window_pattern(windows)


def _write_positions(writer: GGUFWriter, spec: TransformerSpec, architecture: str) -> None:
    """Raises SepiolaError for positions stretched in a way that the architecture does not know."""
    from gguf import RopeScalingType

    positions = spec.positions
    width = spec.attention.spelled_out(spec.width).head_width
    assert width is not None
    writer.add_rope_dimension_count(width)
    writer.add_rope_freq_base(positions.base)
    if architecture == _GEMMA and spec.attention.window is not None:
        writer.add_rope_freq_base_swa(positions.local_base or positions.base)
    match positions.scaling:
        case None:
            stretched = True
        case LinearScaling(factor=factor):
            writer.add_rope_scaling_type(RopeScalingType.LINEAR)
            writer.add_rope_scaling_factor(factor)
            stretched = architecture != _GEMMA or positions.local_base is not None
        case YarnScaling() as yarn:
            writer.add_rope_scaling_type(RopeScalingType.YARN)
            writer.add_rope_scaling_factor(yarn.factor)
            writer.add_rope_scaling_orig_ctx_len(yarn.original_length)
            plain = YarnScaling(kind="yarn", factor=yarn.factor, original_length=yarn.original_length)
            stretched = architecture != _GEMMA and yarn == plain
        case Llama3Scaling():
            stretched = architecture == _LLAMA
            writer.add_tensor("rope_freqs.weight", _divisors(positions, width))
        case _:
            stretched = False
    if positions.local_scaling is not None or not stretched:
        scaling = positions.local_scaling or positions.scaling
        raise SepiolaError(
            f"llama.cpp has no place for this model: its {architecture} does not stretch positions so ({scaling!r}); "
            "export it --to edge or hf"
        )


def _divisors(positions: PositionSpec, width: int) -> NDArray[np.float32]:
    """By what each frequency is divided."""
    whole = frequencies(width, positions.base, None, positions.length).table
    return _numbers(whole / frequencies(width, positions.base, positions.scaling, positions.length).table)


def _write_words(
    writer: GGUFWriter, words: GgufTokenizer, processor: Processor, ends: Sequence[int], notes: list[str]
) -> None:
    if not ends:
        raise SepiolaError("the checkpoint names no end token (eos_token_id), and llama.cpp needs one")
    end, *others = ends
    others = [token for token in others if words.tokens[token] not in ENDS_BY_NAME]
    if len(others) > 2:
        raise SepiolaError(f"texts end at {len(ends)} tokens, and GGUF has room for 3")
    if words.closing is not None and words.closing != end:
        raise SepiolaError(f"the tokenizer ends a text with token {words.closing}, and the model with {end}")
    more = sorted(token for token in ENDS_BY_NAME & {*words.tokens} if words.tokens.index(token) not in ends)
    if more:
        notes.append(f"llama.cpp ends a reply at {', '.join(more)} too, by the name")
    writer.add_tokenizer_model(words.model)
    writer.add_tokenizer_pre(words.cut)
    writer.add_token_list(words.tokens)
    writer.add_token_types(words.types)
    if words.scores is not None:
        writer.add_token_scores(words.scores)
        writer.add_add_space_prefix(words.space)
    if words.merges is not None:
        writer.add_token_merges(words.merges)
    writer.add_eos_token_id(end)
    for add, token in zip((writer.add_eot_token_id, writer.add_eom_token_id), others, strict=False):
        add(token)
    start = words.opening if words.opening is not None else processor.named("bos_token", processor.start)
    for add, found in (
        (writer.add_bos_token_id, start),
        (writer.add_pad_token_id, processor.pad),
        (writer.add_unk_token_id, words.unknown),
    ):
        if found is not None:
            add(found)
    writer.add_add_bos_token(words.opening is not None)
    writer.add_add_eos_token(words.closing is not None)
    if processor.template is None:
        notes.append("the model has no chat template: llama.cpp lays conversations out as ChatML")
    else:
        templates = processor.template.templates
        writer.add_chat_template([{"name": name, "template": source} for name, source in templates.items()])


def _write_tensor(writer: GGUFWriter, name: str, values: NDArray[np.float32], bits: int) -> bool:
    """Adds a tensor; whether it is a matrix that the kind asked for cannot hold."""
    from gguf import GGMLQuantizationType
    from gguf.quants import quantize

    if values.ndim < 2:
        writer.add_tensor(name, values)
        return False
    plain = bits != 16 and values.shape[1] % 32 != 0
    kind = GGMLQuantizationType[KINDS[16 if plain else bits]]
    four = kind is GGMLQuantizationType.Q4_0
    data = q4_0(torch.from_numpy(values)).numpy() if four else quantize(values, kind)
    writer.add_tensor(name, data, raw_dtype=kind)
    return plain


def _tensors(network: LanguageModel, architecture: str) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """The weights by llama.cpp's names."""
    yield "token_embd.weight", _numbers(network.embedding.weight)
    yield from _norm("output_norm", network.decoder.norm)
    if isinstance(network.head, Head) and network.head.projection is not None:
        yield "output.weight", _numbers(network.head.projection.weight)
    for number, layer in enumerate(network.decoder.layers):
        yield from _layer(f"blk.{number}", layer, network.spec, architecture)


def _layer(
    name: str, layer: Layer, spec: TransformerSpec, architecture: str
) -> Iterator[tuple[str, NDArray[np.float32]]]:
    norms = {"attention_norm": "attn_norm", "feed_forward_norm": "ffn_norm"}
    norms |= {"attention_close": "post_attention_norm", "feed_forward_close": "post_ffw_norm"}
    for ours, module in layer.named_children():
        if ours in norms:
            yield from _norm(f"{name}.{norms[ours]}", module)
    attention, inner = layer.attention, layer.feed_forward
    known = attention.head_width**-0.5
    if architecture == _GEMMA and spec.layers == 62:  # as llama.cpp tells the model of 27 billion weights
        known = (spec.width // attention.heads) ** -0.5
    scales = {"q": 1.0 if math.isclose(attention.scale, known, rel_tol=1e-6) else attention.scale / known}
    yield from _norm(f"{name}.attn_q_norm", attention.q_norm, scales["q"])
    yield from _norm(f"{name}.attn_k_norm", attention.k_norm)
    if spec.attention.qk_norm:
        scales = {}
    heads = {"q": attention.heads, "k": attention.kv_heads}
    for part, rows in attention.qkv.rows.items():
        for kind, whole in attention.qkv.named_parameters():
            values = _numbers(whole[rows]) * np.float32(scales.get(part, 1.0))
            if architecture == _LLAMA and part in heads:
                values = _side_by_side(values, heads[part])
            yield f"{name}.attn_{part}.{kind}", values
    yield from _linear(f"{name}.attn_output", attention.out)
    assert isinstance(inner, GatedFeedForward)
    for part, rows in inner.gate_up.rows.items():
        for kind, whole in inner.gate_up.named_parameters():
            yield f"{name}.ffn_{part}.{kind}", _numbers(whole[rows])
    yield from _linear(f"{name}.ffn_down", inner.down)


def _side_by_side(values: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    """Rows of each head whose halves turn together, laid out so that neighbours do."""
    halves = values.reshape(heads, 2, -1, *values.shape[1:])
    return np.ascontiguousarray(halves.swapaxes(1, 2)).reshape(values.shape)


def _linear(name: str, linear: nn.Linear) -> Iterator[tuple[str, NDArray[np.float32]]]:
    for kind, values in linear.named_parameters():
        yield f"{name}.{kind}", _numbers(values)


def _norm(name: str, norm: nn.Module, scale: float = 1.0) -> Iterator[tuple[str, NDArray[np.float32]]]:
    if isinstance(norm, nn.RMSNorm):
        weight = norm.weight.float()
        yield f"{name}.weight", _numbers((weight + 1 if isinstance(norm, ZeroCentredRMSNorm) else weight) * scale)


def _numbers(values: Tensor) -> NDArray[np.float32]:
    return np.ascontiguousarray(values.detach().float().cpu().numpy())
