"""Metrics of a run: `metrics.jsonl`, one JSON object a line, and TensorBoard for those who want it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sepiola.errors import DataError
from sepiola.specs.base import Plain

Value = float | int | str | None


class MetricsLog:
    """Appends to `folder/metrics.jsonl`. After a resume at `step`, lines of later steps are dropped: none
    stands twice.
    """

    def __init__(self, folder: Path, step: int | None, *, tensorboard: bool = False) -> None:
        self.path = folder / "metrics.jsonl"
        folder.mkdir(parents=True, exist_ok=True)
        before = read_metrics(self.path) if step is not None and self.path.exists() else []
        kept = [line for line in before if line["step"] <= (step or 0)]
        partial = self.path.with_name(f".{self.path.name}.{os.getpid()}.partial")
        partial.write_text("".join(_line(k) for k in kept), encoding="utf-8")
        os.replace(partial, self.path)
        self.resumed = bool(kept)
        self._file = self.path.open("a", encoding="utf-8")
        self._board = _board(folder / "tensorboard", step) if tensorboard else None

    def write(self, line: Mapping[str, Value]) -> None:
        """One line; it must have a `step`."""
        self._file.write(_line(line))
        self._file.flush()
        if self._board is not None:
            for name, value in line.items():
                if isinstance(value, (int, float)) and name != "step":
                    self._board.add_scalar(name, value, line["step"])

    def close(self) -> None:
        """Closes the files."""
        self._file.close()
        if self._board is not None:
            self._board.close()


def read_metrics(path: Path) -> list[Plain]:
    """The lines of a metrics.jsonl. A last line that a stopped run left half written is dropped.

    Raises DataError when the file is absent or another line is not a JSON object.
    """
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise DataError(f"{path}: cannot read the metrics: {error.strerror}") from None
    records = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError:
            if number == len(lines):
                break
            raise DataError(f"{path}, line {number}: not JSON; expected one object a line") from None
        if not isinstance(record, dict):
            raise DataError(f"{path}, line {number}: expected an object with 'step' and 'loss', got {line[:40]!r}")
        records.append(record)
    return records


def _line(values: Mapping[str, Value]) -> str:
    return json.dumps(dict(values), ensure_ascii=False) + "\n"


def _board(folder: Path, step: int | None) -> Any:
    """TensorBoard's writer, or None where it is not installed (the extra `train`); the JSON lines hold the
    same.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder), purge_step=step)
