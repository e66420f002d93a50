"""DETR against `transformers`, under timm's names too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    DetrConfig,
    DetrForObjectDetection,
    DetrModel,
    ResNetConfig,
)

from sepiola.checkpoints.families import detr
from sepiola.checkpoints.preprocessor import preprocessor_from_pixels
from sepiola.errors import CheckpointError
from sepiola.models.build import preset
from sepiola.specs.model import ModelSpec
from tests.checkpoints.families.test_resnet import BASIC, BOTTLENECK
from tests.checkpoints.families.vision_encoders import (
    Case,
    features_of_a_hub_checkpoint,
    hub_features,
    ours,
    randomise,
    saved,
    the_hub_reads_what_we_write,
    unknown_and_missing_names_surface,
)
from tests.hub.checkpoints import timm_names
from tests.tiny import detr as tiny_detr


def detr_config(backbone: dict[str, Any], **changes: Any) -> DetrConfig:
    return DetrConfig(
        use_timm_backbone=False,
        use_pretrained_backbone=False,
        backbone=None,
        backbone_config=ResNetConfig(**backbone, out_features=[f"stage{len(backbone['depths'])}"]),
        **{
            "d_model": 24,
            "encoder_layers": 2,
            "decoder_layers": 1,
            "encoder_attention_heads": 3,
            "num_queries": 7,
            "decoder_attention_heads": 3,
            "encoder_ffn_dim": 40,
            "decoder_ffn_dim": 40,
            **changes,
        },
    )


CASES = [
    Case(DetrModel, detr_config(BASIC), 64, 90),
    Case(DetrForObjectDetection, detr_config(BOTTLENECK, d_model=36), 75, 41),
    Case(DetrModel, detr_config(BASIC, encoder_attention_heads=6, encoder_ffn_dim=52), 49, 66),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_features_of_a_hub_checkpoint(case: Case, tmp_path: Path) -> None:
    features_of_a_hub_checkpoint(detr, case, tmp_path)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_hub_reads_what_we_write(case: Case, tmp_path: Path) -> None:
    the_hub_reads_what_we_write(detr, case, DetrModel, tmp_path)


def test_unknown_and_missing_names_surface() -> None:
    unknown_and_missing_names_surface(detr, ModelSpec.parse({"name": "tiny", "family": "detr", "vision": tiny_detr()}))


def test_the_config_of_a_preset_reads_back() -> None:
    spec = preset("detr-resnet-50")
    file = preprocessor_from_pixels(spec.vision.pixels)
    assert detr.spec_from_config(detr.config_from_spec(spec), {}, preprocessor=file).vision == spec.vision


@pytest.mark.parametrize("backbone", [BASIC, BOTTLENECK], ids=["basic", "bottleneck"])
def test_detr_with_the_names_of_the_published_files(backbone: dict[str, Any], tmp_path: Path) -> None:
    """facebook/detr-resnet-50 names its backbone as torchvision and timm do."""
    theirs = DetrForObjectDetection(detr_config(backbone)).eval()
    randomise(theirs)
    config, state = saved(theirs, tmp_path)
    published = timm_names(state)
    assert "model.backbone.conv_encoder.model.layer2.0.downsample.0.weight" in published
    assert "model.backbone.conv_encoder.model.bn1.running_var" in published
    published["model.backbone.conv_encoder.model.bn1.num_batches_tracked"] = torch.tensor(5)
    _, model = ours(detr, config, published)
    pixels = torch.randn(2, 3, 70, 50)
    with torch.no_grad():
        torch.testing.assert_close(model(pixels), hub_features(theirs, pixels), atol=1e-4, rtol=1e-4)


def test_the_config_of_the_published_detr() -> None:
    old = {
        "model_type": "detr",
        "backbone": "resnet101",
        "use_timm_backbone": True,
        "d_model": 256,
        "position_embedding_type": "sine",
        "dilation": False,
    }
    assert detr.spec_from_config(old).vision == preset("detr-resnet-101").vision
    new = {"model_type": "detr", "backbone_config": {"model_type": "timm_backbone", "backbone": "resnet50"}}
    assert detr.spec_from_config(new).vision == preset("detr-resnet-50").vision


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"dilation": True}, "dilation"),
        ({"backbone": "swin_tiny"}, "backbone 'swin_tiny'"),
        ({"activation_function": "gelu"}, "activation_function 'gelu'"),
    ],
)
def test_architectures_that_are_not_supported_are_refused(config: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        detr.spec_from_config(config)
