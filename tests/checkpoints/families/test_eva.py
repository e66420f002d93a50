"""BLIP-2's and InstructBLIP's vision encoder (EVA-CLIP) against `transformers`."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import (
    Blip2VisionConfig,
    Blip2VisionModel,
    InstructBlipVisionConfig,
    InstructBlipVisionModel,
)

from sepiola.checkpoints.families import eva
from sepiola.checkpoints.preprocessor import preprocessor_from_pixels
from sepiola.models.build import preset
from tests.checkpoints.families.vision_encoders import (
    ODD,
    SMALL,
    Case,
    features_of_a_hub_checkpoint,
    the_hub_reads_what_we_write,
    unknown_and_missing_names_surface,
)

CASES = [
    Case(Blip2VisionModel, Blip2VisionConfig(**SMALL), 32, 32),
    Case(InstructBlipVisionModel, InstructBlipVisionConfig(**ODD, qkv_bias=False), 35, 35),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_features_of_a_hub_checkpoint(case: Case, tmp_path: Path) -> None:
    features_of_a_hub_checkpoint(eva, case, tmp_path)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_hub_reads_what_we_write(case: Case, tmp_path: Path) -> None:
    the_hub_reads_what_we_write(eva, case, Blip2VisionModel, tmp_path)


def test_unknown_and_missing_names_surface() -> None:
    unknown_and_missing_names_surface(eva, preset("vit-tiny"))


def test_the_config_of_a_preset_reads_back() -> None:
    spec = preset("eva-clip-g")
    file = preprocessor_from_pixels(spec.vision.pixels)
    assert eva.spec_from_config(eva.config_from_spec(spec), {}, preprocessor=file).vision == spec.vision
