"""The album: every kind of picture in both languages, its scenes those of its split."""

from __future__ import annotations

from collections import Counter

import pytest

from sepiola.errors import DataError
from sepiola.tidepool.phone import PICTURES, album, requests
from sepiola.tidepool.world import split_of


def test_pictures_and_languages_take_turns() -> None:
    made = album("train", 36)
    counts = Counter((e.metadata["family"], e.metadata["language"]) for e in made)
    assert set(counts) == {(name, language) for name in PICTURES for language in ("en", "zh")}
    assert set(counts.values()) == {2}
    for example in made:
        assert example.target == example.metadata["caption"] and example.metadata["objects"]
        assert split_of(example.metadata["group"]) == "train" and example.images[0].open().size == (64, 64)
    assert made == album("train", 36) and made != album("train", 36, seed=1)


def test_no_scene_is_one_of_another_split_in_requests() -> None:
    """An encoder that learns from the album has seen no picture of a held-out request."""
    learned = {e.metadata["group"] for e in album("train", 1800, size=64)}
    asked = {e.metadata["group"] for split in ("val", "test") for e in requests(split, 300, kinds=["picture"])}
    assert len(learned) > 1000 and not learned & asked


def test_unknown_pictures_are_refused() -> None:
    with pytest.raises(DataError, match="unknown phone picture 'boat'; known: receipt, poster"):
        album("train", 1, families=["boat"])
