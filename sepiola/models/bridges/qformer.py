"""The Q-Former: learned queries that read an image for a language model (BLIP-2, arXiv 2301.12597, section 3.1).

Queries and text stand in one row and share BERT's self-attention; in some layers the queries, and they alone, attend to
the image, and they have a feed-forward network of their own. Which position sees which is all that tells the uses
apart: text and image compared (each alone), matched (all see all), text written (text sees the queries and what stands
before it; queries never see text), and queries that read an instruction (InstructBLIP, arXiv 2305.06500).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sepiola.errors import DataError
from sepiola.models.bridges.query_heads import QueryHeads
from sepiola.models.multimodal.prefix import TokenBridge
from sepiola.nn.attention import CrossAttention, SelfAttention
from sepiola.nn.dropout import Dropout
from sepiola.nn.feedforward import feed_forward
from sepiola.nn.norms import norm
from sepiola.nn.precision import product_dtype
from sepiola.specs.bridge import QFormerSpec, QueryTextSpec


class QFormer(TokenBridge):
    """Features `(images, patches, image_width)` to tokens `(images, queries, width)`; without `width` it stands alone.

    Texts are token ids `(texts, tokens)` of its own vocabulary, padded on the right; each begins with a token that is
    no padding.
    """

    def __init__(self, spec: QFormerSpec, width: int | None, image_width: int) -> None:
        super().__init__()
        self.spec = spec
        self.image_width = image_width
        self.tokens = spec.queries
        self.instructed = spec.text if spec.instructed else None
        self.first = True  # as BLIP-2's processors have it
        self.queries = nn.Parameter(torch.empty(1, spec.queries, spec.width))
        self.text = QueryText(spec.text, spec.width) if spec.text is not None else None
        self.norm = norm(spec.width, spec.norm)
        self.dropout = Dropout(spec.dropout)
        self.layers = nn.ModuleList(
            QFormerLayer(spec, image_width, cross=index % spec.cross_every == 0) for index in range(spec.layers)
        )
        self.heads = QueryHeads(spec) if spec.heads is not None else None
        self.projection = nn.Linear(spec.width, width) if width is not None else None
        if self.queries.device.type != "meta":
            self._initialise()

    def _initialise(self) -> None:
        for name, parameter in self.named_parameters():
            if parameter.dim() > 1:
                small = name == "queries" or name.startswith("text.")
                nn.init.normal_(parameter, std=0.02 if small else parameter.shape[1] ** -0.5)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    def forward(self, features: Tensor, instructions: Tensor | None = None) -> Tensor:
        """The language model's tokens; instructed queries read `instructions` `(images, tokens)`, one for each image.

        Raises DataError when the instructions are not there, or are not as many as the images.
        """
        assert self.projection is not None
        read = require_instructions(features, instructions) if self.spec.instructed else None
        tokens: Tensor = self.projection(self.states(features, read)[:, : self.tokens])
        return tokens

    def states(self, features: Tensor | None = None, text: Tensor | None = None, *, causal: bool = False) -> Tensor:
        """Final states `(batch, queries + tokens, width)`: queries where there are `features`, then the text's.

        A `causal` text is unseen by the queries, and each of its tokens by those before it.
        """
        parts = []
        if features is not None:
            features = features.to(self.queries.dtype)
            parts.append(self.queries.expand(len(features), -1, -1))
        mask = None
        if text is not None:
            embed, mask = self._text(text)
            parts.append(embed)
        queries = self.tokens if features is not None else 0
        x = self.dropout(self.norm(torch.cat(parts, dim=1)))
        bias = None
        if mask is not None:
            visible = attention_mask(queries, mask, causal=causal)[:, None]
            dtype = product_dtype(x)
            bias = torch.zeros(visible.shape, dtype=dtype, device=x.device).masked_fill_(
                ~visible, torch.finfo(dtype).min
            )
        for layer in self.layers:
            x = layer(x, queries, features, bias)
        return x

    def _text(self, text: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors of a text, and which of its positions are no padding."""
        if self.text is None or self.spec.text is None:
            raise DataError("this Q-Former reads no text; its spec has no bridge.text")
        if text.shape[1] > self.spec.text.length:
            raise DataError(f"{text.shape[1]} tokens of text; the Q-Former reads {self.spec.text.length} at most")
        return self.text(text), text != self.spec.text.pad

    # Below: what the heads of the first stage say; each raises DataError where the spec has none.

    def image_vectors(self, features: Tensor) -> Tensor:
        """Vectors `(images, queries, space)` of length 1, one of which may be a text's."""
        return F.normalize(self._heads.image(self.states(features)), dim=-1)

    def text_vectors(self, text: Tensor) -> Tensor:
        """Vectors `(texts, space)` of length 1."""
        return F.normalize(self._heads.text(self.states(None, text)[:, 0]), dim=-1)

    def match(self, features: Tensor, text: Tensor) -> Tensor:
        """Logits `(pairs, 2)` of whether each text is not, or is, that of its image."""
        return self._heads.match(self.states(features, text)[:, : self.tokens]).mean(1)

    def written(self, features: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
        """States `(pairs, tokens, columns)` and a matrix `(vocabulary, columns)`, of which the logits of what follows
        each token are the product; `text` begins with `decode`.
        """
        states = self.states(features, text, causal=True)[:, self.tokens :]
        assert self.text is not None
        return self._heads.operands(states, self.text.tokens.weight)

    @property
    def _heads(self) -> QueryHeads:
        if self.heads is None:
            raise DataError("this Q-Former has no heads that compare images and texts; its spec has no bridge.heads")
        return self.heads


def require_instructions(features: Tensor, instructions: Tensor | None) -> Tensor:
    """The instructions, one for each image. Raises DataError when they are not there, or not as many."""
    if instructions is None or len(instructions) != len(features):
        given = "none" if instructions is None else str(len(instructions))
        raise DataError(
            f"this Q-Former reads an instruction beside each image: {len(features)} images, and {given} "
            "instructions; give `instructions` (images, tokens) in its vocabulary"
        )
    return instructions


class QFormerLayer(nn.Module):
    """Self-attention of all, cross-attention of the queries to the image where `cross`, feed-forward; norms after."""

    def __init__(self, spec: QFormerSpec, image_width: int, *, cross: bool) -> None:
        super().__init__()
        width, dropout = spec.width, spec.dropout
        self.attention = SelfAttention(width, spec.attention, dropout)
        self.attention_norm = norm(width, spec.norm)
        self.cross = CrossAttention(width, spec.attention, dropout, context_width=image_width) if cross else None
        self.cross_norm = norm(width, spec.norm) if cross else None
        self.query_feed_forward = feed_forward(width, spec.feed_forward)
        self.query_feed_forward_norm = norm(width, spec.norm)
        reads = spec.text is not None
        self.feed_forward = feed_forward(width, spec.feed_forward) if reads else None
        self.feed_forward_norm = norm(width, spec.norm) if reads else None
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, queries: int, features: Tensor | None, bias: Tensor | None) -> Tensor:
        """`x` `(batch, queries + tokens, width)`, the first `queries` of which look at `features`."""
        x = self.attention_norm(x + self.dropout(self.attention(x, bias)))
        asked, text = x[:, :queries], x[:, queries:]
        if features is not None:
            if self.cross is not None and self.cross_norm is not None:
                looked = self.cross(asked, self.cross.project(features))
                asked = self.cross_norm(asked + self.dropout(looked))
            asked = self.query_feed_forward_norm(asked + self.dropout(self.query_feed_forward(asked)))
        if self.feed_forward is not None and self.feed_forward_norm is not None and text.shape[1]:
            text = self.feed_forward_norm(text + self.dropout(self.feed_forward(text)))
        return torch.cat((asked, text), dim=1)


class QueryText(nn.Module):
    """BERT's embedding without its norm, which queries and text have in common."""

    def __init__(self, spec: QueryTextSpec, width: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(spec.vocabulary, width)
        self.positions = nn.Embedding(spec.length, width)

    def forward(self, text: Tensor) -> Tensor:
        """Vectors `(texts, tokens, width)`."""
        return self.tokens(text) + self.positions.weight[: text.shape[1]]


def attention_mask(queries: int, text: Tensor, *, causal: bool) -> Tensor:
    """Which position (row) sees which (column) of `queries` and then a text: booleans `(batch, all, all)`.

    `text` `(batch, tokens)` says which positions are no padding; nobody sees padding. All see all, but where the text
    is `causal`: then queries see queries, and a token the queries and the tokens up to itself.
    """
    batch, tokens = text.shape
    there = F.pad(text.bool(), (queries, 0), value=True)[:, None]
    if not causal:
        return there.expand(batch, queries + tokens, -1)
    position = torch.arange(queries + tokens, device=text.device)
    before = (position <= position[:, None]) | (position < queries)
    return there & before[None]
