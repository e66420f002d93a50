"""A linear layer whose rows are named blocks: queries, keys and values, or gate and up, as one product.

One matrix is one read of the states and one product. What treats its blocks apart (Muon, an adapter, a plan that cuts
the matrix over devices) asks for their rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import nn


class BlockLinear(nn.Linear):
    """`blocks` are the names and sizes, in rows, of what the layer is made of, in their order.

    `unit` is how many rows of a block belong together where it is cut: those of one head.
    """

    def __init__(self, width: int, blocks: Mapping[str, int], bias: bool = True, unit: int = 1) -> None:
        super().__init__(width, sum(blocks.values()), bias=bias)
        self.blocks = dict(blocks)
        self.unit = unit

    @property
    def rows(self) -> dict[str, slice]:
        """The rows of each block."""
        ends, end = {}, 0
        for name, size in self.blocks.items():
            ends[name] = slice(end, end + size)
            end += size
        return ends


def blocks_of(name: str, linear: nn.Linear) -> dict[str, slice]:
    """The rows of each block of a linear layer of that name, by the blocks' full names; a plain one is one block."""
    if isinstance(linear, BlockLinear):
        return {f"{name}.{block}": rows for block, rows in linear.rows.items()}
    return {name: slice(0, linear.out_features)}


def block_linears(model: nn.Module) -> Iterator[tuple[str, BlockLinear]]:
    """The layers of named blocks in a model, by their names."""
    for name, module in model.named_modules():
        if isinstance(module, BlockLinear):
            yield name, module
