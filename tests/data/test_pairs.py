"""Pairs of a picture and a text as a batch: padding, and which pictures and texts belong together."""

from __future__ import annotations

import pytest
import torch

from sepiola.data.image import ImageRef
from sepiola.data.pairs import Pair, PairBatch, PairCollator, lay_texts
from sepiola.specs.model import SpecialTokens

TOKENS = SpecialTokens(pad=9)


def batch(*pairs: tuple[list[int], bytes]) -> PairBatch:
    pixels = PairCollator(TOKENS, pixels=lambda images: [torch.zeros(3, 2, 2) for _ in images])
    samples = [Pair.of(str(number), text, ImageRef(data=image)) for number, (text, image) in enumerate(pairs)]
    return pixels.lay_out([[sample] for sample in samples])


def test_texts_are_padded_to_the_longest_or_to_a_length() -> None:
    ids, mask = lay_texts([[1, 2, 3], [4]], TOKENS, None)
    assert ids.tolist() == [[1, 2, 3], [4, 9, 9]]
    assert mask is not None and mask.tolist() == [[1, 1, 1], [1, 0, 0]]
    ids, mask = lay_texts([[1, 2, 3], [4]], TOKENS, 5)
    assert ids.tolist() == [[1, 2, 3, 9, 9], [4, 9, 9, 9, 9]] and mask is None
    assert lay_texts([[1, 2], [3, 4]], TOKENS, None)[1] is None, "without padding there is no mask"


def test_the_same_text_or_the_same_picture_belongs_together() -> None:
    laid_out = batch(([1, 2], b"a"), ([3], b"b"), ([1, 2], b"c"), ([4], b"b"))
    assert laid_out.together.int().tolist() == [[1, 0, 1, 0], [0, 1, 0, 1], [1, 0, 1, 0], [0, 1, 0, 1]]
    assert laid_out.labelled == 4 and laid_out.tokens == 6 and laid_out.ids == ("0", "1", "2", "3")


@pytest.mark.parametrize("text", [[1], list(range(50))])
def test_a_pair_counts_as_one_however_long_its_text(text: list[int]) -> None:
    assert Pair.of("x", text, ImageRef(data=b"a")).length == 1
