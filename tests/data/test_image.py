"""Images by reference: bytes and paths are the same picture, transparency lies on white, damaged files are named."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from sepiola.data.image import ImageRef, as_rgb
from sepiola.errors import DataError


def test_a_path_its_bytes_and_the_picture_are_one_image(tmp_path: Path) -> None:
    picture = Image.new("RGB", (5, 3), (10, 20, 30))
    picture.save(tmp_path / "图.png")
    by_path, by_bytes = ImageRef.of(str(tmp_path / "图.png")), ImageRef.of((tmp_path / "图.png").read_bytes())
    assert by_path.digest == by_bytes.digest and ImageRef.of(by_path) is by_path
    for image in (by_path, by_bytes, ImageRef.of(picture)):
        assert image.size == (3, 5) and image.open().tobytes() == picture.tobytes()


def test_transparency_is_laid_on_white() -> None:
    half = Image.new("RGBA", (1, 1), (255, 0, 0, 0))
    assert as_rgb(half).getpixel((0, 0)) == (255, 255, 255)
    assert ImageRef.of(half).open().mode == "RGB"
    grey = Image.new("L", (1, 1), 7)
    assert as_rgb(grey).getpixel((0, 0)) == (7, 7, 7)


def test_a_turned_picture_has_the_size_that_is_seen() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    buffer = io.BytesIO()
    Image.new("RGB", (8, 4)).save(buffer, format="JPEG", exif=exif)
    image = ImageRef.of(buffer.getvalue())
    assert image.size == (8, 4) and image.open().size == (4, 8)


def test_what_is_no_picture_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.png: cannot read the image"):
        ImageRef.of(tmp_path / "gone.png").open()
    with pytest.raises(DataError, match=r"image in memory: not an image that can be read; expected PNG"):
        ImageRef.of(b"no picture").open()
    buffer = io.BytesIO()
    Image.effect_noise((64, 64), 90).save(buffer, format="PNG")
    with pytest.raises(DataError, match="damaged or cut short"):
        ImageRef.of(buffer.getvalue()[:-900]).open()
