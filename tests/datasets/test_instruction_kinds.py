"""Five kinds of instruction out of small folders in their sources' layouts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sepiola.datasets import read
from sepiola.datasets.instruction_kinds import WORDS
from sepiola.errors import DataError
from tests.datasets.folders import instruction_sources

DATA = os.environ.get("SEPIOLA_DATA")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return instruction_sources(tmp_path)


def test_every_kind_is_there_in_both_languages_and_no_source_is_in_two_splits(root: Path) -> None:
    groups = []
    for split in ("train", "val", "test"):
        examples = read("instruction_kinds", root, split, each=6)
        cells = {(e.metadata["kind"], e.metadata["language"]) for e in examples}
        assert cells == {(kind, language) for kind in WORDS for language in ("en", "zh")}
        assert all(
            e.target and e.prompt.startswith(WORDS[e.metadata["kind"]][e.metadata["language"]]) for e in examples
        )
        groups.append({e.metadata["group"] for e in examples})
    assert not (groups[0] & groups[1] or groups[0] & groups[2] or groups[1] & groups[2])


def test_what_each_kind_asks_and_wants(root: Path) -> None:
    def first(kind: str, language: str, split: str = "train") -> tuple[str, str]:
        example = read("instruction_kinds", root, split, kinds=[kind], languages=[language], each=1)[0]
        return example.prompt, example.target

    prompt, target = first("translation", "en")
    assert prompt.startswith("Translate into Chinese:\n") and target.endswith("译。")
    prompt, target = first("translation", "zh", "test")
    assert prompt.startswith("翻译成英文：\n狗") and "dog" in target
    for language in ("en", "zh"):
        prompt, target = first("entities", language)
        assert all(pair.partition(": ")[2] in prompt for pair in target.split("; "))
    prompt, target = first("comprehension", "zh")
    assert target in prompt and "长" not in prompt, "only the sentences around the answer are read"
    assert first("comprehension", "en")[0].endswith("red / blue") and first("comprehension", "en")[1] == "red"
    assert first("classification", "en")[1] == "play music"


def test_what_is_unknown_or_missing_is_named(root: Path) -> None:
    for options, message in (({"kinds": ["poetry"]}, "kinds: got .*poetry"), ({"languages": ["fr"]}, "languages: got")):
        with pytest.raises(DataError, match=message):
            read("instruction_kinds", root, "train", **options)
    (root / "cmrc2018" / "cmrc2018_dev.json").unlink()
    with pytest.raises(DataError, match=r"cmrc2018_dev\.json: no such file"):
        read("instruction_kinds", root, "train", kinds=["comprehension"], languages=["zh"])


@pytest.mark.skipif(not DATA, reason="no $SEPIOLA_DATA: the sources of instructions")
def test_real_sources_have_no_item_in_two_splits() -> None:
    options = {"kinds": ["comprehension"], "languages": ["zh"], "each": 300}
    train, test = (read("instruction_kinds", Path(DATA or ""), split, **options) for split in ("train", "test"))
    assert len(train) == len(test) == 300
    assert not {e.metadata["group"] for e in train} & {e.metadata["group"] for e in test}
