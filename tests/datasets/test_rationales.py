"""Rationales beside a dataset stand in place of its own, and damaged files are named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sepiola.datasets import DataCache, read_spec
from sepiola.errors import DataError
from sepiola.specs.data import DataSpec


def written(path: Path, *records: object) -> str:
    path.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records), encoding="utf-8")
    return str(path)


def test_a_files_rationales_replace_those_of_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = read_spec(DataSpec(reader="tidepool", count=6))
    assert all(e.question is not None and e.question.solution for e in plain)
    first, second = plain[0].id, plain[1].id
    monkeypatch.setenv("TAUGHT", str(tmp_path))
    path = written(
        tmp_path / "cot.jsonl", {"id": first, "solution": "想一想。"}, {"id": second, "solution": "b", "lecture": "l"}
    )
    for name in (path, "$TAUGHT/cot.jsonl"):
        taught = read_spec(DataSpec(reader="tidepool", count=6, rationales=name))
        questions = [e.question for e in taught if e.question is not None]
        assert [(q.lecture, q.solution) for q in questions[:3]] == [(None, "想一想。"), ("l", "b"), (None, None)]
        assert [e.messages for e in taught] == [e.messages for e in plain]


def test_a_changed_file_is_changed_data(tmp_path: Path) -> None:
    identity = read_spec(DataSpec(reader="tidepool", count=1))[0].id
    spec = DataSpec(
        reader="tidepool", count=1, rationales=written(tmp_path / "r.jsonl", {"id": identity, "solution": "a"})
    )
    before = DataCache().digest(spec)
    written(tmp_path / "r.jsonl", {"id": identity, "solution": "b"})
    assert before and DataCache().digest(spec) != before


def test_data_without_rationales_are_written_as_ever() -> None:
    plain, taught = DataSpec(reader="tidepool"), DataSpec(reader="tidepool", rationales="r.jsonl")
    assert "rationales" not in plain.model_dump(mode="json") and plain.to_dict() == {"reader": "tidepool"}
    assert taught.to_dict() == {"reader": "tidepool", "rationales": "r.jsonl"}
    assert DataSpec.parse(taught.model_dump(mode="json")) == taught


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([{"id": "a"}], "line 1: the field 'solution' is missing"),
        ([{"solution": "x"}], "line 1: the field 'id' is missing"),
        ([{"id": "a", "solution": 3}], "'solution' is 3; expected str"),
        ([{"id": "a", "solution": "x", "lecture": []}], r"'lecture' is \[\]; expected str or null"),
        (
            [{"id": "a", "solution": "x"}, {"id": "a", "solution": "y"}],
            "line 2: the question 'a' has a rationale already",
        ),
        ([{"id": "a", "solution": "x"}], "has a rationale for none of the 2 examples"),
        ([], "has a rationale for none of the 2 examples"),
    ],
)
def test_what_is_no_rationale_is_named(records: list[object], message: str, tmp_path: Path) -> None:
    spec = DataSpec(reader="tidepool", count=2, rationales=written(tmp_path / "r.jsonl", *records))
    with pytest.raises(DataError, match=message):
        read_spec(spec)
    with pytest.raises(DataError, match="the environment variable is not set"):
        read_spec(DataSpec(reader="tidepool", count=2, rationales="$NOT_THERE/r.jsonl"))
