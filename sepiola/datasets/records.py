"""Reading raw records: JSON files and checked fields, with errors that name the file and the record."""

from __future__ import annotations

import gzip
import io
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sepiola.errors import DataError, brief, shown
from sepiola.specs.base import Plain
from sepiola.specs.safe_files import parse_json, read_bytes, read_text

MOST_UNZIPPED, MOST_RATIO = 1 << 28, 100  # bytes that any gzipped file may hold, and times its own length


def existing_folder(root: Path, dataset: str) -> Path:
    """`root` as a Path. Raises DataError when it is no folder."""
    root = Path(root)
    if not os.path.isdir(root):
        raise DataError(f"{brief(str(root))}: no such folder; give the folder that holds {dataset}")
    return root


def read_json(path: Path) -> Any:
    """The data of a JSON file. Raises DataError when it is absent or damaged."""
    return parse_json(read_file(path), str(path), DataError)


def json_lines(path: Path, *fields: str) -> list[Plain]:
    """The records of a JSONL file. Raises DataError when it cannot be read, or a record lacks one of the fields."""
    records = []
    for number, line in enumerate(read_file(path).split("\n"), start=1):
        if not line.strip():
            continue
        record = parse_json(line, f"{path}, line {number}", DataError)
        if not isinstance(record, dict):
            raise DataError(f"{path}, line {number}: expected an object, got {shown(record)}")
        missing = [name for name in fields if name not in record]
        if missing:
            raise DataError(f"{path}, line {number}: the field '{missing[0]}' is missing")
        records.append(record)
    return records


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
    if path.suffix != ".gz":
        return read_text(path, DataError)
    packed = read_bytes(path, DataError)
    most = max(MOST_UNZIPPED, MOST_RATIO * len(packed))
    try:
        with gzip.open(io.BytesIO(packed)) as file:
            data = file.read(most + 1)
        if len(data) > most:
            raise DataError(f"{path}: {len(packed):,} bytes hold more than {most:,}: a decompression bomb, not read")
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start})") from None
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}; fetch it anew") from None
