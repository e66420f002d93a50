"""Pictures without torch: what a vision encoder reads of each is what sepiola makes of it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sepiola.data.image import ImageRef
from sepiola.models.vision.tiles import tiling
from sepiola.specs.vision import PixelSpec
from tests.tiny import Raw

pytest.importorskip("sepiola_edge._native", reason="the native core is not built: pip install ./edge")
from sepiola_edge import EdgeError
from sepiola_edge.pictures import open_picture, open_pictures, opened_message
from sepiola_edge.prompt import Embedded
from sepiola_edge.prompt import tiling as edge_tiling

SPECS: dict[str, Raw] = {
    "squash": {"size": 24, "filter": "bicubic", "mean": (0.48, 0.46, 0.41), "std": (0.27, 0.26, 0.28)},
    "crop": {"size": 20, "mode": "crop", "resize": 24},
    "pad": {"size": 20, "mode": "crop", "pad": True, "mean": (0.48, 0.46, 0.41)},
    "fit": {"size": 40, "mode": "fit", "longest": 64},
    "anyres": {"size": 16, "tiles": {"kind": "anyres", "grids": ((1, 2), (2, 1), (2, 2), (1, 4)), "most": 2}},
    "grid": {"size": 16, "filter": "lanczos", "tiles": {"kind": "grid", "longest": 48}},
}
SIZES = [(24, 24), (40, 13), (13, 40), (63, 64), (900, 4), (3, 700), (1, 1)]


def noise(width: int, height: int, mode: str = "RGB") -> Image.Image:
    draw = np.random.default_rng(width * 1000 + height)
    return Image.fromarray(draw.integers(0, 256, (height, width, 3), dtype=np.uint8)).convert(mode)


@pytest.mark.parametrize("name", SPECS)
def test_pixels_and_runs_are_sepiolas(name: str) -> None:
    spec = PixelSpec.parse(SPECS[name])
    ours, edge = tiling(spec), edge_tiling(spec.model_dump(mode="json"))
    for size in SIZES:
        picture, other = noise(*size), ImageRef.of(noise(5, 5))
        for alone in (True, False):
            expected = ours.tiles(picture, alone=alone)
            assert torch.equal(torch.from_numpy(edge.tiles(open_picture(picture), alone=alone)), expected)
            run = edge.run((picture.height, picture.width), 7, 4, alone=alone)
            assert tuple(run) == ours.image_tokens([ImageRef.of(picture), other][: 2 - alone], 7, 4)[0]
            if name != "anyres":
                assert run.count(7) == 4 * len(expected)


@pytest.mark.parametrize(
    ("name", "key"), [("squash", "size"), ("crop", "resize"), ("fit", "longest"), ("grid", "tiles")]
)
def test_sides_that_no_picture_has_are_refused(name: str, key: str) -> None:
    raw = PixelSpec.parse(SPECS[name]).model_dump(mode="json")
    raw[key] = {**raw["tiles"], "longest": 1 << 30} if key == "tiles" else 1 << 30
    with pytest.raises(EdgeError, match="1073741824"):
        edge_tiling(raw)


@pytest.mark.parametrize(
    ("key", "values"), [("std", [0.5, 0.0, 0.5]), ("std", [0.5, -1, 0.5]), ("mean", [0.5, 1e400, 0])]
)
def test_pixels_that_are_no_numbers_once_normalised_are_refused(key: str, values: list[float]) -> None:
    raw = PixelSpec.parse(SPECS["squash"]).model_dump(mode="json")
    with pytest.raises(EdgeError, match=key):
        edge_tiling({**raw, key: values})


def test_a_placeholder_without_a_name_is_refused() -> None:
    pixels = PixelSpec.parse(SPECS["squash"]).model_dump(mode="json")
    raw = {"pixels": pixels, "newline": None, "token": 3, "tokens": 1, "first": False}
    with pytest.raises(EdgeError, match="'name' is ''; expected what stands for a picture"):
        Embedded({**raw, "name": ""})


def encoded(picture: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def test_files_of_every_kind_are_opened_alike(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6  # lies on its side
    deep = Image.fromarray(np.linspace(0, 65535, 400).reshape(20, 20).astype(np.uint16))
    clear = noise(20, 12, "RGBA")
    clear.putalpha(Image.fromarray(np.arange(240, dtype=np.uint8).reshape(12, 20)))
    files = [
        encoded(noise(20, 12), "PNG"),
        encoded(noise(20, 12), "JPEG", exif=exif),
        encoded(noise(20, 12, "CMYK"), "JPEG"),
        encoded(noise(20, 12, "P"), "GIF"),
        encoded(noise(20, 12, "1"), "PNG"),
        encoded(noise(20, 12, "LA"), "PNG"),
        encoded(clear, "PNG"),
        encoded(clear, "WEBP", lossless=True),
        encoded(deep, "PNG"),
        encoded(deep, "TIFF", tiffinfo={274: 8}),
        encoded(noise(20, 12, "F"), "TIFF"),
    ]
    for number, data in enumerate(files):
        expected = np.asarray(ImageRef.of(data).open())
        path = tmp_path / str(number)
        path.write_bytes(data)
        for given in (data, path, str(path), Image.open(io.BytesIO(data))):
            assert np.array_equal(np.asarray(open_picture(given)), expected), number
    assert len(open_pictures([files[0], files[1]])) == 2 and open_pictures(None) == []


def test_what_is_no_picture_is_one_message(tmp_path: Path) -> None:
    whole = encoded(noise(40, 40), "PNG")
    (tmp_path / "folder").mkdir()
    for given, message in (
        (tmp_path / "nowhere.png", "nowhere.png: no such picture"),
        (tmp_path / "folder", "folder: a folder, and no picture"),
        ("", "a picture's path is empty"),
        (b"no picture", "no picture that can be read; expected PNG"),
        (whole[:200], "the picture is damaged"),
        (7, "a picture is a path, its bytes or a Pillow image; got int"),
        (Image.fromarray(np.full((2, 2), -1.0, np.float32)), "a grey picture of mode F"),
    ):
        with pytest.raises(EdgeError, match=message):
            open_picture(given)  # type: ignore[arg-type]
    draw = np.random.default_rng(0)
    for _ in range(200):
        damaged = bytearray(whole)
        for place in draw.integers(len(whole), size=4):
            damaged[place] = int(draw.integers(256))
        try:
            assert open_picture(bytes(damaged)).mode == "RGB"
        except EdgeError as error:
            assert "picture" in str(error)


def test_pictures_of_a_message_are_found_as_on_the_hub_and_of_openai(tmp_path: Path) -> None:
    noise(9, 5).save(tmp_path / "a.png")
    import base64

    url = "data:image/png;base64," + base64.b64encode((tmp_path / "a.png").read_bytes()).decode()
    for part in (
        {"type": "image", "image": noise(9, 5)},
        {"type": "image", "path": str(tmp_path / "a.png")},
        {"type": "image", "url": f"file://{tmp_path / 'a.png'}"},
        {"type": "image_url", "image_url": {"url": url}},
    ):
        message, pictures = opened_message({"role": "user", "content": [part, {"type": "text", "text": "?"}]})
        assert [picture.size for picture in pictures] == [(9, 5)]
        assert message["content"][1] == {"type": "text", "text": "?"}  # type: ignore[index]
    for part, message in (
        ({"type": "image", "url": "https://a.b/c.png"}, "not fetched from the network"),
        ({"type": "image_url", "image_url": {"url": "data:image/png;base64,%%%"}}, "not valid base64"),
        ({"type": "image"}, "got NoneType"),
    ):
        with pytest.raises(EdgeError, match=message):
            opened_message({"role": "user", "content": [part]})
