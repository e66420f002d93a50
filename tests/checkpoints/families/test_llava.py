"""LLaVA-1.5 against `transformers`, over several language models."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import sepiola
from sepiola.errors import DataError
from tests.checkpoints.families.vision_language import CHECKS, CLIP, IMAGE, LLAMA, QWEN2, Shape, prompts, reference

QWEN3 = {**LLAMA, "model_type": "qwen3", "head_dim": 6}
LLAVA: dict[str, Any] = {"text_config": LLAMA, "vision_config": CLIP, "image_token_index": IMAGE}
SHAPES: dict[str, Shape] = {
    "llava": ("llava", LLAVA),
    "llava odd": (
        "llava",
        {
            **LLAVA,
            "text_config": QWEN2,
            "vision_feature_layer": -1,
            "vision_feature_select_strategy": "full",
            "multimodal_projector_bias": False,
            "projector_hidden_act": "silu",
        },
    ),
    "llava qwen3": ("llava", {**LLAVA, "text_config": QWEN3}),
}


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("name", SHAPES)
def test_as_in_transformers(name: str, check: Callable[[Shape, Path], None], tmp_path: Path) -> None:
    check(SHAPES[name], tmp_path)


def test_placeholders_and_images_that_do_not_match_are_refused(tmp_path: Path) -> None:
    reference(SHAPES["llava"]).save_pretrained(tmp_path)
    ours = sepiola.load(tmp_path)
    source, _, seen = prompts(ours)
    with pytest.raises(DataError, match=r"48 image placeholders, and 2 images make 32 tokens \(16 each\)"):
        ours(source, images=seen["images"][:2])
    with pytest.raises(DataError, match="48 image placeholders, and 0 images make 0 tokens"):
        ours(source)
