"""Position encodings: learned, sinusoidal (arXiv 1706.03762), T5's relative bias (1910.10683), rotary (2104.09864),
Transformer-XL's distances (1901.02860).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from sepiola.nn.attend import has_gaps, segment_begins
from sepiola.nn.custom_backward import RotaryFunction, custom_backward
from sepiola.nn.rope import frequencies
from sepiola.specs.rope import RopeScaling


def token_positions(segments: Tensor | None, past: int, tokens: int, device: torch.device) -> Tensor:
    """Positions `(batch | 1, tokens)`: how many tokens of its segment stand before each; padding stands at 0.

    So padding changes nothing, even between the tokens of a segment, and there may be more of it than a learned table
    has positions.
    """
    index = torch.arange(past + tokens, device=device)[None]
    if segments is not None:
        real = segments != 0
        count = real.cumsum(dim=1) - 1
        index = (count - torch.where(segment_begins(segments), count, 0).cummax(dim=1).values).masked_fill(~real, 0)
    return index[:, past:]


class Learned(nn.Module):
    """A learned vector for each position, added to the embeddings; the first one's is in row `offset`."""

    def __init__(self, length: int, width: int, offset: int = 0) -> None:
        super().__init__()
        self.offset = offset
        self.embedding = nn.Embedding(length + offset, width)

    def forward(self, x: Tensor, positions: Tensor) -> Tensor:
        return x + self.embedding(positions + self.offset)


class Sinusoidal(nn.Module):
    """Fixed sines and cosines, added to the embeddings."""

    def __init__(self, width: int, base: float = 10_000.0) -> None:
        super().__init__()
        self.width = width
        self.base = base

    def forward(self, x: Tensor, positions: Tensor) -> Tensor:
        return x + sines(positions, self.width, self.base).to(x.dtype)


def sines(positions: Tensor, width: int, base: float) -> Tensor:
    """Sines and cosines `(…, width)` of positions, by turns."""
    half = torch.arange(0, width, 2, device=positions.device, dtype=torch.float32)
    angles = positions[..., None].float() * torch.exp(half * (-math.log(base) / width))
    return torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(-2)[..., :width]


Angles = tuple[Tensor, Tensor]
"""Cosines and signed sines `(batch | 1, 1, tokens, head_width)` by which heads are rotated."""


class Rotary(nn.Module):
    """Rotates the two halves of each head by an angle that grows with the position.

    `scaling` stretches the positions; `length` is how many the model has.
    """

    def __init__(
        self,
        head_width: int,
        base: float = 10_000.0,
        scaling: RopeScaling | None = None,
        length: int | None = None,
    ) -> None:
        super().__init__()
        self.head_width = head_width
        self.frequencies = frequencies(head_width, base, scaling, length)

    def angles(self, positions: Tensor, dtype: torch.dtype, ahead: int | Tensor = 0) -> Angles:
        """What `forward` turns by at positions `(batch | 1, tokens)`: the same for all layers of a stack.

        `ahead` tokens of each row are known to follow, and count as its length where that matters.
        """
        angles = positions[:, None, :, None].float() * self.frequencies(positions, ahead)
        amplitude = self.frequencies.amplitude
        cos, sin = (angles.cos() * amplitude).to(dtype), (angles.sin() * amplitude).to(dtype)
        return torch.cat((cos, cos), dim=-1), torch.cat((-sin, sin), dim=-1)

    def forward(self, x: Tensor, angles: Angles) -> Tensor:
        """`x` `(batch, heads, tokens, head_width)`."""
        cos, sin = angles
        half = self.head_width // 2
        if custom_backward(x):
            return RotaryFunction.apply(x, cos[..., :half], sin[..., half:])
        return torch.addcmul(x * cos, x.roll(half, -1), sin)


NEAR = 4.0
"""What a head that begins with a neighbour adds to its score (nats): about half of the attention among fifty tokens."""


