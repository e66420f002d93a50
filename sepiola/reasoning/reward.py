"""Scores of a reward model: one number a text or conversation, read at its last token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from sepiola.data.example import Message
from sepiola.errors import DataError, SepiolaError
from sepiola.models.classifier import Classifier
from sepiola.text.chat import ChatTemplate
from sepiola.text.tokenizer import Tokenizer

ROWS = 16  # sequences that are read at once
Scored = str | Sequence[Message | Mapping[str, object]]


class RewardModel:
    """A reward model with its tokenizer and, for conversations, its chat template."""

    def __init__(self, network: nn.Module, tokenizer: Tokenizer, template: ChatTemplate | None = None) -> None:
        """Raises SepiolaError for another model."""
        if not isinstance(network, Classifier) or network.classifier_spec.kind != "reward":
            raise SepiolaError("only a reward model scores texts: load a …ForSequenceClassification with one label")
        self.network = network
        self.tokenizer = tokenizer
        self.template = template

    @torch.inference_mode()
    def score(self, items: Sequence[Scored]) -> list[float]:
        """The score of each text or conversation. Raises DataError for one that is empty, or too long for the model."""
        if isinstance(items, str) or any(isinstance(item, Message | Mapping) for item in items):
            raise DataError("score takes a list of texts or of conversations: put this one into a list")
        rows = [self._ids(item) for item in items]
        device, pad = self.network.classifier.weight.device, self.network.spec.tokens.pad
        order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
        scores = [0.0] * len(rows)
        for start in range(0, len(order), ROWS):
            chosen = order[start : start + ROWS]
            width = len(rows[chosen[-1]])
            tokens = torch.tensor([rows[i] + [pad] * (width - len(rows[i])) for i in chosen], device=device)
            mask = torch.tensor([[1] * len(rows[i]) + [0] * (width - len(rows[i])) for i in chosen], device=device)
            numbers = self.network(tokens, attention_mask=mask).flatten().tolist()
            for i, number in zip(chosen, numbers, strict=True):
                scores[i] = number
        return scores

    def _ids(self, item: Scored) -> list[int]:
        if isinstance(item, str):
            ids = self.tokenizer.encode(item, framed=True)
        elif self.template is None:
            raise DataError("this checkpoint has no chat template, so it scores texts: lay the conversation out as one")
        else:
            ids = self.tokenizer.encode(self.template.render(item, add_generation_prompt=False))
        spec = self.network.spec
        most = spec.positions.length if spec.positions.kind == "learned" else None
        if not ids or (most is not None and len(ids) > most):
            raise DataError(
                f"a text of {len(ids)} tokens; the model reads 1 to {most or 'any number'}: {str(item)[:60]!r}"
            )
        return ids
