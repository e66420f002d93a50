"""What every vision encoder and bridge is to the native core, and what calls the core in a vision encoder's stead."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sepiola.errors import DataError
from sepiola.models.vision.vision_encoder import VisionEncoder
from sepiola.runtime.native_weights import Named

if TYPE_CHECKING:
    from sepiola_edge._native import Model as Core


class CorePart(Protocol):
    """A vision encoder or a bridge, as the core takes it."""

    @property
    def unsupported(self) -> str | None:
        """What the core does not compute of it, to be read after its name; None where it computes all."""

    def spec(self) -> dict[str, object]:
        """Its choices as plain numbers; `kind` is the core's name of the kind."""

    def tensors(self) -> Iterator[Named]:
        """Its weights by the core's names, `vision.…` or `bridge.…`."""

    def native(self, core: Core) -> nn.Module:
        """What calls the core in its stead."""


class CoreVision:
    """What all vision encoders have in common."""

    def __init__(self, vision: VisionEncoder) -> None:
        self.vision = vision

    def native(self, core: Core) -> nn.Module:
        return NativeVision(core, self.vision)


class NativeVision(VisionEncoder):
    """A vision encoder by the core."""

    def __init__(self, core: Core, vision: VisionEncoder) -> None:
        super().__init__()
        self.core = core
        self.spec, self.width, self.patches = vision.spec, vision.width, vision.patches

    def forward(self, pixels: Tensor) -> Tensor:
        """As the vision encoder's. Raises DataError for pictures of a size that it does not read."""
        try:
            return torch.from_numpy(self.core.features(numbers(pixels)))
        except ValueError as error:
            raise DataError(f"pixels are {tuple(pixels.shape)}: {error}") from None


def numbers(tensor: Tensor) -> NDArray[np.float32]:
    """A tensor as the core reads it."""
    result: NDArray[np.float32] = tensor.detach().float().contiguous().numpy()
    return result
