"""Specs of models: what is special about an architecture, and nothing else.

A model is a vision encoder, a bridge and a language model; each may be absent. Presets (`sepiola/models/presets`)
are YAML files of `ModelSpec`.
"""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from sepiola.specs.base import Spec

Activation = Literal["relu", "gelu", "gelu_tanh", "quick_gelu", "silu"]
Probability = Annotated[float, Field(ge=0.0, lt=1.0)]


class AttentionSpec(Spec):
    """Attention heads. `kv_heads` below `heads` is grouped-query, 1 is multi-query attention.

    `scale` multiplies the scores; absent, it is `head_width ** -0.5` (T5 uses 1). `qk_norm` normalises each head's
    queries and keys by their root mean square (Qwen3, Gemma 3). With a `window`, a token sees that many of the last
    tokens, its own included, in all layers but every `full_every`-th (2 in GPT-3, 6 in Gemma 3).
    """

    heads: PositiveInt
    kv_heads: PositiveInt | None = None
    head_width: PositiveInt | None = None
    bias: bool = False
    output_bias: bool | None = None
    scale: PositiveFloat | None = None
    qk_norm: bool = False
    window: PositiveInt | None = None
    full_every: PositiveInt | None = None

    @model_validator(mode="after")
    def _grouped(self) -> AttentionSpec:
        if self.heads % (self.kv_heads or self.heads):
            raise ValueError(f"heads ({self.heads}) must be a multiple of kv_heads ({self.kv_heads})")
        if self.full_every is not None and self.window is None:
            raise ValueError("full_every says which layers have no window; give 'window'")
        return self

    def of_layer(self, layer: int) -> AttentionSpec:
        """The attention of layer `layer`, counted from 0: this one, or the same without its window."""
        full = self.full_every is not None and (layer + 1) % self.full_every == 0
        return self.model_copy(update={"window": None, "full_every": None}) if full else self


class FeedForwardSpec(Spec):
    """Position-wise network: `activation(x W1) W2`, or gated `(activation(x Wg) * x Wu) W2`.

    With `experts` there are that many gated networks, and a router sends each token to `chosen` of them (Mixtral). In
    training, `balance_loss` times the load-balancing loss and `router_z_loss` times the router z-loss join the loss.
    """

    width: PositiveInt
    activation: Activation = "gelu"
    gated: bool = False
    bias: bool = False
    experts: PositiveInt | None = None
    chosen: PositiveInt = 2
    balance_loss: NonNegativeFloat = 0.0
    router_z_loss: NonNegativeFloat = 0.0

    @model_validator(mode="after")
    def _experts(self) -> FeedForwardSpec:
        if self.experts is not None and (not self.gated or self.bias or self.chosen > self.experts):
            raise ValueError(
                f"experts ({self.experts}) are gated, have no bias, and are at least 'chosen' ({self.chosen})"
            )
        if self.experts is None and (self.balance_loss or self.router_z_loss):
            raise ValueError("balance_loss and router_z_loss are for a router; give 'experts'")
        return self


class NormSpec(Spec):
    """Normalisation and where it stands: before each sublayer (`pre`) or after its residual sum (`post`).

    `parallel`: attention and feed-forward read one norm and are added together (PaLM). `sandwich`: before and after
    each sublayer (Gemma 3). `bias: false` leaves LayerNorm without its bias; `zero_centred` weights of RMSNorm are held
    as their difference from one (Gemma).
    """

    kind: Literal["layer", "rms"] = "layer"
    place: Literal["pre", "post", "parallel", "sandwich"] = "pre"
    eps: PositiveFloat = 1e-5
    bias: bool = True
    zero_centred: bool = False


