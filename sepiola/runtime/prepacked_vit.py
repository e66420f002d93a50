"""A ViT for inference on a CPU in bfloat16: weights packed once, residuals and GELU inside the products.

Eager PyTorch lays a weight out anew at every product, and its fused attention spends more time around a short
sequence's two products than in them; here they are two plain products and a softmax.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sepiola.models.layers import PreNormLayer
from sepiola.models.vision.vision_encoder import VisionEncoder
from sepiola.models.vision.vit import ViT
from sepiola.nn.feedforward import ACTIVATIONS, FeedForward

# Scores of so many numbers stay in the cache from one product to the softmax to the next: as many heads at a time.
_SCORES = 2**20

# Activations that a product takes in, by oneDNN's names.
FUSED = {ACTIVATIONS["gelu"]: ("gelu", "none"), ACTIVATIONS["gelu_tanh"]: ("gelu", "tanh")}


def prepack(model: VisionEncoder, *, batch: int = 8, release: bool = False) -> VisionEncoder:
    """`model` with the same features in less time, for inference alone.

    The model itself is left as it is, or with `release` gives its layers up as they are packed, to hold them once.

    For a ViT in bfloat16 on a CPU with bfloat16 instructions; anything else is returned unchanged. Packing
    copies the weights, so later changes to the model's are not seen. `batch` is the size that the packing
    is tuned for; every size is right. Scores are rounded to bfloat16 before the softmax.
    """
    if not isinstance(model, ViT) or model.positions.dtype != torch.bfloat16:
        return model
    if model.positions.device.type != "cpu" or not prepackable():
        return model
    if model.spec.feed_forward.gated or model.spec.attention.kv_heads not in (
        None,
        model.spec.attention.heads,
    ):
        return model
    return _PrepackedViT(model, batch, release).eval()


def prepackable() -> bool:
    """Whether this processor and this build of PyTorch multiply in bfloat16 with packed weights."""
    ops = torch.ops.mkldnn
    if not torch.backends.mkldnn.is_available() or getattr(ops, "_linear_pointwise", None) is None:
        return False
    supported = getattr(ops, "_is_mkldnn_bf16_supported", None)
    return supported is not None and bool(supported())


class PrepackedLinear(nn.Module):
    """A packed weight; the product may take in an activation (and torch's name of its approximation), or a residual of
    the output's shape. It is tuned for so many `rows`; any number is right.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, rows: int) -> None:
        super().__init__()
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight.detach(), rows)
        self.bias = None if bias is None else bias.detach()
        self._product, self._sum = torch.ops.mkldnn._linear_pointwise.default, torch.ops.mkldnn._linear_pointwise.binary

    @classmethod
    def of(cls, linear: nn.Linear, rows: int) -> PrepackedLinear:
        """A layer's, packed."""
        return cls(linear.weight, linear.bias, rows)

    def forward(self, x: Tensor, activation: str = "none", approximate: str = "none") -> Tensor:
        return self._product(x, self.weight, self.bias, activation, [], approximate)

    def add(self, x: Tensor, residual: Tensor) -> Tensor:
        return self._sum(x, residual, self.weight, self.bias, "add")


class _Layer:
    """One pre-norm layer over packed weights."""

    def __init__(self, layer: PreNormLayer, rows: int) -> None:
        attention, ff = layer.attention, layer.feed_forward
        assert isinstance(ff, FeedForward)
        self.attention_norm, self.feed_forward_norm = layer.attention_norm, layer.feed_forward_norm
        self.heads, self.scale = attention.heads, attention.scale
        self.qkv, self.out = PrepackedLinear.of(attention.qkv, rows), PrepackedLinear.of(attention.out, rows)
        self.up, self.down = PrepackedLinear.of(ff.up, rows), PrepackedLinear.of(ff.down, rows)
        self.fused, self.activation = FUSED.get(ff.activation), ff.activation

    def __call__(self, x: Tensor) -> Tensor:
        x = self.out.add(self._attend(self.qkv(self.attention_norm(x))), x)
        hidden = self.feed_forward_norm(x)
        inner = self.activation(self.up(hidden)) if self.fused is None else self.up(hidden, *self.fused)
        return self.down.add(inner, x)

    def _attend(self, qkv: Tensor) -> Tensor:
        batch, tokens, _ = qkv.shape
        heads = qkv.view(batch, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        q, k, v = heads.reshape(3, batch * self.heads, tokens, -1).split(1)
        at_once = max(1, _SCORES // tokens**2)
        parts = zip(*(part[0].split(at_once) for part in (q.mul_(self.scale), k.transpose(2, 3), v)), strict=True)
        attended = torch.cat([torch.bmm(torch.bmm(q, k).softmax(-1), v) for q, k, v in parts])
        return attended.view(batch, self.heads, tokens, -1).transpose(1, 2).reshape(batch, tokens, -1)


class _PrepackedViT(VisionEncoder):
    """A ViT whose layers run packed; norms, positions and the class token are read from the model."""

    def __init__(self, model: ViT, batch: int, release: bool) -> None:
        super().__init__()
        self.spec, self.width, self.patches = model.spec, model.width, model.patches
        self._model = [model]  # in a list: not a submodule, so that nothing here has weights to train or to save
        rows = batch * model.tokens
        self._layers = []
        for index in range(model.read):
            layer = model.layers[index]
            assert isinstance(layer, PreNormLayer)
            self._layers.append(_Layer(layer, rows))
            if release:
                model.layers[index] = nn.Identity()

    @torch.no_grad()
    def forward(self, pixels: Tensor) -> Tensor:
        model = self._model[0]
        x = model.embed(pixels)
        for layer in self._layers:
            x = layer(x)
        return model.close(x)
