"""Readers: one file a dataset, each turns a folder on disk into Examples. `READERS` lists them by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sepiola.data.example import Example
from sepiola.data.readers.daquar import read_daquar
from sepiola.data.readers.easy_vqa import read_easy_vqa
from sepiola.data.readers.scienceqa import read_scienceqa
from sepiola.errors import DataError

READERS: dict[str, Callable[..., list[Example]]] = {
    "scienceqa": read_scienceqa,
    "easy_vqa": read_easy_vqa,
    "daquar": read_daquar,
}


def read(name: str, root: Path, split: str, **options: Any) -> list[Example]:
    """The Examples of one split of the dataset `name` that lies in `root`; images are opened only when used.

    `options` are the reader's own keyword arguments. Raises DataError for an unknown dataset, split or
    option, and for a record that is damaged.
    """
    if name not in READERS:
        raise DataError(f"unknown dataset '{name}'; known: {', '.join(READERS)}")
    reader = READERS[name]
    known = [key for key in inspect.signature(reader).parameters if key not in ("root", "split")]
    for option in options:
        if option not in known:
            mend = f"known: {', '.join(known)}" if known else "it takes none"
            raise DataError(f"the reader of '{name}' has no option '{option}'; {mend}")
    return reader(Path(root), split, **options)
