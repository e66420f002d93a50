"""The feature cache: once for each image, whole after any damage, and exact."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from sepiola.data.features import FeatureCache, encoder_key
from sepiola.data.image import ImageRef
from sepiola.errors import DataError
from sepiola.models.build import build_vision_encoder
from sepiola.specs.vision import PixelSpec, ViTSpec
from tests.tiny import noise_picture as picture
from tests.tiny import vit, wait_until

SPEC = ViTSpec.parse(vit(8, 4, 12))


def pixels(image: ImageRef) -> Tensor:
    return torch.from_numpy(np.asarray(image.open(), dtype=np.float32) / 255).permute(2, 0, 1)


class Encoder:
    """A real encoder that counts the images it was shown."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.module = build_vision_encoder(SPEC).eval()
        self.seen = 0

    def __call__(self, batch: Tensor) -> Tensor:
        self.seen += len(batch)
        return self.module(batch)


@pytest.fixture
def encoder() -> Encoder:
    return Encoder()


def open_cache(folder: Path, encoder: Callable[[Tensor], Tensor], key: str = "encoder", batch: int = 3) -> FeatureCache:
    return FeatureCache(folder, key, encoder, width=12, to_pixels=pixels, batch=batch)


def assert_right(cache: FeatureCache, encoder: Encoder, images: list[ImageRef]) -> None:
    """Equal to the encoder's own, up to float16; the encoder is not shown an image for the comparison's
    sake.
    """
    with torch.no_grad():
        expected = encoder.module(torch.stack([pixels(image) for image in images])).half()
    for got, wanted in zip(cache.rows([(image,) for image in images]), expected, strict=True):
        torch.testing.assert_close(got, wanted, rtol=2e-3, atol=1e-3)


def test_values_equal_direct_computation(tmp_path: Path, encoder: Encoder) -> None:
    images = [picture(i) for i in range(7)]
    assert_right(open_cache(tmp_path, encoder), encoder, images)
    assert encoder.seen == 7
    assert_right(open_cache(tmp_path, encoder), encoder, images)
    assert encoder.seen == 7, "a second process computes nothing"


def test_the_same_picture_under_two_names_is_computed_once(tmp_path: Path, encoder: Encoder) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(picture(1).encoded)
    cache = open_cache(tmp_path / "cache", encoder)
    first, second = cache.rows([(ImageRef(path=tmp_path / "a.png"),), (ImageRef(path=tmp_path / "b.png"), picture(1))])
    assert encoder.seen == 1
    assert torch.equal(second, torch.cat((first, first)))


def test_batches(tmp_path: Path, encoder: Encoder) -> None:
    cache = open_cache(tmp_path, encoder)
    features, mask = cache.get([(picture(1),), (), (picture(2),)])
    assert features.shape == (3, 5, 12) and mask is None and not features[1].any() and features[2].any()
    features, mask = cache.get([(picture(1), picture(2)), (), (picture(2),)])
    assert mask is not None and mask.sum(1).tolist() == [10, 1, 5] and not features[1].any()
    features, mask = cache.get([(), ()])
    assert features.shape == (2, 1, 12) and mask is None and not features.any()


@pytest.mark.parametrize("file", ["features.bin", "index.jsonl"])
@pytest.mark.parametrize("cut", [1, 37, 130, 10_000])
def test_a_cut_file_is_mended(tmp_path: Path, encoder: Encoder, file: str, cut: int) -> None:
    images = [picture(i) for i in range(6)]
    open_cache(tmp_path, encoder).fill(images)
    path = tmp_path / "encoder" / file
    whole = path.read_bytes()
    path.write_bytes(whole[: max(0, len(whole) - cut)])
    cache = open_cache(tmp_path, encoder)
    assert_right(cache, encoder, images)
    assert 6 < encoder.seen <= 12
    seen = encoder.seen
    assert_right(open_cache(tmp_path, encoder), encoder, [*images, picture(7)])
    assert encoder.seen == seen + 1, "what was fixed stays whole"


def test_a_damaged_block_is_computed_anew(tmp_path: Path, encoder: Encoder) -> None:
    images = [picture(i) for i in range(6)]
    open_cache(tmp_path, encoder).fill(images)
    path = tmp_path / "encoder" / "features.bin"
    raw = bytearray(path.read_bytes())
    raw[5 * 12 * 2 + 8] ^= 0xFF
    path.write_bytes(raw)
    for _ in range(2):
        assert_right(open_cache(tmp_path, encoder), encoder, images)
        assert encoder.seen == 7


KILLED = """
import sys; sys.path.insert(0, sys.argv[1])
import tests.data.test_features as t; from pathlib import Path
encoder = t.Encoder()
def encode(batch):
    if encoder.seen == 10:
        Path(sys.argv[2], "stuck").touch()
        sys.stdin.read()  # until it is killed
    return encoder(batch)
cache = t.open_cache(Path(sys.argv[2]), encode, batch=1)
cache.fill([t.picture(i) for i in range(200)])
"""


def test_killed_in_the_middle_it_goes_on(tmp_path: Path, encoder: Encoder) -> None:
    arguments = [sys.executable, "-c", KILLED, str(Path(__file__).parents[2]), str(tmp_path)]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE) as process:
        wait_until((tmp_path / "stuck").exists, process)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert_right(open_cache(tmp_path, encoder), encoder, [picture(i) for i in range(30)])
    assert encoder.seen == 20


def test_two_writers_share_a_folder(tmp_path: Path, encoder: Encoder) -> None:
    first, second = open_cache(tmp_path, encoder), open_cache(tmp_path, encoder)
    first.fill([picture(i) for i in range(4)])
    second.fill([picture(i) for i in range(2, 6)])
    third = Encoder()
    assert_right(first, encoder, [picture(i) for i in range(6)])
    assert_right(open_cache(tmp_path, third), third, [picture(i) for i in range(6)])
    assert third.seen == 0


def test_a_changed_eye_has_another_key() -> None:
    encoder = Encoder()
    key = encoder_key(SPEC, encoder.module.state_dict())
    assert key == encoder_key(SPEC, Encoder().module.state_dict())
    with torch.no_grad():
        encoder.module.positions[0, 0, 0] += 1e-3
    assert encoder_key(SPEC, encoder.module.state_dict()) != key
    other = SPEC.model_copy(update={"pixels": PixelSpec(size=8, mode="crop")})
    assert encoder_key(other, Encoder().module.state_dict()) != key


def test_what_cannot_be_kept_is_refused(tmp_path: Path, encoder: Encoder) -> None:
    with pytest.raises(DataError, match="not finite in float16"):
        open_cache(tmp_path, lambda batch: encoder(batch) * 1e9).fill([picture(0)])
    with pytest.raises(DataError, match=r"expected \(1, patches, 12\)"):
        open_cache(tmp_path, lambda batch: encoder(batch)[..., :5]).fill([picture(0)])
    with pytest.raises(DataError, match=r"gone\.png: cannot read the image"):
        open_cache(tmp_path, encoder).fill([ImageRef(path=tmp_path / "gone.png")])
