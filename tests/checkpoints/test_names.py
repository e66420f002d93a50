"""Name maps: tensors stacked and turned, read in both directions."""

from __future__ import annotations

import torch

from sepiola.checkpoints.names import NameMap, to_hub, to_ours

TABLE = [
    NameMap("qkv", ("q", "k", "v"), rows=(4, 2, 2)),
    NameMap("up", ("fc",), turned=True),
    NameMap("embedding", ("shared",)),
    NameMap("absent", ("gone", "k2")),
]


def test_what_goes_to_the_hub_comes_back() -> None:
    ours = {"qkv": torch.randn(8, 3), "up": torch.randn(5, 3), "embedding": torch.randn(7, 3), "own": torch.randn(2)}
    hub = to_hub(ours, TABLE)
    assert {name: tuple(tensor.shape) for name, tensor in hub.items()} == {
        "q": (4, 3),
        "k": (2, 3),
        "v": (2, 3),
        "fc": (3, 5),
        "shared": (7, 3),
        "own": (2,),
    }
    assert all(tensor.is_contiguous() for tensor in hub.values()) and torch.equal(hub["k"], ours["qkv"][4:6])
    back = to_ours(hub, TABLE)
    assert set(back) == set(ours) and all(torch.equal(back[name], tensor) for name, tensor in ours.items())


def test_a_row_without_one_of_its_tensors_is_left_as_it_was() -> None:
    """So strict loading reports what is missing and what is left over."""
    assert set(to_ours({"q": torch.zeros(4, 3), "v": torch.zeros(2, 3)}, TABLE)) == {"q", "v"}
