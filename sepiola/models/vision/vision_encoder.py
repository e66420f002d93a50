"""What every vision encoder is to the bridges."""

from __future__ import annotations

from torch import nn

from sepiola.specs.vision import VisionSpec


class VisionEncoder(nn.Module):
    """Pixels `(batch, 3, height, width)` to features `(batch, patches, width)`, as `spec` says.

    A class of torch's modules and no Protocol, because it is trained, moved and saved as they are.
    """

    spec: VisionSpec
    width: int
    patches: int
