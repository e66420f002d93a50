"""A model's folder: `edge.json` says what it is, `weights.safetensors` holds its tensors, beside `tokenizer.json`.

Weights lie in the file as the core reads them. The container is safetensors' own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sepiola_edge.errors import EdgeError

VERSION = 2
CONFIG, WEIGHTS, TOKENIZER = "edge.json", "weights.safetensors", "tokenizer.json"
FUNCTIONS = "functions.json"
"""What the model was taught to call, by the order of its tokens, where it was."""
KEPT = "kept"
"""The folder of what the model was before functions were added; it writes where none of them is called."""
RATIONALE = "rationale"
"""The folder of the model that reasons, beside the one that answers."""
ALIGNED = 64
MOST = 1 << 26
"""Bytes of a header, or of a configuration, at most."""

Tensor = tuple[str, NDArray[np.uint8]] | tuple[str, NDArray[np.uint8], int, int]
"""A tensor as bytes, by its kind; a matrix with its rows and columns."""


def write(folder: Path, config: Mapping[str, object], tensors: Mapping[str, Tensor], tokenizer: str) -> None:
    """Writes a folder that `read` reads. Matrices, whose bytes are whole lines of the cache, come first."""
    order = sorted(tensors, key=lambda name: (len(tensors[name]) == 2, name))
    header: dict[str, object] = {"__metadata__": {"format": "sepiola-edge"}}
    at = 0
    for name in order:
        size = tensors[name][1].nbytes
        header[name] = {"dtype": "U8", "shape": [size], "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % ALIGNED)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / WEIGHTS).open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in order:
            file.write(np.ascontiguousarray(tensors[name][1]).data)
    kinds = {name: [tensor[0], *tensor[2:]] for name, tensor in tensors.items()}
    whole = {"version": VERSION, **config, "tensors": kinds}
    (folder / CONFIG).write_text(json.dumps(whole, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    (folder / TOKENIZER).write_text(tokenizer, encoding="utf-8")


def read(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The configuration and the tensors. Raises EdgeError for files that are missing, cut or no such files."""
    path = folder / CONFIG
    config = _json(_bytes(path), path)
    if config.get("version") != VERSION:
        raise EdgeError(f"{path}: version {config.get('version')!r}; this sepiola-edge reads version {VERSION}")
    kinds = config.get("tensors")
    if not isinstance(kinds, dict):
        raise EdgeError(f"{path}: 'tensors' is missing")
    weights = folder / WEIGHTS
    try:
        data = np.memmap(weights, dtype=np.uint8, mode="r")
    except (OSError, ValueError) as error:
        raise EdgeError(f"{weights} cannot be read: {error}") from None
    length = int.from_bytes(data[:8].tobytes(), "little") if len(data) >= 8 else 0
    if not 2 <= length <= min(MOST, len(data) - 8):
        raise EdgeError(f"{weights} is no safetensors file, or is cut")
    places = _json(data[8 : 8 + length].tobytes(), weights)
    body = data[8 + length :]
    tensors: dict[str, Tensor] = {}
    for name, kind in kinds.items():
        tensors[name] = _tensor(name, kind, places.get(name), body, weights)
    return config, tensors


def _tensor(name: str, kind: object, place: object, body: NDArray[np.uint8], path: Path) -> Tensor:
    offsets = place.get("data_offsets") if isinstance(place, dict) else None
    match offsets:
        case [int() as first, int() as last] if 0 <= first <= last <= len(body):
            part = body[first:last]
        case _:
            raise EdgeError(f"{path}: '{name}' is not there, or lies outside the file")
    match kind:
        case [str() as packed]:
            return packed, part
        case [str() as packed, int() as rows, int() as columns] if 0 < rows < 1 << 31 and 0 < columns < 1 << 31:
            return packed, part, rows, columns
    raise EdgeError(f"{path}: '{name}' is of kind {kind!r}")


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MOST + 1)
    except OSError as error:
        raise EdgeError(
            f"{path}: {error.strerror}; expected a folder that `sepiola export MODEL --to edge` wrote"
        ) from None
    if len(data) > MOST:
        raise EdgeError(f"{path} has more than {MOST} bytes")
    return data


def _json(text: bytes, path: Path) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise EdgeError(f"{path} is no JSON: {error}") from None
    if not isinstance(value, dict):
        raise EdgeError(f"{path}: a JSON object is expected")
    return value
