"""Pixels: equal to the Hub's image processors within one grey level, for pictures of any size and mode."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.convnext.image_processing_pil_convnext import ConvNextImageProcessorPil
from transformers.models.detr.image_processing_pil_detr import DetrImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from sepiola.checkpoints.preprocessor import pixels_from_preprocessor, preprocessor_from_pixels
from sepiola.data.image import ImageRef
from sepiola.errors import SpecError
from sepiola.models.build import preset
from sepiola.models.vision.pixels import pad_pixels, to_pixels
from sepiola.specs.vision import PixelSpec

IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
PROCESSORS = {
    "vit-base-16-224": ViTImageProcessorPil(),
    "vit-large-32-384": ViTImageProcessorPil(size={"height": 384, "width": 384}),
    "clip-vit-base-32": CLIPImageProcessorPil(),
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
    image, spec = noise(*size), preset(name).vision.pixels
    processed = PROCESSORS[name](image, return_tensors="pt", input_data_format="channels_last")
    expected, got = processed.pixel_values[0].float(), to_pixels(image, spec)
    assert got.shape == expected.shape and got.dtype == torch.float32 and got.is_contiguous()
    levels = ((got - expected).abs() * torch.tensor(spec.std)[:, None, None] * 255).round(decimals=3)
    assert levels.max() <= 1
    assert (levels > 0).float().mean() < 2e-3  # a rounding here and there, not a shift


@pytest.mark.parametrize("name", ["vit-tiny", "clip-vit-base-16", "resnet-18", "detr-resnet-50"])
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


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16", "F"])
def test_pictures_of_every_mode(mode: str) -> None:
    spec = preset("vit-tiny").vision.pixels
    image = Image.new("I;16", (20, 30), 30_000) if mode == "I;16" else noise(20, 30).convert(mode)
    pixels = to_pixels(image, spec)
    assert pixels.shape == (3, 64, 64) and pixels.isfinite().all()
    assert pixels.min() >= -1.01 and pixels.max() <= 1.01
    if mode in ("1", "L", "P", "RGBA", "LA"):
        through = to_pixels(ImageRef.of(image).open(), spec)
        assert torch.equal(through, pixels) or mode in ("RGBA", "LA")


def test_a_very_thin_picture_costs_no_memory() -> None:
    assert to_pixels(noise(1, 30_000), preset("clip-vit-base-32").vision.pixels).shape == (3, 224, 224)
    assert to_pixels(noise(30_000, 1), preset("detr-resnet-50").vision.pixels).shape == (3, 1, 1333)


def test_padding_and_its_mask() -> None:
    spec = preset("detr-resnet-50").vision.pixels.model_copy(update={"size": 32, "longest": 64})
    wide, tall = to_pixels(noise(60, 40), spec), to_pixels(noise(40, 60), spec)
    batch, mask = pad_pixels([wide, tall])
    assert wide.shape == (3, 32, 48) and tall.shape == (3, 48, 32)
    assert batch.shape == (2, 3, 48, 48) and mask.shape == (2, 48, 48)
    assert torch.equal(batch[0, :, :32, :48], wide) and not batch[0, :, 32:].any()
    assert mask[0].sum() == 32 * 48 and mask[1, :, :32].all() and not mask[1, :, 32:].any()


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
