"""A look at a dataset: a sheet of thumbnails with their questions, and counts of what the examples hold.

Chinese needs a font that has it. Pillow's own has none, so a few usual places and `fc-list` are searched;
when nothing is found the sheet says so at its head.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from sepiola.data.example import Example
from sepiola.errors import DataError
from sepiola.specs.base import Plain

CELL, MARGIN, THUMBNAIL, FONT_SIZE, LINE = 300, 12, 190, 15, 20  # pixels
TEXT_LINES = {"question": 4, "option": 2, "options": 10}
INK, GREY, GREEN, PAPER, FRAME = "#1b1b1b", "#6b6b6b", "#0a7a33", "#ffffff", "#d5d5d5"
CJK_START = 0x2E80  # from here on, lines may break between any two characters
QUANTILES = {"min": 0.0, "median": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}

# Fonts with both Latin and Chinese: Linux (Noto, WenQuanYi, Droid), macOS, Windows.
CJK_FONTS = [
    "/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/noto-cjk/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/google-noto-cjk/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/truetype/wqy/wqy-microhei.ttc",
    "/usr/share/fonts/truetype/droid/DroidSansFallbackFull.ttf",
    "/System/Library/Fonts/PingFang.ttc",
    "/System/Library/Fonts/Hiragino Sans GB.ttc",
    "/System/Library/Fonts/STHeiti Light.ttc",
    "C:/Windows/Fonts/msyh.ttc",
    "C:/Windows/Fonts/simsun.ttc",
]

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@cache
def cjk_font_path() -> str | None:
    """A font file that has Chinese; None when this machine has none."""
    for path in CJK_FONTS:
        if Path(path).is_file():
            return path
    try:
        # fc-match would answer with a Latin font when there is no Chinese one; fc-list answers with nothing.
        fonts = subprocess.run(
            ["fc-list", ":lang=zh-cn", "file"], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    files = sorted(line.strip().removesuffix(":") for line in fonts.stdout.splitlines() if line.strip())
    return next((file for file in files if Path(file).is_file()), None)


def contact_sheet(examples: Sequence[Example], path: Path, columns: int = 4, rows: int = 4) -> Path:
    """Writes a PNG of the first columns x rows examples: image, id, language, question, the right option
    marked.

    Returns `path`. Raises DataError when there is nothing to draw, the path cannot be written, or an image
    cannot be read.
    """
    path = Path(path)
    if columns < 1 or rows < 1:
        raise DataError(f"a sheet of {columns} columns and {rows} rows; expected at least 1 of each")
    shown = examples[: columns * rows]
    if not shown:
        raise DataError("no examples to draw; the split or the filter left none")
    font = _font()
    cells = [_cell(example, font) for example in shown]
    bands = [cells[start : start + columns] for start in range(0, len(cells), columns)]
    heights = [max(cell.height for cell in band) for band in bands]
    width = min(columns, len(cells)) * (CELL + MARGIN) + MARGIN
    note = _wrapped(_note(shown), font, width - 2 * MARGIN, 4)
    top = MARGIN + (len(note) * LINE + MARGIN if note != [""] else 0)
    sheet = Image.new("RGB", (width, top + sum(height + MARGIN for height in heights)), FRAME)
    for index, line in enumerate(note):
        ImageDraw.Draw(sheet).text((MARGIN, MARGIN + index * LINE), line, font=font, fill=INK)
    for band, height in zip(bands, heights, strict=True):
        for column, cell in enumerate(band):
            left = MARGIN + column * (CELL + MARGIN)
            sheet.paste(PAPER, (left, top, left + CELL, top + height))
            sheet.paste(cell, (left, top))
        top += height + MARGIN
    _write_png(sheet, path)
    return path


def counts(examples: Iterable[Example]) -> Plain:
    """What the examples hold, as plain JSON data.

    `rows`; rows by `split`, `language` and number of `images` and of `choices`; `groups`; `unknown`: for each
    part of a question and of the metadata the rows in which it is None; `characters`: quantiles of the length
    of each text that is known.
    """
    examples = list(examples)
    texts: dict[str, list[int]] = {}
    unknown: Counter[str] = Counter()
    for example in examples:
        parts: dict[str, str | None] = {"prompt": example.prompt, "target": example.target}
        if (question := example.question) is not None:
            answer = question.answer_text if question.answer is None else question.choices[question.answer]
            parts |= {"question": question.text, "answer": answer}
            parts |= {"hint": question.hint, "lecture": question.lecture, "solution": question.solution}
        unknown.update(key for key, value in example.metadata.items() if value is None)
        for name, text in parts.items():
            if text is None:
                unknown[name] += 1
            else:
                texts.setdefault(name, []).append(len(text))
    return {
        "rows": len(examples),
        "splits": _tally(example.metadata.get("split") for example in examples),
        "languages": _tally(example.metadata.get("language") for example in examples),
        "groups": len({example.metadata["group"] for example in examples if "group" in example.metadata}),
        "images": _tally(len(example.images) for example in examples),
        "choices": _tally(len(example.question.choices) if example.question else 0 for example in examples),
        "unknown": dict(unknown),
        "characters": {name: _quantiles(lengths) for name, lengths in texts.items()},
    }


def _tally(values: Iterable[object]) -> dict[str, int]:
    """How often each value stands, values in their order; None counts as "unknown"."""
    counter = Counter(values)
    ordered = sorted(counter, key=lambda value: (value is None, str(type(value)), value))
    return {"unknown" if value is None else str(value): counter[value] for value in ordered}


def _quantiles(lengths: list[int]) -> dict[str, int]:
    values = np.quantile(np.array(lengths), list(QUANTILES.values()), method="nearest")
    return {name: int(value) for name, value in zip(QUANTILES, values, strict=True)}


def _font() -> Font:
    path = cjk_font_path()
    return ImageFont.truetype(path, FONT_SIZE) if path else ImageFont.load_default(FONT_SIZE)


def _note(examples: Sequence[Example]) -> str:
    """A line for the sheet's head when it holds Chinese that no font here can draw."""
    if cjk_font_path() or not any(example.metadata.get("language") == "zh" for example in examples):
        return ""
    return "Chinese text is not drawn: no Chinese font on this machine (install one, for example fonts-noto-cjk)"


