"""SigLIP's vision encoder against `transformers`."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import (
    SiglipVisionConfig,
    SiglipVisionModel,
)

from sepiola.checkpoints.families import siglip
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
    Case(SiglipVisionModel, SiglipVisionConfig(**SMALL), 32, 32),
    Case(SiglipVisionModel, SiglipVisionConfig(**{**ODD, "image_size": 39}), 39, 39),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_features_of_a_hub_checkpoint(case: Case, tmp_path: Path) -> None:
    features_of_a_hub_checkpoint(siglip, case, tmp_path)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_hub_reads_what_we_write(case: Case, tmp_path: Path) -> None:
    the_hub_reads_what_we_write(siglip, case, SiglipVisionModel, tmp_path)


def test_unknown_and_missing_names_surface() -> None:
    unknown_and_missing_names_surface(siglip, preset("vit-tiny"))


def test_the_config_of_a_preset_reads_back() -> None:
    spec = preset("siglip-vit-so400m-14-384")
    file = preprocessor_from_pixels(spec.vision.pixels)
    assert siglip.spec_from_config(siglip.config_from_spec(spec), {}, preprocessor=file).vision == spec.vision
