"""Specs of models: what is special about an architecture, and nothing else.

A model is a vision encoder, a bridge and a language model; each may be absent. Presets (`sepiola/models/presets`)
are YAML files of `ModelSpec`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, model_validator

from sepiola.specs.base import Spec
from sepiola.specs.bricks import AttentionSpec, FeedForwardSpec, NormSpec, Probability, check_heads, head_width
from sepiola.specs.bridge import BridgeSpec, DualSpec, QFormerSpec
from sepiola.specs.classifier import ClassifierSpec
from sepiola.specs.conditional_logit import ConditionalLogitSpec
from sepiola.specs.linear_reward import LinearRewardSpec
from sepiola.specs.rope import RopeScaling, border, check_scaling
from sepiola.specs.values import Heads, Layers, TokenId, Tokens, Vocabulary, Width
from sepiola.specs.vision import VisionSpec, ViTSpec

Base = Annotated[float, Field(ge=1.0, le=1e15)]


class PositionSpec(Spec):
    """How positions are encoded: `relative` is T5's bucketed bias, shared by all layers of a stack; `transformer-xl`
    has sines of distances that each layer reads by a matrix of its own (Chinchilla).

    A learned table has `offset` rows before that of the first position (2 in OPT and BART). `scaling` stretches rotary
    positions. `local_base` is the rotary base of layers with a window, where it differs (Gemma 3), and `local_scaling`
    is then theirs.
    """

    kind: Literal["none", "learned", "sinusoidal", "relative", "rotary", "transformer-xl"]
    length: Tokens | None = None
    offset: TokenId = 0
    buckets: int = Field(default=32, ge=4, le=1 << 16)
    max_distance: Tokens = 128
    base: Base = 10_000.0
    scaling: RopeScaling | None = None
    local_base: Base | None = None
    local_scaling: RopeScaling | None = None

    @model_validator(mode="after")
    def _length(self) -> PositionSpec:
        if self.kind != "rotary" and (self.scaling or self.local_scaling):
            raise ValueError(f"scaling is for rotary positions; kind is '{self.kind}'")
        if self.local_scaling is not None and self.local_base is None:
            raise ValueError("local_scaling is for layers with a base of their own; give 'local_base'")
        if self.kind == "learned" and self.length is None:
            raise ValueError("learned positions need 'length', the most tokens the model can read")
        if self.kind == "relative" and self.max_distance <= self.buckets // 2:
            raise ValueError(
                f"max_distance ({self.max_distance}) must be above half of the buckets ({self.buckets}): so many tell "
                "near distances one by one"
            )
        return self

    @property
    def border(self) -> int | None:
        """The number of tokens beyond which a text's length changes all of its angles; None where it never does."""
        borders = (border(scaling, self.length) for scaling in (self.scaling, self.local_scaling))
        return min((tokens for tokens in borders if tokens is not None), default=None)

    def check_scaling(self, head_width: int) -> None:
        """Raises ValueError for a scaling that does not fit heads so wide."""
        for base, scaling in ((self.base, self.scaling), (self.local_base, self.local_scaling)):
            if base is not None and scaling is not None:
                check_scaling(scaling, head_width, base, self.length)


class SpecialTokens(Spec):
    """Token ids that generation and batching need."""

    pad: int = 0
    end: int = 1
    start: int = 0


class HeadSpec(Spec):
    """What turns states into logits. `transform` is BERT's layer before it; `none` leaves the states as they are.

    In training, `z_loss` times the square of the softmax's log denominator joins each token's loss (PaLM).
    """

    kind: Literal["token", "none"] = "token"
    transform: bool = False
    bias: bool = False
    z_loss: NonNegativeFloat = 0.0


