"""Metrics of a run: `metrics.jsonl`, one JSON object a line, and TensorBoard for those who want it."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from sepiola.data.files import make_folder, no_links, write_text
from sepiola.errors import CheckpointError, DataError
from sepiola.specs.base import Plain

log = logging.getLogger(__name__)

Value = float | int | str | None


class MetricsLog:
    """Appends to `folder/metrics.jsonl`. After a resume at `step`, lines of later steps are dropped: none
    stands twice.

    What cannot be written ends no training: a warning says so once, lines wait until there is room, and TensorBoard
    goes without them.
    """

    def __init__(self, folder: Path, step: int | None, *, tensorboard: bool = False) -> None:
        self.path = folder / "metrics.jsonl"
        before = read_metrics(self.path) if step is not None and self.path.exists() else []
        kept = [line for line in before if line["step"] <= (step or 0)]
        self.resumed = bool(kept)
        self._waiting = "".join(map(_line, kept))
        self._whole = 0  # bytes of the file that are whole lines of this log
        self._warned = False
        self._board: Any = None
        make_folder(folder)
        try:
            write_text(self.path, "")
        except CheckpointError as error:
            self._warn(str(error))
        self._flush()
        if tensorboard:
            self._board = self._guarded(lambda: _board(folder / "tensorboard", step))

    def write(self, line: Mapping[str, Value]) -> None:
        """One line; it must have a `step`."""
        self._waiting += _line(line)
        self._flush()
        for name, value in line.items():
            if self._board is not None and isinstance(value, (int, float)) and name != "step":
                self._guarded(partial(self._board.add_scalar, name, value, line["step"]))

    def close(self) -> None:
        """Writes what waits, and closes TensorBoard."""
        self._flush()
        if self._board is not None:
            self._guarded(self._board.close)

    def _flush(self) -> None:
        data = self._waiting.encode()
        try:
            with open(self.path, "ab", opener=no_links) as file:
                file.truncate(self._whole)  # a full disk takes a part of a line
                file.write(data)
        except OSError as error:
            self._warn(f"{self.path}: cannot be written ({error.strerror}); its lines wait until there is room")
            return
        self._waiting, self._whole = "", self._whole + len(data)

    def _guarded(self, call: Callable[[], Any]) -> Any:
        """What a call of TensorBoard gives; after a fault, which may be any, there is no more TensorBoard."""
        try:
            return call()
        except Exception as error:
            self._board = None
            log.warning("%s: TensorBoard ends here (%s); metrics.jsonl has the figures", self.path.parent, error)

    def _warn(self, message: str) -> None:
        if not self._warned:
            log.warning("%s", message)
        self._warned = True


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


def _board(folder: Path, step: int | None) -> object:
    """TensorBoard's writer, or None where it is not installed (the extra `train`); the JSON lines hold the
    same.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder), purge_step=step)
