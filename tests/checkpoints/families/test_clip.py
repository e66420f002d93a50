"""CLIP's vision encoder against `transformers`."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import (
    CLIPVisionConfig,
    CLIPVisionModel,
)

from sepiola.checkpoints.families import clip
from sepiola.checkpoints.preprocessor import preprocessor_from_pixels
from sepiola.errors import CheckpointError
from sepiola.models.build import preset
from tests.checkpoints.families.vision_encoders import (
    ODD,
    SMALL,
    Case,
    features_of_a_hub_checkpoint,
    ours,
    randomise,
    saved,
    the_hub_reads_what_we_write,
    unknown_and_missing_names_surface,
)

CASES = [
    Case(CLIPVisionModel, CLIPVisionConfig(**SMALL), 32, 32),
    Case(CLIPVisionModel, CLIPVisionConfig(**ODD), 35, 35),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_features_of_a_hub_checkpoint(case: Case, tmp_path: Path) -> None:
    features_of_a_hub_checkpoint(clip, case, tmp_path)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_hub_reads_what_we_write(case: Case, tmp_path: Path) -> None:
    the_hub_reads_what_we_write(clip, case, CLIPVisionModel, tmp_path)


def test_unknown_and_missing_names_surface() -> None:
    unknown_and_missing_names_surface(clip, preset("vit-tiny"))


def test_the_config_of_a_preset_reads_back() -> None:
    spec = preset("clip-vit-base-32")
    file = preprocessor_from_pixels(spec.vision.pixels)
    assert clip.spec_from_config(clip.config_from_spec(spec), {}, preprocessor=file).vision == spec.vision


def test_clip_is_pooled_as_the_hub_pools(tmp_path: Path) -> None:
    theirs = CLIPVisionModel(CLIPVisionConfig(**SMALL)).eval()
    randomise(theirs)
    config, state = saved(theirs, tmp_path)
    state["vision_model.embeddings.position_ids"] = torch.arange(17)[None]  # as files of older versions hold it
    _, model = ours(clip, config, state)
    pixels = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(model.pooled(pixels), theirs(pixels).pooler_output, atol=1e-4, rtol=1e-4)


def test_what_is_no_vit_is_refused() -> None:
    with pytest.raises(CheckpointError, match="holds no ViT"):
        clip.config_from_spec(preset("resnet-tiny"))
