"""Baselines of captions: the most frequent one, and that of the nearest picture, by language; figures beside them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from sepiola.data.example import Example, Message
from sepiola.data.image import ImageRef
from sepiola.evaluation.baselines.captions import frequent_captions, nearest, nearest_captions, pixel_features
from sepiola.evaluation.metrics.caption_figures import caption_figures, caption_tables, one_each
from sepiola.reasoning.answer import Answer


def picture(left: str, right: str, side: int = 40) -> ImageRef:
    image = Image.new("RGB", (side, side), left)
    image.paste(right, (side // 2, 0, side, side))
    return ImageRef.of(image)


def captioned(name: str, caption: str, image: ImageRef, language: str = "en", **metadata: Any) -> Example:
    told = {"language": language, "group": name, **metadata}
    return Example(f"{name}-{language}", (Message("user", (image, "?")),), caption, metadata=told)


DARK, BRIGHT, RED = picture("black", "gray"), picture("gray", "white"), picture("red", "black")
TRAIN = [
    captioned("a", "A dog runs.", picture("black", "white")),
    captioned("b", "A dog sits.", picture("white", "black")),
    captioned("c", "A cat.", picture("red", "blue")),
    captioned("a", "一只狗。", picture("black", "white"), "zh"),
]


def test_the_most_frequent_caption_of_a_language() -> None:
    examples = [captioned("x", "?", RED), captioned("x", "?", RED, "zh"), captioned("x", "?", RED, "fr")]
    said = [a.output for a in frequent_captions([*TRAIN, captioned("d", "A cat.", RED)], examples)]
    assert said == ["A cat.", "一只狗。", ""]
    # All once: each of "a dog runs" has on average 2 captions of 3 (a 3, dog 2, runs 1), "a cat" too (3, 1).
    assert frequent_captions([*TRAIN, captioned("d", "A dog.", RED)], examples)[0].output == "A dog."


def test_the_nearest_picture_lends_its_caption() -> None:
    examples = [captioned("x", "?", BRIGHT), captioned("y", "?", RED), captioned("x", "?", BRIGHT, "zh")]
    said = [a.output for a in nearest_captions(TRAIN, examples, pixel_features)]
    assert said == ["A dog runs.", "A cat.", "一只狗。"], "brighter to the right, whatever the brightness"
    assert [a.output for a in nearest_captions([], examples, pixel_features)] == ["", "", ""]
    rows = np.eye(3, dtype=np.float32)
    assert nearest(np.array([[0, 5, 1], [0, 0, 0]], dtype=np.float32), rows) == [1, 0]
    np.testing.assert_allclose(pixel_features([picture("black", "gray", 64)]).mean(), 0, atol=1e-4)


def test_figures_of_a_set_by_language() -> None:
    both = ["A dog runs fast.", "The dog runs."]
    pairs = [captioned("a", text, DARK, references=both) for text in both]
    examples = one_each([*pairs, captioned("b", "A red cat.", RED), captioned("b", "红猫。", RED, "zh")])
    assert len(examples) == 3
    answers = [Answer("a-en", "A dog runs fast."), Answer("b-en", "a a a a", cut=True), Answer("b-zh", "红猫。")]
    found = caption_figures(examples, answers, {"same": [Answer(e.id, e.target) for e in examples]})["captions"]
    assert found["en"]["count"] == 2 and found["en"]["fluency"]["fragments"]["rate"] == 0.5
    assert found["en"]["fluency"]["repetition"]["number"] == 1
    assert found["en"]["baselines"]["same"]["bleu1"]["value"] == pytest.approx(100)
    assert found["en"]["bleu1"]["value"] < 100 == pytest.approx(found["zh"]["bleu1"]["value"])
    assert set(found["zh"]["baselines"]["references"]) == {"fluency"}, "one reference has no others to stand against"
    english, chinese = caption_tables({"data": "d", "split": "test", "captions": found})
    assert english["title"] == "Captions, d test, en" and chinese["title"] == "Captions, d test, zh"
    assert [line["name"] for line in english["lines"]] == ["This model", "same", "references"]
