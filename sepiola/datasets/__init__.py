"""Readers: one file a dataset, each turns a folder on disk into Examples. `DATASETS` lists them by name."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

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
from sepiola.specs.recipe import DataSpec

DATASETS: dict[str, Callable[..., list[Example]]] = {
    "tidepool": read_tidepool,
    "scienceqa": read_scienceqa,
    "easy_vqa": read_easy_vqa,
    "daquar": read_daquar,
    "text": read_text,
    "thucnews": read_thucnews,
    "flickr8k": read_flickr8k,
    "coco_mini": read_coco_mini,
    "pope": read_pope,
    "pairs": read_pairs,
}
DRAWN = ("tidepool", "pope")
"""Datasets that are drawn on the spot where no folder is given."""


def read_spec(spec: DataSpec) -> list[Example]:
    """The Examples that a spec names: the first `count` of its split. Raises DataError as `read` does."""
    options = dict(spec.options)
    if spec.reader == "tidepool":
        return read("tidepool", None, spec.split, **options, **({"count": spec.count} if spec.count else {}))
    if spec.root is None:
        return read(spec.reader, None, spec.split, **options)[: spec.count]
    root = os.path.expandvars(spec.root)
    if "$" in root:
        raise DataError(f"root '{spec.root}': the environment variable is not set; set it to the folder of your data")
    return read(spec.reader, Path(root).expanduser(), spec.split, **options)[: spec.count]


def read(name: str, root: Path | None, split: str, **options: Any) -> list[Example]:
    """The Examples of one split of the dataset `name` that lies in `root`; images are opened only when used.

    `options` are the reader's own keyword arguments. Raises DataError for an unknown dataset, split or
    option, a dataset on disk without its `root`, and a record that is damaged.
    """
    if name not in DATASETS:
        raise DataError(f"unknown dataset '{name}'; known: {', '.join(DATASETS)}")
    if root is None and name not in DRAWN:
        raise DataError(f"the dataset '{name}' lies on disk: name its folder in `root`")
    reader = DATASETS[name]
    known = [key for key in inspect.signature(reader).parameters if key not in ("root", "split")]
    for option in options:
        if option not in known:
            fix = f"known: {', '.join(known)}" if known else "it takes none"
            raise DataError(f"the reader of '{name}' has no option '{option}'; {fix}")
    return reader(root if root is None else Path(root), split, **options)


class DataCache:
    """Examples of each data spec, read once however many arms use them."""

    def __init__(self) -> None:
        self._examples: dict[str, list[Example]] = {}

    def read(self, spec: DataSpec) -> list[Example]:
        key = spec.model_dump_json()
        if key not in self._examples:
            self._examples[key] = read_spec(spec)
        return self._examples[key]
