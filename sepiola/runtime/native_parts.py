"""A whole model in the native core's form: its language model, and the vision encoder and bridge before that.

A kind of either is a file of its own and a line here. What the core does not compute stays PyTorch's, which is said.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from torch import nn

from sepiola.models.bridges.fusion import GatedFusion
from sepiola.models.bridges.gated import GatedCross
from sepiola.models.bridges.projection import AnyResProjection, Projection
from sepiola.models.bridges.qformer import QFormer
from sepiola.models.multimodal.vision_language import VisionLanguageModel
from sepiola.models.transformer import EncoderDecoder, LanguageModel
from sepiola.models.vision.detr import DETR
from sepiola.models.vision.resnet import ResNet
from sepiola.models.vision.vit import ViT
from sepiola.runtime.native_detr import CoreDETR
from sepiola.runtime.native_fusion import CoreFusion
from sepiola.runtime.native_gated import CoreGatedCross
from sepiola.runtime.native_part import CorePart
from sepiola.runtime.native_projection import CoreProjection
from sepiola.runtime.native_qformer import CoreQFormer
from sepiola.runtime.native_resnet import CoreResNet
from sepiola.runtime.native_vit import CoreViT
from sepiola.runtime.native_weights import Packed, core_spec, core_tensors, packed

if TYPE_CHECKING:
    from sepiola_edge._native import Model as Core

log = logging.getLogger(__name__)

SEEING = 8
"""Bits of a weight at least in what sees: many vectors share each weight there, so that fewer bits save no time."""


PARTS: dict[type[nn.Module], Callable[[nn.Module], CorePart]] = {
    ViT: CoreViT,
    ResNet: CoreResNet,
    DETR: CoreDETR,
    Projection: CoreProjection,
    AnyResProjection: CoreProjection,
    QFormer: CoreQFormer,
    GatedFusion: CoreFusion,
    GatedCross: CoreGatedCross,
}
"""The kinds that the core computes."""


def core_parts(network: VisionLanguageModel) -> tuple[dict[str, CorePart], dict[str, str]]:
    """The parts before the text that the core computes, by name; and of the others why it does not."""
    parts: dict[str, CorePart] = {}
    reasons: dict[str, str] = {}
    for name in ("vision", "bridge"):
        module = network.parts().get(name)
        if module is None:
            continue
        if type(module) not in PARTS:
            reasons[name] = f"is a {type(module).__name__}"
            continue
        part = PARTS[type(module)](module)
        if part.unsupported is None:
            parts[name] = part
        else:
            reasons[name] = part.unsupported
    return parts, reasons


def core_model(network: nn.Module, bits: int, *, release: bool = False) -> tuple[dict[str, object], dict[str, Packed]]:
    """Spec and tensors of a whole model as `sepiola_edge._native.Model` takes them. Where the spec has no `vision` or
    no `bridge`, and the model has, PyTorch computes that; `core_parts` says why.

    With `release` the network gives its matrices up as they are packed. Raises SepiolaError for a language model that
    the core does not run.
    """
    language = network.language if isinstance(network, VisionLanguageModel) else network
    assert isinstance(language, LanguageModel | EncoderDecoder)
    spec = core_spec(language.spec, language)
    parts = core_parts(network)[0] if isinstance(network, VisionLanguageModel) else {}
    tensors: dict[str, Packed] = {}
    for name, part in parts.items():
        spec[name] = part.spec()
        tensors |= packed(part.tensors(), max(bits, SEEING), release=release)
    return spec, tensors | core_tensors(language, bits, release=release)


def native_parts(network: VisionLanguageModel, core: Core) -> dict[str, nn.Module]:
    """What calls the core in the stead of the vision encoder and the bridge; one that it does not compute is named."""
    parts, reasons = core_parts(network)
    for name, reason in reasons.items():
        log.warning("the native core does not run this model's %s, which %s: PyTorch does", name, reason)
    return {name: part.native(core) for name, part in parts.items()}
