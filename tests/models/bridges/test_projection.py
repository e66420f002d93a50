"""Projections: neighbours joined into one token."""

from __future__ import annotations

import pytest
import torch

from sepiola.errors import SpecError
from sepiola.models.bridges.projection import Projection
from sepiola.specs.bridge import ProjectionSpec


def test_four_neighbours_are_one_token() -> None:
    bridge = Projection(ProjectionSpec(kind="projection", neighbours=4), 5, 3, 8)
    features = torch.randn(2, 8, 3)
    laid = torch.stack([features[:, :4].reshape(2, 12), features[:, 4:].reshape(2, 12)], dim=1)
    torch.testing.assert_close(bridge(features), bridge.layers[0](laid))
    with pytest.raises(SpecError, match="neighbours 4: the vision encoder gives 9 patches"):
        Projection(ProjectionSpec(kind="projection", neighbours=4), 5, 3, 9)
