"""The language of a text, by most of its letters."""

from __future__ import annotations

import pytest

from sepiola.data.language import language_of


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("The squid, 耳乌贼, is small.", "en"),
        ("用 PyTorch 训练模型", "zh"),
        ("𠀀𠀁", "zh"),
        ("Ещё один", "other"),
        ("イカの目", "other"),
        ("2024 — 12", "other"),
    ],
)
def test_the_language_is_that_of_most_letters(text: str, language: str) -> None:
    assert language_of(text) == language
