"""Pixels: equal to the Hub's image processors within one grey level, for pictures of any size and mode."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.convnext.image_processing_pil_convnext import ConvNextImageProcessorPil
from transformers.models.detr.image_processing_pil_detr import DetrImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from sepiola.checkpoints.preprocessor import pixels_from_preprocessor, preprocessor_from_pixels
from sepiola.data.image import ImageRef
from sepiola.errors import SpecError
from sepiola.models.build import preset
from sepiola.models.vision.pixels import to_pixels
from sepiola.specs.vision import PixelSpec

IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
PROCESSORS = {
    "vit-base-16-224": ViTImageProcessorPil(),
    "vit-large-32-384": ViTImageProcessorPil(size={"height": 384, "width": 384}),
    "clip-vit-base-32": CLIPImageProcessorPil(),
    "siglip-vit-base-16-224": SiglipImageProcessorPil(),
    "siglip-vit-so400m-14-384": SiglipImageProcessorPil(size={"height": 384, "width": 384}),
    "eva-clip-g": BlipImageProcessorPil(size={"height": 224, "width": 224}),
    "resnet-50": ConvNextImageProcessorPil(size={"shortest_edge": 224}, crop_pct=0.875, resample=3, **IMAGENET),
    "detr-resnet-50": DetrImageProcessorPil(do_pad=False),
}
SIZES = [
    (640, 480),
    (480, 640),
    (1, 1),
    (1, 37),
    (53, 1),
    (33, 47),
    (301, 7),
    (224, 224),
    (223, 225),
    (1333, 300),
]


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    values = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values)


@pytest.mark.parametrize("name", PROCESSORS)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_as_the_hub_makes_them(name: str, size: tuple[int, int]) -> None:
    agree(name, to_pixels(noise(*size), preset(name).vision.pixels), noise(*size))


@pytest.mark.parametrize("name", ["clip-vit-base-32", "siglip-vit-base-16-224", "eva-clip-g", "resnet-50"])
@pytest.mark.parametrize("size", [(401, 3), (3, 401), (530, 7)], ids=str)
def test_pictures_many_times_longer_than_wide(name: str, size: tuple[int, int]) -> None:
    agree(name, to_pixels(noise(*size), preset(name).vision.pixels), noise(*size))


def agree(name: str, got: torch.Tensor, image: Image.Image) -> None:
    """`got` are the Hub's pixels of the image, but for a grey level here and there."""
    spec = preset(name).vision.pixels
    channels = "channels_last" if image.mode == "RGB" else None
    expected = PROCESSORS[name](image, return_tensors="pt", input_data_format=channels).pixel_values[0].float()
    assert got.shape == expected.shape and got.dtype == torch.float32 and got.is_contiguous()
    levels = ((got - expected).abs() * torch.tensor(spec.std)[:, None, None] * 255).round(decimals=3)
    assert levels.max() <= 1
    assert (levels > 0).float().mean() < 5e-5  # a rounding here and there, not a shift


@pytest.mark.parametrize("name", ["siglip-vit-base-16-224", "clip-vit-base-16", "resnet-18", "detr-resnet-50"])
def test_the_file_we_write_makes_the_hub_do_the_same(name: str) -> None:
    spec = preset(name).vision.pixels
    file = preprocessor_from_pixels(spec)
    kinds = {
        "ViTImageProcessor": ViTImageProcessorPil,
        "CLIPImageProcessor": CLIPImageProcessorPil,
        "DetrImageProcessor": DetrImageProcessorPil,
    }
    image = noise(90, 61)
    processor = kinds[file.pop("image_processor_type")](**file)
    expected = processor(image, return_tensors="pt", input_data_format="channels_last").pixel_values[0]
    assert (to_pixels(image, spec) - expected).abs().mul(255).max() <= 1 / min(spec.std) + 1e-3
    assert pixels_from_preprocessor(file, spec) == spec


def clear(mode: str) -> Image.Image:
    """A picture of a mode, with transparency of every degree where the mode knows it."""
    values = noise(45, 31).convert("RGBA")
    values.putalpha(noise(45, 31, seed=1).convert("L"))
    if mode == "I;16":
        return Image.fromarray(np.random.default_rng(2).integers(0, 65536, (31, 45), dtype=np.uint16))
    if mode in ("P", "RGB"):  # one colour, of the palette or of all, is clear
        made = values.convert("RGB") if mode == "RGB" else values.convert("RGB").quantize(16)
        made.info["transparency"] = made.getpixel((0, 0))
        return made
    return values.convert(mode)


TRANSPARENT = ("LA", "RGBA", "P", "RGB")
FILES = [
    *((mode, "PNG") for mode in ("1", "L", "I;16", *TRANSPARENT)),
    ("P", "GIF"),
    ("RGBA", "WEBP"),
    ("CMYK", "JPEG"),
]
FILES += [("CMYK", "TIFF"), ("LA", "TIFF"), ("YCbCr", "JPEG")]


@pytest.mark.parametrize(("mode", "kind"), FILES)
@pytest.mark.parametrize("name", ["clip-vit-base-32", "siglip-vit-base-16-224", "eva-clip-g"])
def test_files_of_every_mode_through_the_door(name: str, mode: str, kind: str) -> None:
    buffer, spec = io.BytesIO(), preset(name).vision.pixels
    clear(mode).save(buffer, format=kind, **({"lossless": True} if kind == "WEBP" else {}))
    image = Image.open(io.BytesIO(buffer.getvalue()))
    opened = ImageRef.of(buffer.getvalue()).open()
    assert opened.mode == "RGB" and (image.has_transparency_data == (mode in TRANSPARENT))
    theirs = image if mode != "I;16" else opened  # which the Hub's processors clip
    agree(name, to_pixels(opened, spec), theirs)
    agree(name, to_pixels(image, spec), theirs)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "I", "F", "HSV", "YCbCr"])
def test_pictures_in_memory_of_every_mode(mode: str) -> None:
    image = noise(45, 31).convert("L").convert(mode) if mode in ("I", "F") else clear(mode)
    spec = preset("siglip-vit-base-16-224").vision.pixels
    assert torch.equal(to_pixels(ImageRef.of(image).open(), spec), to_pixels(image, spec))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_pictures_stand_upright(orientation: int, kind: str) -> None:
    exif, buffer = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    noise(40, 23).save(buffer, format=kind, exif=exif)
    lying = Image.open(io.BytesIO(buffer.getvalue()))
    upright = ImageOps.exif_transpose(lying)
    spec = preset("clip-vit-base-32").vision.pixels
    for image in (buffer.getvalue(), lying):
        opened = ImageRef.of(image).open()
        assert opened.size == ((40, 23) if orientation < 5 else (23, 40))
        agree("clip-vit-base-32", to_pixels(opened, spec), upright)


def test_a_very_thin_picture_costs_no_memory() -> None:
    assert to_pixels(noise(1, 30_000), preset("clip-vit-base-32").vision.pixels).shape == (3, 224, 224)
    assert to_pixels(noise(30_000, 1), preset("detr-resnet-50").vision.pixels).shape == (3, 1, 1333)


@pytest.mark.parametrize(
    "wrong",
    [
        {"size": 64, "resize": 80},
        {"size": 64, "mode": "crop", "resize": 60},
        {"size": 64, "mode": "fit"},
        {"size": 64, "longest": 90},
        {"size": 64, "mode": "fit", "longest": 60},
    ],
)
def test_impossible_specs_are_refused(wrong: dict) -> None:
    with pytest.raises(SpecError, match=r"resize|longest"):
        PixelSpec.parse(wrong)
