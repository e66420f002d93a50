"""Processor files: every key that changes pixels is done as `transformers` does it, or refused by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.convnext.image_processing_pil_convnext import ConvNextImageProcessorPil
from transformers.models.detr.image_processing_pil_detr import DetrImageProcessorPil
from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from sepiola.checkpoints.preprocessor import pixels_from_preprocessor, preprocessor_from_pixels
from sepiola.errors import CheckpointError, SepiolaError
from sepiola.models.vision.pixels import to_pixels
from sepiola.specs.vision import PixelSpec

MEAN, STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
CROP = PixelSpec(size=32, mode="crop", filter="bicubic", mean=tuple(MEAN), std=tuple(STD))
SQUASH = PixelSpec(size=32)
FIT = PixelSpec(size=40, mode="fit", longest=60, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
THEIRS: dict[str, tuple[Any, PixelSpec, dict[str, Any]]] = {
    "CLIP": (CLIPImageProcessorPil, CROP, {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}),
    "Llava": (LlavaImageProcessorPil, CROP, {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}),
    "ViT": (ViTImageProcessorPil, SQUASH, {"size": {"height": 32, "width": 32}}),
    "Siglip": (SiglipImageProcessorPil, SQUASH, {"size": {"height": 32, "width": 32}, "resample": 3}),
    "Blip": (BlipImageProcessorPil, CROP, {"size": {"height": 32, "width": 32}, "image_mean": MEAN, "image_std": STD}),
    "ConvNext": (ConvNextImageProcessorPil, CROP, {"size": {"shortest_edge": 32}, "image_mean": MEAN}),
    "Detr": (DetrImageProcessorPil, FIT, {"size": {"shortest_edge": 40, "longest_edge": 60}}),
}
DONE: list[tuple[str, dict[str, Any]]] = [
    *((kind, {}) for kind in THEIRS),
    *((kind, {"resample": number}) for kind in ("CLIP", "ViT", "ConvNext") for number in range(6)),
    *((kind, {"image_mean": 0.5, "image_std": 0.25}) for kind in ("CLIP", "ViT", "Llava")),
    *((kind, {"do_normalize": False}) for kind in THEIRS),
    *((kind, {"do_convert_rgb": None, "pad_size": None}) for kind in THEIRS),
    ("CLIP", {"size": 32, "crop_size": 32}),
    ("CLIP", {"size": 40, "crop_size": 32}),
    ("CLIP", {"size": {"shortest_edge": 40}}),
    ("CLIP", {"size": [32, 32], "do_center_crop": False, "crop_size": None}),
    ("CLIP", {"size": {"height": 32, "width": 32}}),
    ("CLIP", {"do_pad": True}),
    ("Llava", {"do_pad": True}),
    ("Llava", {"do_pad": True, "image_std": 0.5, "resample": 2}),
    ("Llava", {"do_pad": True, "do_center_crop": False}),
    ("ViT", {"size": 32}),
    ("ViT", {"size": [32, 32]}),
    ("ViT", {"do_center_crop": False, "crop_size": None}),
    ("Siglip", {"size": [32, 32]}),
    ("Blip", {"size": 32}),
    ("ConvNext", {"crop_pct": 0.8}),
    ("ConvNext", {"size": 32, "crop_pct": 1.0}),
    ("ConvNext", {"size": {"shortest_edge": 384}}),
]


def picture(width: int = 52, height: int = 40) -> Image.Image:
    return Image.fromarray(np.random.default_rng(3).integers(0, 256, (height, width, 3), dtype=np.uint8))


def file_of(kind: str, keys: dict[str, Any]) -> dict[str, Any]:
    return {"image_processor_type": f"{kind}ImageProcessor", **THEIRS[kind][2], **keys}


@pytest.mark.parametrize(("kind", "keys"), DONE, ids=str)
@pytest.mark.parametrize("size", [(52, 40), (31, 70)], ids=str)
def test_done_as_transformers_does(kind: str, keys: dict[str, Any], size: tuple[int, int], tmp_path: Path) -> None:
    processor, default, _ = THEIRS[kind]
    file = file_of(kind, keys)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(file))
    theirs = processor.from_pretrained(tmp_path)(picture(*size), return_tensors="pt").pixel_values[0].float()
    spec = pixels_from_preprocessor(file, default)
    ours = to_pixels(picture(*size), spec)
    assert ours.shape == theirs.shape
    assert ((ours - theirs).abs() * torch.tensor(spec.std)[:, None, None]).max() <= 1 / 255 + 1e-5
    written = preprocessor_from_pixels(spec)
    assert pixels_from_preprocessor(written, default) == spec


@pytest.mark.parametrize("kind", THEIRS)
@pytest.mark.parametrize("size", [(230, 260), (500, 400)], ids=str)
def test_what_is_not_stated_is_its_processors(kind: str, size: tuple[int, int], tmp_path: Path) -> None:
    processor, default, _ = THEIRS[kind]
    given = {} if kind == "Detr" else {"size": {"shortest_edge": 240}} if kind in ("CLIP", "Llava") else {}
    file = {"image_processor_type": f"{kind}ImageProcessor", **given}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(file))
    theirs = processor.from_pretrained(tmp_path)(picture(*size), return_tensors="pt").pixel_values[0].float()
    spec = pixels_from_preprocessor(file, default)
    ours = to_pixels(picture(*size), spec)
    assert ours.shape == theirs.shape
    assert ((ours - theirs).abs() * torch.tensor(spec.std)[:, None, None]).max() <= 1 / 255 + 1e-5


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("CLIP", {"do_center_crop": False}, "do_center_crop"),
    ("CLIP", {"do_center_crop": False, "crop_size": None}, "do_center_crop"),
    ("CLIP", {"size": {"height": 40, "width": 40}}, "centre crop of 32"),
    ("CLIP", {"size": {"shortest_edge": 32, "longest_edge": 64}}, "longest edge"),
    ("CLIP", {"size": {"longest_edge": 64}}, "size"),
    ("CLIP", {"crop_size": 40}, "crop_size 40 is larger"),
    ("CLIP", {"crop_size": {"height": 32, "width": 24}}, "crop_size"),
    ("ViT", {"size": {"shortest_edge": 32}}, "do_center_crop"),
    ("ViT", {"size": {"height": 32, "width": 24}}, "expected a square"),
    ("ViT", {"size": [32, 24]}, "expected a square"),
    ("Siglip", {"size": 32}, "do_center_crop"),
    ("ConvNext", {"do_center_crop": True}, "do_center_crop"),
    ("ConvNext", {"crop_pct": 0}, "crop_pct"),
    ("Detr", {"pad_size": {"height": 64, "width": 64}}, "pad_size"),
    *(("ViT", {key: off}, key) for key in ("do_resize", "do_rescale") for off in (False, None)),
    *(("ViT", {"rescale_factor": bad}, "rescale_factor") for bad in (1 / 127.5, "1/255", True, [1], {"value": 1})),
    *(("ViT", {"resample": bad}, "resample") for bad in (6, -1, "bicubic", True, [3], {"value": 3})),
    *(("ViT", {"image_mean": bad}, "image_mean") for bad in ([0.5], "0.5", [0.5, "a", 1], {}, True)),
    *(("ViT", {"size": bad}, "size") for bad in (0, -3, 2.5, "32", [32], {"width": 32}, {"height": "a", "width": 1})),
    *(("ViT", {key: "yes"}, key) for key in ("do_resize", "do_normalize", "do_center_crop", "default_to_square")),
    ("Idefics3", {"max_image_size": 32}, "max_image_size"),
    ("Idefics3", {"size": {"height": 32, "width": 32}}, "longest_edge"),
]


@pytest.mark.parametrize(("kind", "keys", "named"), REFUSED, ids=str)
def test_refused_by_name(kind: str, keys: dict[str, Any], named: str) -> None:
    usual = THEIRS.get(kind, (None, SQUASH, {}))
    with pytest.raises(CheckpointError, match=named) as caught:
        pixels_from_preprocessor({"image_processor_type": f"{kind}ImageProcessor", **usual[2], **keys}, usual[1])
    assert str(caught.value).startswith("preprocessor_config.json: ") and "\n" not in str(caught.value)


def test_a_std_of_zero_is_one_message() -> None:
    with pytest.raises(SepiolaError, match="std"):
        pixels_from_preprocessor(file_of("ViT", {"image_std": [0, 1, 1]}), SQUASH)


def test_preprocessor_files_old_and_new() -> None:
    crop = PixelSpec(size=224, mode="crop")
    assert pixels_from_preprocessor({"size": 256, "crop_size": 224, "resample": 3}, crop) == PixelSpec(
        size=224, mode="crop", resize=256, filter="bicubic"
    )
    assert pixels_from_preprocessor({"size": 384, "resample": 2}, PixelSpec(size=224)) == PixelSpec(size=384)
    assert pixels_from_preprocessor({"size": {"shortest_edge": 224}, "crop_pct": 0.875}, crop).resize == 256
    assert pixels_from_preprocessor({"size": {"shortest_edge": 384}, "crop_pct": 0.875}, crop).mode == "squash"
    fit = PixelSpec(size=800, mode="fit", longest=1333)
    assert pixels_from_preprocessor({"size": 600, "max_size": 1000}, fit) == PixelSpec(
        size=600, mode="fit", longest=1000
    )
    plain = pixels_from_preprocessor({"do_normalize": False}, crop)
    assert plain.mean == (0, 0, 0) and plain.std == (1, 1, 1)
    with pytest.raises(CheckpointError, match="rescale_factor"):
        pixels_from_preprocessor({"rescale_factor": 1 / 127.5}, crop)
