"""The key-value cache: what was put in comes out, whatever the steps; it grows, and refuses past its capacity."""

from __future__ import annotations

import pytest
import torch

from sepiola.nn.cache import KVCache


def empty(capacity: int = 200) -> KVCache:
    return KVCache.empty(3, 2, capacity, 4, dtype=torch.float32, device=torch.device("cpu"))


@pytest.mark.parametrize("steps", [[200], [1] * 200, [63, 1, 1, 100, 35]])
def test_what_was_put_in_comes_out(steps: list[int]) -> None:
    keys, values, cache = torch.randn(3, 2, 200, 4), torch.randn(3, 2, 200, 4), empty()
    for step, k, v in zip(steps, keys.split(steps, 2), values.split(steps, 2), strict=True):
        before = cache.length
        out = cache.append(k, v)
        assert cache.length == before + step
        assert torch.equal(out[0], keys[:, :, : cache.length]) and torch.equal(out[1], values[:, :, : cache.length])


def test_it_grows_by_doubling_and_ends_at_its_capacity() -> None:
    cache, held = empty(150), []
    for _ in range(150):
        cache.append(torch.zeros(3, 2, 1, 4), torch.zeros(3, 2, 1, 4))
        held.append(cache.keys.shape[2])
    assert sorted(set(held)) == [64, 128, 150]
    with pytest.raises(IndexError, match="holds 150 positions, 151 were needed"):
        cache.append(torch.zeros(3, 2, 1, 4), torch.zeros(3, 2, 1, 4))


def test_rows_are_chosen_and_named_twice() -> None:
    cache, keys, values = empty(), torch.randn(3, 2, 5, 4), torch.randn(3, 2, 5, 4)
    cache.append(keys, values)
    rows = torch.tensor([2, 0, 2, 1])
    cache.select(rows)
    more = torch.randn(4, 2, 1, 4)
    given = cache.append(more, more)
    assert torch.equal(given[0], torch.cat((keys[rows], more), 2))
    assert torch.equal(given[1], torch.cat((values[rows], more), 2))
