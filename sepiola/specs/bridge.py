"""Specs of bridges: the ways in which a language model gets to see."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from sepiola.specs.base import Spec
from sepiola.specs.bricks import Activation, AttentionSpec, FeedForwardSpec, NormSpec, Probability, check_heads
from sepiola.specs.values import Layers, TokenId, Tokens, Vocabulary, Width

Queries = Annotated[int, Field(ge=1, le=1 << 16)]


class GatedFusionSpec(Spec):
    """Gated fusion after the text encoder (Multimodal-CoT, arXiv 2302.00923).

    `image_width` states the width of the features when there is no `vision` to tell it.
    """

    interleaved: ClassVar[bool] = False
    """Whether the text has placeholders for images."""

    kind: Literal["gated-fusion"]
    image_width: Width | None = None


class ProjectionSpec(Spec):
    """Each patch becomes one token of the language model: a linear layer (MiniGPT-4), or two with an activation between
    them (LLaVA, arXiv 2310.03744).

    `shuffle` first lays each square of so many patches a side into one (pixel shuffle: Idefics3, SmolVLM), and
    `neighbours` as many patches that follow one another (MiniGPT-4 over LLaMA-2). `token` is
    the placeholder's id in the vocabulary: a prompt holds it once for each token of the image. A recipe that trains its
    own tokenizer leaves it out.
    """

    interleaved: ClassVar[bool] = True

    kind: Literal["projection"]
    token: TokenId | None = None
    layers: Literal[1, 2] = 1
    activation: Activation = "gelu"
    bias: bool = True
    shuffle: int = Field(default=1, ge=1, le=64)
    neighbours: int = Field(default=1, ge=1, le=4096)

    @model_validator(mode="after")
    def _one_way(self) -> ProjectionSpec:
        if self.shuffle > 1 and self.neighbours > 1:
            raise ValueError("shuffle and neighbours both lay patches together; give one of the two")
        return self


class DualSpec(Spec):
    """Image and text each become one vector of `width`, in a space of their own where a pair lies close (CLIP, arXiv
    2103.00020; SigLIP, 2303.15343).

    The image is its class token, the mean of its features, or what a learned query draws from them (`attention`:
    SigLIP, without a projection). The text is the state of its first end token, or of the last position, to which texts
    are padded (SigLIP). `bias` is that of the projections. `loss` trains them: a softmax over the batch, or a sigmoid
    over each pair, which has a bias of its own.
    """

    interleaved: ClassVar[bool] = False

    kind: Literal["dual"]
    width: Width
    image: Literal["class", "mean", "attention"] = "class"
    text: Literal["end", "last"] = "end"
    bias: bool = False
    loss: Literal["softmax", "sigmoid"] = "softmax"


class ResamplerSpec(Spec):
    """Perceiver Resampler (Flamingo, arXiv 2204.14198): an image or a video of any length becomes `latents` vectors.

    It is as wide as the vision encoder, unless a linear layer leads to another `width`. Time embeddings mark the
    `frames` of a video; without, their order is unknown (OpenFlamingo). `expansion` is the feed-forward's width in
    widths.
    """

    latents: Queries = 64
    depth: Layers = 6
    width: Width | None = None
    attention: AttentionSpec = AttentionSpec(heads=8, head_width=64)
    expansion: int = Field(default=4, ge=1, le=64)
    activation: Activation = "gelu"
    frames: int = Field(default=0, ge=0, le=1 << 16)


class GatedCrossSpec(Spec):
    """Gated cross-attention before some of the decoder's layers (Flamingo, arXiv 2204.14198).

    They stand before layer `first` (counted from 0) and every `every`-th one after it. `token` is the placeholder's id
    in the vocabulary: a prompt holds it once for each image. A recipe that trains its own tokenizer leaves it out. With
    a `context_width` a linear layer brings the resampler's latents to it before keys and values are made of them.
    `image_width` states the width of the features when there is no `vision` to tell it.
    """

    interleaved: ClassVar[bool] = True

    kind: Literal["gated-cross"]
    token: TokenId | None = None
    every: Layers = 1
    first: int = Field(default=0, ge=0, lt=1024)
    attention: AttentionSpec = AttentionSpec(heads=8, head_width=64)
    expansion: int = Field(default=4, ge=1, le=64)
    activation: Activation = "gelu"
    resampler: ResamplerSpec = ResamplerSpec()
    context_width: Width | None = None
    image_width: Width | None = None


class QueryTextSpec(Spec):
    """The text that a Q-Former reads beside its queries; at the Hub it is in BERT's vocabulary and one more token.

    `start` opens a text that is read ([CLS]) and `decode` one that is written ([DEC]); `end` closes both ([SEP]).
    """

    vocabulary: Vocabulary = 30523
    length: Tokens = 512
    pad: TokenId = 0
    start: TokenId = 101
    end: TokenId = 102
    decode: TokenId = 30522

    @model_validator(mode="after")
    def _told_apart(self) -> QueryTextSpec:
        if self.pad in (self.start, self.decode):
            raise ValueError(f"pad ({self.pad}) is no other token's id: what equals it is not read")
        return self


class QueryHeadsSpec(Spec):
    """What a Q-Former learns by before it meets a language model (BLIP-2's first stage).

    `space` is the width in which images and texts are compared. With `writes` it has a head that writes texts, which
    the Hub's checkpoints lack.
    """

    space: Width = 256
    writes: bool = True


class QFormerSpec(Spec):
    """Q-Former (BLIP-2, arXiv 2301.12597): BERT's layers over learned queries, which look at the image in every
    `cross_every`-th layer and have a feed-forward network of their own.

    Each query is one token of the language model. Layers know text where there is `text`; `instructed` queries read
    the prompt beside the image (InstructBLIP, arXiv 2305.06500). `token` is the placeholder's id, as a projection's.
    """

    interleaved: ClassVar[bool] = True

    kind: Literal["q-former"]
    token: TokenId | None = None
    queries: Queries = 32
    width: Width = 768
    layers: Layers = 12
    attention: AttentionSpec = AttentionSpec(heads=12, bias=True)
    feed_forward: FeedForwardSpec = FeedForwardSpec(width=3072, bias=True)
    norm: NormSpec = NormSpec(place="post", eps=1e-12)
    cross_every: Layers = 2
    dropout: Probability = 0.0
    text: QueryTextSpec | None = None
    instructed: bool = False
    heads: QueryHeadsSpec | None = None

    @model_validator(mode="after")
    def _fits(self) -> QFormerSpec:
        check_heads(self.width, self.attention)
        if self.norm.place != "post" or self.attention.window is not None:
            raise ValueError("a Q-Former's norms stand after its sublayers (norm.place: post), and it has no window")
        if self.text is None and (self.instructed or self.heads is not None):
            raise ValueError("instructed queries and heads need 'text', what the Q-Former reads beside the image")
        return self


BridgeSpec = Annotated[
    GatedFusionSpec | ProjectionSpec | QFormerSpec | DualSpec | GatedCrossSpec, Field(discriminator="kind")
]
