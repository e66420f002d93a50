"""Tiles against the Hub's image processors (their Pillow form), and the runs of tokens against its processors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import ExifTags, Image
from transformers import PreTrainedTokenizerFast
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil
from transformers.models.idefics3.processing_idefics3 import Idefics3Processor
from transformers.models.llava_onevision.image_processing_pil_llava_onevision import LlavaOnevisionImageProcessorPil
from transformers.models.llava_onevision.processing_llava_onevision import LlavaOnevisionProcessor
from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil
from transformers.models.smolvlm.processing_smolvlm import get_image_prompt_string

from sepiola.checkpoints.preprocessor import pixels_from_preprocessor, preprocessor_from_pixels
from sepiola.data.image import ImageRef
from sepiola.errors import DataError
from sepiola.models.vision.tiles import FAKE, GLOBAL, tiling, to_tiles
from sepiola.specs.vision import PixelSpec
from sepiola.text.encoding import IMAGE, ids_of
from sepiola.text.tokenizer import Tokenizer

SIZES = [
    (64, 64),
    (40, 200),
    (201, 37),
    (130, 97),
    (97, 130),
    (3, 90),
    (33, 31),
    (500, 20),
    (1, 1),
    (128, 64),
    (75, 74),
]
GRID = PixelSpec.parse({"size": 32, "filter": "lanczos", "tiles": {"kind": "grid", "longest": 96}})
GRIDS = [[1, 1], [1, 2], [2, 1], [2, 2], [1, 3], [3, 1], [3, 2]]
MEAN = (0.48, 0.46, 0.41)
ANYRES = PixelSpec.parse(
    {
        "size": 32,
        "filter": "bicubic",
        "mean": (0.48, 0.46, 0.41),
        "tiles": {"kind": "anyres", "grids": GRIDS, "most": 2},
    }
)
MARKS = [f"<row_{r}_col_{c}>" for r in (1, 2, 3) for c in (1, 2, 3)]
TOKENIZER = Tokenizer.train(["A picture of a cat.\n\n一只猫的图片。"], 320, extra=[IMAGE, FAKE, GLOBAL, *MARKS])
TOKEN = TOKENIZER.id_of(IMAGE)


def picture(height: int, width: int) -> Image.Image:
    """Smooth waves with some noise, of any size."""
    torch.manual_seed(height * 1000 + width)
    waves = torch.nn.functional.interpolate(torch.rand(1, 3, 5, 4), (height, width), mode="bicubic", align_corners=True)
    values = (waves[0] * 200 + torch.rand(3, height, width) * 50).clamp(0, 255)
    return Image.fromarray(values.permute(1, 2, 0).byte().numpy())


@pytest.mark.parametrize("processor", [Idefics3ImageProcessorPil, SmolVLMImageProcessorPil])
@pytest.mark.parametrize("longest", [32, 96])
def test_grid_tiles_are_the_processors(processor: Any, longest: int) -> None:
    spec = GRID.model_copy(update={"tiles": GRID.tiles.model_copy(update={"longest": longest})})
    theirs = processor(size={"longest_edge": longest}, max_image_size={"longest_edge": 32})
    for size in SIZES:
        image = picture(*size)
        wanted = theirs([[image]], return_tensors="pt", return_row_col_info=True)
        (given,) = to_tiles([ImageRef.of(image)], spec)
        assert given.shape == wanted["pixel_values"][0].shape, size
        assert (given - wanted["pixel_values"][0]).abs().max() < 0.5 / 255, size  # of 2 from black to white
        (run,) = tiling(spec).image_tokens([ImageRef.of(image)], TOKEN, 4)
        rows, columns = wanted["rows"][0][0], wanted["cols"][0][0]
        text = get_image_prompt_string(rows, columns, 4, FAKE, IMAGE, GLOBAL)
        assert ids_of(run, TOKENIZER) == TOKENIZER.encode(text), size


def test_anyres_tiles_are_the_processors() -> None:
    theirs = LlavaOnevisionImageProcessorPil(
        size={"height": 32, "width": 32},
        image_grid_pinpoints=[[32 * side for side in grid] for grid in GRIDS],
        image_mean=list(ANYRES.mean),
        image_std=list(ANYRES.std),
    )
    for size in SIZES:
        image = picture(*size)
        (given,) = to_tiles([ImageRef.of(image)], ANYRES)
        (wanted,) = theirs([image], return_tensors="pt")["pixel_values"]
        assert given.shape == wanted.shape and (given - wanted).abs().max() < 0.5 / 255, size
    pair = [picture(40, 60), picture(60, 40)]
    wanted = theirs([pair], return_tensors="pt")["pixel_values"]
    given = to_tiles([ImageRef.of(image) for image in pair], ANYRES)
    assert (torch.stack(given) - wanted).abs().max() < 0.5 / 255


def hub_tokenizer() -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(tokenizer_object=TOKENIZER.backend, pad_token="<pad>", eos_token="</s>")


def encoded(text: str, images: list[ImageRef], spec: PixelSpec) -> list[int]:
    """Our ids of a text with a placeholder for each image."""
    runs = iter(tiling(spec).image_tokens(images, TOKEN, 4))
    ids = TOKENIZER.encode(text.split(IMAGE)[0])
    for part in text.split(IMAGE)[1:]:
        ids += ids_of(next(runs), TOKENIZER) + TOKENIZER.encode(part)
    return ids


@pytest.mark.parametrize("text", [f"{IMAGE}A cat?", f"一只猫 {IMAGE}\n{IMAGE}的图片"])
def test_token_ids_are_the_processors(text: str) -> None:
    images = [picture(50, 90), picture(120, 31)][: text.count(IMAGE)]
    refs = [ImageRef.of(image) for image in images]
    cutter = Idefics3ImageProcessorPil(size={"longest_edge": 96}, max_image_size={"longest_edge": 32})
    processor = Idefics3Processor(cutter, hub_tokenizer(), image_seq_len=4)
    assert encoded(text, refs, GRID) == processor(images=[images], text=text)["input_ids"][0]


@pytest.mark.parametrize("count", [1, 2])
def test_anyres_counts_are_the_processors(count: int) -> None:
    """The processor asks for a video processor, which asks for torchvision: its own counting is called."""
    theirs = LlavaOnevisionProcessor.__new__(LlavaOnevisionProcessor)
    theirs.num_image_tokens, theirs.vision_feature_select_strategy = 4, "full"
    theirs.vision_aspect_ratio, theirs.image_token = "anyres_max_2", IMAGE
    theirs.image_processor = LlavaOnevisionImageProcessorPil(
        size={"height": 32, "width": 32}, image_grid_pinpoints=[[32 * side for side in grid] for grid in GRIDS]
    )
    for size in SIZES:
        images = [picture(*size)] * count
        inputs = theirs.image_processor([images], return_tensors="pt")
        runs = tiling(ANYRES).image_tokens([ImageRef.of(image) for image in images], TOKEN, 4)
        assert [IMAGE * len(run) for run in runs] == [theirs.replace_image_token(inputs, i) for i in range(count)], size


def test_tiles_of_the_published_sizes() -> None:
    """SmolVLM's picture of 512 pixels and LLaVA-OneVision's of 1000 × 400."""
    small = PixelSpec.parse({"size": 512, "filter": "lanczos", "tiles": {"kind": "grid", "longest": 2048}})
    (run,) = tiling(small).image_tokens([ImageRef.of(Image.new("RGB", (512, 512)))], TOKEN, 64)
    assert run.count(TOKEN) == 64 * (4 * 4 + 1)
    grids = [[rows, columns] for rows in range(1, 7) for columns in range(1, 7)]
    large = PixelSpec.parse({"size": 384, "filter": "bicubic", "tiles": {"kind": "anyres", "grids": grids}})
    (tiles,) = to_tiles([ImageRef.of(Image.new("RGB", (1000, 400)))], large)
    assert tiles.shape == (1 + 2 * 3, 3, 384, 384)


@pytest.mark.parametrize("spec", [GRID, ANYRES])
def test_the_preprocessors_file_is_read_back(spec: PixelSpec) -> None:
    file = preprocessor_from_pixels(spec)
    read = pixels_from_preprocessor(file, PixelSpec(size=32))
    # the grids of 'anyres' are in config.json too, from where they are taken
    assert read.model_copy(update={"tiles": spec.tiles}) == spec
    assert spec.tiles is ANYRES.tiles or read == spec


def test_size_is_that_of_the_upright_picture(tmp_path: Path) -> None:
    turned = Image.new("RGB", (30, 20))
    turned.getexif()[ExifTags.Base.Orientation] = 6  # lies on its side
    turned.save(tmp_path / "turned.jpg", exif=turned.getexif())
    image = ImageRef.of(tmp_path / "turned.jpg")
    assert image.size == (30, 20) == (image.open().height, image.open().width)
    with pytest.raises(DataError, match=r"none\.png: cannot read the image"):
        _ = ImageRef.of(tmp_path / "none.png").size
