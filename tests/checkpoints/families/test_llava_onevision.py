"""LLaVA-OneVision against `transformers`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.checkpoints.families.vision_language import CHECKS, CLIP, IMAGE, QWEN2, Shape

SIGLIP = {**CLIP, "model_type": "siglip_vision_model", "vision_use_head": False, "image_size": 36}  # half a patch over
SHAPES: dict[str, Shape] = {
    "llava_onevision": (
        "llava_onevision",
        {
            "text_config": QWEN2,
            "vision_config": SIGLIP,
            "image_token_index": IMAGE,
            "image_grid_pinpoints": [[36, 36], [36, 72], [72, 36], [72, 72], [72, 108]],
            "vision_aspect_ratio": "anyres_max_2",
        },
    ),
}


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("name", SHAPES)
def test_as_in_transformers(name: str, check: Callable[[Shape, Path], None], tmp_path: Path) -> None:
    check(SHAPES[name], tmp_path)
