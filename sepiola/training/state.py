"""The state of a run on disk: written to a temporary name, synced, then renamed, so that one whole state
always exists.

A run that is killed at any moment goes on from its last state and ends with the same weights, bit for bit, as
one that was never stopped: the state holds weights, optimizer, place in the data and every random generator.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import torch
from torch import Tensor

from sepiola.checkpoints.tensors import write_tensors
from sepiola.data.files import make_folder, replacing
from sepiola.errors import CheckpointError, TrainingError
from sepiola.specs.stage import StageSpec

State = dict[str, Any]
"""What a run is at one moment, as plain data and tensors: what `torch.save` writes and its safe reader reads."""

_DIGEST_BYTES = hashlib.sha256().digest_size
WINDOW = ("loss", "labelled", "tokens", "seconds")  # summed between two lines of the metrics
MAY_CHANGE = ("save_every", "validate_every")  # what a resumed run may be given anew


@dataclass
class Progress:
    """What a run carries from step to step besides weights and optimizer; saved whole."""

    step: int = 0
    seconds: float = 0.0
    loss: float | None = None
    validation_loss: float | None = None
    best_loss: float | None = None
    best_step: int | None = None
    best_checksum: str | None = None
    samples: int = 0
    unlabelled: int = 0
    window: dict[str, float] = field(default_factory=lambda: dict.fromkeys(WINDOW, 0.0))


def save(state: State, path: Path) -> None:
    """Writes a state, with a checksum of all its bytes. Raises CheckpointError when it cannot be written; what was at
    `path` is then still there.
    """
    with _written(path) as temporary, temporary.open("wb") as file:
        hashed = _Hashed(file)
        torch.save(state, cast(IO[bytes], hashed))
        # A zip file may end with a comment, whose length is its last two bytes: that is where the digest stands.
        file.seek(-2, os.SEEK_END)
        file.write(_DIGEST_BYTES.to_bytes(2, "little") + hashed.digest.digest())
        file.flush()


def load(path: Path) -> State:
    """Reads a state. Raises CheckpointError when the file is damaged; nothing in it is executed."""
    try:
        with path.open("rb") as file:
            sound = _is_sound(file)
        state: object = torch.load(path, map_location="cpu", weights_only=True) if sound else None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror}); remove it to begin anew") from None
    except Exception:  # pickle, zip and torch raise many kinds
        state = None
    if not isinstance(state, dict):
        raise CheckpointError(
            f"{path}: damaged, or no training state of this version (its bytes do not have the checksum at its end); "
            "put it back from a copy, or remove it to begin the stage anew"
        )
    return state


class _Hashed:
    """A file that is written from start to end, and the digest of what was written."""

    def __init__(self, file: IO[bytes]) -> None:
        self.digest = hashlib.sha256()
        self._file = file

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()


def checksum(path: Path) -> str:
    """The digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_sound(file: IO[bytes]) -> bool:
    """Whether a file ends with the digest of the bytes before it."""
    left = file.seek(0, os.SEEK_END) - _DIGEST_BYTES - 2
    if left < 0:
        return False
    file.seek(0)
    digest = hashlib.sha256()
    while left:
        block = file.read(min(left, 1 << 20))
        digest.update(block)
        left -= len(block)
    digest.update(bytes(2))  # the length as it was when the digest was taken
    return file.read() == _DIGEST_BYTES.to_bytes(2, "little") + digest.digest()


@contextlib.contextmanager
def _written(path: Path) -> Iterator[Path]:
    try:
        make_folder(path.parent)
        with replacing(path) as temporary:
            yield temporary
    except CheckpointError as error:
        raise CheckpointError(f"{error}; then go on with --resume") from None


def identity(stage: StageSpec, batches: str, **more: object) -> State:
    """What a resumed run must have in common with the one that was saved, as plain data; `batches` is a fingerprint."""
    fixed = stage.model_dump(mode="json", exclude=set(MAY_CHANGE))
    return {**fixed, "samples": batches, **more}


def check_identity(ours: Mapping[str, object], theirs: Mapping[str, object], folder: Path) -> None:
    """Raises TrainingError that lists in what the run of a folder is another."""
    different = [
        f"{key}: {theirs.get(key)!r} then, {value!r} now" for key, value in ours.items() if theirs.get(key) != value
    ]
    if different:
        raise TrainingError(
            f"{folder} holds another run ({'; '.join(different)}); undo the change, or take another folder"
        )


def save_weights(weights: Mapping[str, Tensor], path: Path) -> None:
    """Writes weights alone, as safetensors. Raises CheckpointError when they cannot be written."""
    with _written(path) as temporary:
        write_tensors(temporary, weights)


def random_state() -> State:
    """The generators of Python, NumPy and torch, as plain data and tensors."""
    version, internal, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    state: State = {
        "python": (version, list(internal), gauss),
        "numpy": (
            str(name),
            torch.from_numpy(np.asarray(keys, dtype=np.int64)),
            int(position),
            int(has_gauss),
            float(cached),
        ),
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state_all()
    return state


def restore_random_state(state: State) -> None:
    """Sets the generators to what `random_state` gave."""
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
    torch.set_rng_state(state["torch"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seeds Python, NumPy and torch, and gives them back as they were."""
    before = random_state()
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    try:
        yield
    finally:
        restore_random_state(before)
