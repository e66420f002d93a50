"""Perceiver Resampler (Flamingo, arXiv 2204.14198, appendix A.1): any number of features becomes a few latents.

Learned latents attend to the features and to themselves, several times over. A video is its frames' features one after
the other, each with the time embedding of its frame; an image is a video of one frame.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sepiola.nn.attention import CrossAttention
from sepiola.nn.feedforward import FeedForward
from sepiola.specs.bricks import FeedForwardSpec
from sepiola.specs.bridge import ResamplerSpec


class ResamplerLayer(nn.Module):
    """Latents attend to `[features; latents]`, each under a norm of its own, then feed-forward."""

    def __init__(self, spec: ResamplerSpec, width: int) -> None:
        super().__init__()
        self.features_norm = nn.LayerNorm(width)
        self.latents_norm = nn.LayerNorm(width)
        self.attention = CrossAttention(width, spec.attention)
        self.feed_forward_norm = nn.LayerNorm(width)
        self.feed_forward = FeedForward(
            width, FeedForwardSpec(width=spec.expansion * width, activation=spec.activation)
        )

    def forward(self, latents: Tensor, features: Tensor) -> Tensor:
        queries = self.latents_norm(latents)
        context = torch.cat((self.features_norm(features), queries), dim=1)
        latents = latents + self.attention(queries, self.attention.project(context))
        return latents + self.feed_forward(self.feed_forward_norm(latents))


class Resampler(nn.Module):
    """Features `(images, patches, image_width)` or `(videos, frames, patches, image_width)` to latents
    `(images | videos, latents, width)`; `width` is the latents'.

    A video of more frames than there are time embeddings has them interpolated, as the paper does.
    """

    def __init__(self, spec: ResamplerSpec, image_width: int) -> None:
        super().__init__()
        self.width = spec.width or image_width
        self.into = nn.Linear(image_width, self.width, bias=False) if self.width != image_width else nn.Identity()
        self.latents = nn.Parameter(torch.empty(spec.latents, self.width))
        self.times = nn.Parameter(torch.empty(spec.frames, self.width)) if spec.frames else None
        self.layers = nn.ModuleList(ResamplerLayer(spec, self.width) for _ in range(spec.depth))
        self.norm = nn.LayerNorm(self.width)
        nn.init.normal_(self.latents)
        if self.times is not None:
            nn.init.normal_(self.times)

    def forward(self, features: Tensor) -> Tensor:
        frames = features if features.dim() == 4 else features[:, None]
        frames = self.into(frames)
        if self.times is not None:
            frames = frames + self._times(self.times, frames.shape[1])[:, None]
        features = frames.flatten(1, 2)
        latents = self.latents.expand(len(features), -1, -1)
        for layer in self.layers:
            latents = layer(latents, features)
        return self.norm(latents)

    @staticmethod
    def _times(times: Tensor, frames: int) -> Tensor:
        if frames <= len(times):
            return times[:frames]
        return F.interpolate(times.T[None], size=frames, mode="linear", align_corners=True)[0].T
