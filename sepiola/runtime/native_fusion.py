"""Gated fusion in the native core's form, and what calls the core in its stead."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from sepiola.models.bridges.fusion import GatedFusion
from sepiola.runtime.native_part import numbers
from sepiola.runtime.native_weights import Named, linear_tensors

if TYPE_CHECKING:
    from sepiola_edge._native import Model as Core


class CoreFusion:
    """Its matrices by the names that they have."""

    unsupported: str | None = None

    def __init__(self, bridge: nn.Module) -> None:
        assert isinstance(bridge, GatedFusion)
        self.bridge = bridge

    def spec(self) -> dict[str, object]:
        return {"kind": "gated-fusion", "image_width": self.bridge.image_width}

    def tensors(self) -> Iterator[Named]:
        bridge = self.bridge
        for name, linear in (("image", bridge.image), ("q", bridge.q), ("kv", bridge.kv), ("out", bridge.out)):
            yield from linear_tensors(f"bridge.{name}", linear)
        yield from linear_tensors("bridge.gate", bridge.gate)

    def native(self, core: Core) -> nn.Module:
        return NativeFusion(core, self.bridge)


class NativeFusion(nn.Module):
    """Gated fusion by the core."""

    def __init__(self, core: Core, bridge: GatedFusion) -> None:
        super().__init__()
        self.core = core
        self.image_width = bridge.image_width

    def forward(
        self, states: Tensor, features: Tensor, segments: Tensor | None = None, image_segments: Tensor | None = None
    ) -> Tensor:
        """As `GatedFusion`, for rows of one segment: a row of which no patch is seen has one of zeros.

        Padding is computed too, and means nothing.
        """
        batch, tokens, width = states.shape
        seen = torch.ones(features.shape[:2], dtype=torch.bool) if image_segments is None else image_segments != 0
        blind = ~seen.any(1)
        shown = torch.where(seen[..., None], features, torch.zeros_like(features))
        seen = seen | blind[:, None] & (torch.arange(features.shape[1]) == 0)
        out = np.empty((batch * tokens, width), np.float32)
        rows = np.repeat(np.arange(batch, dtype=np.int32), tokens)
        feature_rows = seen.nonzero()[:, 0].to(torch.int32).numpy()
        self.core.fuse(numbers(states.reshape(-1, width)), rows, numbers(shown[seen]), feature_rows, out)
        return torch.from_numpy(out).view(batch, tokens, width)
