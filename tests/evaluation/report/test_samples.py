"""Samples on the page: thumbnails small enough for it."""

from __future__ import annotations

from PIL import Image

from sepiola.evaluation.report.samples import thumbnail


def test_thumbnail_keeps_small_pictures_and_shapes() -> None:
    assert thumbnail(Image.new("RGB", (40, 20)))[1:] == (40, 20)
    assert thumbnail(Image.new("RGB", (1000, 10)))[1:] == (256, 3)
    assert thumbnail(Image.new("RGB", (64, 64), "red"))[0].startswith("data:image/png")
    assert thumbnail(Image.effect_noise((256, 256), 90).convert("RGB"))[0].startswith("data:image/jpeg")
