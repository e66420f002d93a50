"""One file a dataset: its reader turns a folder on disk into Examples. `DATASETS` lists them by name."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sepiola.data.example import Example
from sepiola.datasets.coco_mini import read_coco_mini
from sepiola.datasets.daquar import read_daquar
from sepiola.datasets.easy_vqa import read_easy_vqa
from sepiola.datasets.flickr8k import read_flickr8k
from sepiola.datasets.pairs import read_pairs
from sepiola.datasets.pope import read_pope
from sepiola.datasets.scienceqa import read_scienceqa
from sepiola.datasets.text import read_text
from sepiola.datasets.thucnews import read_thucnews
from sepiola.datasets.tidepool import read_tidepool
from sepiola.errors import DataError
from sepiola.specs.base import nearest
from sepiola.specs.data import DataSpec


@dataclass(frozen=True)
class Dataset:
    """How a dataset's Examples are read, `read(root, split, **options)`; one that is `drawn` needs no folder.

    A reader that makes as many examples as it is asked for has an option `count`.
    """

    read: Callable[..., list[Example]]
    drawn: bool = False

    @property
    def options(self) -> list[str]:
        """The names of the reader's options."""
        return [key for key in inspect.signature(self.read).parameters if key not in ("root", "split")]


DATASETS: dict[str, Dataset] = {
    "tidepool": Dataset(read_tidepool, drawn=True),
    "scienceqa": Dataset(read_scienceqa),
    "easy_vqa": Dataset(read_easy_vqa),
    "daquar": Dataset(read_daquar),
    "text": Dataset(read_text),
    "thucnews": Dataset(read_thucnews),
    "flickr8k": Dataset(read_flickr8k),
    "coco_mini": Dataset(read_coco_mini),
    "pope": Dataset(read_pope, drawn=True),
    "pairs": Dataset(read_pairs),
}


def read_spec(spec: DataSpec) -> list[Example]:
    """The Examples that a spec names: the first `count` of its split. Raises DataError as `read` does."""
    root = None if spec.root is None else os.path.expandvars(spec.root)
    if root is not None and "$" in root:
        raise DataError(f"root '{spec.root}': the environment variable is not set; set it to the folder of your data")
    folder = None if root is None else Path(root).expanduser()
    if spec.count is not None and "count" in dataset(spec.reader).options:
        return read(spec.reader, folder, spec.split, **{**spec.options, "count": spec.count})
    return read(spec.reader, folder, spec.split, **spec.options)[: spec.count]


def dataset(name: str) -> Dataset:
    """A dataset by name. Raises DataError for an unknown one."""
    if name not in DATASETS:
        raise DataError(f"unknown dataset '{name}'; {nearest(name, DATASETS)}")
    return DATASETS[name]


def read(name: str, root: Path | None, split: str, **options: object) -> list[Example]:
    """The Examples of one split of the dataset `name` that lies in `root`; images are opened only when used.

    `options` are the reader's own keyword arguments. Raises DataError for an unknown dataset, split or option, a
    dataset on disk without its `root`, and a record that is damaged.
    """
    named = dataset(name)
    if root is None and not named.drawn:
        raise DataError(f"the dataset '{name}' lies on disk: name its folder in `root`")
    for option in options:
        if option not in named.options:
            fix = f"known: {', '.join(named.options)}" if named.options else "it takes none"
            raise DataError(f"the reader of '{name}' has no option '{option}'; {fix}")
    return named.read(root if root is None else Path(root), split, **options)


class DataCache:
    """Examples of each data spec, read once however many arms use them."""

    def __init__(self) -> None:
        self._examples: dict[str, list[Example]] = {}

    def read(self, spec: DataSpec) -> list[Example]:
        key = spec.model_dump_json()
        if key not in self._examples:
            self._examples[key] = read_spec(spec)
        return self._examples[key]
