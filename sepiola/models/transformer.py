"""One Transformer: decoder, encoder and encoder-decoder from the same layers (arXiv 1706.03762 and its heirs).

What a spec chooses (norm and its place, positions, attention and feed-forward kind, tying) is settled when the module
is built; the forward pass has no choices left. Segment numbers serve as attention masks everywhere: 0 is padding, and
tokens see each other when they hold the same number, so a plain 0/1 mask and a packed batch are one thing.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from sepiola.models.layers import LAYERS, NO_LAYERS, AttentionInputs, BatchState, InsertedLayers, KeysValues
from sepiola.models.states import repeated
from sepiola.models.vocabulary import TokenEmbedding, head
from sepiola.nn.attend import has_gaps, mask_bias, window_bias
from sepiola.nn.banded import SLICED, Band
from sepiola.nn.cache import KVCache
from sepiola.nn.dropout import Dropout
from sepiola.nn.norms import norm
from sepiola.nn.positions import Distances, Learned, RelativeBias, Rotary, Sinusoidal, token_positions
from sepiola.nn.precision import product_dtype
from sepiola.specs.bricks import AttentionSpec
from sepiola.specs.model import PositionSpec, TransformerSpec


class DecodingState:
    """What decoding remembers: a cache a layer, the context's keys and values, and which positions are padding.

    `media` is what a bridge remembers of the images. `ahead` tokens are known to follow those that are read next, as
    many in each row or, `(batch, 1, 1, 1)`, so many in each.
    """

    def __init__(
        self,
        caches: list[KVCache],
        context: list[KeysValues] | None = None,
        context_bias: Tensor | None = None,
        segments: Tensor | None = None,
    ) -> None:
        self.caches = caches
        self.context = context
        self.context_bias = context_bias
        self.segments = segments
        self.media: BatchState | None = None
        self.ahead: int | Tensor = 0

    @property
    def length(self) -> int:
        """Positions decoded so far."""
        return self.caches[0].length

    def select(self, rows: Tensor) -> None:
        """Keeps these rows of the batch (finished rows are dropped, or one row is fanned out to several)."""
        for cache in self.caches:
            cache.select(rows)
        if self.context is not None:
            self.context = [(k.index_select(0, rows), v.index_select(0, rows)) for k, v in self.context]
        if self.context_bias is not None:
            self.context_bias = self.context_bias.index_select(0, rows)
        if self.segments is not None:
            self.segments = self.segments.index_select(0, rows)
        if self.media is not None:
            self.media.select(rows)

    def rewind(self, tokens: int) -> None:
        """Forgets so many of the positions decoded last. Images that they brought with them stay."""
        for cache in self.caches:
            cache.length -= tokens


class Stack(nn.Module):
    """A run of layers with its position encoding and, for pre-norm, the final norm."""

    def __init__(self, spec: TransformerSpec, *, causal: bool, cross: bool) -> None:
        super().__init__()
        self.causal = causal
        self.positions = _absolute_positions(spec.positions, spec.width)
        self.relative = _relative_bias(spec.positions, spec.attention.heads, bidirectional=not causal)
        self.slices = causal and spec.positions.kind not in ("relative", "transformer-xl")
        self.embedding_norm = norm(spec.width, spec.norm) if spec.embedding_norm else nn.Identity()
        self.dropout = Dropout(spec.dropout)
        each = [spec.attention.of_layer(index) for index in range(spec.layers)]
        self.windows = [one.window for one in each]
        self.rotaries = {one.window: _rotary(spec, one) for one in each}  # shared, so that their angles are too
        layers = (_layer(spec, number, cross, self.rotaries[window]) for number, window in enumerate(self.windows))
        self.layers: Any = nn.ModuleList(layers)
        self.norm = nn.Identity() if spec.norm.place == "post" else norm(spec.width, spec.norm)

    def forward(
        self,
        x: Tensor,
        segments: Tensor | None = None,
        *,
        context: Tensor | None = None,
        context_segments: Tensor | None = None,
        state: DecodingState | None = None,
        inserted_layers: InsertedLayers = NO_LAYERS,
    ) -> Tensor:
        """States `(batch, tokens, width)`; `segments` `(batch, keys)` covers what the state holds and then `x`."""
        tokens = x.shape[1]
        past, ahead = (state.length, state.ahead) if state is not None else (0, 0)
        positions = token_positions(segments, past, tokens, x.device)
        bias_of_window = self._seen(segments, past, x)
        if state is not None and state.context is not None:
            contexts: Sequence[KeysValues | None] = state.context
            context_bias = state.context_bias
        elif context is not None:
            contexts, context_bias = self.project_context(context), self._context_bias(segments, context_segments, x)
        else:
            contexts, context_bias = [None] * len(self.layers), None
        x = self.dropout(self.embedding_norm(self.positions(x, positions)))
        caches: Sequence[KVCache | None] = state.caches if state is not None else [None] * len(self.layers)
        dtype = product_dtype(x)
        angles = {
            window: None if rotary is None else rotary.angles(positions, dtype, ahead)
            for window, rotary in self.rotaries.items()
        }
        each = zip(self.layers, self.windows, caches, contexts, strict=True)
        for number, (layer, window, cache, keys_values) in enumerate(each):
            if number in inserted_layers:
                x = inserted_layers[number](x)
            x = layer(x, AttentionInputs(bias_of_window[window], angles[window], cache, keys_values, context_bias))
        return self.dropout(self.norm(x))

    def project_context(self, context: Tensor) -> list[KeysValues]:
        """Every layer's keys and values of the context `(batch, positions, width)`."""
        return [layer.cross.project(context) for layer in self.layers]

    def state(self, batch: int, capacity: int, segments: Tensor | None = None) -> DecodingState:
        """An empty decoding state for `capacity` positions."""
        return DecodingState([layer.attention.cache(batch, capacity) for layer in self.layers], segments=segments)

    def _bias(self, segments: Tensor | None, past: int, tokens: int, x: Tensor) -> Tensor | None:
        mask = mask_bias(
            None if segments is None else segments[:, past:],
            segments,
            causal=past if self.causal else None,
            queries=tokens,
            keys=past + tokens,
            dtype=product_dtype(x) if self.relative is None else x.dtype,
            device=x.device,
        )
        if self.relative is None:
            return mask
        bias = self.relative(tokens, past + tokens, past, segments).to(x.dtype)
        return bias if mask is None else bias + mask

    def _seen(self, segments: Tensor | None, past: int, x: Tensor) -> dict[int | None, Tensor | Band | None]:
        """What layers of each window see: a long text in slices, a short one, or one after others, under a bias."""
        tokens = x.shape[1]
        slices = self.slices and past == 0
        windows = self.rotaries.keys()
        gaps = segments is not None and any(windows) and has_gaps(segments)
        least = {window: SLICED if window is None else min(SLICED, 2 * window) for window in windows}
        if x.device.type != "cpu":
            least = {window: 2 * window if window is not None else sys.maxsize for window in windows}
        sliced = {
            window for window in windows if slices and tokens >= least[window] and not (gaps and window is not None)
        }
        bias = self._bias(segments, past, tokens, x) if sliced != windows else None
        counted = segments if gaps else None
        within = partial(window_bias, bias, counted, queries=tokens, keys=past + tokens, like=x)
        return {
            window: Band(window or tokens, segments) if window in sliced else bias if window is None else within(window)
            for window in windows
        }

    def _context_bias(self, segments: Tensor | None, context_segments: Tensor | None, x: Tensor) -> Tensor | None:
        if context_segments is None:
            return None
        return mask_bias(
            segments,
            context_segments,
            causal=None,
            queries=x.shape[1],
            keys=context_segments.shape[1],
            dtype=product_dtype(x),
            device=x.device,
        )


