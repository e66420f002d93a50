"""Repetition and fragments, in English and Chinese, on hand-made texts and on captions that people wrote."""

from __future__ import annotations

from pathlib import Path

import pytest

from sepiola.datasets import read
from sepiola.evaluation.metrics.fluency import fluency, is_fragment, repeats


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A dog runs on the grass.", False),
        ("It is a very very small dog.", False),
        ("It is a very very very small dog.", True),
        ("The dog the dog runs.", False),
        ("The dog the dog the dog runs.", True),
        ("A man in a hat in a hat.", True),
        ("A dog. The cat sleeps here. A dog.", False),
        ("The cat sleeps. A dog runs. The cat sleeps.", True),
        ("A red ball, a blue ball and a green ball.", False),
        ("慢慢走走停停的狗。", False),
        ("狗狗狗在跑。", True),
        ("一只狗一只狗在跑。", False),
        ("一只狗一只狗一只狗在跑。", True),
        ("一只白狗一只白狗在跑。", True),
        ("狗在跑。猫在睡觉。狗在跑。", True),
        ("", False),
    ],
)
def test_repetition(text: str, expected: bool) -> None:
    assert repeats(text) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A dog runs.", False),
        ('He says "run!"', False),
        ("A dog runs on the", True),
        ("A dog runs…", True),
        ("A dog runs...", True),
        ("...", True),
        ("", True),
        ("一只狗在跑。", False),
        ("他说“跑！”", False),
        ("一只狗在", True),
    ],
)
def test_fragments(text: str, expected: bool) -> None:
    assert is_fragment(text) is expected
    assert is_fragment(text, cut=True)


def test_shares_have_their_intervals() -> None:
    found = fluency(["A dog runs.", "a a a a", "一只狗。", "Dogs run."], cut=[False, False, False, True])
    assert found["repetition"]["number"] == 1 and found["repetition"]["rate"] == 0.25
    assert found["fragments"]["number"] == 2 and found["fragments"]["interval"][0] < 0.5
    assert fluency([])["repetition"] == {"rate": None, "interval": None, "number": 0}


def test_people_hardly_repeat_themselves(data_root: Path) -> None:
    """Of 6,000 captions that people wrote, in both languages, at most two in a thousand break the rule."""
    captions = read("flickr8k", data_root / "flickr8k", "train", task="text")[::10]
    assert fluency([e.target for e in captions])["repetition"]["rate"] < 0.002
