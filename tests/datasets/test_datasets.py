"""The readers on the real datasets, on small folders in each layout, and on each fault they name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sepiola.datasets import DATASETS, read_spec
from sepiola.errors import DataError
from sepiola.specs.data import DataSpec
from tests.tiny import read_fault


@pytest.mark.parametrize(
    ("name", "option", "message"),
    [
        ("tidepool", {"size": "abc"}, "size: input should be a valid integer"),
        ("tidepool", {"size": 1_000_000_000}, "size: input should be less than or equal to 2048"),
        ("tidepool", {"size": 8}, "size: input should be greater than or equal to 64"),
        ("tidepool", {"languages": 5}, "languages: input should be an instance of Sequence, got 5"),
        ("tidepool", {"languages": ["en", "en"]}, "languages: expected each once, got ['en', 'en']"),
        ("tidepool", {"families": [[]]}, "families[0]: expected a text, got []"),
        ("tidepool", {"task": []}, "task: expected a text, got []"),
        ("tidepool", {"count": 1.5}, "count: input should be a valid integer"),
        ("tidepool", {"count": True}, "'count' is True; expected a number"),
        ("tidepool", {"seed": -1}, "seed: input should be greater than or equal to 0"),
        ("tidepool", {"described": 2}, "described: input should be less than or equal to 1"),
        ("tidepool", {"kinds": []}, "kinds: expected a list of at least 1, got []"),
        ("tidepool", {"root": 1}, "no option 'root'; known: count, seed"),
        ("tidepool", {"split": 1}, "no option 'split'; known: count, seed"),
        ("pope", {"most": -1}, "most: input should be greater than or equal to 1"),
        ("pope", {"settings": []}, "settings: expected a list of at least 1, got []"),
        ("text", {"characters": "x"}, "characters: input should be a valid integer"),
        ("text", {"held_out": 0}, "held_out: input should be greater than or equal to 3"),
        ("scienceqa", {"with_image": "x"}, "with_image: input should be a valid boolean"),
        ("daquar", {"size": 3}, "no option 'size'; it takes none"),
    ],
)
def test_options_are_checked_before_anything_is_read(name: str, option: dict[str, object], message: str) -> None:
    with pytest.raises(DataError) as error:
        read_spec(DataSpec(reader=name, root="/nowhere", options=option))
    assert f"of '{name}'" in str(error.value) and message in str(error.value)


def test_unknown_names_are_refused_with_the_known_ones(tmp_path: Path) -> None:
    assert "did you mean 'scienceqa'?" in read_fault("scienceq", tmp_path, "train")
    assert "no option 'images'; known: with_image" in read_fault("scienceqa", tmp_path, "train", images=1)
    assert "it takes none" in read_fault("daquar", tmp_path, "train", images=1)
    for name in DATASETS:
        message = read_fault(name, tmp_path, "third")
        assert re.search("split 'third'; known: (train|test)", message)


def test_phone_requests_are_a_task_of_tidepool() -> None:
    spec = DataSpec(
        reader="tidepool", count=3, options={"task": "phone", "kinds": ["text"], "families": ["send_email"]}
    )
    assert [e.metadata["calls"][0]["name"] for e in read_spec(spec)] == ["send_email"] * 3
    for options, message in (
        ({"kinds": ["text"]}, "kinds: options of the task 'phone'; the task is 'questions'"),
        ({"task": "phone", "length": 3}, "length: options of the task 'episodes'; the task is 'phone'"),
        ({"task": "phone", "kinds": ["chat"]}, "unknown kind of phone request 'chat'"),
    ):
        with pytest.raises(DataError, match=message):
            read_spec(DataSpec(reader="tidepool", count=3, options=options))
