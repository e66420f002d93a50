"""Plain text for tokenizers: files read as passages, each in one language, some of them held out.

A passage is a run of whole lines of a thousand characters or a little more, line ends and all. Whether it is held out
hangs on its own words (a hash), so the same text is held out wherever it stands.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from sepiola.errors import DataError
from sepiola.specs.safe_files import parse_json

SUFFIXES = (".txt", ".txt.gz", ".jsonl", ".jsonl.gz")
PASSAGE = 1000  # characters
HELD_OUT = 50  # one passage in so many


def text_files(paths: Iterable[Path]) -> list[Path]:
    """The files named, and those of a known kind in the folders named, at any depth. Raises DataError for none."""
    files: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            inside = [p for p in sorted(path.rglob("*")) if p.is_file() and p.name.endswith(SUFFIXES)]
            if not inside:
                raise DataError(f"{path}: no text in this folder; expected files that end in {', '.join(SUFFIXES)}")
            files |= dict.fromkeys(inside)
        elif not path.is_file():
            raise DataError(f"{path}: no such file or folder")
        elif not path.name.endswith(SUFFIXES):
            raise DataError(f"{path}: not a kind of text that is read; expected a name in {', '.join(SUFFIXES)}")
        else:
            files[path] = None
    return list(files)


def passages(file: Path) -> Iterator[str]:
    """A file's passages; of a `.jsonl`, each record's `text` is cut by itself. Raises DataError for a damaged file."""
    try:
        with _open(file) as lines:
            if ".jsonl" in file.suffixes:
                for number, line in enumerate(lines, 1):
                    yield from gathered(_text_of(line, f"{file}:{number}").splitlines(keepends=True), PASSAGE)
            else:
                yield from gathered(lines, PASSAGE)
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: not UTF-8 text ({error.reason} at byte {error.start}); convert it to UTF-8") from None
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{file}: cannot be read ({error}); fetch it again") from None


def held_out(passage: str) -> bool:
    """Whether training leaves this passage out, so that a tokenizer can be measured on it: one in fifty."""
    return int.from_bytes(hashlib.sha256(passage.encode()).digest()[:4]) % HELD_OUT == 0


def _open(file: Path) -> IO[str]:
    opened = gzip.open if file.suffix == ".gz" else open
    return opened(file, "rt", encoding="utf-8-sig", newline="")


def gathered(parts: Iterable[str], characters: int, between: str = "") -> Iterator[str]:
    """Runs of parts, each of so many characters or a little more, joined by `between`; the last one may be shorter."""
    run: list[str] = []
    length = 0
    for part in parts:
        run.append(part)
        length += len(part)
        if length >= characters:
            yield between.join(run)
            run, length = [], 0
    if run:
        yield between.join(run)


def _text_of(line: str, where: str) -> str:
    record = parse_json(line, where, DataError)
    if not isinstance(record, dict) or "text" not in record:
        raise DataError(f"{where}: expected one JSON object a line with the field 'text'")
    text = record["text"]
    if not isinstance(text, str):
        raise DataError(f"{where}: 'text' is {type(text).__name__}, expected a text")
    return text
