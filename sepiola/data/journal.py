"""Work that outlives a kill: one JSON line for each finished record, under a first line that says how it was made."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from sepiola.data.files import no_links
from sepiola.errors import CheckpointError, DataError
from sepiola.specs.base import Plain


class Journal:
    """The finished records of one step, by their `id`, in a file that only grows.

    `settings` are what the records depend on. Raises DataError for a file that was made with others, or is damaged; a
    last line that a kill cut short is taken away.
    """

    def __init__(self, path: Path, settings: Mapping[str, object]) -> None:
        self.path = path
        self.records: dict[str, Plain] = {}
        lines = self._whole_lines()
        if not lines:
            self._append([{"settings": dict(settings)}])
            return
        try:
            earlier = json.loads(lines[0])["settings"]
            for line in lines[1:]:
                record = json.loads(line)
                self.records[record["id"]] = record
        except (ValueError, KeyError, TypeError):
            raise DataError(f"{path}: damaged; delete it, and this step begins anew") from None
        if earlier != dict(settings):
            raise DataError(
                f"{path}: was made with {json.dumps(earlier, ensure_ascii=False)}; now it would be "
                f"{json.dumps(dict(settings), ensure_ascii=False)}: name another --out, or delete this file"
            )

    def add(self, records: Sequence[Plain]) -> None:
        """Writes records to the disk; when this returns, no kill takes them away."""
        self._append(records)
        self.records.update((record["id"], dict(record)) for record in records)

    def _whole_lines(self) -> list[str]:
        try:
            data = self.path.read_bytes() if self.path.exists() else b""
            whole = data[: data.rfind(b"\n") + 1]
            if len(whole) < len(data):
                os.truncate(self.path, len(whole))
            return whole.decode().split("\n")[:-1]
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{self.path}: cannot be read ({error}); delete it, and this step begins anew") from None

    def _append(self, records: Sequence[Plain]) -> None:
        try:
            with open(self.path, "ab", opener=no_links) as file:
                file.write("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records).encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise CheckpointError(
                f"{self.path}: cannot be written ({error.strerror}); free some space and run the command again"
            ) from None
