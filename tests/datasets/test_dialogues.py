"""Dialogues of several datasets with ratings of their own texts: what is wrong, and why, and of which split."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from sepiola.data.example import Example
from sepiola.datasets import DATASETS, DataCache, read
from sepiola.specs.data import DataSpec
from tests.datasets.test_cdial import folder as cdial
from tests.datasets.test_diasafety import folder as diasafety
from tests.tiny import read_fault

SOURCES: list[dict[str, Any]] = [{"reader": "diasafety", "folder": "en"}, {"reader": "cdial", "folder": "zh"}]


def root(path: Path) -> Path:
    for name, make in (("en", diasafety), ("zh", cdial)):
        (path / name).mkdir(exist_ok=True)
        make(path / name)
    return path


def by_way(examples: list[Example], name: str) -> dict[str, list[Example]]:
    ways: dict[str, list[Example]] = {}
    for example in examples:
        if name in example.metadata.get("rated_by", {}):
            ways.setdefault(example.metadata["rated_by"][name], []).append(example)
    return ways


def test_sources_stand_one_after_the_other_and_keep_their_ratings(tmp_path: Path) -> None:
    examples = read("dialogues", root(tmp_path), "train", sources=SOURCES, rate=[])
    assert [e.metadata.get("ratings") for e in examples] == [{"SAFE": 1}, None, None, None]
    some = [{**SOURCES[0], "count": 1, "split": {"train": "test"}}]
    (one,) = read("dialogues", tmp_path, "train", sources=some)
    assert one.target == "Leave me"
    spec = DataSpec(reader="dialogues", root=str(tmp_path), options={"sources": SOURCES})
    assert not DATASETS["dialogues"].drawn and DataCache().digest(spec)  # so that a run knows when its data change


def test_a_source_says_whether_its_requests_are_harmful(tmp_path: Path) -> None:
    sources = [{**SOURCES[0], "harmful": True}, {**SOURCES[1], "harmful": False}]
    examples = read("dialogues", root(tmp_path), "train", sources=sources, rate=[])
    assert [e.metadata["harmful"] for e in examples] == [True, False, False, False]
    assert examples[0].metadata["ratings"] == {"SAFE": 1}
    bare = read("dialogues", tmp_path, "train", sources=SOURCES, rate=[])
    assert not any("harmful" in e.metadata for e in bare)


def test_faults_are_named(tmp_path: Path) -> None:
    assert "unknown dataset 'cdail'" in read_fault("dialogues", root(tmp_path), "train", sources=[{"reader": "cdail"}])
    text = [{"reader": "text", "folder": "."}]
    (tmp_path / "a.txt").write_text("Once upon a time.", encoding="utf-8")
    assert "expected a dialogue" in read_fault("dialogues", tmp_path, "train", sources=text)


def test_the_real_turns_are_rated_by_what_is_said(data_root: Path) -> None:
    sources = [{"reader": "diasafety", "folder": "diasafety"}, {"reader": "cdial", "folder": "cdial_gpt_toy"}]
    examples = read("dialogues", data_root / "align", "test", sources=sources)
    assert examples == read("dialogues", data_root / "align", "test", sources=sources)
    assert len({e.id for e in examples}) == len(examples)
    true = {(e.prompt, e.target) for s in sources for e in read(s["reader"], data_root / "align" / s["folder"], "test")}
    sensible, specific = by_way(examples, "SENSIBLE"), by_way(examples, "SPECIFIC")
    assert {*sensible} == {"followed", "elsewhere", "misplaced"} and {*specific} == {"says something", "generic"}
    targets = {target for _, target in true}
    for way, rows in (*sensible.items(), *specific.items()):
        right = way in ("followed", "says something")
        assert all(((e.prompt, e.target) in true) is right for e in rows if way != "generic")
        assert {e.metadata["ratings"]["SENSIBLE" if way in sensible else "SPECIFIC"] for e in rows} == {int(right)}
        assert way == "generic" or {e.target for e in rows} <= targets | {m.text for e in examples for m in e.messages}
    assert len(sensible["followed"]) == len(true) and len(specific["generic"]) > 500
    counts = Counter(e.metadata["ratings"].get("SAFE") for e in examples if "SAFE" in e.metadata.get("ratings", {}))
    assert counts == {1: 593, 0: 501}  # and a turn that people find unsafe did follow too
    assert sum(e.metadata["ratings"].get("SAFE") == 0 for e in sensible["followed"]) == 501
