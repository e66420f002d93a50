"""Specs of bridges: the ways in which a language model gets to see."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from sepiola.specs.base import Spec
from sepiola.specs.bricks import Activation, AttentionSpec


class GatedFusionSpec(Spec):
    """Gated fusion after the text encoder (Multimodal-CoT, arXiv 2302.00923).

    `image_width` states the width of the features when there is no `vision` to tell it.
    """

    kind: Literal["gated-fusion"]
    image_width: PositiveInt | None = None


class ProjectionSpec(Spec):
    """Each patch becomes one token of the language model: a linear layer (MiniGPT-4), or two with an activation between
    them (LLaVA, arXiv 2310.03744).

    `shuffle` first lays each square of so many patches a side into one (pixel shuffle: Idefics3, SmolVLM). `token` is
    the placeholder's id in the vocabulary: a prompt holds it once for each token of the image. A recipe that trains its
    own tokenizer leaves it out.
    """

    kind: Literal["projection"]
    token: NonNegativeInt | None = None
    layers: Literal[1, 2] = 1
    activation: Activation = "gelu"
    bias: bool = True
    shuffle: PositiveInt = 1


class DualSpec(Spec):
    """Image and text each become one vector of `width`, in a space of their own where a pair lies close (CLIP, arXiv
    2103.00020; SigLIP, 2303.15343).

    The image is its class token, the mean of its features, or what a learned query draws from them (`attention`:
    SigLIP, without a projection). The text is the state of its first end token, or of the last position, to which texts
    are padded (SigLIP). `bias` is that of the projections. `loss` trains them: a softmax over the batch, or a sigmoid
    over each pair, which has a bias of its own.
    """

    kind: Literal["dual"]
    width: PositiveInt
    image: Literal["class", "mean", "attention"] = "class"
    text: Literal["end", "last"] = "end"
    bias: bool = False
    loss: Literal["softmax", "sigmoid"] = "softmax"


class ResamplerSpec(Spec):
    """Perceiver Resampler (Flamingo, arXiv 2204.14198): an image or a video of any length becomes `latents` vectors.

    It is as wide as the eye, unless a linear layer leads to another `width`. Time embeddings tell apart `frames` of a
    video; without, their order is not told (OpenFlamingo). `expansion` is the feed-forward's width in widths.
    """

    latents: PositiveInt = 64
    depth: PositiveInt = 6
    width: PositiveInt | None = None
    attention: AttentionSpec = AttentionSpec(heads=8, head_width=64)
    expansion: PositiveInt = 4
    activation: Activation = "gelu"
    frames: NonNegativeInt = 0


class GatedCrossSpec(Spec):
    """Gated cross-attention before some of the decoder's layers (Flamingo, arXiv 2204.14198).

    They stand before layer `first` (counted from 0) and every `every`-th one after it. `token` is the placeholder's id
    in the vocabulary: a prompt holds it once for each image. A recipe that trains its own tokenizer leaves it out. With
    a `context_width` a linear layer brings the resampler's latents to it before keys and values are made of them.
    `image_width` states the width of the features when there is no `vision` to tell it.
    """

    kind: Literal["gated-cross"]
    token: NonNegativeInt | None = None
    every: PositiveInt = 1
    first: NonNegativeInt = 0
    attention: AttentionSpec = AttentionSpec(heads=8, head_width=64)
    expansion: PositiveInt = 4
    activation: Activation = "gelu"
    resampler: ResamplerSpec = ResamplerSpec()
    context_width: PositiveInt | None = None
    image_width: PositiveInt | None = None


BridgeSpec = Annotated[GatedFusionSpec | ProjectionSpec | DualSpec | GatedCrossSpec, Field(discriminator="kind")]
