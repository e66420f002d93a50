"""What every family of models that read images as tokens is held to, against `transformers` on shared random weights:
several images, padding, cached, and back. A family's test file has its shapes.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from transformers import CONFIG_MAPPING, AutoModelForImageTextToText

import sepiola
from sepiola.checkpoints.lossless import check_lossless
from sepiola.data.image import ImageRef
from sepiola.generation.engine import Prompt
from sepiola.models.vision.tiles import to_tiles
from tests.tiny import HUB_LLAMA, HUB_VIT

Shape = tuple[str, dict[str, Any]]
"""A `model_type`, and keys of its config."""

IMAGE = 5  # the placeholder's id
LLAMA = {**HUB_LLAMA, "model_type": "llama", "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
QWEN2 = {**LLAMA, "model_type": "qwen2", "tie_word_embeddings": True}
CLIP = {**HUB_VIT, "model_type": "clip_vision_model", "num_hidden_layers": 3}
PICTURE = 60, 110  # height and width of a picture that is cut into tiles


def reference(shape: Shape) -> Any:
    """A model of `transformers` with random weights, large enough that every tensor tells."""
    kind, keys = shape
    torch.manual_seed(0)
    config = CONFIG_MAPPING[kind](**keys)
    model = AutoModelForImageTextToText.from_config(config, attn_implementation="eager").eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.1, 0.3)
    return model


def prompts(ours: Any, pad: str | None = None) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Token ids, mask and images of three rows: no image, one, and two; `pad` is the side that is padded."""
    network, spec = ours.network, ours.spec
    picture = ImageRef.of(Image.new("RGB", PICTURE[::-1]))
    cut = network.tiling.sized  # then the pictures are large, else each is one tile
    run, (first, second) = (
        network.image_tokens([picture] * n) if cut else [(IMAGE,) * network.bridge.tokens] * n for n in (1, 2)
    )
    words = iter(torch.randint(6, spec.language.vocabulary, (500,)).tolist())
    rows = [
        [next(words) for _ in range(9)],
        [next(words), *run[0], *(next(words) for _ in range(6))],
        [*first, next(words), *second, *(next(words) for _ in range(4))],
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
    tiles = len(to_tiles([picture], spec.vision.pixels)[0]) if cut else 1
    seen = {"images": torch.randn(tiles + 2, 3, side, side)}
    return source, mask, {**seen, "image_sizes": torch.tensor([PICTURE, (0, 0), (0, 0)])} if cut else seen


def of_row(seen: dict[str, Tensor], row: int) -> tuple[Tensor, Tensor | None] | tuple[None, None]:
    """The images of one of the three rows, and their sizes."""
    part = (slice(0), slice(-2), slice(-2, None))[row]
    sizes = seen.get("image_sizes")
    return (None, None) if row == 0 else (seen["images"][part], None if sizes is None else sizes[part])


def expected(model: Any, source: Tensor, mask: Tensor, seen: dict[str, Tensor]) -> Tensor:
    """The reference's logits, to which images are laid out as it wants them."""
    positions, pixels = (mask.cumsum(1) - 1).clamp(min=0), seen["images"]
    given = {"pixel_values": pixels}
    if model.config.model_type in ("idefics3", "smolvlm"):  # (rows, images of a row, …), zeros where there is none
        none = torch.zeros_like(pixels[0])
        given = {"pixel_values": torch.stack([torch.stack((none, none)), torch.stack((pixels[0], none)), pixels[1:]])}
    elif "image_sizes" in seen:  # (pictures, tiles, …)
        padded = nn.utils.rnn.pad_sequence([pixels[:-2], pixels[-2:-1], pixels[-1:]], batch_first=True)
        sizes = torch.tensor([PICTURE] * 3)
        given = {"pixel_values": padded, "image_sizes": sizes, "batch_num_images": torch.tensor([1, 2])}
    with torch.no_grad():
        logits: Tensor = model(input_ids=source, attention_mask=mask, position_ids=positions, **given).logits
    return logits


def logits_agree_with_transformers(shape: Shape, tmp_path: Path) -> None:
    theirs = reference(shape)
    theirs.save_pretrained(tmp_path)
    ours = sepiola.load(tmp_path)
    for pad in (None, "left", "right"):
        source, mask, seen = prompts(ours, pad)
        wanted = expected(theirs, source, mask, seen)
        real = mask.bool()
        assert wanted[real].std() > 0.1
        with torch.no_grad():
            given = ours(source, **seen, attention_mask=None if pad is None else mask)
        torch.testing.assert_close(given[real], wanted[real], atol=1e-4, rtol=0)


def cached_decoding_agrees_with_the_whole(shape: Shape, tmp_path: Path) -> None:
    theirs = reference(shape)
    theirs.save_pretrained(tmp_path)
    ours = sepiola.load(tmp_path)
    source, mask, seen = prompts(ours, "left")
    wanted = expected(theirs, source, mask, seen)
    model, cut = ours.network, source.shape[1] - 3
    with torch.inference_mode():
        state = model.begin(source[:, :cut], 3, **seen, attention_mask=mask[:, :cut])
        parts = [model.extend(source[:, at - 1 : at], state) for at in range(cut, source.shape[1] + 1)]
        given = model.head(torch.cat(parts, dim=1))
    torch.testing.assert_close(given, wanted[:, cut - 1 :], atol=1e-4, rtol=0)


def written_checkpoints_load_in_transformers(shape: Shape, tmp_path: Path) -> None:
    theirs = reference(shape)
    theirs.save_pretrained(tmp_path / "theirs")
    ours = sepiola.load(tmp_path / "theirs")
    ours.save_hub(tmp_path / "ours")
    again, info = AutoModelForImageTextToText.from_pretrained(
        tmp_path / "ours", attn_implementation="eager", output_loading_info=True
    )
    assert not info["missing_keys"] and not info["unexpected_keys"] and not info["mismatched_keys"]
    source, mask, seen = prompts(ours)
    torch.testing.assert_close(
        expected(again.eval(), source, mask, seen), expected(theirs, source, mask, seen), atol=1e-4, rtol=0
    )
    reread = sepiola.load(tmp_path / "ours").spec
    assert (reread.bridge, reread.vision) == (ours.spec.bridge, ours.spec.vision)
    check_lossless(ours.spec, reread)
    assert ours.spec.language.family == shape[1]["text_config"]["model_type"]


def batched_generation_is_single_generation(shape: Shape, tmp_path: Path) -> None:
    reference(shape).save_pretrained(tmp_path)
    ours = sepiola.load(tmp_path)
    source, mask, seen = prompts(ours, "left")
    asked = [Prompt(source[row][mask[row].bool()].tolist(), *of_row(seen, row)) for row in range(3)]
    together = ours.engine.generate(asked, max_tokens=6)
    assert together == [ours.engine.generate([one], max_tokens=6)[0] for one in asked]


CHECKS: list[Callable[[Shape, Path], None]] = [
    logits_agree_with_transformers,
    cached_decoding_agrees_with_the_whole,
    written_checkpoints_load_in_transformers,
    batched_generation_is_single_generation,
]