class TransformerSpec(Spec):
    """A language model: `decoder`, `encoder` or `encoder-decoder` over the same layers.

    `head_scale` multiplies the final states before the output head (T5 with a tied head: `width ** -0.5`), and
    `embedding_scale` the token embeddings (`width ** 0.5` in Gemma and the original Transformer). `embedding_norm`
    normalises what enters the first layer, and `token_types` tells apart that many kinds of tokens (BERT's sentences).
    An encoder-decoder's encoder is like its decoder but for `encoder_layers`, `encoder_heads` and the width of its
    feed-forward, `encoder_feed_forward`, where they are given. Both read by one embedding, which is then the encoder's,
    unless there is a `decoder_embedding`.
    With `mimetic`, fresh weights of an encoder-decoder begin as trained ones come to look (arXiv 2305.09828): heads of
    relative positions look at neighbours, and cross-attention at what is like the token.
    `family` names the layout at the Hub in which it is written as a part of a larger model.
    """

    family: str = ""
    kind: Literal["decoder", "encoder", "encoder-decoder"]
    vocabulary: Vocabulary
    width: Width
    layers: Layers
    encoder_layers: Layers | None = None
    encoder_heads: Heads | None = None
    encoder_feed_forward: Width | None = None
    decoder_embedding: bool = False
    attention: AttentionSpec
    feed_forward: FeedForwardSpec
    norm: NormSpec = NormSpec()
    positions: PositionSpec
    tied: bool = True
    head_scale: PositiveFloat | None = None
    embedding_scale: PositiveFloat | None = None
    embedding_norm: bool = False
    token_types: int = Field(default=0, ge=0, le=1 << 16)
    head: HeadSpec = HeadSpec()
    dropout: Probability = 0.0
    mimetic: bool = False
    tokens: SpecialTokens = SpecialTokens()

    @model_validator(mode="after")
    def _shapes(self) -> TransformerSpec:
        check_heads(self.width, self.attention)
        if self.attention.qk_norm == "joined" and self.norm.zero_centred:
            raise ValueError("attention.qk_norm: joined has no zero-centred weights (norm.zero_centred)")
        if any(layer >= self.layers for layer in self.feed_forward.dense):
            raise ValueError(f"feed_forward.dense names layers from 0 to {self.layers - 1}")
        if self.mimetic and (self.kind, self.positions.kind) != ("encoder-decoder", "relative"):
            raise ValueError(
                f"mimetic is for an encoder-decoder with relative positions; this is a {self.kind} with "
                f"{self.positions.kind} ones"
            )
        if self.positions.kind == "rotary" and head_width(self.width, self.attention) % 2:
            raise ValueError("rotary positions need an even attention.head_width")
        self.positions.check_scaling(head_width(self.width, self.attention))
        distances = self.positions.kind == "transformer-xl"
        if self.kind != "decoder" and (distances or self.attention.window is not None):
            key = "positions.kind transformer-xl" if distances else "attention.window"
            raise ValueError(f"{key} is for a decoder; kind is '{self.kind}'")
        if self.kind == "encoder-decoder" and self.norm.place in ("parallel", "sandwich"):
            raise ValueError(f"norm.place '{self.norm.place}' is for a model without cross-attention")
        if self.kind != "encoder-decoder":
            for key in ("encoder_layers", "encoder_heads", "encoder_feed_forward"):
                if getattr(self, key) is not None:
                    raise ValueError(f"{key} is for an encoder-decoder; kind is '{self.kind}'")
            if self.decoder_embedding:
                raise ValueError(f"decoder_embedding is for an encoder-decoder; kind is '{self.kind}'")
        elif self.encoder_heads is not None:
            check_heads(self.width, self.encoder.attention, "encoder_heads")
            if self.positions.kind == "rotary" and head_width(self.width, self.encoder.attention) % 2:
                raise ValueError("encoder_heads: rotary positions need heads of an even width")
        return self

    @property
    def encoder(self) -> TransformerSpec:
        """The encoder of an encoder-decoder, as a spec of its own."""
        heads, width = self.encoder_heads or self.attention.heads, self.encoder_feed_forward or self.feed_forward.width
        return self.model_copy(
            update={
                "kind": "encoder",
                "layers": self.encoder_layers or self.layers,
                "attention": self.attention.model_copy(update={"heads": heads}),
                "feed_forward": self.feed_forward.model_copy(update={"width": width}),
                **dict.fromkeys(("encoder_layers", "encoder_heads", "encoder_feed_forward")),
                "decoder_embedding": False,
                "mimetic": False,
            }
        )


Part = Literal["language", "vision", "bridge"]


