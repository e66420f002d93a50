"""Which networks have images among the words of a prompt."""

from __future__ import annotations

from torch import nn

from sepiola.models.multimodal.cross import CrossModel
from sepiola.models.multimodal.prefix import PrefixModel


def interleaved(network: nn.Module) -> PrefixModel | CrossModel | None:
    """The network, if placeholders in its text say where images stand; None for any other."""
    return network if isinstance(network, PrefixModel | CrossModel) else None
