"""ResNet against `transformers`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from transformers import (
    ResNetConfig,
    ResNetForImageClassification,
    ResNetModel,
)

from sepiola.checkpoints.families import resnet
from sepiola.checkpoints.preprocessor import preprocessor_from_pixels
from sepiola.errors import CheckpointError
from sepiola.models.build import preset
from tests.checkpoints.families.vision_encoders import (
    Case,
    features_of_a_hub_checkpoint,
    the_hub_reads_what_we_write,
    unknown_and_missing_names_surface,
)

BASIC = {"embedding_size": 12, "hidden_sizes": [12, 20, 24], "depths": [2, 1, 2], "layer_type": "basic"}
BOTTLENECK = {"embedding_size": 16, "hidden_sizes": [16, 32], "depths": [2, 2], "layer_type": "bottleneck"}
CASES = [
    Case(ResNetModel, ResNetConfig(**BOTTLENECK), 45, 70),
    Case(ResNetForImageClassification, ResNetConfig(**BASIC), 33, 64),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_features_of_a_hub_checkpoint(case: Case, tmp_path: Path) -> None:
    features_of_a_hub_checkpoint(resnet, case, tmp_path)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_hub_reads_what_we_write(case: Case, tmp_path: Path) -> None:
    the_hub_reads_what_we_write(resnet, case, ResNetModel, tmp_path)


def test_unknown_and_missing_names_surface() -> None:
    unknown_and_missing_names_surface(resnet, preset("resnet-tiny"))


def test_the_config_of_a_preset_reads_back() -> None:
    spec = preset("resnet-18")
    file = preprocessor_from_pixels(spec.vision.pixels)
    assert resnet.spec_from_config(resnet.config_from_spec(spec), {}, preprocessor=file).vision == spec.vision


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"downsample_in_bottleneck": True}, "downsample_in_bottleneck"),
    ],
)
def test_architectures_that_are_not_supported_are_refused(config: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        resnet.spec_from_config(config)
