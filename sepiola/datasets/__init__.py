"""One file a dataset: its reader turns a folder on disk into Examples. `DATASETS` lists them by name."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import create_model

from sepiola.data.example import Example, digest
from sepiola.datasets.bfcl import read_bfcl
from sepiola.datasets.cdial import read_cdial
from sepiola.datasets.clinc_oos import read_clinc_oos
from sepiola.datasets.coco_mini import read_coco_mini
from sepiola.datasets.daquar import read_daquar
from sepiola.datasets.dialogues import read_dialogues
from sepiola.datasets.diasafety import read_diasafety
from sepiola.datasets.easy_vqa import read_easy_vqa
from sepiola.datasets.flickr8k import read_flickr8k
from sepiola.datasets.glaive import read_glaive
from sepiola.datasets.grounded import read_grounded
from sepiola.datasets.instruction_kinds import read_instruction_kinds
from sepiola.datasets.instructions import read_instructions
from sepiola.datasets.pairs import read_pairs
from sepiola.datasets.pope import read_pope
from sepiola.datasets.preferences import read_preferences
from sepiola.datasets.rationales import with_rationales
from sepiola.datasets.requests import read_requests
from sepiola.datasets.scienceqa import read_scienceqa
from sepiola.datasets.screenagent import read_screenagent
from sepiola.datasets.tasks import read_tasks
from sepiola.datasets.text import read_text
from sepiola.datasets.thucnews import read_thucnews
from sepiola.datasets.tidepool import read_tidepool
from sepiola.datasets.toolalpaca import read_toolalpaca
from sepiola.datasets.turns import read_turns
from sepiola.errors import DataError, SpecError, brief
from sepiola.specs.base import Spec, nearest
from sepiola.specs.data import DataSpec


@dataclass(frozen=True)
class Dataset:
    """How a dataset's Examples are read, `read(root, split, **options)`; one that is `drawn` needs no folder.

    A reader that makes as many examples as it is asked for has an option `count`.
    """

    read: Callable[..., list[Example]]
    drawn: bool = False

    @cached_property
    def options(self) -> type[Spec]:
        """The reader's options as a spec: its own arguments, their types, bounds and defaults."""
        hints = get_type_hints(self.read, include_extras=True)
        fields: dict[str, Any] = {
            key: (hints[key], parameter.default)
            for key, parameter in inspect.signature(self.read).parameters.items()
            if key not in ("root", "split")
        }
        return create_model("Options", __base__=Spec, **fields)


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
    "instructions": Dataset(read_instructions),
    "preferences": Dataset(read_preferences),
    "instruction_kinds": Dataset(read_instruction_kinds),
    "requests": Dataset(read_requests),
    "tasks": Dataset(read_tasks, drawn=True),
    "bfcl": Dataset(read_bfcl),
    "clinc_oos": Dataset(read_clinc_oos),
    "toolalpaca": Dataset(read_toolalpaca),
    "glaive": Dataset(read_glaive),
    "screenagent": Dataset(read_screenagent),
    "cdial": Dataset(read_cdial),
    "diasafety": Dataset(read_diasafety),
    "dialogues": Dataset(read_dialogues),
    "turns": Dataset(read_turns),
    "grounded": Dataset(read_grounded, drawn=True),
}


def read_spec(spec: DataSpec, *, look: bool = True) -> list[Example]:
    """The Examples that a spec names: the first `count` of its split; `look` and errors are those of `read`."""
    examples = _read_spec(spec, look)
    beside = _expanded(spec.rationales, "rationales")
    return examples if beside is None else with_rationales(examples, beside)


def _read_spec(spec: DataSpec, look: bool) -> list[Example]:
    folder = _expanded(spec.root, "root")
    check_options(spec)
    if spec.count is not None and "count" in dataset(spec.reader).options.model_fields:
        return read(spec.reader, folder, spec.split, look=look, **{**spec.options, "count": spec.count})
    examples = read(spec.reader, folder, spec.split, look=False, **spec.options)[: spec.count]
    return check_pictures(examples) if look else examples


def _expanded(path: str | None, key: str) -> Path | None:
    """A path in which environment variables and ~ are read. Raises DataError for a variable that is not set."""
    whole = None if path is None else os.path.expandvars(path)
    if whole is not None and "$" in whole:
        raise DataError(f"{key} '{path}': the environment variable is not set; set it to the folder of your data")
    return None if whole is None else Path(whole).expanduser()


def dataset(name: str) -> Dataset:
    """A dataset by name. Raises DataError for an unknown one."""
    if name not in DATASETS:
        raise DataError(f"unknown dataset '{brief(name)}'; {nearest(name, DATASETS)}")
    return DATASETS[name]


def read(name: str, root: Path | None, split: str, *, look: bool = True, **options: object) -> list[Example]:
    """The Examples of one split of the dataset `name` that lies in `root`; images are opened only when used.

    `options` are the reader's own keyword arguments. Who does not `look` at the pictures needs none of them. Raises
    DataError for an unknown dataset, split or option, a dataset on disk without its `root`, a record that is damaged,
    and a picture that is not there.
    """
    named = dataset(name)
    if root is None and not named.drawn:
        raise DataError(f"the dataset '{name}' lies on disk: name its folder (`root` in YAML, --data in a command)")
    checked = _options(name, options)
    examples = named.read(root if root is None else Path(root), split, **checked)
    return check_pictures(examples) if look else examples


def check_pictures(examples: list[Example]) -> list[Example]:
    """The examples. Raises DataError for a picture on disk that is not there."""
    there: set[Path] = set()
    for example in examples:
        for path in (image.path for image in example.images):
            if path is not None and path not in there and not os.path.isfile(path):
                raise DataError(f"example '{brief(example.id)}': the image {brief(str(path))} is missing")
            there |= {path} if path is not None else set()
    return examples


def check_options(spec: DataSpec) -> None:
    """Raises DataError for an option that the dataset's reader lacks, and for a value that it does not take.

    A reader that is no dataset's (a benchmark's own) takes none that are known here.
    """
    if spec.reader in DATASETS:
        _options(spec.reader, spec.options)


def _options(name: str, given: Mapping[str, object]) -> dict[str, object]:
    """The reader's options as it takes them."""
    options = dataset(name).options
    for option in given:
        if option not in options.model_fields:
            known = ", ".join(options.model_fields)
            fix = f"known: {known}" if known else "it takes none"
            raise DataError(f"the reader of '{name}' has no option '{brief(str(option))}'; {fix}")
    try:
        checked = options.parse(given, f"an option of '{name}'")
    except SpecError as error:
        raise DataError(str(error)) from None
    return {key: getattr(checked, key) for key in given}


class DataCache:
    """Examples of each data spec, read once however many arms use them."""

    def __init__(self) -> None:
        self._examples: dict[str, list[Example]] = {}
        self._looked: set[str] = set()
        self._digests: dict[str, str] = {}

    def read(self, spec: DataSpec, *, look: bool = True) -> list[Example]:
        key = spec.model_dump_json()
        if key not in self._examples:
            self._examples[key] = read_spec(spec, look=False)
        if look and key not in self._looked:
            check_pictures(self._examples[key])
            self._looked.add(key)
        return self._examples[key]

    def digest(self, spec: DataSpec) -> str:
        """What tells that the data on disk have changed; empty for what is drawn, since the spec says all of it."""
        if spec.root is None and spec.rationales is None and dataset(spec.reader).drawn:
            return ""
        key = spec.model_dump_json()
        if key not in self._digests:
            self._digests[key] = digest(self.read(spec))
        return self._digests[key]
