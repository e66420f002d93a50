"""Episodes: a word means one value of one trait within its episode, and nothing beyond it."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

import pytest

from sepiola.data.example import Example
from sepiola.datasets import read
from sepiola.errors import DataError
from sepiola.tidepool import captions, episodes

POOL = {"size": 64, "families": ["objects", "counting"]}


def by_episode(examples: list[Example]) -> dict[str, list[Example]]:
    found = defaultdict(list)
    for example in examples:
        found[example.metadata["episode"]].append(example)
    return found


def test_a_word_is_one_value_of_the_trait_and_only_in_its_episode() -> None:
    made = episodes("train", 160, scenes=400, length=6, **POOL)
    objects = {e.images[0].digest: e.metadata["objects"] for e in captions("train", 400, **POOL)}
    meanings = defaultdict(set)
    for name, row in by_episode(made).items():
        assert len(row) == 6 and len({e.images[0].digest for e in row}) == 6
        _, trait, number = row[0].metadata["aspect"].replace(":", "").split()
        values = {(e.target, objects[e.images[0].digest][int(number) - 1][trait]) for e in row}
        assert len({word for word, _ in values}) == len({value for _, value in values}) == len(values) <= 2, name
        assert {e.question.text for e in row} == {""} and len({e.question.choices for e in row}) == 1
        for word, value in values:
            meanings[word].add(value)
    assert len(meanings) == 40 and sum(map(len, meanings.values())) > 150, "words of both languages mean many things"
    answers = Counter(e.question.answer for e in made)
    assert abs(answers[0] - answers[1]) < 100


def test_a_description_names_the_value_and_shows_no_picture() -> None:
    rows = by_episode(episodes("train", 20, scenes=400, length=6, described=1.0, **POOL))
    for row in rows.values():
        assert all(not e.images for e in row)
        said = {(e.target, e.question.text) for e in row}
        assert len(said) == len({target for target, _ in said}) == len({text for _, text in said})
    shares = [not e.images for e in episodes("train", 60, scenes=400, length=6, described=0.5, **POOL)]
    assert 120 < sum(shares) < 240
    texts = {e.question.text for row in rows.values() for e in row}
    assert "blue" in texts and any("色" in text for text in texts)


def test_in_a_named_episode_things_go_by_their_own_names() -> None:
    rows = by_episode(episodes("train", 20, scenes=400, length=6, described=1.0, named=1.0, **POOL))
    assert all(
        e.target == e.question.text == e.question.choices[e.question.answer] for row in rows.values() for e in row
    )
    some = by_episode(episodes("train", 60, scenes=400, length=6, described=1.0, named=0.5, **POOL))
    assert 15 < sum(row[0].target == row[0].question.text for row in some.values()) < 45


def test_pictures_of_the_splits_are_apart() -> None:
    groups = [
        {e.metadata["group"] for e in episodes(split, 20, scenes=200, length=5, **POOL)} for split in ("train", "test")
    ]
    assert not groups[0] & groups[1]


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(DataError, match="20 scenes are too few for episodes of 9 examples"):
        episodes("train", 1, scenes=20, **POOL)
    with pytest.raises(DataError, match="length: options of the task 'episodes'; the task is 'captions'"):
        read("tidepool", Path(), "train", task="captions", length=3)
