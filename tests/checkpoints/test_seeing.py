"""Models that see against `transformers` on shared random weights: several images, padding, cached, both ways."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import CONFIG_MAPPING, AutoModelForImageTextToText

import sepiola
from sepiola.errors import DataError
from sepiola.generation.engine import Prompt

IMAGE = 5  # the placeholder's id
LLAMA = {
    "model_type": "llama",
    "vocab_size": 101,
    "hidden_size": 24,
    "intermediate_size": 50,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
QWEN2 = {**LLAMA, "model_type": "qwen2", "tie_word_embeddings": True}
CLIP = {
    "model_type": "clip_vision_model",
    "hidden_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 72,
    "image_size": 32,
    "patch_size": 8,
}
OPT = {
    "model_type": "opt",
    "vocab_size": 101,
    "hidden_size": 24,
    "word_embed_proj_dim": 24,
    "ffn_dim": 50,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "max_position_embeddings": 96,
}
EVA = {**CLIP, "model_type": "blip_2_vision_model"}
QUERIES = {
    "vocab_size": 61,
    "hidden_size": 20,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 44,
    "max_position_embeddings": 16,
}
BLIP2: dict[str, Any] = {
    "text_config": OPT,
    "vision_config": EVA,
    "qformer_config": QUERIES,
    "num_query_tokens": 7,
    "image_token_index": IMAGE,
}
LLAVA: dict[str, Any] = {"text_config": LLAMA, "vision_config": CLIP, "image_token_index": IMAGE}
SYSTEMS: dict[str, tuple[str, dict[str, Any]]] = {
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
    "blip-2 opt": ("blip-2", BLIP2),
    "blip-2 llama": ("blip-2", {**BLIP2, "text_config": LLAMA}),
}


def reference(name: str) -> Any:
    """A model of `transformers` with random weights, large enough that every tensor tells."""
    kind, shape = SYSTEMS[name]
    torch.manual_seed(0)
    config = CONFIG_MAPPING[kind](**shape)
    model = AutoModelForImageTextToText.from_config(config, attn_implementation="eager").eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.1, 0.3)
    return model


def prompts(ours: Any, pad: str | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Token ids, mask and pixels of three rows: no image, one, and two; `pad` is the side that is padded."""
    bridge, spec = ours.network.bridge, ours.spec
    image, words = [IMAGE] * bridge.tokens, iter(torch.randint(6, spec.language.vocabulary, (200,)).tolist())
    rows = [
        [next(words) for _ in range(9)],
        [next(words), *image, *(next(words) for _ in range(6))],
        [*image, next(words), *image, *(next(words) for _ in range(4))],
    ]
    longest = max(map(len, rows))
    for row in rows:
        if pad is None:
            row += [next(words) for _ in range(longest - len(row))]
    source = torch.zeros(3, longest, dtype=torch.long)
    mask = torch.zeros_like(source)
    for at, row in enumerate(rows):
        place = slice(longest - len(row), None) if pad == "left" else slice(len(row))
        source[at, place], mask[at, place] = torch.tensor(row), 1
    side = spec.vision.pixels.size
    return source, mask, torch.randn(3, 3, side, side)


def expected(model: Any, source: Tensor, mask: Tensor, pixels: Tensor) -> Tensor:
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    with torch.no_grad():
        logits: Tensor = model(
            input_ids=source, attention_mask=mask, position_ids=positions, pixel_values=pixels
        ).logits
    return logits


@pytest.mark.parametrize("pad", [None, "left", "right"])
@pytest.mark.parametrize("name", SYSTEMS)
def test_logits_agree_with_transformers(name: str, pad: str | None, tmp_path: Path) -> None:
    theirs = reference(name)
    theirs.save_pretrained(tmp_path)
    ours = sepiola.load(tmp_path)
    source, mask, pixels = prompts(ours, pad)
    wanted = expected(theirs, source, mask, pixels)
    real = mask.bool()
    assert wanted[real].std() > 0.1
    with torch.no_grad():
        given = ours(source, images=pixels, attention_mask=None if pad is None else mask)
    torch.testing.assert_close(given[real], wanted[real], atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", SYSTEMS)
def test_cached_decoding_agrees_with_the_whole(name: str, tmp_path: Path) -> None:
    theirs = reference(name)
    theirs.save_pretrained(tmp_path)
    ours = sepiola.load(tmp_path)
    source, mask, pixels = prompts(ours, "left")
    wanted = expected(theirs, source, mask, pixels)
    model, cut = ours.network, source.shape[1] - 3
    with torch.inference_mode():
        state = model.begin(source[:, :cut], 3, images=pixels, attention_mask=mask[:, :cut])
        parts = [model.extend(source[:, at - 1 : at], state) for at in range(cut, source.shape[1] + 1)]
        given = model.head(torch.cat(parts, dim=1))
    torch.testing.assert_close(given, wanted[:, cut - 1 :], atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", SYSTEMS)
def test_written_checkpoints_load_in_transformers(name: str, tmp_path: Path) -> None:
    theirs = reference(name)
    theirs.save_pretrained(tmp_path / "theirs")
    ours = sepiola.load(tmp_path / "theirs")
    ours.save_hub(tmp_path / "ours")
    again, info = AutoModelForImageTextToText.from_pretrained(
        tmp_path / "ours", attn_implementation="eager", output_loading_info=True
    )
    assert not info["missing_keys"] and not info["unexpected_keys"] and not info["mismatched_keys"]
    source, mask, pixels = prompts(ours)
    torch.testing.assert_close(
        expected(again.eval(), source, mask, pixels), expected(theirs, source, mask, pixels), atol=1e-4, rtol=0
    )
    reread = sepiola.load(tmp_path / "ours").spec
    assert (reread.bridge, reread.vision) == (ours.spec.bridge, ours.spec.vision)


@pytest.mark.parametrize("name", SYSTEMS)
def test_batched_generation_is_single_generation(name: str, tmp_path: Path) -> None:
    reference(name).save_pretrained(tmp_path)
    ours = sepiola.load(tmp_path)
    source, mask, pixels = prompts(ours, "left")
    images = [None, pixels[:1], pixels[1:]]
    asked = [Prompt(row[on.bool()].tolist(), i) for row, on, i in zip(source, mask, images, strict=True)]
    together = ours.engine.generate(asked, max_tokens=6)
    assert together == [ours.engine.generate([one], max_tokens=6)[0] for one in asked]


def test_placeholders_and_images_that_do_not_match_are_refused(tmp_path: Path) -> None:
    reference("llava").save_pretrained(tmp_path)
    ours = sepiola.load(tmp_path)
    source, _, pixels = prompts(ours)
    with pytest.raises(DataError, match=r"48 image placeholders, and 2 images make 32 tokens \(16 each\)"):
        ours(source, images=pixels[:2])
    with pytest.raises(DataError, match="48 image placeholders, and 0 images make 0 tokens"):
        ours(source)
