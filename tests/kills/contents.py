"""What a folder holds, so that two can be compared byte for byte, and what may differ: times, and nothing else.

Times stand in `metrics.jsonl`, `report.json` and the state's progress (`seconds` and what follows from them), and in
the page that shows them. TensorBoard's files have times in their names, and begin anew with each start.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sepiola.training import state

TIMES = ("seconds", "tokens_per_second", "peak_memory_gb")
LEFT_OUT = re.compile(r"(.*/)?tensorboard(/.*)?")
UNFINISHED = re.compile(r"(.*/)?\.[0-9a-f]{16}\.saving(/.*)?")  # what a killed writer leaves, until the next one comes


def contents(folder: Path, *, unfinished: bool = True) -> dict[str, str]:
    """The files and folders of a folder by relative path, each with a digest of what does not depend on the time.

    Without `unfinished`, what a killed writer has left aside is not there.
    """
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if LEFT_OUT.fullmatch(name) or (not unfinished and UNFINISHED.fullmatch(name)):
            continue
        if path.is_dir():
            found[name] = "a folder"
        else:
            found[name] = hashlib.sha256(TIMELESS.get(path.name, Path.read_bytes)(path)).hexdigest()[:16]
    return found


def difference(expected: Mapping[str, str], got: Mapping[str, str]) -> str | None:
    """The first path in which two folders differ, and how; None where they are alike."""
    for name in sorted(expected.keys() | got.keys()):
        if name not in got:
            return f"{name} is missing"
        if name not in expected:
            return f"{name} is left over"
        if expected[name] != got[name]:
            return f"{name} differs"
    return None


def _without_times(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _without_times(one) for key, one in value.items() if key not in TIMES}
    if isinstance(value, list | tuple):
        return [_without_times(one) for one in value]
    if isinstance(value, Tensor):
        raw = value.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        return [str(value.dtype), list(value.shape), hashlib.sha256(raw).hexdigest()]
    return value


def _plain(value: Any) -> bytes:
    return json.dumps(_without_times(value), sort_keys=True).encode()


def _page(path: Path) -> bytes:
    """Without the numbers: figures of the run's time are among them, and all others stand in report.json."""
    return re.sub(rb"[0-9][0-9.,:]*(e[+-][0-9]+)?", b"0", path.read_bytes())


TIMELESS: dict[str, Callable[[Path], bytes]] = {
    "metrics.jsonl": lambda path: b"\n".join(_plain(json.loads(line)) for line in path.read_bytes().splitlines()),
    "report.json": lambda path: _plain(json.loads(path.read_bytes())),
    "report.html": _page,
    "state.pt": lambda path: _plain(state.load(path)),
}
