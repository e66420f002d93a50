"""Specs of the bricks that language models, vision encoders and bridges are built of."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, model_validator

from sepiola.specs.base import Spec
from sepiola.specs.values import Heads, Layers, Tokens, Width

Activation = Literal["relu", "gelu", "gelu_tanh", "quick_gelu", "silu", "squared_relu"]
Probability = Annotated[float, Field(ge=0.0, lt=1.0)]
Experts = Annotated[int, Field(ge=1, le=1024)]
LayerNumber = Annotated[int, Field(ge=0, le=1023)]


class AttentionSpec(Spec):
    """Attention heads. `kv_heads` below `heads` is grouped-query, 1 is multi-query attention.

    `scale` multiplies the scores; absent, it is `head_width ** -0.5` (T5 uses 1). `qk_norm` normalises each head's
    queries and keys by their root mean square (Qwen3, Gemma 3), `qk_norm: joined` those of all heads as one vector
    (OLMoE). With a `window`, a token sees that many of the last
    tokens, its own included, in all layers but every `full_every`-th (2 in GPT-3, 6 in Gemma 3).
    """

    heads: Heads
    kv_heads: Heads | None = None
    head_width: Width | None = None
    bias: bool = False
    output_bias: bool | None = None
    scale: PositiveFloat | None = None
    qk_norm: bool | Literal["joined"] = False
    window: Tokens | None = None
    full_every: Layers | None = None

    @model_validator(mode="after")
    def _grouped(self) -> AttentionSpec:
        if self.heads % (self.kv_heads or self.heads):
            raise ValueError(f"heads ({self.heads}) must be a multiple of kv_heads ({self.kv_heads})")
        if self.full_every is not None and self.window is None:
            raise ValueError("full_every says which layers have no window; give 'window'")
        return self

    def spelled_out(self, width: int) -> AttentionSpec:
        """The same attention over states of `width`, with what is absent as it is by default."""
        each = head_width(width, self)
        defaults = {
            "kv_heads": self.kv_heads or self.heads,
            "head_width": each,
            "output_bias": self.bias if self.output_bias is None else self.output_bias,
            "scale": self.scale or each**-0.5,
        }
        return self.model_copy(update=defaults)

    def of_layer(self, layer: int) -> AttentionSpec:
        """The attention of layer `layer`, counted from 0: this one, or the same without its window."""
        full = self.full_every is not None and (layer + 1) % self.full_every == 0
        return self.model_copy(update={"window": None, "full_every": None}) if full else self


class FeedForwardSpec(Spec):
    """Position-wise network: `activation(x W1) W2`, or gated `(activation(x Wg) * x Wu) W2`.

    With `experts` there are that many gated networks, and a router sends each token to `chosen` of them (Mixtral).
    Their shares are the router's probabilities, and with `renormalise` add up to 1. Every token also reads a network
    of width `shared`, whose output a gate multiplies (Qwen2-MoE). The layers `dense`, counted from 0, have one network
    of `dense_width` instead. In training, `balance_loss` times the load-balancing loss and `router_z_loss` times the
    router z-loss join the loss.
    """

    width: Width
    activation: Activation = "gelu"
    gated: bool = False
    bias: bool = False
    experts: Experts | None = None
    chosen: Experts = 2
    renormalise: bool = True
    shared: Width | None = None
    dense: tuple[LayerNumber, ...] = ()
    dense_width: Width | None = None
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
        if self.experts is None and (self.shared or self.dense or self.dense_width or not self.renormalise):
            raise ValueError("renormalise, shared, dense and dense_width are for a mixture; give 'experts'")
        if (not self.dense) != (self.dense_width is None):
            raise ValueError("dense layers have a width of their own: give both 'dense' and 'dense_width', or neither")
        return self

    def of_layer(self, layer: int) -> FeedForwardSpec:
        """The network of layer `layer`, counted from 0: this one, or a dense one."""
        if layer not in self.dense:
            return self
        assert self.dense_width is not None
        return FeedForwardSpec(width=self.dense_width, activation=self.activation, gated=True)


class NormSpec(Spec):
    """Normalisation and where it stands: before each sublayer (`pre`) or after its residual sum (`post`).

    `parallel`: attention and feed-forward read one norm and are added together (PaLM). `sandwich`: before and after
    each sublayer (Gemma 3). `bias: false` leaves LayerNorm without its bias; `zero_centred` weights of RMSNorm are held
    as their difference from one (Gemma).
    """

    kind: Literal["layer", "rms"] = "layer"
    place: Literal["pre", "post", "parallel", "sandwich"] = "pre"
    eps: float = Field(default=1e-5, gt=0.0, le=1.0)
    bias: bool = True
    zero_centred: bool = False


def head_width(width: int, attention: AttentionSpec) -> int:
    return attention.head_width or width // attention.heads


def check_heads(width: int, attention: AttentionSpec, key: str = "attention.heads") -> None:
    """Raises ValueError, naming `key`, for heads that share neither the width nor their keys evenly."""
    if attention.head_width is None and width % attention.heads:
        raise ValueError(f"width ({width}) must be a multiple of {key} ({attention.heads})")
    if attention.heads % (attention.kv_heads or attention.heads):
        raise ValueError(f"{key} ({attention.heads}) must be a multiple of kv_heads ({attention.kv_heads})")
