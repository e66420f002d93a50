"""Flickr8k: pairs to train on, pictures to test on, and the faults it names."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from sepiola.datasets import read
from sepiola.errors import DataError
from tests.datasets.folders import flickr


def test_flickr8k_trains_on_pairs_and_tests_on_pictures(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = flickr(tmp_path)
    train = read("flickr8k", root, "train")
    assert [(e.id, e.prompt, e.target) for e in train] == [
        ("a-en-0", "Describe the photo.", "A dog, a."),
        ("a-en-1", "Describe the photo.", "Two dogs."),
        ("a-zh-0", "描述这张照片。", "狗a0。"),
        ("a-zh-1", "描述这张照片。", "狗a1。"),
    ]
    assert all(len(e.images) == 1 and e.question is None for e in train)
    with caplog.at_level(logging.WARNING):
        test = read("flickr8k", root, "test", languages=["zh"])
    assert [(e.id, e.metadata["split"], e.metadata["references"]) for e in test] == [
        ("c-zh", "test", ["狗c0。", "狗c1。"])
    ]
    assert "1 of the 2 photographs of 'test' are not at hand" in caplog.text
    texts = read("flickr8k", root, "dev", task="text")
    assert [e.target for e in texts] == ["A dog, b.", "Two dogs.", "狗b0。", "狗b1。"]
    assert not any(e.images for e in texts)
    with pytest.raises(DataError, match="no picture of this split is at hand"):
        read("flickr8k", root, "dev")


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("Flickr_8k.testImages.txt", "a.jpg\n", "the photograph a.jpg stands in the image lists more than once"),
        ("captions.txt", "image,caption\na.jpg,A dog\n", "the photograph c.jpg of the split 'test' has no caption"),
        ("captions.txt", "image,caption\na.jpg\n", r"line 2: \['a.jpg'\]; expected an image and its caption"),
        ("zh/flickr8kzhc.caption.txt", "a.jpg 狗。\n", "line 1: .* expected image#zhc#number and a caption"),
    ],
)
def test_flickr8k_faults(tmp_path: Path, name: str, text: str, expected: str) -> None:
    root = flickr(tmp_path)
    (root / name).write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=expected):
        read("flickr8k", root, "test")
