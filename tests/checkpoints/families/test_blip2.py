"""BLIP-2 over T5, InstructBLIP and the first stage against `transformers` on shared random weights, both ways."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    Blip2Config,
    Blip2ForConditionalGeneration,
    Blip2ForImageTextRetrieval,
    InstructBlipConfig,
    InstructBlipForConditionalGeneration,
)

import sepiola
from sepiola.errors import DataError
from sepiola.generation.engine import Prompt
from tests.checkpoints.families.vision_language import CHECKS, CLIP, IMAGE, Shape
from tests.checkpoints.families.vision_language import LLAMA as TEXT
from tests.tiny import HUB_LLAMA, HUB_QFORMER, HUB_VIT

QUERIES = 7
VISION = HUB_VIT
QFORMER = HUB_QFORMER
T5 = {
    "model_type": "t5",
    "vocab_size": 101,
    "d_model": 24,
    "d_kv": 6,
    "d_ff": 40,
    "num_layers": 2,
    "num_heads": 4,
    "feed_forward_proj": "gated-gelu",
    "tie_word_embeddings": False,
    "decoder_start_token_id": 0,
}
LLAMA = {**HUB_LLAMA, "model_type": "llama", "num_key_value_heads": 6}
SHAPE: dict[str, Any] = {
    "vision_config": VISION,
    "qformer_config": QFORMER,
    "num_query_tokens": QUERIES,
    "image_token_index": IMAGE,
}


def reference(model: Any, config: Any) -> Any:
    """A model of `transformers` with random weights, large enough that every tensor tells."""
    torch.manual_seed(0)
    made = model._from_config(config, attn_implementation="eager").eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_(0.0, 0.5)
    return made


def texts(rows: int, length: int, shortest: int, vocabulary: int) -> Tensor:
    """Ids padded with 0 on the right, each row one shorter than the one before."""
    ids = torch.randint(6, vocabulary, (rows, length))
    for row in range(rows):
        ids[row, max(shortest, length - row) :] = 0
    return ids


def close(given: Tensor, wanted: Tensor) -> None:
    assert wanted.std() > 0.01
    torch.testing.assert_close(given, wanted, atol=1e-4, rtol=0)


def again(model: Any, folder: Path) -> Any:
    """What `transformers` reads of what we write."""
    read, info = model.from_pretrained(folder, attn_implementation="eager", output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"] and not info["mismatched_keys"]
    return read.eval()


def test_over_t5_with_several_images_and_padding(tmp_path: Path) -> None:
    theirs = reference(Blip2ForConditionalGeneration, Blip2Config(**SHAPE, text_config=T5))
    theirs.save_pretrained(tmp_path / "theirs")
    ours = sepiola.load(tmp_path / "theirs")
    image = [IMAGE] * QUERIES
    words = iter(torch.randint(6, 101, (40,)).tolist())
    rows = [[next(words) for _ in range(9)], [*image, next(words)], [*image, next(words), *image, next(words)]]
    source = torch.tensor([row + [0] * (16 - len(row)) for row in rows])
    mask, pixels, target = (source > 0).long(), torch.randn(3, 3, 32, 32), torch.randint(6, 101, (3, 5))

    def wanted(model: Any) -> Tensor:
        with torch.no_grad():
            logits: Tensor = model(pixels, source, mask, target).logits
        return logits

    with torch.no_grad():
        close(ours(source, target, images=pixels, attention_mask=mask), wanted(theirs))
    ours.save_hub(tmp_path / "ours")
    close(wanted(again(Blip2ForConditionalGeneration, tmp_path / "ours")), wanted(theirs))
    images = [None, pixels[:1], pixels[1:]]
    asked = [Prompt(row, seen) for row, seen in zip(rows, images, strict=True)]
    together = ours.engine.generate(asked, max_tokens=5)
    assert together == [ours.engine.generate([one], max_tokens=5)[0] for one in asked]


@pytest.mark.parametrize("text", [T5, LLAMA], ids=["t5", "llama"])
def test_instructed_queries(text: dict[str, Any], tmp_path: Path) -> None:
    """Every image with an instruction of its own, of another length."""
    theirs = reference(InstructBlipForConditionalGeneration, InstructBlipConfig(**SHAPE, text_config=text))
    theirs.save_pretrained(tmp_path / "theirs")
    ours = sepiola.load(tmp_path / "theirs")
    assert ours.spec.bridge.instructed
    source = torch.cat((torch.full((3, QUERIES), IMAGE), torch.randint(6, 101, (3, 4))), dim=1)
    pixels, instructions, target = torch.randn(3, 3, 32, 32), texts(3, 6, 1, 61), torch.randint(6, 101, (3, 5))
    writes = () if text is LLAMA else (target,)

    def wanted(model: Any) -> Tensor:
        given = {"qformer_input_ids": instructions, "qformer_attention_mask": (instructions > 0).long()}
        more = {} if text is LLAMA else {"decoder_input_ids": target}
        with torch.no_grad():
            logits: Tensor = model(
                pixel_values=pixels, input_ids=source, attention_mask=torch.ones_like(source), **given, **more
            ).logits
        return logits

    with torch.no_grad():
        close(ours(source, *writes, images=pixels, instructions=instructions), wanted(theirs))
    ours.save_hub(tmp_path / "ours")
    close(wanted(again(InstructBlipForConditionalGeneration, tmp_path / "ours")), wanted(theirs))
    with pytest.raises(DataError, match="3 images, and 2 instructions"):
        ours(source, *writes, images=pixels, instructions=instructions[:2])
    with pytest.raises(DataError, match="3 images, and none instructions"):
        ours(source, *writes, images=pixels)


def test_the_first_stage_compares_and_matches(tmp_path: Path) -> None:
    theirs = reference(
        Blip2ForImageTextRetrieval,
        Blip2Config(
            vision_config=VISION,
            qformer_config={**QFORMER, "use_qformer_text_input": True},
            num_query_tokens=QUERIES,
            image_text_hidden_size=12,
        ),
    )
    theirs.save_pretrained(tmp_path / "theirs")
    ours = sepiola.load(tmp_path / "theirs")
    pixels, text = torch.randn(3, 3, 32, 32), texts(3, 6, 2, 61)

    def wanted(model: Any, match: bool) -> Tensor:
        mask = (text > 0).long()
        with torch.no_grad():
            logits: Tensor = model(pixels, text, mask, use_image_text_matching_head=match).logits_per_image
        return logits

    with torch.no_grad():
        close(ours(pixels, text), wanted(theirs, False))
        close(ours.match(pixels, text), wanted(theirs, True))
        features = theirs.vision_model(pixels).last_hidden_state
        queries = theirs.query_tokens.expand(3, -1, -1)
        alone = theirs.qformer(query_embeds=queries, encoder_hidden_states=features)
        close(ours.bridge.states(ours.features(pixels)), alone.last_hidden_state)
    ours.save_hub(tmp_path / "ours")
    close(wanted(again(Blip2ForImageTextRetrieval, tmp_path / "ours"), True), wanted(theirs, True))
    ours.save(tmp_path / "kept")
    with torch.no_grad():
        torch.testing.assert_close(sepiola.load(tmp_path / "kept")(pixels, text), ours(pixels, text))


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
SYSTEM: dict[str, Any] = {
    "text_config": OPT,
    "vision_config": {**CLIP, "model_type": "blip_2_vision_model"},
    "qformer_config": HUB_QFORMER,
    "num_query_tokens": 7,
    "image_token_index": IMAGE,
}
SHAPES: dict[str, Shape] = {
    "opt": ("blip-2", SYSTEM),
    "llama": ("blip-2", {**SYSTEM, "text_config": TEXT}),
}


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("name", SHAPES)
def test_as_in_transformers(name: str, check: Callable[[Shape, Path], None], tmp_path: Path) -> None:
    check(SHAPES[name], tmp_path)
