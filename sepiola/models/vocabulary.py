"""Both ends of a language model: tokens to vectors, and states to logits; and how its vocabulary grows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from sepiola.nn.feedforward import ACTIVATIONS
from sepiola.nn.norms import norm
from sepiola.specs.model import TransformerSpec

TOKEN_ROWS = ("embedding.weight", "decoder_embedding.weight", "head.projection.weight", "head.bias")
"""The tensors of a language model that have a row a token."""


def grow(
    state: Mapping[str, Tensor],
    vocabulary: int,
    init: Literal["mean", "spread"] = "mean",
    generator: torch.Generator | None = None,
) -> dict[str, Tensor]:
    """A language model's state dict for `vocabulary` tokens; rows of old tokens, and so their logits, stay as they are.

    A new row is the `mean` of the old ones, or drawn around it with their `spread` from `generator`.
    """
    grown = dict(state)
    for name in TOKEN_ROWS:
        if name not in state or len(state[name]) >= vocabulary:
            continue
        old = state[name]
        mean = old.mean(0, keepdim=True)
        new = mean.expand(vocabulary - len(old), *old.shape[1:])
        if init == "spread":
            new = new + (old - mean).std() * torch.randn(new.shape, generator=generator).to(old)
        grown[name] = torch.cat((old, new))
    return grown


class TokenEmbedding(nn.Embedding):
    """A vector for each token, scaled where the spec says so; for BERT, one for each type of token on top."""

    def __init__(self, spec: TransformerSpec) -> None:
        super().__init__(spec.vocabulary, spec.width)
        self.scale = spec.embedding_scale
        self.types = nn.Embedding(spec.token_types, spec.width) if spec.token_types else None

    def forward(self, tokens: Tensor, token_types: Tensor | None = None) -> Tensor:
        """Vectors `(batch, tokens, width)`; tokens without a type are of the first. Vectors come back as they are."""
        if tokens.is_floating_point():
            return tokens
        vectors = super().forward(tokens)
        if self.types is not None:
            vectors = vectors + (self.types.weight[0] if token_types is None else self.types(token_types))
        return vectors if self.scale is None else vectors * self.scale


class Head(nn.Module):
    """States to logits. A tied head reads the embedding's own matrix and adds nothing to the state dict."""

    def __init__(self, spec: TransformerSpec, embedding: nn.Embedding) -> None:
        super().__init__()
        self.scale = spec.head_scale
        self.projection = None if spec.tied else nn.Linear(spec.width, spec.vocabulary, bias=False)
        self.transform = _Transform(spec) if spec.head.transform else nn.Identity()
        self.bias = nn.Parameter(embedding.weight.new_zeros(spec.vocabulary)) if spec.head.bias else None
        self._tied = [embedding]  # in a list: the embedding belongs to the model, not to its head

    @property
    def weight(self) -> Tensor:
        """The output matrix `(vocabulary, width)`."""
        return self._tied[0].weight if self.projection is None else self.projection.weight

    def scaled(self, states: Tensor) -> Tensor:
        """States ready for the product with `weight`."""
        states = self.transform(states)
        return states if self.scale is None else states * self.scale

    def operands(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """States `(…, columns)` and matrix `(vocabulary, columns)` of which logits are the product.

        A bias is one more column, whose state is 1.
        """
        states = self.scaled(states)
        if self.bias is None:
            return states, self.weight
        ones = states.new_ones((*states.shape[:-1], 1))
        return torch.cat((states, ones), dim=-1), torch.cat((self.weight, self.bias[:, None]), dim=1)

    def forward(self, states: Tensor, tokens: Tensor | None = None) -> Tensor:
        """Logits `(…, vocabulary)`, or of some `tokens` `(…, tokens)`, whose rows alone are read."""
        states = self.scaled(states)
        if tokens is not None:
            return rows_product(states, self.weight, self.bias, tokens)
        if self.projection is not None and self.bias is None:
            logits: Tensor = self.projection(states)
            return logits
        return nn.functional.linear(states, self.weight, self.bias)


def rows_product(states: Tensor, weight: Tensor, bias: Tensor | None, tokens: Tensor) -> Tensor:
    """Logits `(…, tokens)` of some rows of a head alone, in float32.

    In bfloat16 every other number of rows would be one more kernel that oneDNN compiles and keeps.
    """
    some = None if bias is None else bias[tokens].float()
    return nn.functional.linear(states.float(), weight[tokens].float(), some)


class NoHead(nn.Module):
    """States as they are: a model whose states are what is wanted (sentence encoders)."""

    def forward(self, states: Tensor) -> Tensor:
        return states


def head(spec: TransformerSpec, embedding: nn.Embedding) -> nn.Module:
    """The head that the spec names."""
    return NoHead() if spec.head.kind == "none" else Head(spec, embedding)


class _Transform(nn.Module):
    """One layer between the last states and BERT's head: dense, activation, norm."""

    def __init__(self, spec: TransformerSpec) -> None:
        super().__init__()
        self.dense = nn.Linear(spec.width, spec.width)
        self.activation = ACTIVATIONS[spec.feed_forward.activation]
        self.norm = norm(spec.width, spec.norm)

    def forward(self, states: Tensor) -> Tensor:
        return self.norm(self.activation(self.dense(states)))
