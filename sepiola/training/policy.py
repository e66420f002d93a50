"""A policy's log-probabilities, as training, the sampler and a reference model all compute them.

What counts is the distribution that tokens were drawn from: logits divided by the temperature, then softmax over what
could be drawn. Under a grammar that is what it allows; a token that it forces was not chosen, and is no label. Dropout
is off: a policy that forgets at random is not the one that was sampled.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypedDict

import numpy as np
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from sepiola.data.batching import IGNORED, Batch
from sepiola.models.states import target_states

LOGITS = 1 << 22
"""Numbers that are held at once of the logits of labels: 17 MB in float32."""


@dataclass(frozen=True)
class RolloutBatch(Batch):
    """Completions that the policy wrote, laid out after their prompts; what it chose is labelled.

    `rewards` `(rows,)`. All else has a number a label, row after row: `allowed` bits of the vocabulary, packed
    `(labels, bytes)`, None where all but the tokens `forbidden` could be drawn; log-probabilities under the policy that
    drew (`old`, None: the one that learns) and under the reference (`reference`); `advantages`, None where nothing is
    to be learned (validation), `weights` by which tokens count, and of PPO `values` and `returns`. `figures` describe
    the rollout. `numbers` `(rows,)` are the completions' places in it, and `step` says how many completions and labels
    the whole step has, those that teach nothing and are not laid out among them. Of a batch that ranks
    share `part_of` says how many batches like it the step has, and how many labels all of it. `counts` `(rows,)` are
    how many completions that are alike each row stands for; None: one.
    """

    rewards: Tensor
    forbidden: Tensor
    allowed: Tensor | None = None
    old: Tensor | None = None
    reference: Tensor | None = None
    values: Tensor | None = None
    advantages: Tensor | None = None
    returns: Tensor | None = None
    weights: Tensor | None = None
    figures: Mapping[str, float] | None = None
    numbers: Tensor | None = None
    step: tuple[int, int] | None = None
    part_of: tuple[int, int] | None = None
    counts: Tensor | None = None

    @property
    def chosen(self) -> Tensor:
        """Which places hold a label `(rows, target tokens)`."""
        return self.labels != IGNORED

    @property
    def places(self) -> Tensor:
        """Where each label stands in the flattened rows."""
        return self.chosen.flatten().nonzero()[:, 0]

    @property
    def rows(self) -> Tensor:
        """The row of each label."""
        return self.chosen.nonzero()[:, 0]

    @property
    def multiples(self) -> Tensor:
        """How many completions each label stands for."""
        return torch.ones_like(self.rows) if self.counts is None else self.counts[self.rows]

    @property
    def lengths(self) -> list[int]:
        """How many labels each row has."""
        counts: list[int] = self.chosen.sum(1).tolist()
        return counts


class Measured(TypedDict, total=False):
    """What models say of a batch before the first step, as its fields have it."""

    old: Tensor
    reference: Tensor | None
    values: Tensor


def row_sums(values: Tensor, batch: RolloutBatch) -> Tensor:
    """The sums of labels' numbers over each row; 0 for a row without labels."""
    return values.new_zeros(len(batch.labels)).index_add(0, batch.rows, values)


def chosen_states(model: Any, batch: RolloutBatch) -> Tensor:
    """The states `(labels, width)` that predict the labels, without dropout."""
    model.eval()
    return target_states(model, batch).flatten(0, 1)[batch.places]


def log_probabilities(model: Any, states: Tensor, batch: RolloutBatch, temperature: float) -> tuple[Tensor, Tensor]:
    """The log-probability of each label, and the entropy where it was drawn (without gradient), in float32.

    `states` are `chosen_states` of the same batch. Where logits would be large, those of some labels at a time are
    held, and computed once more for the gradient.
    """
    labels = batch.labels.flatten()[batch.places]
    rows = max(1, LOGITS // model.spec.vocabulary)
    some = partial(_log_probabilities, model.head, temperature=temperature, forbidden=batch.forbidden)
    if len(labels) <= rows:
        return some(states, labels, batch.allowed)
    if torch.is_grad_enabled():
        some = partial(checkpoint, some, use_reentrant=False, preserve_rng_state=False)
    allowed = [None] * len(labels.split(rows)) if batch.allowed is None else batch.allowed.split(rows)
    parts = [some(*part) for part in zip(states.split(rows), labels.split(rows), allowed, strict=True)]
    log_probs, entropies = zip(*parts, strict=True)
    return torch.cat(log_probs), torch.cat(entropies)


def _log_probabilities(
    head: Any, states: Tensor, labels: Tensor, allowed: Tensor | None, *, temperature: float, forbidden: Tensor
) -> tuple[Tensor, Tensor]:
    """Of some labels, `allowed` theirs."""
    logits = head(states).float() / temperature
    if forbidden.numel():
        logits = logits.index_fill(1, forbidden, -torch.inf)
    if allowed is not None:
        logits = logits.masked_fill(~unpacked(allowed, logits.shape[1]), -torch.inf)
    every = logits.log_softmax(-1)
    held = every.detach()
    entropies = -(held.exp() * held.masked_fill(held == -torch.inf, 0.0)).sum(-1)
    return every.gather(1, labels[:, None])[:, 0], entropies.clamp(min=0.0)


def packed(allowed: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Booleans `(…, vocabulary)`, eight in a byte."""
    return np.packbits(allowed, axis=-1)


def unpacked(allowed: Tensor, vocabulary: int) -> Tensor:
    """What `packed` has packed, as booleans."""
    shifts = torch.arange(7, -1, -1, device=allowed.device, dtype=torch.uint8)
    bits = (allowed[..., None] >> shifts) & 1
    return bits.flatten(-2)[..., :vocabulary].bool()
