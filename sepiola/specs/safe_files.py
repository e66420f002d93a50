"""Text and JSON files from outside, checked before they are believed.

What is no regular file is not opened (a pipe would never end), nor is one that is absurdly large; text is UTF-8. Half a
character pair, which JSON, YAML and command lines can name and no file or tokenizer can hold, is refused where it comes
in. Every check raises the kind of error that its caller names, with the file.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from sepiola.errors import SepiolaError, brief

MOST_JSON = 1 << 26  # bytes of a configuration: the index of a model with half a million tensors
_HALF = re.compile("[\ud800-\udfff]")
_ESCAPED_HALF = re.compile(r"\\u[dD][89a-fA-F]")

Kind = type[SepiolaError]


def check_file(path: Path, kind: Kind, absent: str = "") -> None:
    """Raises `kind` when there is no such file (`absent` is the fix), or something else stands under its name."""
    if os.path.isfile(path):
        return
    name = brief(str(path))
    if os.path.isdir(path):
        raise kind(f"{name}: a folder; expected a file")
    if os.path.lexists(path):
        raise kind(f"{name}: not a regular file (a pipe, a device or a broken link); expected a file")
    raise kind(f"{name}: no such file{absent}")


def read_bytes(path: Path, kind: Kind, *, most: int | None = None, absent: str = "") -> bytes:
    """The bytes of a regular file of `most` bytes. Raises `kind` when they cannot be read."""
    check_file(path, kind, absent)
    try:
        size = path.stat().st_size
        if most is not None and size > most:
            raise kind(f"{path}: {size:,} bytes; expected a file of {most:,} at most")
        return path.read_bytes()
    except OSError as error:
        raise kind(f"{path}: cannot be read ({error.strerror})") from None


def read_text(path: Path, kind: Kind, *, most: int | None = None, absent: str = "") -> str:
    """The text of a file, its line ends as they are, a byte order mark left out. Raises `kind` as `read_bytes`."""
    try:
        return read_bytes(path, kind, most=most, absent=absent).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise kind(f"{path}: not UTF-8 text ({error.reason} at byte {error.start})") from None


def read_json(path: Path, kind: Kind, *, most: int | None = MOST_JSON, absent: str = "") -> object:
    """The data of a JSON file. Raises `kind` as `read_text` and `parse_json`."""
    return parse_json(read_text(path, kind, most=most, absent=absent), str(path), kind)


def parse_json(text: str, where: str, kind: Kind) -> object:
    """The data of JSON text.

    Raises `kind` for text that is none, nested without end, with a number of thousands of digits, or with half a
    character pair.
    """
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}" if "\n" in text else f"column {error.colno}"
        raise kind(f"{where}: not valid JSON at {place}: {error.msg}; fetch the file anew") from None
    except RecursionError:
        raise kind(f"{where}: not valid JSON (nested too deeply); fetch the file anew") from None
    except ValueError as error:  # a number of thousands of digits
        raise kind(f"{where}: not valid JSON ({error}); fetch the file anew") from None
    if _ESCAPED_HALF.search(text):
        check_whole_text(json.dumps(data, ensure_ascii=False), where, kind)
    return data


def check_whole_text(text: str, where: str, kind: Kind) -> None:
    """Raises `kind` for text with half a character pair, as of bytes that are no UTF-8 on a command line."""
    half = _HALF.search(text)
    if half is not None:
        before = brief(text[: half.start()][-20:])
        raise kind(
            f"{where}: holds half a character pair (\\u{ord(half.group()):04x} after {before!r}); such text is cut "
            "short, or no UTF-8: write it anew"
        )
