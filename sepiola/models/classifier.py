"""A language model that answers a task: a linear layer reads the state at each sequence's last token (GPT-1, Radford
et al., "Improving Language Understanding by Generative Pre-Training", 2018, sections 3.2 and 3.3).

Classification and entailment read one sequence. Similarity has no order, so both orders of its texts are read and their
states added. Multiple choice reads a sequence an option, and the layer gives each one number.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sepiola.models.transformer import LanguageModel
from sepiola.nn.dropout import Dropout
from sepiola.specs.model import TaskSpec, TransformerSpec

CLASSIFIER = "classifier.weight"  # the layer's only tensor


class TaskModel(nn.Module):
    """A decoder, or an encoder, under the linear layer of a task; the layer has no bias, as in the paper."""

    def __init__(self, language: LanguageModel, task: TaskSpec) -> None:
        super().__init__()
        self.language = language
        self.task = task
        self.dropout = Dropout(language.spec.dropout)
        self.classifier = nn.Linear(language.spec.width, len(task.labels) or 1, bias=False)
        nn.init.normal_(self.classifier.weight, std=0.02)

    @property
    def spec(self) -> TransformerSpec:
        return self.language.spec

    def forward(self, tokens: Tensor, *, attention_mask: Tensor | None = None) -> Tensor:
        """Logits `(batch, labels)`, or `(batch, options)` of multiple choice.

        `tokens` `(batch, sequences, tokens)`, or `(batch, tokens)` where a sequence each is read. `attention_mask`, of
        the same shape, is 0 where padding stands, on either side; an option that a question lacks is all padding, and
        its logit is -inf. Each sequence's last token must be the one that its task reads.
        """
        batch, width = tokens.shape[0], tokens.shape[-1]
        rows = tokens.reshape(-1, width)
        mask = None if attention_mask is None else attention_mask.reshape(-1, width)
        states = self.language.states(rows, attention_mask=mask)
        real = torch.ones_like(rows) if mask is None else mask
        places = torch.arange(rows.numel(), device=rows.device).view(rows.shape)
        return self.read(states, torch.where(real != 0, places, -1).amax(dim=1).view(batch, -1))

    def read(self, states: Tensor, ends: Tensor) -> Tensor:
        """Logits, as `forward` gives them, of the language model's states `(rows, tokens, width)`.

        `ends` `(batch, sequences)` says where each sequence's last token stands in the flattened rows, -1 where a
        question has fewer options than others.
        """
        found = states.flatten(0, 1)[ends.clamp(min=0)]
        if self.task.kind == "multiple-choice":
            return self.classifier(self.dropout(found))[..., 0].masked_fill(ends < 0, -torch.inf)
        return self.classifier(self.dropout(found.sum(dim=1)))
