"""Files of records as people share them: JSON, JSON lines, tab-separated dialogues, and LLaMA-Factory's index of such.

A folder may hold `dataset_info.json`, which names its sets, each a file with its columns and tags; without one every
JSON file is a set of its own name, whose records are known by their keys. Records fall into splits by what they ask.
"""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sepiola.datasets.conversations import joined
from sepiola.datasets.record_shapes import Shape, shape_of, shape_of_entry
from sepiola.datasets.records import existing_folder, one_of, read_file, read_json
from sepiola.errors import DataError, brief, shown
from sepiola.specs.base import Plain, nearest
from sepiola.specs.safe_files import parse_json

log = logging.getLogger(__name__)

INDEX = "dataset_info.json"
ENDINGS = (".json", ".jsonl", ".json.gz", ".jsonl.gz")
DIALOGUES = (".txt", ".txt.gz")  # a dialogue a line, its turns parted by tabs
SPLITS = ["train", "val", "test"]


@dataclass(frozen=True)
class RecordSet:
    """One set: its name, its file, and the shape of its records, where an index says it."""

    name: str
    file: Path
    shape: Shape | None = None

    def records(self) -> Iterator[tuple[str, str, Plain, Shape]]:
        """Each record with its id, where it stands, and its shape. Records of seed tasks are one an instance."""
        known: dict[frozenset[str], Shape] = {}
        for number, raw in enumerate(_rows(self.file), start=1):
            where = f"{self.file}, record {number}"
            record = _dialogue(raw) if isinstance(raw, list) else raw
            if not isinstance(record, dict):
                raise DataError(f"{where}: expected an object, or a dialogue as a list of texts; got {shown(raw)}")
            shape = self.shape
            if shape is None:
                keys = frozenset(key for key, value in record.items() if value is not None)
                if keys not in known:
                    known[keys] = shape_of(record, where)
                shape = known[keys]
            instances = record.get("instances")
            rows = [{**record, **each} for each in instances] if isinstance(instances, list) else [record]
            for place, row in enumerate(rows):
                yield f"{self.name}-{number:06d}{f'-{place}' if place else ''}", where, row, shape


def record_sets(root: Path, sets: Sequence[str] | None, what: str) -> list[RecordSet]:
    """The sets of a file or a folder, those that are named or all. Raises DataError for one that is not there.

    A folder with an index gives the sets that are named, for few can be read alike.
    """
    root = Path(root)
    if root.is_file():
        if sets is not None:
            raise DataError(f"{root}: sets: {shown(list(sets))}; a file is one set: name its folder")
        return [RecordSet(_stem(root), root)]
    folder = existing_folder(root, what)
    if (folder / INDEX).is_file():
        return _indexed(folder, sets)
    named = {_stem(path): path for path in sorted(folder.iterdir()) if path.name.endswith((*ENDINGS, *DIALOGUES))}
    usual = [name for name, path in named.items() if path.name.endswith(ENDINGS)]
    chosen = usual if sets is None else [_stem(Path(name)) for name in sets]
    for name in chosen:
        if name not in named:
            raise DataError(f"{folder}: no set is named {shown(name)}; {nearest(name, named)}")
    if not chosen:
        raise DataError(f"{brief(str(folder))}: holds no .json or .jsonl file; give the folder that holds {what}")
    return [RecordSet(name, named[name]) for name in chosen]


def split_of(group: str, held_out: int) -> str:
    """The split of a group of records: one of `held_out` is for `test`, one for `val`."""
    place = int.from_bytes(hashlib.sha256(group.encode()).digest()[:8], "big") % held_out
    return {0: "test", 1: "val"}.get(place, "train")


def check_split(split: str, reader: str) -> str:
    """`split` itself. Raises DataError when there is none of this name."""
    return one_of(split, SPLITS, f"The reader '{reader}'")


def report(left_out: Counter[str], where: Path) -> None:
    """Says how many records are left out, and why."""
    for reason, count in sorted(left_out.items()):
        log.warning("%s: %d record%s left out: they %s", where, count, " is" if count == 1 else "s are", reason)


def _indexed(folder: Path, sets: Sequence[str] | None) -> list[RecordSet]:
    index = read_json(folder / INDEX)
    if not isinstance(index, dict):
        raise DataError(f"{folder / INDEX}: expected an object of sets, got {shown(index)}")
    here = [
        name
        for name, entry in index.items()
        if isinstance(entry, dict)
        and isinstance(entry.get("file_name"), str)
        and (folder / entry["file_name"]).exists()
    ]
    if sets is None:
        raise DataError(f"{folder / INDEX}: name the sets that are to be read, `sets: [{', '.join(here[:3])}]`; "
                        f"their files are here: {', '.join(here)}")  # fmt: skip
    found = []
    for name in sets:
        where, entry = f"{folder / INDEX}, '{name}'", index.get(name)
        if not isinstance(entry, dict):
            raise DataError(f"{folder / INDEX}: no set is named {shown(name)}; {nearest(name, index)}")
        if not isinstance(entry.get("file_name"), str):
            raise DataError(f"{where}: has no file_name: it lies on a hub; fetch its file, and name it there")
        file = folder / entry["file_name"]
        if not file.exists():
            raise DataError(f"{where}: the file {brief(entry['file_name'])} is missing; fetch it")
        found.append(RecordSet(name, file, shape_of_entry(entry, where)))
    return found


def _rows(path: Path) -> list[object]:
    """The records of a file: a JSON list, an object of lists (one a split), JSON lines, or lines of dialogue."""
    text = read_file(path)
    if path.name.endswith(DIALOGUES):
        return [line.split("\t") for line in text.split("\n") if line.strip()]
    start = text.lstrip()[:1]
    if start == "[" or (start == "{" and "\n" not in text.strip()):
        whole = parse_json(text, str(path), DataError)
        return whole if isinstance(whole, list) else [whole]
    if start == "{" and text.lstrip()[1:].lstrip(" \t")[:1] in ("\n", "\r"):  # an object over several lines
        whole = parse_json(text, str(path), DataError)
        if isinstance(whole, dict) and whole and all(isinstance(rows, list) for rows in whole.values()):
            return [row for rows in whole.values() for row in rows]
        return [whole]
    lines = enumerate(text.split("\n"), start=1)
    return [parse_json(line, f"{path}, line {number}", DataError) for number, line in lines if line.strip()]


def _dialogue(turns: list[object]) -> object:
    """A dialogue without names: two people take turns, and the second is the assistant."""
    if not turns or not all(isinstance(turn, str) for turn in turns):
        return turns
    said = [joined(str(turn)) for turn in turns]
    return {"messages": [{"role": ("user", "assistant")[at % 2], "content": text} for at, text in enumerate(said)]}


def _stem(path: Path) -> str:
    name = path.name
    for ending in sorted((*ENDINGS, *DIALOGUES), key=len, reverse=True):
        name = name.removesuffix(ending)
    return name
