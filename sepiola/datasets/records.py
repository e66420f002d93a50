"""Reading raw records: JSON files and checked fields, with errors that name the file and the record."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sepiola.errors import DataError, brief, shown
from sepiola.specs.base import Plain


def existing_folder(root: Path, dataset: str) -> Path:
    """`root` as a Path. Raises DataError when it is no folder."""
    root = Path(root)
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; give the folder that holds {dataset}")
    return root


def read_json(path: Path) -> Any:
    """The data of a JSON file. Raises DataError when it is absent or damaged."""
    return _json(read_file(path), str(path))


def json_lines(path: Path, *fields: str) -> list[Plain]:
    """The records of a JSONL file. Raises DataError when it cannot be read, or a record lacks one of the fields."""
    records = []
    for number, line in enumerate(read_file(path).split("\n"), start=1):
        if not line.strip():
            continue
        record = _json(line, f"{path}, line {number}")
        if not isinstance(record, dict):
            raise DataError(f"{path}, line {number}: expected an object, got {shown(record)}")
        missing = [name for name in fields if name not in record]
        if missing:
            raise DataError(f"{path}, line {number}: the field '{missing[0]}' is missing")
        records.append(record)
    return records


def _json(text: str, where: str) -> Any:
    """The data of JSON text. Raises DataError for text that is none, and for nesting or a number without end."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}" if "\n" in text else f"column {error.colno}"
        raise DataError(f"{where}: damaged JSON at {place}: {error.msg}; fetch the file anew") from None
    except (RecursionError, ValueError) as error:  # of thousands of levels, of thousands of digits
        raise DataError(f"{where}: JSON that no dataset holds ({error})") from None


def read_lines(path: Path) -> list[str]:
    """The lines of a text file that are not blank, stripped. Raises DataError when it cannot be read."""
    return [line.strip() for line in read_file(path).splitlines() if line.strip()]


def field(record: Mapping[str, object], key: str, kinds: tuple[type, ...], where: str) -> Any:
    """`record[key]`. Raises DataError when the field is missing or of another type than `kinds`."""
    if key not in record:
        raise DataError(f"{where}: the field '{key}' is missing")
    value = record[key]
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        expected = " or ".join("null" if kind is type(None) else kind.__name__ for kind in kinds)
        raise DataError(f"{where}: '{key}' is {shown(value)}; expected {expected}")
    return value


def one_of(split: str, known: list[str], dataset: str) -> str:
    """`split` itself. Raises DataError when the dataset has no such split."""
    if split not in known:
        raise DataError(f"{dataset} has no split '{brief(split)}'; known: {', '.join(known)}")
    return split


def read_file(path: Path) -> str:
    """A file of UTF-8 text, plain or gzipped (`.gz`), a byte order mark left out. Raises DataError when it is none."""
    try:
        if path.exists() and not path.is_file():
            raise DataError(f"{path}: no file; expected one of text")
        data = path.read_bytes()
        return (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start})") from None
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise DataError(f"{path}: cannot read the file: {getattr(error, 'strerror', None) or error}") from None