def _layer(spec: TransformerSpec, number: int, cross: bool, rotary: Rotary | None) -> nn.Module:
    attention, distances = spec.attention.of_layer(number), None
    if spec.positions.kind == "transformer-xl":
        head_width = attention.head_width or spec.width // attention.heads
        distances = Distances(spec.width, attention.heads, head_width, spec.positions.base)
    kind, width, ff = LAYERS[spec.norm.place], spec.width, spec.feed_forward.of_layer(number)
    return kind(width, attention, ff, spec.norm, cross=cross, dropout=spec.dropout, rotary=rotary, distances=distances)


def _rotary(spec: TransformerSpec, attention: AttentionSpec) -> Rotary | None:
    positions = spec.positions
    if positions.kind != "rotary":
        return None
    base, scaling = positions.base, positions.scaling
    if attention.window is not None and positions.local_base is not None:
        base, scaling = positions.local_base, positions.local_scaling
    return Rotary(attention.head_width or spec.width // attention.heads, base, scaling, positions.length)


class NoPositions(nn.Module):
    """Order comes from elsewhere (relative bias, rotary) or not at all."""

    def forward(self, x: Tensor, positions: Tensor) -> Tensor:
        return x


def _absolute_positions(spec: PositionSpec, width: int) -> nn.Module:
    if spec.kind == "learned":
        assert spec.length is not None
        return Learned(spec.length, width, spec.offset)
    return Sinusoidal(width, spec.base) if spec.kind == "sinusoidal" else NoPositions()


def _relative_bias(spec: PositionSpec, heads: int, bidirectional: bool) -> RelativeBias | None:
    if spec.kind != "relative":
        return None
    return RelativeBias(heads, spec.buckets, spec.max_distance, bidirectional)


class LanguageModel(nn.Module):
    """A decoder (or, with `kind: encoder`, the same seeing both ways) with its embeddings and output head.

    Without a head (`head: {kind: none}`) it gives states where logits are spoken of.
    """

    def __init__(self, spec: TransformerSpec) -> None:
        super().__init__()
        self.spec = spec
        self.embedding = TokenEmbedding(spec)
        self.decoder = Stack(spec, causal=spec.kind == "decoder", cross=False)
        self.head = head(spec, self.embedding)

    def forward(
        self, tokens: Tensor, *, attention_mask: Tensor | None = None, token_types: Tensor | None = None
    ) -> Tensor:
        """Logits `(batch, tokens, vocabulary)` of token ids `(batch, tokens)`.

        `token_types` `(batch, tokens)` tell BERT's first sentence (0, the default) from its second.
        """
        return self.head(self.states(tokens, attention_mask=attention_mask, token_types=token_types))

    def states(
        self,
        tokens: Tensor,
        *,
        attention_mask: Tensor | None = None,
        token_types: Tensor | None = None,
        inserted_layers: InsertedLayers = NO_LAYERS,
    ) -> Tensor:
        """Final states `(batch, tokens, width)`, the head not yet applied."""
        return self.decoder(self.embedding(tokens, token_types), attention_mask, inserted_layers=inserted_layers)

    def begin(
        self,
        tokens: Tensor,
        capacity: int,
        *,
        attention_mask: Tensor | None = None,
        ahead: Tensor | None = None,
        inserted_layers: InsertedLayers = NO_LAYERS,
    ) -> DecodingState:
        """A state that holds all of the prompts `(batch, tokens)` but their last token, which `extend` takes first.

        `ahead` `(batch,)` are how many tokens are known to follow each, and count as its length where that matters.
        """
        state = self.decoder.state(tokens.shape[0], tokens.shape[1] + capacity, attention_mask)
        if tokens.shape[1] > 1:
            state.ahead = 1 if ahead is None else 1 + ahead[:, None, None, None]  # the last token too
            self.extend(tokens[:, :-1], state, inserted_layers)
            state.ahead = 0
        return state

    def extend(
        self,
        tokens: Tensor,
        state: DecodingState,
        inserted_layers: InsertedLayers = NO_LAYERS,
        attention_mask: Tensor | None = None,
    ) -> Tensor:
        """States `(batch, new, width)` of new tokens `(batch, new)` after what the state holds.

        `attention_mask` `(batch, new)` says which of them are no padding.
        """
        needed = state.length + tokens.shape[1]
        if attention_mask is not None:
            held = state.segments if state.segments is not None else attention_mask.new_ones(len(tokens), state.length)
            state.segments = torch.cat((held[:, : state.length], attention_mask), dim=1)
        if state.segments is not None and state.segments.shape[1] < needed:
            state.segments = torch.nn.functional.pad(state.segments, (0, needed - state.segments.shape[1]), value=1)
        segments = None if state.segments is None else state.segments[:, :needed]
        return self.decoder(self.embedding(tokens), segments, state=state, inserted_layers=inserted_layers)


class EncoderDecoder(nn.Module):
    """Encoder and decoder, most over one embedding: T5, and with other choices BART and the original Transformer."""

    def __init__(self, spec: TransformerSpec) -> None:
        super().__init__()
        self.spec = spec
        self.embedding = TokenEmbedding(spec)
        self.decoder_embedding = TokenEmbedding(spec) if spec.decoder_embedding else None
        self.encoder = Stack(spec.encoder, causal=False, cross=False)
        self.decoder = Stack(spec, causal=True, cross=True)
        self.head = head(spec, self.embedding)

    def forward(
        self,
        source: Tensor,
        target: Tensor,
        *,
        attention_mask: Tensor | None = None,
        target_mask: Tensor | None = None,
    ) -> Tensor:
        """Logits `(batch, target tokens, vocabulary)`; position t of `target` predicts what follows it.

        `target` are the decoder's input ids, the start token first, as in `torch.nn.Transformer`.
        """
        memory = self.encode(source, attention_mask=attention_mask)
        return self.head(self.decode(target, memory, attention_mask=attention_mask, target_mask=target_mask))

    @property
    def target_embedding(self) -> TokenEmbedding:
        """What the decoder reads by."""
        return self.embedding if self.decoder_embedding is None else self.decoder_embedding

    def encode(self, source: Tensor, *, attention_mask: Tensor | None = None) -> Tensor:
        """The encoder's states `(batch, source tokens, width)`."""
        return self.encoder(self.embedding(source), attention_mask)

    def decode(
        self,
        target: Tensor,
        memory: Tensor,
        *,
        attention_mask: Tensor | None = None,
        target_mask: Tensor | None = None,
        inserted_layers: InsertedLayers = NO_LAYERS,
    ) -> Tensor:
        """The decoder's states `(batch, target tokens, width)`; `target` may repeat the rows of `memory`."""
        return self.decoder(
            self.target_embedding(target),
            target_mask,
            context=repeated(memory, len(target)),
            context_segments=None if attention_mask is None else repeated(attention_mask, len(target)),
            inserted_layers=inserted_layers,
        )

    def states(
        self,
        source: Tensor,
        target: Tensor,
        *,
        attention_mask: Tensor | None = None,
        target_mask: Tensor | None = None,
    ) -> Tensor:
        """The decoder's final states `(batch, target tokens, width)` of a source and decoder inputs."""
        memory = self.encode(source, attention_mask=attention_mask)
        return self.decode(target, memory, attention_mask=attention_mask, target_mask=target_mask)

    def begin(self, source: Tensor, capacity: int, *, attention_mask: Tensor | None = None) -> DecodingState:
        """Encodes the source; the state then decodes up to `capacity` tokens."""
        return self.begin_from(self.encode(source, attention_mask=attention_mask), capacity, attention_mask)

    def begin_from(self, memory: Tensor, capacity: int, attention_mask: Tensor | None = None) -> DecodingState:
        """A decoding state over encoder states `(batch, source tokens, width)`; every context is projected once."""
        state = self.decoder.state(memory.shape[0], capacity)
        dtype = torch.float32 if memory.device.type == "cpu" else memory.dtype  # as the cache's
        projected = self.decoder.project_context(memory)
        state.context = [(k.contiguous().to(dtype), v.contiguous().to(dtype)) for k, v in projected]
        if attention_mask is not None:
            state.context_bias = mask_bias(
                None,
                attention_mask,
                causal=None,
                queries=1,
                keys=memory.shape[1],
                dtype=memory.dtype,
                device=memory.device,
            )
        return state

    def extend(
        self,
        tokens: Tensor,
        state: DecodingState,
        inserted_layers: InsertedLayers = NO_LAYERS,
        attention_mask: Tensor | None = None,
    ) -> Tensor:
        """States `(batch, new, width)` of new decoder tokens `(batch, new)` after what the state holds.

        Padding, which an `attention_mask` marks, may stand at their end alone, where no token sees it.
        """
        return self.decoder(self.target_embedding(tokens), state=state, inserted_layers=inserted_layers)
