"""What every family of Tidepool keeps, as a base class of its tests: `name` is the family's."""

from __future__ import annotations

import random
from typing import Any, ClassVar

import numpy as np
import pytest

from sepiola.tidepool import FAMILIES, captions, check, claims, generate, split_of
from sepiola.tidepool.canvas import Canvas


class FamilyContract:
    name: ClassVar[str]

    @pytest.mark.parametrize("language", ["en", "zh"])
    def test_a_seed_says_all_and_another_says_other(self, language: str) -> None:
        options: dict[str, Any] = {"families": [self.name], "languages": [language], "size": 64}
        first, again, other = (generate("train", 6, seed=seed, **options) for seed in (1, 1, 2))
        assert first == again
        assert not {e.metadata["group"] for e in first} & {e.metadata["group"] for e in other}

    def test_a_split_has_its_own_scenes(self) -> None:
        for split in ("train", "val", "test"):
            for e in generate(split, 12, families=[self.name], size=64):
                assert split_of(e.metadata["group"]) == split

    @pytest.mark.parametrize("language", ["en", "zh"])
    def test_what_is_said_is_true_of_the_scene(self, language: str) -> None:
        """Captions and explanations make claims, and each holds."""
        options: dict[str, Any] = {"families": [self.name], "languages": [language], "size": 64}
        texts = [(e, e.target) for e in captions("val", 8, **options)]
        texts += [(e, e.question.solution) for e in generate("val", 8, **options) if e.question]
        for example, text in texts:
            found = claims(text, language, self.name)
            assert found, text
            assert all(check(claim, example.metadata["scene"]) for claim in found), text


def drawn(name: str, scene: dict[str, Any]) -> Any:
    """The picture of a scene as `(64, 64)` names: of the palette's colour that each pixel is, "" for any other."""
    canvas = Canvas(64, random.Random(0))
    FAMILIES[name].draw(canvas, scene)
    pixels = np.asarray(canvas.image(), dtype=int)
    names = np.full(pixels.shape[:2], "", dtype="<U8")
    for colour, rgb in canvas.palette.items():
        names[np.abs(pixels - rgb).max(-1) < 12] = colour
    return names


def answer(name: str, scene: dict[str, Any], kind: str, language: str = "en") -> str:
    """The right option of a question of this kind, in words."""
    family = FAMILIES[name]
    question = family.question(scene, family.ask(scene, kind, random.Random(0)), language)
    assert question.answer is not None
    return question.choices[question.answer]