class RelativeBias(nn.Module):
    """T5's bias: a learned number for each head and each bucket of distance, shared by all layers of a stack."""

    def __init__(self, heads: int, buckets: int, max_distance: int, bidirectional: bool) -> None:
        super().__init__()
        self.buckets = buckets
        self.max_distance = max_distance
        self.bidirectional = bidirectional
        self.embedding = nn.Embedding(buckets, heads)

    def forward(self, queries: int, keys: int, offset: int = 0, segments: Tensor | None = None) -> Tensor:
        """The bias `(batch | 1, heads, queries, keys)`; the first query stands at position `offset` among the keys.

        Only `queries + keys - 1` distances exist, so the table is looked up once for each and then laid out: not so
        where the `segments` `(batch, keys)` have padding between tokens, which is no distance.
        """
        device = self.embedding.weight.device
        if segments is not None and has_gaps(segments):
            at = token_positions(segments, 0, keys, device)
            return self.embedding(self._bucket(at[:, None] - at[:, offset:, None])).permute(0, 3, 1, 2)
        distances = torch.arange(1 - queries - offset, keys - offset, device=device)
        by_distance = self.embedding(self._bucket(distances)).t()
        rows = torch.arange(queries - 1, -1, -1, device=device)[:, None] + torch.arange(keys, device=device)
        return by_distance[:, rows][None]

    @torch.no_grad()
    def look_near(self) -> None:
        """Lets each head but the last begin with a neighbour of its own: one token before, two, … or, where both sides
        are seen, one before, one behind, two before, …

        To copy a text is to find what stands behind its last token (arXiv 2209.11895); where heads know neighbours from
        the start, a small model learns it in a fraction of the steps.
        """
        for head in range(self.embedding.embedding_dim - 1):
            distance = -1 - head
            if self.bidirectional:
                distance = (1 + head // 2) * (-1 if head % 2 == 0 else 1)
            self.embedding.weight[self._bucket(torch.tensor(distance)), head] += NEAR

    def _bucket(self, distance: Tensor) -> Tensor:
        """Buckets of `key position - query position`: half exact, half logarithmic up to `max_distance`."""
        buckets, start = self.buckets, torch.zeros_like(distance)
        if self.bidirectional:
            buckets //= 2
            start = (distance > 0) * buckets
            distance = distance.abs()
        else:
            distance = (-distance).clamp(min=0)
        exact = buckets // 2
        ratio = (distance.clamp(min=1).float() / exact).log() / math.log(self.max_distance / exact)
        far = (exact + (ratio * (buckets - exact)).long()).clamp(max=buckets - 1)
        return start + torch.where(distance < exact, distance, far)


class Distances(nn.Module):
    """Transformer-XL's relative positions (section 3.3), for causal attention.

    Each query meets the sines of its distance to a key too, through a matrix of the layer's own; of the two products,
    each has a learned vector a head in place of where the query stands.
    """

    def __init__(self, width: int, heads: int, head_width: int, base: float = 10_000.0) -> None:
        super().__init__()
        self.width = width
        self.base = base
        self.matrix = nn.Linear(width, heads * head_width, bias=False)
        self.content = nn.Parameter(torch.zeros(heads * head_width))
        self.distance = nn.Parameter(torch.zeros(heads * head_width))

    def forward(self, q: Tensor, keys: int, scale: float) -> tuple[Tensor, Tensor]:
        """Queries `(batch, heads, tokens, head_width)`, the last of `keys` positions: what meets the keys in their
        stead, and the bias `(batch, heads, tokens, keys)`.
        """
        _, heads, tokens, _ = q.shape
        positions = torch.arange(keys, device=q.device)
        table = self.matrix(sines(positions, self.width, self.base).to(q.dtype)).unflatten(-1, (heads, -1))
        content, distance = (v.view(heads, 1, -1) for v in (self.content, self.distance))
        by_distance = scale * ((q + distance) @ table.permute(1, 2, 0))
        behind = (positions[keys - tokens :, None] - positions).clamp(min=0)  # keys to come are masked
        return q + content, by_distance.gather(-1, behind.expand(by_distance.shape))