def _cell(example: Example, font: Font) -> Image.Image:
    """One example as a picture, CELL pixels wide and as high as it needs."""
    cell = Image.new("RGB", (CELL, CELL * 4), PAPER)
    draw = ImageDraw.Draw(cell)
    top = MARGIN
    if example.images:
        share = (CELL - 2 * MARGIN) // len(example.images)
        pictures = [ImageOps.contain(image.open(), (share, THUMBNAIL)) for image in example.images]
        height = max(picture.height for picture in pictures)
        for index, picture in enumerate(pictures):
            cell.paste(picture, (MARGIN + index * share + (share - picture.width) // 2, top))
        top += height + MARGIN
    for text, colour, limit in _lines(example):
        for line in _wrapped(text, font, CELL - 2 * MARGIN, limit):
            draw.text((MARGIN, top), line, font=font, fill=colour)
            top += LINE
    return cell.crop((0, 0, CELL, min(top + MARGIN, cell.height)))


def _lines(example: Example) -> list[tuple[str, str, int]]:
    """(text, colour, most lines) of each paragraph under the image."""
    known = [str(example.metadata[key]) for key in ("language", "split") if key in example.metadata]
    lines = [(" | ".join((example.id, *known)), GREY, 1)]
    question = example.question
    if question is None:
        return [*lines, (example.prompt, INK, 4), (example.target, GREEN, 4)]
    lines.append((question.text, INK, TEXT_LINES["question"]))
    if not question.choices:
        return [*lines, (f"> {question.answer_text or '?'}", GREEN, TEXT_LINES["option"])]
    shown = list(enumerate(question.choices))[: TEXT_LINES["options"]]
    if question.answer is not None and question.answer >= len(shown):
        shown[-1] = (question.answer, question.choices[question.answer])
    for index, choice in shown:
        right = index == question.answer
        lines.append((f"{'>' if right else '  '} {choice}", GREEN if right else INK, TEXT_LINES["option"]))
    if len(question.choices) > len(shown):
        lines.append((f"… {len(question.choices)} options", GREY, 1))
    return lines


def _wrapped(text: str, font: Font, width: int, limit: int) -> list[str]:
    """`text` broken into at most `limit` lines: at spaces, and between any two characters where no space
    helps."""
    lines: list[str] = []
    for paragraph in text.splitlines() or [""]:
        line = ""
        for piece in _pieces(paragraph, font, width):
            if line and font.getlength(line + piece) > width:
                lines.append(line.rstrip())
                line = piece.lstrip()
            else:
                line += piece
            if len(lines) > limit:
                break
        lines.append(line.rstrip())
    if len(lines) <= limit:
        return lines
    last = lines[limit - 1]
    while last and font.getlength(last + "…") > width:
        last = last[:-1]
    return [*lines[: limit - 1], last + "…"]


def _pieces(text: str, font: Font, width: int) -> list[str]:
    """Words with the space before them; Chinese, and words wider than `width`, character by character."""
    pieces: list[str] = []
    for character in text:
        joins = pieces and ord(character) < CJK_START and ord(pieces[-1][-1]) < CJK_START
        if joins and not character.isspace():
            pieces[-1] += character
        else:
            pieces.append(character)
    return [part for piece in pieces for part in ([piece] if font.getlength(piece) <= width else piece)]


def _write_png(sheet: Image.Image, path: Path) -> None:
    """Writes under a temporary name, then renames."""
    temporary = None
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".png.part", delete=False) as file:
            temporary = Path(file.name)
            sheet.save(file, format="PNG")
        os.chmod(temporary, 0o644)
        temporary.replace(path)
    except OSError as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        raise DataError(f"{path}: cannot write the sheet: {error.strerror}") from None