class ModelSpec(Spec):
    """A model: vision encoder + bridge + language model, each may be absent. A `classifier` stands on a language model
    alone; a reward model's on any model that writes text, too. With `options` it is a conditional logit, with
    `linear_reward` a linear reward model.

    `counted` are the parts that the published size counts (Multimodal-CoT's 223M is its T5 alone); all by default.
    """

    name: str = "model"
    family: str = ""
    counted: tuple[Part, ...] = ("language", "vision", "bridge")
    language: TransformerSpec | None = None
    vision: VisionSpec | None = None
    bridge: BridgeSpec | None = None
    classifier: ClassifierSpec | None = None
    options: ConditionalLogitSpec | None = None
    linear_reward: LinearRewardSpec | None = None

    @property
    def labels(self) -> tuple[str, ...]:
        """What a classifier tells apart; nothing for another model."""
        return self.classifier.labels if self.classifier is not None else ()

    @property
    def alone(self) -> str | None:
        """Which key says what the model is, where it is no language model or vision encoder."""
        return next((key for key in ("options", "linear_reward") if getattr(self, key) is not None), None)

    @property
    def scores(self) -> bool:
        """Whether it is a reward model."""
        return self.linear_reward is not None or (self.classifier is not None and self.classifier.kind == "reward")

    @property
    def sees(self) -> bool:
        """Whether it looks at pictures beside a text."""
        return self.bridge is not None or (self.options is not None and self.options.pictures is not None)

    @property
    def sees_no_pixels(self) -> str | None:
        """Why the model takes no pixels, to be read after its name; None when it does."""
        if self.vision is not None:
            return None
        features = "has no vision encoder of its own: it takes stored features only"
        return features if self.sees else "reads text alone, and sees no pictures"

    @property
    def writes_no_text(self) -> str | None:
        """Why the model writes no text, to be read after its name; None when it does."""
        if self.options is not None:
            return "chooses among options, and writes no text: ask it with choices"
        if self.linear_reward is not None:
            return "scores replies, and writes no text: use score() or reward()"
        if self.language is None and self.bridge is not None:
            return "compares pictures with texts, and writes none: use retriever()"
        if self.language is None:
            return "is a vision encoder: it has features, and no text to generate"
        if self.language.kind == "encoder" or self.language.head.kind == "none":
            return "is an encoder: it reads and writes no text; call it for its states"
        if self.classifier is not None:
            does = "scores texts" if self.classifier.kind == "reward" else "tells labels apart"
            return f"is a classifier: it {does}, and writes no text"
        return None

    @property
    def interleaved(self) -> bool:
        """Whether the text has placeholders for images."""
        return self.bridge is not None and self.bridge.interleaved

    @model_validator(mode="after")
    def _parts(self) -> ModelSpec:
        if self.options is not None:
            return self._checked_options(self.options)
        if self.linear_reward is not None:
            if self.language or self.vision or self.bridge or self.classifier:
                raise ValueError("'linear_reward' stands alone: it reads replies without a language model")
            return self
        if self.language is None and self.vision is None:
            raise ValueError("a model needs 'language', 'vision' or both")
        alone = self.language.kind if self.language and not (self.vision or self.bridge) else None
        if self.classifier is not None and alone not in ("decoder", "encoder"):
            if self.classifier.kind != "reward":
                raise ValueError("'classifier' needs a 'language' model alone, a decoder or an encoder")
            if self.language is None or isinstance(self.bridge, DualSpec):
                raise ValueError("'classifier': a reward model reads texts: it needs 'language', and no dual encoder")
        if self.bridge is None:
            if self.language is not None and self.vision is not None:
                raise ValueError("'vision' and 'language' need a 'bridge' between them")
            return self
        if self.language is None and not (isinstance(self.bridge, QFormerSpec) and self.bridge.heads is not None):
            raise ValueError("'bridge' needs a 'language' model to bridge to, or a Q-Former's 'heads'")
        if isinstance(self.bridge, DualSpec):
            if self.language is None:
                raise ValueError("a dual encoder compares images with texts: it needs 'language'")
            _check_dual(self.bridge, self.vision, self.language)
            return self
        if self.bridge.kind != "gated-fusion":
            width = self.bridge.image_width if self.bridge.kind == "gated-cross" else None
            sees = self.vision is not None or width is not None
            if not sees or (self.language is not None and self.language.kind == "encoder"):
                raise ValueError(f"a {self.bridge.kind} stands between a 'vision' encoder and a model that writes text")
            if self.bridge.kind == "gated-cross" and self.language and self.bridge.first >= self.language.layers:
                raise ValueError(f"bridge.first {self.bridge.first}: the decoder has {self.language.layers} layers")
            return self
        kind = self.language.kind if self.language is not None else None
        if kind != "encoder-decoder":
            raise ValueError(f"gated fusion needs an encoder-decoder; language.kind is '{kind}'")
        if self.vision is None and self.bridge.image_width is None:
            raise ValueError("'bridge' without 'vision' needs image_width, the width of the stored features")
        return self

    def _checked_options(self, options: ConditionalLogitSpec) -> ModelSpec:
        if self.vision or self.bridge or self.classifier or self.linear_reward:
            raise ValueError("'options' stands alone, or on a 'language' model that is an encoder")
        if any(texts.by == "states" for texts in options.texts) != (self.language is not None):
            raise ValueError("'options' compares texts by states of 'language', an encoder: give both or neither")
        if self.language is not None and (self.language.kind != "encoder" or self.language.head.kind != "none"):
            raise ValueError("'options' needs a 'language' of kind encoder without a head (head: {kind: none})")
        return self


def _check_dual(bridge: DualSpec, vision: VisionSpec | None, language: TransformerSpec) -> None:
    if vision is None or vision.pixels.mode == "fit":
        raise ValueError("a dual encoder needs a 'vision' encoder whose pictures have one size (pixels.mode)")
    if language.kind == "encoder-decoder" or language.head.kind != "none":
        raise ValueError("a dual encoder's 'language' is a decoder or an encoder without a head (head: {kind: none})")
    if bridge.image == "class" and not (
        isinstance(vision, ViTSpec) and vision.class_token and not vision.patch_features
    ):
        raise ValueError("bridge.image 'class': 'vision' has no class token; take 'mean'")
    if bridge.image == "attention" and not (isinstance(vision, ViTSpec) and vision.width == bridge.width):
        raise ValueError(f"bridge.image 'attention': 'vision' must be a ViT of bridge.width ({bridge.width})")
    if bridge.text == "last" and language.positions.kind != "learned":
        raise ValueError("bridge.text 'last': texts are padded to all positions, so they must be learned ones")
