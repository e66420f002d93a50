"""Direct preference optimisation (DPO, arXiv 2305.18290): −log σ(β [(log π − log π_ref) of the better completion, less
that of the worse one]), the mean over all pairs of a prompt.

A completion's log-probability is the sum over its tokens, the end token among them. With `dense`, tokens of corrected
segments count so much and others 1, and completions are weighted means, as dense DPO has it (RLHF-V, arXiv 2312.00849).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import PositiveFloat
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from sepiola.data.batching import Batch, Sample
from sepiola.data.preferences import Completion
from sepiola.errors import DataError
from sepiola.specs.stage import ObjectiveSpec
from sepiola.training.loss import Loss
from sepiola.training.objectives.preference import Direct, DirectSpec
from sepiola.training.rankings import RankingBatch, mean_over_prompts, ranked


class DPOSpec(DirectSpec):
    """Both log-probabilities are reported: they may well fall together. `dense` is what a corrected token counts."""

    kind: Literal["dpo"]
    dense: PositiveFloat | None = None


class DPO(Direct):
    """The logistic loss of how far better completions lead."""

    spec: ClassVar[type[ObjectiveSpec]] = DPOSpec

    @property
    def direct(self) -> DPOSpec:
        """The spec of this objective's fields."""
        assert isinstance(self.stage.objective, DPOSpec)
        return self.stage.objective

    def token_counts(
        self, completions: Sequence[Completion], parts: Sequence[Sample]
    ) -> tuple[tuple[float, ...], ...] | None:
        """`dense` for tokens in corrected segments. Raises DataError for a prompt without any."""
        dense = self.direct.dense
        if dense is None:
            return None
        if not any(completion.corrected for completion in completions):
            raise DataError(f"{parts[0].id}: no completion has corrected segments, which dense DPO weighs; unset dense")
        return tuple(self._counts(one, dense, len(part.target)) for one, part in zip(completions, parts, strict=True))

    def _counts(self, completion: Completion, dense: float, tokens: int) -> tuple[float, ...]:
        inside = [
            any(start < to and end > at for at, to in completion.corrected)
            for start, end in self.setting.tokenizer.spans(completion.text)
        ]
        return tuple(dense if corrected else 1.0 for corrected in (inside + [False] * tokens)[:tokens])

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        """See `dpo`."""
        batch = ranked(batch)
        return dpo(self.likelihoods(model, batch), batch, self.direct.beta)


def dpo(log_probs: Tensor, batch: RankingBatch, beta: float) -> Loss:
    """The loss of completions' log-probabilities `(rows,)`, summed over prompts."""
    leads = leading(log_probs, batch)
    return Loss(
        mean_over_prompts(-logsigmoid(beta * leads), batch),
        batch.labelled,
        parts=described(log_probs, leads, batch, beta),
    )


def leading(log_probs: Tensor, batch: RankingBatch) -> Tensor:
    """How much further better completions have moved from the reference than worse ones `(pairs,)`."""
    assert batch.before is not None
    moved = log_probs - batch.before.to(log_probs)
    return moved[batch.better] - moved[batch.worse]


def described(log_probs: Tensor, leads: Tensor, batch: RankingBatch, beta: float) -> dict[str, Tensor]:
    """What is reported of pairs."""
    figures = {
        "better_log_prob": log_probs[batch.better],
        "worse_log_prob": log_probs[batch.worse],
        "lead": beta * leads,
        "accuracy": (leads > 0).to(leads),
    }
    return {name: mean_over_prompts(values.detach(), batch) for name, values in figures.items()}
