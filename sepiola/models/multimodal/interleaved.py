"""Which networks have images among the words of a prompt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypedDict

from torch import Tensor, nn

from sepiola.data.image import ImageRef
from sepiola.models.multimodal.cross import CrossModel
from sepiola.models.multimodal.prefix import PrefixModel


def interleaved(network: nn.Module) -> PrefixModel | CrossModel | None:
    """The network, if placeholders in its text say where images stand; None for any other."""
    return network if isinstance(network, PrefixModel | CrossModel) else None


class InLine(TypedDict):
    """Keywords of `sepiola.data.batching.Collator`."""

    patches: int | None
    sizes: Callable[[Sequence[ImageRef]], Tensor | None] | None
    instruction_pad: int


def in_line(network: nn.Module) -> InLine:
    """What a collator must know of how the network has its images among the words."""
    sees = interleaved(network)
    if sees is None:
        return {"patches": None, "sizes": None, "instruction_pad": 0}
    patches, read = sees.vision.patches if sees.vision is not None else None, sees.instructed
    return {"patches": patches, "sizes": sees.sizes, "instruction_pad": read.pad if read is not None else 0}
