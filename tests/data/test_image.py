"""Images by reference: bytes and paths are the same picture, transparency lies on white, damaged files are named."""

from __future__ import annotations

import base64
import io
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import EpsImagePlugin, Image, PngImagePlugin, features

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


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


GREY, RGB, RGBA = (np.random.default_rng(3).integers(0, 256, (5, 6, *c), dtype=np.uint8) for c in ((), (3,), (4,)))


@pytest.mark.parametrize("pixels", [GREY, GREY[..., None], RGB, RGBA, RGB[:, ::-1]])
def test_arrays_and_tensors_are_the_picture_that_pillow_makes_of_them(pixels: np.ndarray) -> None:
    wanted = Image.fromarray(np.ascontiguousarray(pixels[..., 0] if pixels.shape[2:] == (1,) else pixels))
    first = np.moveaxis(pixels, -1, 0) if pixels.ndim == 3 else pixels
    for array in (pixels, first):
        tensor = torch.from_numpy(array.copy())
        floats = (array / 255, (array / 255).astype(np.float32), (tensor / 255).requires_grad_())
        for given in (array, tensor, *floats):
            image = ImageRef.of(given)
            assert image.open().tobytes() == as_rgb(wanted).tobytes() and image.size == (5, 6)
    halves = (torch.tensor([[0, 1]], dtype=kind) for kind in (torch.bfloat16, torch.float16))
    assert [ImageRef.of(half).open().getpixel((1, 0)) for half in halves] == [(255, 255, 255)] * 2


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (np.zeros((3, 8, 3), np.uint8), r"shape \(3, 8, 3\), whose channels may be the first axis or the last"),
        (np.zeros((8, 8, 2), np.uint8), r"shape \(8, 8, 2\); expected 1, 3 or 4 channels"),
        (torch.zeros(1, 3, 8, 8), r"shape \(1, 3, 8, 8\); expected \(height, width\), or three axes"),
        (np.zeros((0, 8, 3), np.uint8), r"shape \(0, 8, 3\)"),
        (np.zeros(8, np.uint8), r"shape \(8,\)"),
        (np.zeros((8, 8), np.int64), "a picture of int64; expected uint8"),
        (torch.zeros(3, 8, 8, dtype=torch.bool), "a picture of bool; expected uint8"),
        (np.array([["a"]]), "a picture of <U1; expected uint8"),
        (torch.full((3, 8, 8), 255.0), r"float32 with values from 255\.0 to 255\.0; expected 0…1"),
        (np.array([[-1.0, 1.0]]), r"float64 with values from -1\.0 to 1\.0; expected 0…1"),
        (np.array([[0.0, np.nan]]), "float64 with values from nan to nan"),
    ],
)
def test_arrays_that_may_be_read_in_two_ways_are_refused(given: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        ImageRef.of(given)


def test_open_files_are_read_from_their_beginning(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(RGB).save(buffer, format="PNG")  # it now stands at its end
    data = buffer.getvalue()
    (tmp_path / "图.png").write_bytes(data)
    with (tmp_path / "图.png").open("rb") as file:
        for given in (buffer, file, bytearray(data), memoryview(data)):
            assert ImageRef.of(given).data == data
    with pytest.raises(DataError, match="open file cannot be read: seek of closed file"):
        ImageRef.of(file)
    with pytest.raises(DataError, match="gave str; expected bytes: open it with mode 'rb'"):
        ImageRef.of(io.StringIO("图"))  # type: ignore[arg-type]
    with pytest.raises(DataError, match="not an image that can be read"):
        ImageRef.of(io.BytesIO()).open()


def test_one_picture_or_several_or_none() -> None:
    one = ImageRef.of(RGB)
    assert ImageRef.each_of(None) == ImageRef.each_of([]) == []
    assert ImageRef.each_of(RGB) == ImageRef.each_of((RGB,)) == ImageRef.each_of(Image.fromarray(RGB)) == [one]
    assert ImageRef.each_of(np.stack([RGB, RGB])) == ImageRef.each_of(torch.tensor(np.stack([RGB, RGB]))) == [one, one]
    for wrong in (7, [7]):
        with pytest.raises(DataError, match=r"a picture is a path, .*; got int"):
            ImageRef.each_of(wrong)  # type: ignore[arg-type]


KINDS = [("JPEG", {}), ("PNG", {}), ("WEBP", {}), ("TIFF", {}), ("TIFF", {"compression": "tiff_lzw"})]
KINDS += [("AVIF", {})] if features.check("avif") else []


@pytest.mark.parametrize(("kind", "options"), KINDS)
@pytest.mark.parametrize("tag", [*range(12), 100, 65535])
def test_the_size_is_that_of_the_opened_picture(kind: str, options: dict[str, str], tag: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = tag
    if options and not 1 <= tag <= 8:
        pytest.skip("libtiff writes no such tag")
    corner = Image.new("RGB", (48, 16), "white")
    corner.paste((0, 0, 0), (0, 0, 24, 8))
    turned = ImageRef.of(encoded(corner, kind, exif=exif, **options))
    seen = turned.open()
    assert turned.size == (seen.height, seen.width) == ((48, 16) if 5 <= tag <= 8 else (16, 48))
    ends = {False: 0.25, True: 0.75}
    dark = [
        (lower, right)
        for lower in ends
        for right in ends
        if seen.getpixel((int(seen.width * ends[right]), int(seen.height * ends[lower])))[0] < 128
    ]
    assert dark == [(tag in (3, 4, 7, 8), tag in (2, 3, 6, 7))]


def test_the_orientation_may_stand_in_xmp() -> None:
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf tiff:Orientation="6"/></x:xmpmeta>'
    for kind in ("JPEG", "TIFF", "WEBP"):
        options = {"tiffinfo": {700: xmp}} if kind == "TIFF" else {"xmp": xmp}
        image = ImageRef.of(encoded(Image.new("RGB", (8, 4)), kind, **options))
        assert image.size == (8, 4) and image.open().size == (4, 8), kind


def twelve_bits(values: list[int], white: int) -> bytes:
    """A TIFF of one line of 12-bit values, an even number of them; `white` is what its tag says (0: as 0)."""
    pairs = zip(values[::2], values[1::2], strict=True)
    data = b"".join(bytes([a >> 4, (a & 15) << 4 | b >> 8, b & 255]) for a, b in pairs)
    tags = [(256, len(values)), (257, 1), (258, 12), (259, 1), (262, white), (273, 8), (277, 1), (278, 1)]
    tags += [(279, len(data)), (339, 1)]
    start = 8 + len(data) + len(data) % 2
    entries = b"".join(struct.pack("<HHII", tag, 3 if tag not in (273, 279) else 4, 1, value) for tag, value in tags)
    head = struct.pack("<2sHI", b"II", 42, start) + data + bytes(len(data) % 2)
    return head + struct.pack("<H", len(tags)) + entries + bytes(4)


def test_a_tiffs_twelve_bits_and_its_white_as_zero() -> None:
    file = twelve_bits([0, 16, 2048, 4095], white=1)
    with Image.open(io.BytesIO(file)) as picture:
        for given in (ImageRef.of(file), ImageRef.of(picture)):
            assert np.asarray(given.open())[0, :, 0].tolist() == [0, 1, 128, 255]
    negative = encoded(Image.fromarray(np.array([[0, 65535]], dtype=np.uint16)), "TIFF", tiffinfo={262: 0})
    with Image.open(io.BytesIO(negative)) as picture:
        assert picture.tag_v2[262] == 0
    assert np.asarray(ImageRef.of(negative).open())[0, :, 0].tolist() == [255, 0]


def test_grey_of_more_than_eight_bits_is_scaled() -> None:
    deep = np.array([[0, 257, 32768, 65535]], dtype=np.uint16)
    for kind in ("PNG", "TIFF"):
        opened = ImageRef.of(encoded(Image.fromarray(deep), kind)).open()
        assert np.asarray(opened)[0, :, 0].tolist() == [0, 1, 128, 255]
    cases: list[tuple[Any, list[int]]] = [
        (np.array([[0, 7, 255]], dtype=np.int32), [0, 7, 255]),
        (np.array([[0, 7, 65535]], dtype=np.int32), [0, 0, 255]),
        (np.array([[0, 0.5, 1]], dtype=np.float32), [0, 128, 255]),
        (np.array([[0, 7, 254.6]], dtype=np.float32), [0, 7, 255]),
    ]
    for values, expected in cases:
        for image in (ImageRef.of(Image.fromarray(values)), ImageRef.of(encoded(Image.fromarray(values), "TIFF"))):
            assert np.asarray(image.open())[0, :, 0].tolist() == expected
    for bad in (np.array([[-1, 5]], dtype=np.int32), np.array([[np.nan, 5]], dtype=np.float32)):
        with pytest.raises(DataError, match=r"values from .* expected 0…255"):
            ImageRef.of(encoded(Image.fromarray(bad), "TIFF")).open()


def test_the_clear_grey_of_sixteen_bits_is_clear() -> None:
    deep = Image.fromarray(np.array([[0, 300, 300]], dtype=np.uint16))
    opened = ImageRef.of(encoded(deep, "PNG", transparency=300)).open()
    assert np.asarray(opened)[0, :, 0].tolist() == [0, 255, 255]


def test_other_decoders_stay_shut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A PostScript program under a picture's name would start Ghostscript, and run."""
    started = tmp_path / "started"
    (tmp_path / "gs").write_text(f"#!/bin/sh\ntouch {started}\n")
    (tmp_path / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", "gs")
    program = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n%%EOF\n"
    (tmp_path / "photo.png").write_bytes(program)
    for image in (ImageRef.of(program), ImageRef.of(tmp_path / "photo.png")):
        for ask in (ImageRef.open, lambda i: i.size, lambda i: i.format):
            with pytest.raises(DataError, match="not an image that can be read; expected PNG, JPEG"):
                ask(image)
    for kind in ("PPM", "TGA", "PCX", "ICO", "DDS", "SGI"):
        with pytest.raises(DataError, match="not an image that can be read"):
            ImageRef.of(encoded(Image.new("RGB", (16, 16)), kind)).open()
    assert not started.exists()


def test_a_path_without_a_file_is_named(tmp_path: Path) -> None:
    """No pipe is waited for, and no device read without end."""
    os.mkfifo(tmp_path / "pipe.png")
    bad = ["a\0b.png", tmp_path, tmp_path / "pipe.png", "/dev/zero", "x" * 5000, tmp_path / "gone.png" / "a.png"]
    for path in bad:
        for ask in (ImageRef.open, lambda i: i.size, lambda i: i.digest):
            with pytest.raises(DataError, match="cannot read the image"):
                ask(ImageRef.of(path))
    with pytest.raises(
        DataError,
        match="a picture is a path, its bytes, a binary file, a Pillow image, an array or a tensor; got NoneType",
    ):
        ImageRef.of(None)  # type: ignore[arg-type]


def test_a_bomb_is_called_one(monkeypatch: pytest.MonkeyPatch) -> None:
    text = PngImagePlugin.PngInfo()
    text.add_text("note", "a" * (1 << 21), zip=True)
    with pytest.raises(DataError, match="a decompression bomb"):
        ImageRef.of(encoded(Image.new("L", (4, 4)), "PNG", pnginfo=text)).open()
    large = ImageRef.of(encoded(Image.new("1", (100, 100)), "PNG"))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4000)
    for ask in (ImageRef.open, lambda i: i.size):
        with pytest.raises(DataError, match="a decompression bomb"):
            ask(large)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_damaged_files_are_data_errors(tmp_path: Path) -> None:
    """Bytes changed, cut, repeated and inserted at random places: a picture comes, or one error."""
    draw = np.random.default_rng(7)
    noise = Image.fromarray(draw.integers(0, 256, (24, 20, 3), dtype=np.uint8))
    frames = {"save_all": True, "append_images": [noise.rotate(90), noise.resize((9, 9))]}
    exif = Image.Exif()
    exif[0x0112] = 6
    palette = noise.quantize(8)
    palette.info["transparency"] = b"\0\x80"
    whole = [
        encoded(noise, "PNG", exif=exif),
        encoded(palette, "PNG"),
        encoded(noise, "JPEG", exif=exif),
        encoded(noise.convert("CMYK"), "JPEG"),
        encoded(noise, "WEBP", exif=exif),
        encoded(noise, "GIF", **frames),
        encoded(noise, "BMP"),
        encoded(noise, "TIFF", exif=exif),
        encoded(noise.convert("L"), "TIFF", compression="tiff_lzw"),
    ]
    opened = 0
    for data in whole:
        for _ in range(120):
            bad = bytearray(data)
            for _ in range(draw.integers(1, 4)):
                at, to = sorted(int(x) for x in draw.integers(0, len(bad), 2))
                way = draw.integers(4)
                if way == 0:
                    bad[at] = draw.integers(256)
                elif way == 1:
                    bad[at : at + 4] = bytes(draw.choice([0, 255, 127], 4).tolist())
                elif way == 2:
                    bad[at:at] = bad[at:to][:64]
                else:
                    del bad[max(at, 16) : max(at, 16) + int(draw.integers(1, 40))]
            image = ImageRef.of(bytes(bad))
            try:
                size, seen = image.size, image.open()
            except DataError as error:
                assert str(error).startswith("image in memory: ")
                continue
            assert seen.mode == "RGB" and size[0] > 0
            opened += 1
    assert 100 < opened < 900


def test_what_is_no_picture_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.png: cannot read the image"):
        ImageRef.of(tmp_path / "gone.png").open()
    with pytest.raises(DataError, match=r"image in memory: not an image that can be read; expected PNG"):
        ImageRef.of(b"no picture").open()
    buffer = io.BytesIO()
    Image.effect_noise((64, 64), 90).save(buffer, format="PNG")
    with pytest.raises(DataError, match="damaged or cut short"):
        ImageRef.of(buffer.getvalue()[:-900]).open()


def test_a_text_is_a_path_or_an_address_that_holds_the_picture(tmp_path: Path) -> None:
    path = tmp_path / "p.png"
    Image.new("RGB", (3, 2), "red").save(path)
    packed = base64.b64encode(path.read_bytes()).decode()
    for address in (str(path), f"file://{path}", f"data:image/png;base64,{packed}"):
        assert ImageRef.of(address).open().tobytes() == ImageRef.of(path).open().tobytes()
        assert len(ImageRef.each_of(address)) == 1
    for given, fault in (
        ("https://example.com/p.png", "not fetched from the network: save https://example.com/p.png and give its path"),
        ("data:image/png;base64,###", r"data:image/png;base64,…: not valid base64"),
        ("", "a picture's path is empty"),
        ({"path": str(path)}, "a picture is a path.*got dict"),
    ):
        with pytest.raises(DataError, match=fault):
            ImageRef.each_of(given)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"a picture in base64 is a data: URL") as caught:
        ImageRef.of(packed * 100).open()
    assert len(str(caught.value)) < 1200
