"""Identity preference optimisation (IPO, arXiv 2310.12036, equation 17): the lead of the better completion over the
worse one shall be 1 / 2β, and no more, so that certain preferences do not drive the policy ever further away.

A completion's log-probability is the mean over its tokens, the end token among them: that is how the paper's results
were made (trl asked its authors).
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from sepiola.data.batching import Batch
from sepiola.specs.stage import ObjectiveSpec
from sepiola.training.loss import Loss
from sepiola.training.objectives.dpo import described, leading
from sepiola.training.objectives.preference import Direct, DirectSpec
from sepiola.training.rankings import RankingBatch, mean_over_prompts, ranked


class IPOSpec(DirectSpec):
    """`beta` is the paper's τ."""

    kind: Literal["ipo"]


class IPO(Direct):
    """The squared distance of each lead from the one that is wanted."""

    spec: ClassVar[type[ObjectiveSpec]] = IPOSpec

    def likelihoods(self, model: nn.Module, batch: RankingBatch) -> Tensor:
        """Means over the completions' tokens."""
        lengths = torch.tensor(batch.lengths, device=batch.labels.device)
        return super().likelihoods(model, batch) / lengths

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        """See `ipo`."""
        batch = ranked(batch)
        return ipo(self.likelihoods(model, batch), batch, self.direct.beta)


def ipo(log_probs: Tensor, batch: RankingBatch, beta: float) -> Loss:
    """The loss of completions' mean log-probabilities `(rows,)`, summed over prompts."""
    leads = leading(log_probs, batch)
    losses = (leads - 1 / (2 * beta)).square()
    parts = described(log_probs, leads, batch, beta)
    return Loss(mean_over_prompts(losses, batch), batch.labelled, parts=parts)
