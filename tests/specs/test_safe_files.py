"""Files from outside are opened and believed only when they are what they should be."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sepiola.errors import CheckpointError, DataError, SpecError
from sepiola.specs.base import read_yaml
from sepiola.specs.safe_files import check_file, check_whole_text, parse_json, read_json, read_text


def test_what_is_no_file_is_named_and_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for path, fault in {
        tmp_path: "a folder; expected a file",
        tmp_path / "pipe": "not a regular file",
        tmp_path / "link": "not a regular file",
        tmp_path / "loop": "not a regular file",
        Path("/dev/zero"): "not a regular file",
        tmp_path / "absent": "no such file; fetch it",
        tmp_path / ("x" * 5000): "no such file; fetch it",
        tmp_path / "a\0b": "no such file; fetch it",
        tmp_path / "pipe" / "x": "no such file; fetch it",
    }.items():
        with pytest.raises(CheckpointError, match=fault):
            check_file(path, CheckpointError, "; fetch it")
    with pytest.raises(SpecError, match="not a regular file"):
        read_yaml(tmp_path / "pipe")


def test_a_file_is_of_bounded_size_and_utf8(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"\xef\xbb\xbfa\r\n")
    assert read_text(tmp_path / "a", DataError) == "a\r\n"
    with pytest.raises(DataError, match="6 bytes; expected a file of 5 at most"):
        read_text(tmp_path / "a", DataError, most=5)
    (tmp_path / "a").write_bytes(b"ok \xff")
    with pytest.raises(DataError, match=r"a: not UTF-8 text \(invalid start byte at byte 3\)"):
        read_text(tmp_path / "a", DataError)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("{", "not valid JSON at column 2"),
        ("[" * 100_000, "nested too deeply"),
        ("9" * 5000, "not valid JSON"),
        (r'{"a": ["b\ud800"]}', r"half a character pair \(\\ud800 after .*b'\)"),
        (r'{"\uDFFFa": 1}', "half a character pair"),
    ],
)
def test_json_that_nobody_means_is_refused(text: str, fault: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=f"a.json: .*{fault}"):
        read_json(tmp_path / "a.json", DataError)


def test_whole_pairs_and_escaped_backslashes_are_text() -> None:
    assert parse_json(r'["😀", "耳乌贼", "\\ud800"]', "x", DataError) == ["\N{GRINNING FACE}", "耳乌贼", r"\ud800"]
    check_whole_text("耳乌贼 \N{GRINNING FACE}", "x", DataError)


def test_yaml_escapes_name_no_half_of_a_pair(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(r"a: 1" + "\n" + r'description: "x\ud83d"', encoding="utf-8")
    with pytest.raises(SpecError, match=r"holds half a character pair \(line 2, column 14\)"):
        read_yaml(tmp_path / "r.yaml")
