"""A linear reward model: a reply's score is a sum of weights, one a word, a run of characters, or a part of its form.

Of two replies the better one is as likely as the logistic function of the difference of their scores says (Bradley and
Terry, 1952), which a linear machine over the difference of TF-IDF vectors is too. It reads text alone.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from sepiola.models.hashed_linear import Features, HashedLinear, laid_out
from sepiola.specs.linear_reward import LinearRewardSpec
from sepiola.text.reply_features import rarity, reply_features


class LinearReward(HashedLinear):
    """The table of weights `(buckets,)`, and how rare its features are (`rare`, of the same shape)."""

    rare: Tensor

    def __init__(self, spec: LinearRewardSpec) -> None:
        super().__init__(spec.buckets)
        self.spec = spec
        self.register_buffer("rare", torch.ones(spec.buckets))

    def remember(self, replies: Iterable[str]) -> None:
        """Takes from training replies how rare features are."""
        found = torch.from_numpy(rarity(replies, self.spec.families, self.spec.buckets))
        self.rare.copy_(found.to(self.rare))

    def features(self, prompt: str, reply: str) -> Features:
        """A reply's features."""
        return reply_features(prompt, reply, self.spec.families, self.rare.float().cpu().numpy())

    @torch.inference_mode()
    def scores(self, replies: Iterable[tuple[str, str]]) -> list[float]:
        """The score of each prompt's reply."""
        features = [self.features(prompt, reply) for prompt, reply in replies]
        if not features:
            return []
        places, values, starts = (tensor.to(self.weight.device) for tensor in laid_out([features]))
        found: list[float] = self(places, values.to(self.weight.dtype), starts).float().tolist()
        return found
