"""OPT against `transformers`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import sepiola
from sepiola.errors import CheckpointError
from tests.checkpoints.families.decoders import CHECKS, Shape, padding_between_tokens_changes_nothing, reference
from tests.tiny import HUB_OPT

SHAPES: dict[str, Shape] = {
    "opt": ("opt", HUB_OPT),
    "opt odd": ("opt", {**HUB_OPT, "hidden_size": 35, "word_embed_proj_dim": 35, "num_attention_heads": 5}),
}


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("name", SHAPES)
def test_as_in_transformers(name: str, check: Callable[[Shape, Path], None], tmp_path: Path) -> None:
    check(SHAPES[name], tmp_path)


def test_padding_between_tokens_changes_nothing(tmp_path: Path) -> None:
    padding_between_tokens_changes_nothing(SHAPES["opt"], tmp_path)


def test_what_is_not_supported_is_said(tmp_path: Path) -> None:
    reference(SHAPES["opt"]).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"word_embed_proj_dim": 12}))
    with pytest.raises(CheckpointError, match="opt-350m"):
        sepiola.load(tmp_path)
    for key, odd in (("layer_norm_elementwise_affine", False), ("_remove_final_layer_norm", True)):
        (tmp_path / "config.json").write_text(json.dumps(config | {key: odd}))
        with pytest.raises(CheckpointError, match=f"{key} is {odd}; {not odd} alone is supported"):
            sepiola.load(tmp_path)
