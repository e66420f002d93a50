"""What a row draws depends on its seed alone, and follows the distribution that its logits say."""

from __future__ import annotations

import torch

from sepiola.generation.row_draws import RowDraws, seed_of


def test_draws_follow_the_distribution() -> None:
    rows = 20_000
    logits = torch.tensor([0.0, 1.0, -1.0, 2.0, -torch.inf]).expand(rows, -1)
    draws = RowDraws(range(rows))
    for _ in range(2):
        shares = draws.pick(logits).bincount(minlength=5) / rows
        torch.testing.assert_close(shares, logits[0].softmax(-1), atol=0.015, rtol=0)


def test_steps_and_neighbouring_seeds_are_independent() -> None:
    rows = 20_000
    draws = RowDraws(range(rows))
    logits = torch.zeros(rows, 4)
    first, second = draws.pick(logits), draws.pick(logits)
    for one, other in ((first, second), (first[:-1], first[1:])):
        pairs = (4 * one + other).bincount(minlength=16) / len(one)
        torch.testing.assert_close(pairs, torch.full((16,), 1 / 16), atol=0.008, rtol=0)


def test_a_row_draws_the_same_in_any_batch() -> None:
    logits = torch.randn(6, 3, 50, generator=torch.Generator().manual_seed(1))  # (steps, rows, vocabulary)
    seeds = [seed_of(0, name) for name in "abc"]
    together = RowDraws(seeds)
    drawn = [together.pick(step) for step in logits]
    for row in range(3):
        alone = RowDraws(seeds[row : row + 1])
        assert [int(alone.pick(step[row : row + 1])) for step in logits] == [int(step[row]) for step in drawn]
    leaving = RowDraws(seeds)
    leaving.pick(logits[0])
    leaving.select(torch.tensor([2]))
    assert int(leaving.pick(logits[1, 2:])) == int(drawn[1][2])


def test_seeds_are_named_by_all_their_parts() -> None:
    names = {seed_of(0, "a"), seed_of(0, "b"), seed_of(1, "a"), seed_of("0", "a"), seed_of(0, "a", "order")}
    assert len(names) == 5 and all(0 <= seed < 2**62 for seed in names)
