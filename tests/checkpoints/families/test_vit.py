"""ViT against `transformers`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from transformers import (
    ViTConfig,
    ViTForImageClassification,
    ViTModel,
)

from sepiola.checkpoints.families import vit
from sepiola.checkpoints.preprocessor import preprocessor_from_pixels
from sepiola.errors import CheckpointError
from sepiola.models.build import preset
from sepiola.specs.model import ModelSpec
from tests.checkpoints.families.vision_encoders import (
    ODD,
    SMALL,
    Case,
    features_of_a_hub_checkpoint,
    the_hub_reads_what_we_write,
    unknown_and_missing_names_surface,
)

CASES = [
    Case(ViTModel, ViTConfig(**SMALL), 32, 32),
    Case(ViTForImageClassification, ViTConfig(**ODD, hidden_act="gelu_new", qkv_bias=False), 35, 35),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_features_of_a_hub_checkpoint(case: Case, tmp_path: Path) -> None:
    features_of_a_hub_checkpoint(vit, case, tmp_path)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_hub_reads_what_we_write(case: Case, tmp_path: Path) -> None:
    the_hub_reads_what_we_write(vit, case, ViTModel, tmp_path, add_pooling_layer=False)


def test_unknown_and_missing_names_surface() -> None:
    unknown_and_missing_names_surface(vit, preset("vit-tiny"))


def test_the_config_of_a_preset_reads_back() -> None:
    spec = preset("vit-tiny")
    file = preprocessor_from_pixels(spec.vision.pixels)
    assert vit.spec_from_config(vit.config_from_spec(spec), {}, preprocessor=file).vision == spec.vision


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"hidden_act": "mish"}, "the activation 'mish' is not known"),
        ({"image_size": [224, 192]}, "expected a square"),
        ({"num_channels": 1}, "num_channels 1"),
    ],
)
def test_architectures_that_are_not_supported_are_refused(config: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        vit.spec_from_config(config)


def test_a_vit_that_the_format_cannot_hold_is_refused() -> None:
    spec = ModelSpec.parse(
        {
            "name": "bare",
            "family": "vit",
            "vision": {**preset("vit-tiny").vision.to_dict(), "class_token": False},
        }
    )
    with pytest.raises(CheckpointError, match="class_token"):
        vit.config_from_spec(spec)


def test_a_picture_of_another_size_than_the_models_is_refused() -> None:
    with pytest.raises(CheckpointError, match="image_size 224"):
        vit.spec_from_config({"image_size": 224}, preprocessor={"size": 384})
