"""A projection in the native core's form, and what calls the core in its stead."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from sepiola.models.bridges.projection import AnyResProjection, Projection
from sepiola.models.multimodal.prefix import TokenBridge
from sepiola.runtime.native_part import numbers
from sepiola.runtime.native_weights import Named, linear_tensors

if TYPE_CHECKING:
    from sepiola_edge._native import Model as Core


class CoreProjection:
    """Its one or two matrices; how a picture's tiles are laid out (LLaVA-OneVision) stays PyTorch's."""

    unsupported: str | None = None

    def __init__(self, bridge: nn.Module) -> None:
        assert isinstance(bridge, Projection)
        self.bridge = bridge
        self.image_width = self._linears()[0].in_features // (bridge.shuffle**2 * bridge.neighbours)

    def spec(self) -> dict[str, object]:
        bridge = self.bridge
        return {
            "kind": "projection",
            "layers": len(bridge.layers),
            "patches": bridge.tokens * bridge.shuffle**2 * bridge.neighbours,
            "image_width": self.image_width,
            "shuffle": bridge.shuffle,
            "neighbours": bridge.neighbours,
            "activation": bridge.spec.activation,
        }

    def tensors(self) -> Iterator[Named]:
        for number, linear in enumerate(self._linears()):
            yield from linear_tensors(f"bridge.{number}", linear)

    def native(self, core: Core) -> nn.Module:
        if isinstance(self.bridge, AnyResProjection):
            return NativeAnyRes(core, self.bridge)
        return NativeProjection(core, self.bridge)

    def _linears(self) -> list[nn.Linear]:
        linears = [layer for layer in self.bridge.layers if isinstance(layer, nn.Linear)]
        assert len(linears) == len(self.bridge.layers)
        return linears


class NativeProjection(TokenBridge):
    """A projection by the core."""

    def __init__(self, core: Core, bridge: Projection) -> None:
        super().__init__()
        self.core = core
        self.tokens = bridge.tokens

    def forward(self, features: Tensor) -> Tensor:
        return torch.from_numpy(self.core.vectors(numbers(features)))


class NativeAnyRes(TokenBridge):
    """A projection by the core, whose tokens PyTorch lays out."""

    def __init__(self, core: Core, bridge: AnyResProjection) -> None:
        super().__init__()
        self.core = core
        self.bridge = bridge
        self.tokens = bridge.tokens

    def forward(self, features: Tensor, sizes: Tensor | None = None) -> Tensor:
        return self.bridge.laid_out(torch.from_numpy(self.core.vectors(numbers(features))), sizes)