class PositionSpec(Spec):
    """How order is told: `relative` is T5's bucketed bias, shared by all layers of a stack.

    A learned table has `offset` rows before that of the first position (2 in OPT and BART). `local_base` is the rotary
    base of layers with a window, where it differs (Gemma 3).
    """

    kind: Literal["none", "learned", "sinusoidal", "relative", "rotary"]
    length: PositiveInt | None = None
    offset: NonNegativeInt = 0
    buckets: PositiveInt = 32
    max_distance: PositiveInt = 128
    base: PositiveFloat = 10_000.0
    local_base: PositiveFloat | None = None

    @model_validator(mode="after")
    def _length(self) -> PositionSpec:
        if self.kind == "learned" and self.length is None:
            raise ValueError("learned positions need 'length', the most tokens the model can read")
        return self


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
    """

    kind: Literal["decoder", "encoder", "encoder-decoder"]
    vocabulary: PositiveInt
    width: PositiveInt
    layers: PositiveInt
    encoder_layers: PositiveInt | None = None
    attention: AttentionSpec
    feed_forward: FeedForwardSpec
    norm: NormSpec = NormSpec()
    positions: PositionSpec
    tied: bool = True
    head_scale: PositiveFloat | None = None
    embedding_scale: PositiveFloat | None = None
    embedding_norm: bool = False
    token_types: NonNegativeInt = 0
    head: HeadSpec = HeadSpec()
    dropout: Probability = 0.0
    tokens: SpecialTokens = SpecialTokens()

    @model_validator(mode="after")
    def _shapes(self) -> TransformerSpec:
        _check_heads(self.width, self.attention)
        if self.positions.kind == "rotary" and _head_width(self.width, self.attention) % 2:
            raise ValueError("rotary positions need an even attention.head_width")
        if self.attention.window is not None and self.kind != "decoder":
            raise ValueError(f"attention.window is for a decoder; kind is '{self.kind}'")
        if self.kind == "encoder-decoder" and self.norm.place in ("parallel", "sandwich"):
            raise ValueError(f"norm.place '{self.norm.place}' is for a model without cross-attention")
        if self.kind != "encoder-decoder" and self.encoder_layers is not None:
            raise ValueError(f"encoder_layers is for an encoder-decoder; kind is '{self.kind}'")
        return self


class PixelSpec(Spec):
    """How a picture becomes pixels: resized to `size`, rescaled to 0…1, normalised by channel.

    `squash` resizes both sides to `size`; `crop` resizes the shorter side to `resize` (or `size`) and crops the centre;
    `fit` keeps the aspect with the shorter side at `size` and the longer at most `longest` (DETR).
    """

    size: PositiveInt
    mode: Literal["squash", "crop", "fit"] = "squash"
    resize: PositiveInt | None = None
    longest: PositiveInt | None = None
    filter: Literal["nearest", "bilinear", "bicubic", "lanczos"] = "bilinear"
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[PositiveFloat, PositiveFloat, PositiveFloat] = (0.5, 0.5, 0.5)

    @model_validator(mode="after")
    def _modes(self) -> PixelSpec:
        if self.resize is not None and (self.mode != "crop" or self.resize < self.size):
            raise ValueError(f"'resize' is for mode 'crop' and at least 'size' ({self.size}); got {self.resize}")
        if (self.longest is not None) != (self.mode == "fit") or (self.longest or self.size) < self.size:
            raise ValueError(f"mode 'fit', and no other, needs 'longest', at least 'size' ({self.size})")
        return self


class ViTSpec(Spec):
    """Vision Transformer (arXiv 2010.11929); CLIP's (arXiv 2103.00020) adds `input_norm` and quick GELU.

    Features are all states of the last layer, the class token first when there is one. `final_norm` closes
    the stack (plain ViT); CLIP's features are the last layer's states without it.
    """

    kind: Literal["vit"]
    pixels: PixelSpec
    patch: PositiveInt
    width: PositiveInt
    layers: PositiveInt
    attention: AttentionSpec
    feed_forward: FeedForwardSpec
    norm: NormSpec = NormSpec(eps=1e-12)
    class_token: bool = True
    patch_bias: bool = True
    input_norm: bool = False
    final_norm: bool = True
    dropout: Probability = 0.0

    @model_validator(mode="after")
    def _shapes(self) -> ViTSpec:
        _check_heads(self.width, self.attention)
        if self.pixels.size % self.patch:
            raise ValueError(f"pixels.size ({self.pixels.size}) must be a multiple of patch ({self.patch})")
        if self.feed_forward.balance_loss or self.feed_forward.router_z_loss:
            raise ValueError("feed_forward.balance_loss and router_z_loss are for a language model's experts")
        return self


class BackboneSpec(Spec):
    """The convolutions of a ResNet: a stem, then stages of residual blocks, each at half its predecessor's size.

    `frozen_norm` fixes the batch normalisation's statistics and affine values, as a backbone's in DETR.
    """

    stem_width: PositiveInt = 64
    widths: tuple[PositiveInt, ...] = (256, 512, 1024, 2048)
    depths: tuple[PositiveInt, ...] = (3, 4, 6, 3)
    block: Literal["basic", "bottleneck"] = "bottleneck"
    frozen_norm: bool = False

    @model_validator(mode="after")
    def _stages(self) -> BackboneSpec:
        if not self.widths or len(self.widths) != len(self.depths):
            raise ValueError(f"widths ({len(self.widths)} stages) and depths ({len(self.depths)}) must be as many")
        if self.block == "bottleneck" and any(width % 4 for width in self.widths):
            raise ValueError(f"widths of bottleneck blocks must be multiples of 4, got {list(self.widths)}")
        return self


class ResNetSpec(BackboneSpec):
    """ResNet (arXiv 1512.03385), v1.5 strides. Features are the last stage's map, `(rows × columns, width)`."""

    kind: Literal["resnet"]
    pixels: PixelSpec


