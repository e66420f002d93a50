"""The front door of a checkpoint folder: its JSON files, each checked before it is believed.

A folder comes from anywhere. What is no regular file is not opened (a pipe would never end), and what is no JSON
object, too large or nested too deeply is one message.
"""

from __future__ import annotations

import json
from pathlib import Path

from sepiola.checkpoints.config import JSON
from sepiola.errors import CheckpointError

MAX_JSON = 1 << 26  # bytes: the index of a model with half a million tensors


def check_file(path: Path) -> None:
    """Raises CheckpointError when there is no such file, or something else stands under its name."""
    if path.is_file():
        return
    if path.is_dir():
        raise CheckpointError(f"{path}: a folder; expected a file")
    if path.exists():
        raise CheckpointError(f"{path}: not a regular file (a pipe or a device); expected a file")
    raise CheckpointError(f"{path}: no such file; fetch or save the checkpoint again")


def read_json(path: Path) -> JSON:
    """The object of a JSON file. Raises CheckpointError when it is absent or holds anything else."""
    check_file(path)
    if path.stat().st_size > MAX_JSON:
        raise CheckpointError(f"{path}: {path.stat().st_size:,} bytes; expected a JSON file of {MAX_JSON:,} at most")
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise CheckpointError(f"{path}: not valid JSON ({error}); fetch it again") from None
    except RecursionError:
        raise CheckpointError(f"{path}: not valid JSON (nested too deeply); fetch it again") from None
    if not isinstance(raw, dict):
        raise CheckpointError(f"{path}: expected a JSON object with keys and values, got {type(raw).__name__}")
    return raw
