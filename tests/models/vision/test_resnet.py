"""ResNet's bricks: the frozen norm is torch's in evaluation, strides halve the map, and blocks follow their formula."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sepiola.models.vision.resnet import Backbone, Block, FrozenNorm
from sepiola.specs.vision import BackboneSpec


def test_a_frozen_norm_is_torchs_in_evaluation_and_has_nothing_to_learn() -> None:
    theirs = nn.BatchNorm2d(3).eval()
    for value in theirs.state_dict().values():
        if value.is_floating_point():
            value.uniform_(0.5, 2)
    ours = FrozenNorm(3)
    ours.load_state_dict({n: v for n, v in theirs.state_dict().items() if n != "num_batches_tracked"})
    x = torch.randn(2, 3, 4, 5)
    torch.testing.assert_close(ours.train()(x), theirs(x))
    assert not list(ours.parameters())


@pytest.mark.parametrize(("height", "width", "rows", "columns"), [(32, 32, 4, 4), (33, 40, 5, 5)])
def test_each_stage_halves_the_map_and_rounds_up(height: int, width: int, rows: int, columns: int) -> None:
    spec = BackboneSpec(stem_width=4, widths=(8, 16), depths=(1, 2), frozen_norm=True)
    backbone = Backbone(spec)
    assert backbone.stride == 8 and backbone(torch.randn(1, 3, height, width)).shape == (1, 16, rows, columns)


def test_the_stride_of_a_bottleneck_is_in_its_middle_convolution() -> None:
    block = Block(8, 8, 2, BackboneSpec(widths=(8,), depths=(1,), frozen_norm=True))
    x = torch.randn(1, 8, 6, 6)
    first, middle, last = (conv.conv.weight for conv in block.convs)
    with torch.no_grad():
        y = F.conv2d(F.conv2d(x, first).relu(), middle, stride=2, padding=1).relu()  # norms that change nothing yet
        shortcut = F.conv2d(x, block.shortcut.conv.weight, stride=2)
        torch.testing.assert_close(block(x), (F.conv2d(y, last) + shortcut).relu(), atol=1e-3, rtol=1e-3)
