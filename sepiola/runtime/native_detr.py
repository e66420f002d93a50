"""DETR in the native core's form."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from sepiola.models.vision.detr import DETR, Attention, DecoderLayer, EncoderLayer
from sepiola.runtime.native_part import CoreVision
from sepiola.runtime.native_resnet import backbone_spec, backbone_tensors
from sepiola.runtime.native_weights import Named, linear_tensors, norm_tensors


class CoreDETR(CoreVision):
    """Pictures of any size, each without padding."""

    unsupported: str | None = None

    def __init__(self, vision: nn.Module) -> None:
        assert isinstance(vision, DETR)
        super().__init__(vision)
        self.detr = vision

    def spec(self) -> dict[str, object]:
        spec = self.detr.spec
        return {
            "kind": "detr",
            "width": spec.width,
            "queries": spec.queries,
            "layers": spec.layers,
            "heads": spec.heads,
            "inner": spec.feed_forward,
            "encoder_layers": spec.encoder_layers,
            "encoder_heads": spec.encoder_heads or spec.heads,
            "encoder_inner": spec.encoder_feed_forward or spec.feed_forward,
            **backbone_spec(spec.backbone),
        }

    def tensors(self) -> Iterator[Named]:
        detr = self.detr
        yield from backbone_tensors(detr.backbone)
        yield "vision.project", detr.project.weight.flatten(1), detr.project
        assert detr.project.bias is not None
        yield "vision.project.bias", detr.project.bias, None
        yield "vision.queries", detr.queries.weight.flatten(), None
        yield from norm_tensors("vision.norm", detr.norm)
        for number, layer in enumerate(detr.encoder):
            assert isinstance(layer, EncoderLayer)
            yield from _layer(f"vision.encoder.{number}.", layer)
        for number, layer in enumerate(detr.decoder):
            assert isinstance(layer, DecoderLayer)
            at = f"vision.decoder.{number}."
            yield from _layer(at, layer)
            yield from linear_tensors(f"{at}cross_q", layer.cross.q)
            yield from linear_tensors(f"{at}cross_k", layer.cross.k)
            yield from _attended(f"{at}cross_", layer.cross, layer.cross_norm)


def _layer(at: str, layer: EncoderLayer | DecoderLayer) -> Iterator[Named]:
    """Self-attention, whose queries and keys are one product, and feed-forward."""
    attention = layer.attention
    yield f"{at}qk", torch.cat((attention.q.weight, attention.k.weight)), None
    yield f"{at}qk.bias", torch.cat((attention.q.bias, attention.k.bias)), None
    yield from _attended(at, attention, layer.attention_norm)
    yield from linear_tensors(f"{at}up", layer.feed_forward.up)
    yield from linear_tensors(f"{at}down", layer.feed_forward.down)
    yield from norm_tensors(f"{at}feed_forward_norm", layer.feed_forward_norm)


def _attended(at: str, attention: Attention, norm: nn.LayerNorm) -> Iterator[Named]:
    yield from linear_tensors(f"{at}v", attention.v)
    yield from linear_tensors(f"{at}out", attention.out)
    yield from norm_tensors(f"{at}norm", norm)
