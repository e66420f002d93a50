"""The heads under which a Q-Former learns before it meets a language model (BLIP-2, arXiv 2301.12597, section 3.2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sepiola.nn.feedforward import ACTIVATIONS
from sepiola.nn.norms import norm
from sepiola.specs.bridge import QFormerSpec

TEMPERATURE = 0.07


class QueryHeads(nn.Module):
    """`image` and `text` into the space where they are compared, under a learned `temperature`; `match` tells a pair
    that belongs together; `write` is BERT's layer before the words, which are the embedding's own.
    """

    def __init__(self, spec: QFormerSpec) -> None:
        super().__init__()
        assert spec.heads is not None and spec.text is not None
        self.image = nn.Linear(spec.width, spec.heads.space)
        self.text = nn.Linear(spec.width, spec.heads.space)
        self.match = nn.Linear(spec.width, 2)
        self.temperature = nn.Parameter(torch.full((), TEMPERATURE))
        self.write = WritingHead(spec) if spec.heads.writes else None

    def operands(self, states: Tensor, words: Tensor) -> tuple[Tensor, Tensor]:
        """States `(…, width + 1)` and the matrix `(vocabulary, width + 1)` of which logits are the product."""
        assert self.write is not None
        states = self.write(states)
        ones = states.new_ones((*states.shape[:-1], 1))
        return torch.cat((states, ones), dim=-1), torch.cat((words, self.write.bias[:, None]), dim=1)


class WritingHead(nn.Module):
    """Dense, activation and norm before the words, and the words' biases."""

    def __init__(self, spec: QFormerSpec) -> None:
        super().__init__()
        assert spec.text is not None
        self.dense = nn.Linear(spec.width, spec.width)
        self.activation = ACTIVATIONS[spec.feed_forward.activation]
        self.norm = norm(spec.width, spec.norm)
        self.bias = nn.Parameter(torch.zeros(spec.text.vocabulary))

    def forward(self, states: Tensor) -> Tensor:
        closed: Tensor = self.norm(self.activation(self.dense(states)))
        return closed
