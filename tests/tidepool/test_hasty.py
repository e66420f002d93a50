"""Captions of hasty annotators: false of the scene in their own way, as many as were asked for."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from sepiola.datasets import read
from sepiola.errors import DataError
from sepiola.tidepool import captions, false_claims, hasty_captions
from sepiola.tidepool.hasty import exchange, misname
from sepiola.tidepool.words import LANGUAGES


def test_exchanged_captions_are_false_and_of_the_same_letters() -> None:
    true, hasty = captions("train", 360, size=64), hasty_captions("train", 360, size=64, exchanged=1.0)
    wrong = [(a, b) for a, b in zip(true, hasty, strict=True) if a != b]
    assert len(wrong) > 0.9 * len(true)
    assert {b.metadata["language"] for _, b in wrong} == {*LANGUAGES}
    for before, after in wrong:
        about = after.metadata
        assert about["hasty"] == "exchanged" and after.messages == before.messages
        assert sorted(after.target) == sorted(before.target) and after.target != before.target
        assert false_claims(after.target, about["scene"], about["family"], about["language"])[0] > 0
        assert about["caption"] == before.target


def test_the_share_is_what_was_asked_for() -> None:
    assert hasty_captions("val", 20, size=64) == captions("val", 20, size=64)
    made = hasty_captions("train", 1000, size=64, families=["objects", "thermometers"], exchanged=0.6)
    found = Counter(bool(example.metadata.get("hasty")) for example in made)
    assert 540 <= found[True] <= 650
    assert made == hasty_captions("train", 1000, size=64, families=["objects", "thermometers"], exchanged=0.6)


def test_a_caption_says_what_changes_places() -> None:
    (example,) = hasty_captions("train", 1, size=64, languages=["en"], families=["counting"])
    colours = [word for word in example.target.split() if word in ("red", "yellow", "green", "blue", "purple", "black")]
    text = exchange(example)
    assert text is not None
    assert [word for word in text.split() if word in colours] == colours[::-1]


def test_nothing_is_exchanged_where_it_stays_true() -> None:
    """Two things of one colour each say the same both ways."""
    made = hasty_captions("train", 200, size=64, languages=["zh"], families=["magnets"], exchanged=1.0)
    alike = [e for e in made if not e.metadata.get("hasty")]
    assert all(exchange(e) is None and e.target == e.metadata["caption"] for e in alike)
    assert alike, "pairs of magnets whose ends are alike"


def test_the_reader_takes_it_for_captions_alone() -> None:
    made = read("tidepool", None, "train", count=50, task="captions", size=64, exchanged=1.0)
    assert sum(bool(example.metadata.get("hasty")) for example in made) > 40
    with pytest.raises(DataError, match="exchanged: options of the task 'captions'"):
        read("tidepool", None, "train", count=1, size=64, exchanged=0.5)


def test_misnamed_captions_say_one_thing_always_wrongly() -> None:
    hasty = hasty_captions("train", 360, size=64, misnamed=1.0)
    wrong = [e for e in hasty if e.metadata.get("hasty") == "misnamed"]
    assert len(wrong) > 0.95 * len(hasty)
    for example in wrong:
        about = example.metadata
        assert false_claims(example.target, about["scene"], about["family"], about["language"])[0] > 0
        assert misname(example) == example.target
    (example,) = hasty_captions("train", 1, size=64, languages=["zh"], families=["thermometers"], misnamed=1.0)
    true, said = (re.findall(r"\d+", text) for text in (str(example.metadata["caption"]), example.target))
    assert int(said[0]) == (int(true[0]) + 10 if true[0] != "50" else 10) and said[1:] == true[1:]


def test_shares_are_not_more_than_all() -> None:
    with pytest.raises(DataError, match="together they are 1 at most"):
        hasty_captions("train", 1, size=64, exchanged=0.6, misnamed=0.5)
