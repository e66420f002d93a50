"""The front door of a checkpoint folder: its files, each checked before it is believed (`sepiola.specs.safe_files`)."""

from __future__ import annotations

from pathlib import Path

from sepiola.checkpoints.config import JSON
from sepiola.errors import CheckpointError
from sepiola.specs import safe_files

_ABSENT = "; fetch or save the checkpoint again"


def check_file(path: Path) -> None:
    """Raises CheckpointError when there is no such file, or something else stands under its name."""
    safe_files.check_file(path, CheckpointError, _ABSENT)


def read_json(path: Path) -> JSON:
    """The object of a JSON file. Raises CheckpointError when it is absent or holds anything else."""
    raw = safe_files.read_json(path, CheckpointError, absent=_ABSENT)
    if not isinstance(raw, dict):
        raise CheckpointError(f"{path}: expected a JSON object with keys and values, got {type(raw).__name__}")
    return raw
