"""What a row draws depends on its seed alone, and follows the distribution that its logits say."""

from __future__ import annotations

import torch

from sepiola.generation.row_draws import RowDraws, RowGenerators, seed_of


def test_draws_follow_the_distribution() -> None:
    rows = 40_000
    logits = torch.tensor([0.0, 1.0, -1.0, 2.0, -torch.inf]).expand(rows, -1)
    draws = RowDraws(torch.arange(rows))
    for _ in range(2):
        shares = draws.pick(logits).bincount(minlength=5) / rows
        torch.testing.assert_close(shares, logits[0].softmax(-1), atol=0.01, rtol=0)


def test_steps_and_neighbouring_seeds_are_independent() -> None:
    rows = 20_000
    draws = RowDraws(torch.arange(rows))
    logits = torch.zeros(rows, 4)
    first, second = draws.pick(logits), draws.pick(logits)
    for one, other in ((first, second), (first[:-1], first[1:])):
        pairs = (4 * one + other).bincount(minlength=16) / len(one)
        torch.testing.assert_close(pairs, torch.full((16,), 1 / 16), atol=0.008, rtol=0)


def test_a_row_draws_the_same_in_any_batch() -> None:
    logits = torch.randn(6, 3, 50, generator=torch.Generator().manual_seed(1))  # (steps, rows, vocabulary)
    seeds = torch.tensor([seed_of(0, name) for name in "abc"])
    together = RowDraws(seeds)
    drawn = [together.pick(step, 40) for step in logits]
    for row in range(3):
        alone = RowDraws(seeds[row : row + 1])
        assert [int(alone.pick(step[row : row + 1], 40)) for step in logits] == [int(step[row]) for step in drawn]
    leaving = RowDraws(seeds)
    leaving.pick(logits[0], 40)
    leaving.select(torch.tensor([2]))
    assert int(leaving.pick(logits[1, 2:], 40)) == int(drawn[1][2])


def test_only_the_likeliest_are_drawn_of_few_candidates() -> None:
    logits = torch.arange(30.0).div(10).expand(2000, -1)
    assert int(RowDraws(torch.arange(2000)).pick(logits, 3).min()) == 27


def test_seeds_are_named_by_all_their_parts() -> None:
    names = {seed_of(0, "a"), seed_of(0, "b"), seed_of(1, "a"), seed_of("0", "a"), seed_of(0, "a", "order")}
    assert len(names) == 5 and all(0 <= seed < 2**62 for seed in names)


def test_a_generator_a_row_draws_the_same_in_any_batch_and_follows_the_distribution() -> None:
    rows, device = 4000, torch.device("cpu")
    logits = torch.tensor([0.0, 1.0, -1.0, 2.0, -torch.inf]).repeat(rows, 1)
    together = RowGenerators(range(rows), device)
    drawn = [together.pick(logits) for _ in range(3)]
    shares = torch.cat(drawn).bincount(minlength=5) / (3 * rows)
    torch.testing.assert_close(shares, logits[0].softmax(-1), atol=0.02, rtol=0)
    alone = RowGenerators([7], device)
    assert [int(alone.pick(logits[:1])) for _ in range(3)] == [int(step[7]) for step in drawn]
    leaving = RowGenerators(range(rows), device)
    leaving.pick(logits)
    leaving.select(torch.tensor([7, 9]))
    assert leaving.pick(logits[:2]).tolist() == drawn[1][[7, 9]].tolist()
