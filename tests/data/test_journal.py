"""The journal: whole lines alone are kept."""

from __future__ import annotations

from pathlib import Path

from sepiola.data.journal import Journal


def test_a_journal_keeps_whole_lines_alone(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "work.jsonl", {"a": 1})
    journal.add([{"id": "1", "text": "红"}])
    (tmp_path / "work.jsonl").open("ab").write('{"id": "2", "text": "绿'.encode()[:-1])
    again = Journal(tmp_path / "work.jsonl", {"a": 1})
    again.add([{"id": "3", "text": ""}])
    assert list(Journal(tmp_path / "work.jsonl", {"a": 1}).records) == ["1", "3"]
