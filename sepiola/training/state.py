"""The state of a run on disk: written to a temporary name, synced, then renamed, so that one whole state
always exists.

A run that is killed at any moment goes on from its last state and ends with the same weights, bit for bit, as
one that was never stopped: the state holds weights, optimizer, place in the data and every random generator.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import random
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from sepiola.errors import CheckpointError, TrainingError
from sepiola.specs.stage import StageSpec

State = dict[str, Any]
"""What a run is at one moment, as plain data and tensors: what `torch.save` writes and its safe reader reads."""

MAY_CHANGE = ("save_every", "validate_every")  # what a resumed run may be given anew


def save(state: State, path: Path) -> None:
    """Writes a state. Raises CheckpointError when it cannot be written; what was at `path` is then still
    there.
    """
    write_atomically(path, lambda file: torch.save(state, file))


def write_atomically(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Calls `write` with a file that takes `path`'s name once it is whole and on the disk.

    Raises CheckpointError that says why it failed and how much room is left.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        with contextlib.suppress(OSError):
            temporary.unlink()
        kept = "; the one written before is kept" if path.exists() else ""
        raise CheckpointError(
            f"{path}: cannot be written ({reason}; {_free(path.parent)} free on this disk){kept}. Make room, "
            "then go on with --resume"
        ) from error
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def _free(folder: Path) -> str:
    try:
        return f"{shutil.disk_usage(folder).free / 1e9:.1f} GB"
    except OSError:
        return "an unknown amount"


def load(path: Path) -> State:
    """Reads a state. Raises CheckpointError when the file is damaged; nothing in it is executed."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise CheckpointError(
            f"{path}: cannot be read as a training state ({error}); remove it to begin anew"
        ) from None


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
    content = safetensors.torch.save({name: value.detach().cpu().contiguous() for name, value in weights.items()})
    write_atomically(path, lambda file: file.write(content))


def load_weights(path: Path) -> dict[str, Tensor]:
    """Reads what `save_weights` wrote."""
    return safetensors.torch.load_file(path)


def sweep(folder: Path) -> None:
    """Removes what writers that were killed have left behind."""
    for leftover in folder.glob(".*.partial"):
        with contextlib.suppress(OSError):
            leftover.unlink()


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
