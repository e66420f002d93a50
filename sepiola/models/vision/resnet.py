"""ResNet v1.5 (arXiv 1512.03385): the strides are in the 3×3 convolutions, as in torchvision and on the
Hub."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from sepiola.models.vision.vision_encoder import VisionEncoder
from sepiola.specs.vision import BackboneSpec, ResNetSpec


class FrozenNorm(nn.Module):
    """Batch normalisation whose statistics and affine values are fixed: buffers, which no optimizer moves."""

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, width: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.register_buffer("weight", torch.ones(width))
        self.register_buffer("bias", torch.zeros(width))
        self.register_buffer("running_mean", torch.zeros(width))
        self.register_buffer("running_var", torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        scale = self.weight * (self.running_var + self.eps).rsqrt()
        shift = self.bias - self.running_mean * scale
        return torch.addcmul(shift[:, None, None], x, scale[:, None, None])


class ConvNorm(nn.Module):
    """Convolution without bias, then normalisation."""

    def __init__(self, width_in: int, width_out: int, kernel: int, stride: int, frozen: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width_in, width_out, kernel, stride, kernel // 2, bias=False)
        self.conv.weight.data = self.conv.weight.data.contiguous(memory_format=torch.channels_last)
        self.norm = FrozenNorm(width_out) if frozen else nn.BatchNorm2d(width_out)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x))


class Block(nn.Module):
    """`relu(shortcut(x) + convs(x))`; a ReLU stands between the convolutions."""

    def __init__(self, width_in: int, width_out: int, stride: int, spec: BackboneSpec) -> None:
        super().__init__()
        frozen, inner = spec.frozen_norm, width_out // 4
        if spec.block == "bottleneck":
            shapes = [(width_in, inner, 1, 1), (inner, inner, 3, stride), (inner, width_out, 1, 1)]
        else:
            shapes = [(width_in, width_out, 3, stride), (width_out, width_out, 3, 1)]
        self.convs = nn.ModuleList(ConvNorm(*shape, frozen) for shape in shapes)
        changes = width_in != width_out or stride != 1
        self.shortcut = ConvNorm(width_in, width_out, 1, stride, frozen) if changes else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for conv in self.convs[:-1]:
            y = conv(y).relu_()
        return (self.convs[-1](y) + self.shortcut(x)).relu_()


class Backbone(nn.Module):
    """Pixels `(batch, 3, height, width)` to the last stage's map `(batch, width, rows, columns)`.

    Rows and columns are the picture's height and width by `stride`, rounded up.
    """

    def __init__(self, spec: BackboneSpec) -> None:
        super().__init__()
        self.width = spec.widths[-1]
        self.stride = 4 * 2 ** (len(spec.widths) - 1)
        self.stem = ConvNorm(3, spec.stem_width, 7, 2, spec.frozen_norm)
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.stages = nn.ModuleList()
        width_in = spec.stem_width
        for index, (width, depth) in enumerate(zip(spec.widths, spec.depths, strict=True)):
            stage = nn.Sequential(Block(width_in, width, 1 if index == 0 else 2, spec))
            stage.extend(Block(width, width, 1, spec) for _ in range(depth - 1))
            self.stages.append(stage)
            width_in = width
        if self.stem.conv.weight.device.type != "meta":
            self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, pixels: Tensor) -> Tensor:
        laid_out = pixels.to(self.stem.conv.weight.dtype, memory_format=torch.channels_last)  # a CPU's faster order
        x = self.pool(self.stem(laid_out)).relu_()  # the same as after it, on a quarter of the values
        for stage in self.stages:
            x = stage(x)
        return x


class ResNet(Backbone, VisionEncoder):
    """Pixels `(batch, 3, height, width)` to features `(batch, rows * columns, width)`, row by row."""

    spec: ResNetSpec

    def __init__(self, spec: ResNetSpec) -> None:
        super().__init__(spec)
        self.spec = spec
        self.patches = math.ceil(spec.pixels.size / self.stride) ** 2

    def forward(self, pixels: Tensor) -> Tensor:
        return super().forward(pixels).flatten(2).transpose(1, 2)
