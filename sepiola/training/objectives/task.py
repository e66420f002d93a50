"""Fine-tuning on a task as GPT-1 does (Radford et al., 2018, section 3.2): L3 = L2 + λ L1.

L2 is the cross-entropy of the answer and L1 that of the sequences' own tokens. As in the paper's code, L1 is the mean
over an example's tokens, so that λ does not depend on how long texts are.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sepiola.data.batching import IGNORED, Batch
from sepiola.data.classification import TaskBatch
from sepiola.nn.loss import linear_cross_entropy
from sepiola.training.objectives.loss import Loss


def task(model: nn.Module, batch: Batch, *, lm_weight: float) -> Loss:
    """L3 summed over the batch's examples (nats), λ being `lm_weight`; the model is a `TaskModel`."""
    assert isinstance(batch, TaskBatch)
    network: Any = model
    states = network.language.states(batch.target, attention_mask=batch.target_mask)
    logits = network.read(states, batch.ends)
    loss = F.cross_entropy(logits.float(), batch.answers, ignore_index=IGNORED, reduction="sum")
    if lm_weight:
        loss = loss + lm_weight * _language_modelling(network.language.head, states, batch)
    return Loss(loss, batch.labelled)


def _language_modelling(head: Any, states: Tensor, batch: TaskBatch) -> Tensor:
    """The mean loss of each example's tokens, summed. Examples of as many tokens share one product."""
    states, matrix = head.operands(states)
    known = batch.labels != IGNORED
    losses = [
        linear_cross_entropy(states, matrix, batch.labels.where(known & (batch.counts == count), IGNORED))[0] / count
        for count in batch.counts[known].unique().tolist()
    ]
    return torch.stack(losses).sum() if losses else states.new_zeros(())
