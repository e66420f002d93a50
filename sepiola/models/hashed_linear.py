"""A linear model over hashed features: a table of weights, of which each option or reply reads some."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

Features = tuple[NDArray[np.integer], NDArray[np.float32]]
"""The places of weights in the table, and the values that they multiply."""


class HashedLinear(nn.Module):
    """The table of weights `(buckets,)`."""

    def __init__(self, buckets: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(buckets))

    def forward(self, places: Tensor, values: Tensor, starts: Tensor) -> Tensor:
        """The score of each row `(rows,)`: `places` and `values` `(features,)` of all rows one after the other,
        `starts` `(rows,)` where each one's begin.
        """
        table = self.weight.unsqueeze(1)
        return F.embedding_bag(places, table, starts, mode="sum", per_sample_weights=values).squeeze(1)

    def parts(self) -> dict[str, nn.Module]:
        """None: the table belongs to no part."""
        return {}


def laid_out(groups: Sequence[Sequence[Features]]) -> tuple[Tensor, Tensor, Tensor]:
    """All features of groups of rows as `HashedLinear.forward` takes them."""
    flat = [row for group in groups for row in group]
    lengths = np.array([len(places) for places, _ in flat])
    starts = np.cumsum(lengths) - lengths
    places, values = (np.concatenate([row[i] for row in flat]) for i in (0, 1))
    return torch.from_numpy(places), torch.from_numpy(values), torch.from_numpy(starts)


def padded(scores: Tensor, sizes: Tensor) -> Tensor:
    """Scores of all rows one after the other as `(groups, rows)`, -inf where a group has fewer than others.

    `sizes` `(groups,)` says how many each has.
    """
    rows = torch.repeat_interleave(torch.arange(len(sizes), device=sizes.device), sizes)
    columns = torch.arange(len(scores), device=sizes.device) - (sizes.cumsum(0) - sizes)[rows]
    found = scores.new_full((len(sizes), int(sizes.max())), -torch.inf)
    return found.index_put((rows, columns), scores)
