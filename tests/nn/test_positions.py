"""Position encodings against their formulas."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from transformers.models.t5.modeling_t5 import T5Attention

from sepiola.nn.positions import Distances, Learned, RelativeBias, Rotary, Sinusoidal, sines


def test_distances_are_those_of_transformer_xl() -> None:
    """`(q_i + u) k_j + (q_i + v) W r_(i-j)`, written out; the queries are the last of the keys."""
    ours = Distances(width=8, heads=2, head_width=3)
    for parameter in ours.parameters():
        torch.nn.init.normal_(parameter)
    q, k = torch.randn(1, 2, 4, 3), torch.randn(1, 2, 6, 3)
    met, bias = ours(q, keys=6, scale=0.5)
    given = 0.5 * met @ k.transpose(-1, -2) + bias
    u, v = ours.content.view(2, 3), ours.distance.view(2, 3)
    for head, row, key in itertools.product(range(2), range(4), range(6)):
        distance = 2 + row - key
        if distance >= 0:
            angles = [distance / 10_000 ** (i / 8) for i in range(0, 8, 2)]
            r = torch.tensor([wave(angle) for angle in angles for wave in (math.sin, math.cos)])
            wr = (ours.matrix.weight @ r).view(2, 3)[head]
            q_i = q[0, head, row]
            expected = 0.5 * ((q_i + u[head]) @ k[0, head, key] + (q_i + v[head]) @ wr)
            torch.testing.assert_close(given[0, head, row, key], expected, atol=1e-5, rtol=1e-5)


def test_sines_and_cosines_by_turns() -> None:
    given = sines(torch.tensor([0, 1, 7]), 6, 100.0)
    for row, position in enumerate((0, 1, 7)):
        angles = [position / 100.0 ** (i / 6) for i in (0, 2, 4)]
        expected = [wave(angle) for angle in angles for wave in (math.sin, math.cos)]
        torch.testing.assert_close(given[row], torch.tensor(expected))
    x = torch.randn(2, 3, 6)
    torch.testing.assert_close(Sinusoidal(6, 100.0)(x, torch.tensor([0, 1, 7])), x + given)


def test_learned_positions_begin_at_their_offset() -> None:
    learned, x = Learned(5, 4, offset=2), torch.randn(1, 3, 4)
    positions = torch.tensor([[0, 4, 2]])
    torch.testing.assert_close(learned(x, positions), x + learned.embedding.weight[positions + 2])
    with pytest.raises(IndexError):
        learned(x, torch.tensor([[0, 5, 2]]))


def test_rotary_turns_pairs_as_complex_numbers_and_keeps_distances() -> None:
    rotary = Rotary(8, base=50.0)
    x = torch.randn(2, 3, 5, 8, requires_grad=True)
    angles = rotary.angles(torch.arange(5)[None] + 2, torch.float32)
    turned = rotary(x, angles)
    pairs = torch.complex(x[..., :4], x[..., 4:])
    turns = torch.outer(torch.arange(5) + 2.0, 50.0 ** (-torch.arange(0, 8, 2) / 8))
    rotated = pairs * torch.polar(torch.ones_like(turns), turns)
    expected = torch.cat((rotated.real, rotated.imag), -1)
    torch.testing.assert_close(turned, expected)
    grads = [torch.autograd.grad((y**3).sum(), x)[0] for y in (turned, expected)]
    torch.testing.assert_close(*grads)
    later = rotary(x, rotary.angles(torch.arange(5)[None] + 9, torch.float32))
    torch.testing.assert_close(turned @ turned.mT, later @ later.mT, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("bidirectional", [True, False])
def test_relative_bias_has_the_buckets_of_t5(bidirectional: bool) -> None:
    ours = RelativeBias(3, 8, 20, bidirectional)
    theirs = T5Attention._relative_position_bucket
    distances = torch.arange(9)[None] - torch.arange(4, 9)[:, None]  # five queries, the last of nine keys
    buckets = theirs(distances, bidirectional=bidirectional, num_buckets=8, max_distance=20)
    expected = ours.embedding(buckets).permute(2, 0, 1)[None]
    assert torch.equal(ours(5, 9, offset=4), expected)
    far = torch.tensor([[-500, -20, -19, 0, 19, 20, 500]])
    buckets = theirs(far, bidirectional=bidirectional, num_buckets=8, max_distance=20)
    assert torch.equal(ours._bucket(far), buckets)


@pytest.mark.parametrize(("bidirectional", "looks_at"), [(True, [-1, 1, -2]), (False, [-1, -2, -3])])
def test_heads_may_begin_with_neighbours(bidirectional: bool, looks_at: list[int]) -> None:
    ours = RelativeBias(4, 32, 64, bidirectional)
    torch.nn.init.normal_(ours.embedding.weight, std=0.02)
    last = ours.embedding.weight[:, 3].clone()
    ours.look_near()
    scores = ours(50, 50)[0, :, 25].masked_fill(torch.tensor(not bidirectional) & (torch.arange(50) > 25), -torch.inf)
    share, place = scores.softmax(-1)[:3].max(-1)
    assert (place - 25).tolist() == looks_at and share.min() > 0.4
    assert torch.equal(ours.embedding.weight[:, 3], last)
