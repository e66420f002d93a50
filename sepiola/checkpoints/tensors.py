"""Tensors in a safetensors file: read one by one as they are asked for, written whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from sepiola.checkpoints.files import check_file
from sepiola.checkpoints.lazy import LazyTensors
from sepiola.data.files import replacing
from sepiola.errors import CheckpointError

MAPPED = 1 << 24  # bytes at most that are read through one mapping of a file


def read_tensors(path: Path) -> LazyTensors:
    """The tensors of a safetensors file, read as they are asked for. Raises CheckpointError when it is damaged."""
    file = _TensorFile(path)
    return LazyTensors({name: [partial(file.read, name)] for name in file.names})


class _TensorFile:
    """A safetensors file that is read through a mapping, which is renewed now and then.

    All that was ever read through a mapping counts as this process's memory until the mapping ends.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: Any = self._open()
        self.names = list(self._file.keys())
        self._mapped = 0

    def _open(self) -> Any:
        check_file(self.path)
        try:
            return safe_open(str(self.path), framework="pt")
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{self.path}: damaged or cut short ({error}); fetch or save it again") from None

    def read(self, name: str) -> Tensor:
        self._file = self._file or self._open()
        try:
            tensor: Tensor = self._file.get_tensor(name)
        except (SafetensorError, AttributeError, TypeError) as error:  # of a type that torch has not
            raise CheckpointError(f"{self.path}: {name} cannot be read ({error})") from None
        self._mapped += tensor.nbytes
        if self._mapped > MAPPED:  # the mapping ends with the tensors that were read through it
            self._file, self._mapped = None, 0
        return tensor


def write_tensors(path: Path, state: Mapping[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Writes a safetensors file whole or not at all. Raises CheckpointError as `replacing` does."""
    with replacing(path) as temporary:
        temporary.touch()
        mode = temporary.stat().st_mode  # safetensors 0.8 writes files that their owner alone may read
        save_file({k: v.detach().cpu().contiguous() for k, v in state.items()}, str(temporary), metadata=metadata)
        temporary.chmod(mode)
