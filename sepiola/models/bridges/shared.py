"""The space that images and texts share in a dual encoder: CLIP's (arXiv 2103.00020) and SigLIP's (2303.15343)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sepiola.models.vision.vision_encoder import VisionEncoder
from sepiola.nn.attend import attend
from sepiola.nn.feedforward import feed_forward
from sepiola.nn.linear import BlockLinear
from sepiola.nn.norms import norm
from sepiola.specs.bridge import DualSpec
from sepiola.specs.vision import ViTSpec

# exp(scale) and bias at the start of training, as in the papers.
_SOFTMAX_SCALE, _SIGMOID_SCALE, _SIGMOID_BIAS = 1 / 0.07, 10.0, -10.0
_MOST = 100.0  # CLIP's exp(scale) grows no further in training


class SharedSpace(nn.Module):
    """What makes one vector of an image's features and of a text's state, and compares vectors; `vision` is the vision
    encoder.
    """

    def __init__(self, spec: DualSpec, text_width: int, vision: VisionEncoder) -> None:
        super().__init__()
        self.spec = spec
        attentive = spec.image == "attention"
        self.pool = AttentionPool(vision.spec) if attentive and isinstance(vision.spec, ViTSpec) else None
        self.image_projection = nn.Identity() if attentive else nn.Linear(vision.width, spec.width, bias=spec.bias)
        self.text_projection = nn.Linear(text_width, spec.width, bias=spec.bias)
        sigmoid = spec.loss == "sigmoid"
        self.scale = nn.Parameter(torch.tensor([math.log(_SIGMOID_SCALE if sigmoid else _SOFTMAX_SCALE)]))
        self.most = math.inf if sigmoid else math.log(_MOST)
        self.bias = nn.Parameter(torch.tensor([_SIGMOID_BIAS])) if sigmoid else None

    def forward(self, images: Tensor, texts: Tensor) -> Tensor:
        """Logits `(images, texts)`, float32, of vectors `(images | texts, width)` of length 1.

        The cosines are multiplied by as much as a hundred, so they are never rounded to half precision.
        """
        with torch.autocast(images.device.type, enabled=False):
            scale = self.scale.float().clamp(max=self.most) if self.training else self.scale.float()
            logits = scale.exp() * (images.float() @ texts.float().t())
            return logits if self.bias is None else logits + self.bias.float()


class AttentionPool(nn.Module):
    """A learned query that attends to all features, and one feed-forward network after it: SigLIP's head."""

    def __init__(self, spec: ViTSpec) -> None:
        super().__init__()
        width = spec.width
        self.heads = spec.attention.heads
        self.query = nn.Parameter(torch.empty(1, 1, width))
        self.qkv = BlockLinear(width, {"q": width, "k": width, "v": width})
        self.out = nn.Linear(width, width)
        self.norm = norm(width, spec.norm)
        self.feed_forward = feed_forward(width, spec.feed_forward)
        nn.init.normal_(self.query, std=width**-0.5)

    def forward(self, features: Tensor) -> Tensor:
        """One vector `(images, width)` of the features `(images, patches, width)`."""
        width = self.query.shape[-1]
        weights, biases = self.qkv.weight.split((width, 2 * width)), self.qkv.bias.split((width, 2 * width))
        query = F.linear(self.query, weights[0], biases[0]).expand(len(features), -1, -1)
        keys, values = F.linear(features, weights[1], biases[1]).chunk(2, dim=-1)
        q, k, v = (x.unflatten(-1, (self.heads, -1)).transpose(1, 2) for x in (query, keys, values))
        pooled = self.out(attend(q, k, v, None, (width // self.heads) ** -0.5, 0.0))
        return (pooled + self.feed_forward(self.norm(pooled)))[:, 0]
