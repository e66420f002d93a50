"""GPT-1 and GPT-2 against `transformers`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import sepiola
from sepiola.errors import CheckpointError
from tests.checkpoints.families.decoders import CHECKS, Shape, padding_between_tokens_changes_nothing, reference
from tests.tiny import HUB_GPT

SHAPES: dict[str, Shape] = {
    "gpt2": ("gpt2", HUB_GPT),
    "gpt2 odd": (
        "gpt2",
        {**HUB_GPT, "n_embd": 35, "n_head": 5, "n_inner": 51, "n_layer": 3, "activation_function": "gelu"},
    ),
    "gpt1": ("openai-gpt", HUB_GPT),
    "gpt1 odd": ("openai-gpt", {**HUB_GPT, "vocab_size": 53, "n_embd": 21, "n_head": 3, "n_layer": 1}),
}


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("name", SHAPES)
def test_as_in_transformers(name: str, check: Callable[[Shape, Path], None], tmp_path: Path) -> None:
    check(SHAPES[name], tmp_path)


def test_padding_between_tokens_changes_nothing(tmp_path: Path) -> None:
    padding_between_tokens_changes_nothing(SHAPES["gpt2"], tmp_path)


def test_what_is_not_supported_is_said(tmp_path: Path) -> None:
    reference(SHAPES["gpt2"]).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"activation_function": "mish"}))
    with pytest.raises(CheckpointError, match="the activation 'mish' is not known"):
        sepiola.load(tmp_path)
