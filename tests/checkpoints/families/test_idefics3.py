"""Idefics3 and SmolVLM against `transformers`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.checkpoints.families.vision_language import CHECKS, CLIP, IMAGE, LLAMA, Shape

IDEFICS: dict[str, Any] = {
    "text_config": LLAMA,
    "vision_config": {key: value for key, value in CLIP.items() if key != "model_type"},
    "image_token_id": IMAGE,
}
SHAPES: dict[str, Shape] = {
    "idefics3": ("idefics3", IDEFICS),
    "smolvlm": ("smolvlm", {**IDEFICS, "scale_factor": 4}),
}


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("name", SHAPES)
def test_as_in_transformers(name: str, check: Callable[[Shape, Path], None], tmp_path: Path) -> None:
    check(SHAPES[name], tmp_path)