class DETRSpec(Spec):
    """DETR (arXiv 2005.12872): ResNet, encoder, decoder. Features are the last decoder states, `(queries, width)`."""

    kind: Literal["detr"]
    pixels: PixelSpec
    backbone: BackboneSpec = BackboneSpec(frozen_norm=True)
    width: PositiveInt = 256
    layers: PositiveInt = 6
    encoder_layers: PositiveInt = 6
    heads: PositiveInt = 8
    feed_forward: PositiveInt = 2048
    queries: PositiveInt = 100

    @model_validator(mode="after")
    def _shapes(self) -> DETRSpec:
        if self.width % self.heads:
            raise ValueError(f"width ({self.width}) must be a multiple of heads ({self.heads})")
        if self.width % 4:
            raise ValueError(f"width ({self.width}) must be a multiple of 4: sines and cosines of rows and columns")
        return self


VisionSpec = Annotated[ViTSpec | ResNetSpec | DETRSpec, Field(discriminator="kind")]


class GatedFusionSpec(Spec):
    """Gated fusion after the text encoder (Multimodal-CoT, arXiv 2302.00923).

    `image_width` states the width of the features when there is no `vision` to tell it.
    """

    kind: Literal["gated-fusion"] = "gated-fusion"
    image_width: PositiveInt | None = None


TaskKind = Literal["classification", "entailment", "similarity", "multiple-choice"]
TASKS: tuple[TaskKind, ...] = get_args(TaskKind)


class TaskTokens(Spec):
    """Ids of the tokens that a task adds to the vocabulary: before a sequence, between its texts, and after it."""

    start: NonNegativeInt
    delimiter: NonNegativeInt
    extract: NonNegativeInt


class TaskSpec(Spec):
    """A task that a linear layer on a language model answers (GPT-1, Radford et al., 2018, section 3.3).

    `labels` are what it tells apart; multiple choice has none, for each question brings its own options. Without
    `tokens` a sequence is one text as it is (the Hub's `…ForSequenceClassification`).
    """

    kind: TaskKind
    labels: tuple[str, ...] = ()
    tokens: TaskTokens | None = None

    @model_validator(mode="after")
    def _fits(self) -> TaskSpec:
        if self.kind == "multiple-choice" and self.labels:
            raise ValueError("labels: multiple choice has none; each question brings its own options")
        if self.kind != "multiple-choice" and len(self.labels) < 2:
            raise ValueError(f"labels: {self.kind} tells at least two apart, got {len(self.labels)}")
        if self.kind != "classification" and self.tokens is None:
            raise ValueError(f"tokens: {self.kind} reads two texts, and needs a delimiter between them")
        return self


Part = Literal["language", "vision", "bridge"]


class ModelSpec(Spec):
    """A model: vision encoder + bridge + language model, each may be absent. `task` stands on a language model alone.

    `counted` are the parts that the published size counts (Multimodal-CoT's 223M is its T5 alone); all by default.
    """

    name: str = "model"
    family: str = ""
    counted: tuple[Part, ...] = ("language", "vision", "bridge")
    language: TransformerSpec | None = None
    vision: VisionSpec | None = None
    bridge: GatedFusionSpec | None = None
    task: TaskSpec | None = None

    @model_validator(mode="after")
    def _parts(self) -> ModelSpec:
        if self.language is None and self.vision is None:
            raise ValueError("a model needs 'language', 'vision' or both")
        alone = self.language.kind if self.language and not (self.vision or self.bridge) else None
        if self.task is not None and alone not in ("decoder", "encoder"):
            raise ValueError("'task' needs a 'language' model alone, a decoder or an encoder")
        if self.bridge is None:
            if self.language is not None and self.vision is not None:
                raise ValueError("'vision' and 'language' need a 'bridge' between them")
            return self
        if self.language is None:
            raise ValueError("'bridge' needs a 'language' model to bridge to")
        if self.language.kind != "encoder-decoder":
            raise ValueError(f"gated fusion needs an encoder-decoder; language.kind is '{self.language.kind}'")
        if self.vision is None and self.bridge.image_width is None:
            raise ValueError("'bridge' without 'vision' needs image_width, the width of the stored features")
        return self


def _head_width(width: int, attention: AttentionSpec) -> int:
    return attention.head_width or width // attention.heads


def _check_heads(width: int, attention: AttentionSpec) -> None:
    if attention.head_width is None and width % attention.heads:
        raise ValueError(f"width ({width}) must be a multiple of attention.heads ({attention.heads})")
