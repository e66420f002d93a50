"""The contact sheet is a picture of what it shows, in Chinese too, and the counts are right."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sepiola.data import preview
from sepiola.data.example import Example, Message, Question
from sepiola.data.image import ImageRef
from sepiola.data.preview import CELL, MARGIN, cjk_font_path, contact_sheet, counts
from sepiola.errors import DataError

RED, GREEN = (255, 0, 0), (10, 122, 51)


def example(text: str = "What is it?", answer: int | None = 1, images: int = 1, language: str = "en") -> Example:
    question = Question(text, choices=("wood", "iron"), answer=answer, hint="", solution=None)
    pictures = tuple(ImageRef.of(Image.new("RGB", (60, 30), RED)) for _ in range(images))
    metadata = {"split": "train", "language": language, "group": text, "subject": None}
    return Example("id-1", (Message("user", (*pictures, text)),), "iron", question, metadata)


def drawn(path: Path, colour: tuple[int, int, int]) -> int:
    """How many pixels have that colour."""
    with Image.open(path) as sheet:
        return int((np.asarray(sheet) == colour).all(axis=-1).sum())


def test_a_sheet_shows_images_and_marks_the_right_option(tmp_path: Path) -> None:
    path = contact_sheet([example()] * 5, tmp_path / "sheet.png", columns=3)
    with Image.open(path) as sheet:
        assert sheet.format == "PNG" and sheet.width == 3 * (CELL + MARGIN) + MARGIN
    thumbnail = (CELL - 2 * MARGIN) * (CELL - 2 * MARGIN) // 2
    assert drawn(path, RED) == 5 * thumbnail
    assert drawn(path, GREEN) > 0
    assert [file.name for file in tmp_path.iterdir()] == ["sheet.png"]
    unmarked = contact_sheet([example(answer=None)], tmp_path / "unmarked.png")
    assert drawn(unmarked, GREEN) == 0


def test_columns_and_rows_bound_the_sheet(tmp_path: Path) -> None:
    path = contact_sheet([example()] * 9, tmp_path / "sheet.png", columns=2, rows=1)
    with Image.open(path) as sheet:
        assert sheet.width == 2 * (CELL + MARGIN) + MARGIN and sheet.height < 2 * CELL


def test_chinese_is_drawn_with_a_chinese_font(tmp_path: Path) -> None:
    if cjk_font_path() is None:
        pytest.skip("no Chinese font on this machine")
    sheets = [
        np.asarray(Image.open(contact_sheet([example(text, language="zh")], tmp_path / f"{index}.png")))
        for index, text in enumerate(("磁铁在哪里", "弹簧在哪里"))
    ]
    # A font without Chinese draws the same empty box for every character.
    assert (sheets[0] != sheets[1]).any()


def test_without_a_chinese_font_the_sheet_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preview, "cjk_font_path", lambda: None)
    heights = {}
    for language in ("en", "zh"):
        path = contact_sheet([example("磁铁", language=language)], tmp_path / f"{language}.png")
        with Image.open(path) as sheet:
            heights[language] = sheet.height
    assert heights["zh"] > heights["en"]


def test_fonts_are_searched_where_no_known_path_exists(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preview, "CJK_FONTS", ["/nowhere/font.ttc"])
    found = preview.cjk_font_path.__wrapped__()
    assert found is None or Path(found).is_file()
    monkeypatch.setenv("PATH", "/nowhere")
    assert preview.cjk_font_path.__wrapped__() is None


@pytest.mark.parametrize("text", ["", "a" * 900, "磁" * 900, "line\n" * 50, "word " * 300])
def test_long_texts_stay_inside_their_lines(text: str) -> None:
    font = preview._font()
    lines = preview._wrapped(text, font, 200, 4)
    assert len(lines) <= 4 and all(font.getlength(line) <= 200 for line in lines)
    assert (text.strip() == "") or lines[-1].endswith("…")


def test_wrapping_loses_no_word() -> None:
    text = "Which of these magnets attracts 弹簧和磁铁 the most, and why?"
    lines = preview._wrapped(text, preview._font(), 120, 20)
    assert len(lines) > 2 and "".join(lines).replace(" ", "") == text.replace(" ", "")


def test_every_kind_of_example_is_drawn(tmp_path: Path) -> None:
    many = Question("Which?", choices=tuple(f"option {i}" for i in range(30)), answer=29)
    shown = [
        example(images=0),
        example(images=3),
        Example("open", (Message("user", ("What?",)),), "red", Question("What?", answer_text="red")),
        Example("chat", (Message("user", ("Hello",)), Message("user", ("there",))), "Hi"),
        Example("many", (Message("user", ("Which?",)),), "option 29", many),
    ]
    assert drawn(contact_sheet(shown, tmp_path / "sheet.png"), GREEN) > 0


def test_what_cannot_be_drawn_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no examples to draw"):
        contact_sheet([], tmp_path / "sheet.png")
    with pytest.raises(DataError, match="at least 1"):
        contact_sheet([example()], tmp_path / "sheet.png", columns=0)
    with pytest.raises(DataError, match="cannot write the sheet"):
        contact_sheet([example()], tmp_path / "gone" / "sheet.png")
    lost = Example("x", (Message("user", (ImageRef(path=tmp_path / "lost.png"),)),), "")
    with pytest.raises(DataError, match=r"lost\.png"):
        contact_sheet([lost], tmp_path / "sheet.png")
    assert list(tmp_path.iterdir()) == []


def test_counts() -> None:
    rows = [example(), example("磁铁？", images=2, language="zh"), example(answer=None)]
    rows.append(Example("chat", (Message("user", ("Hi",)),), "Hello"))
    told = counts(rows)
    assert told["rows"] == 4 and told["groups"] == 2
    assert told["splits"] == {"train": 3, "unknown": 1}
    assert told["languages"] == {"en": 2, "zh": 1, "unknown": 1}
    assert told["images"] == {"0": 1, "1": 2, "2": 1} and told["choices"] == {"0": 1, "2": 3}
    assert told["unknown"] == {"subject": 3, "lecture": 3, "solution": 3, "answer": 1}
    assert told["characters"]["question"] == {"min": 3, "median": 11, "p90": 11, "p99": 11, "max": 11}
    assert told["characters"]["hint"]["max"] == 0 and "lecture" not in told["characters"]
    assert json.loads(json.dumps(told)) == told
    assert counts([])["rows"] == 0
