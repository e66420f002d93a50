"""Files of records as people share them: JSON, JSON lines, tab-separated dialogues, and LLaMA-Factory's index of such.

A folder may hold `dataset_info.json`, which names its sets, each a file with its columns and tags; without one every
JSON file is a set of its own name, whose records are known by their keys. Records fall into splits by what they ask.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sepiola.data.example import Example, Message
from sepiola.data.image import ImageRef
from sepiola.data.language import language_of
from sepiola.data.preferences import KEY, completions_of
from sepiola.datasets.conversations import UnusableError, joined
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
LETTERS = 400  # of each turn, by which a conversation's language is known


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
                keys = frozenset(key for key, value in record.items() if value is not None and value != [])
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
    named |= {name: folder / name for name in sets or () if (folder / name).is_file()}
    chosen = usual if sets is None else [name if name in named else _stem(Path(name)) for name in sets]
    for name in chosen:
        if name not in named:
            raise DataError(f"{folder}: no set is named {shown(name)}; {nearest(name, named)}")
    if not chosen:
        raise DataError(f"{brief(str(folder))}: holds no .json or .jsonl file; give the folder that holds {what}")
    return [RecordSet(_stem(named[name]), named[name]) for name in chosen]


@dataclass(frozen=True)
class Source:
    """What an example is made of: a record and its name, where it stands, its shape, and where its pictures lie."""

    name: str
    where: str
    record: Plain
    shape: Shape
    folder: Path


@dataclass(frozen=True)
class Reading:
    """How a reader of records was asked: the options that all such readers have, and what they `hold`, in words.

    `half` keeps one half of the groups of each split, 1 or 2, so that two models can learn from requests of which they
    share none. `longest` leaves out records of which a reply has more characters.
    """

    root: Path
    split: str
    holds: str
    sets: Sequence[str] | None
    languages: Sequence[str] | None
    held_out: int
    images: str | None
    half: int | None = None
    longest: int | None = None

    def examples(self, make: Callable[[Source], Example]) -> list[Example]:
        """The examples of the split that `make` makes of the records: it gives each its `group`.

        Records that it calls unusable and those that repeat another are left out and counted. Raises DataError when
        nothing is left.
        """
        one_of(self.split, SPLITS, f"A file of {self.holds}")
        examples, left_out, known = list[Example](), Counter[str](), set[str]()
        for one in record_sets(self.root, self.sets, f"{self.holds} (.json, .jsonl, or {INDEX} with its files)"):
            folder = Path(self.images) if self.images is not None else one.file.parent
            for name, where, record, shape in one.records():
                try:
                    example = make(Source(name, where, record, shape, folder))
                except UnusableError as error:
                    left_out[str(error)] += 1
                    continue
                if (key := _key(example)) in known:
                    left_out["repeat another"] += 1
                    continue
                known.add(key)
                group = example.metadata["group"]
                if split_of(group, self.held_out) != self.split or self.half not in (None, half_of(group)):
                    continue
                if self.longest is not None and _longest(example) > self.longest:
                    left_out[f"have a reply of more than {self.longest} characters"] += 1
                    continue
                about = {"split": self.split, "set": one.name, "language": _language(example), **example.metadata}
                if self.languages is None or about["language"] in self.languages:
                    examples.append(replace(example, metadata=about))
        for reason, count in sorted(left_out.items()):
            log.warning("%s: %d record%s left out: they %s", self.root, count, " is" if count == 1 else "s are", reason)
        if not examples:
            wanted = "" if self.languages is None else f" in {', '.join(self.languages)}"
            reasons = "".join(f"; {count} {reason}" for reason, count in left_out.items())
            raise DataError(f"{self.root}: nothing of the split '{self.split}'{wanted} can be read{reasons}")
        return examples


def group_of(turns: Iterable[Message]) -> str:
    """What must not stand on both sides of a split: a conversation's pictures, or its first request."""
    turns = list(turns)
    pictures = [_name(part) for turn in turns for part in turn.content if isinstance(part, ImageRef)]
    asked = next((turn.text for turn in turns if turn.role == "user"), "")
    source = pictures or [" ".join(asked.split()).casefold()]
    return hashlib.sha256("\n".join(source).encode()).hexdigest()[:16]


def split_of(group: str, held_out: int) -> str:
    """The split of a group of records: one of `held_out` is for `test`, one for `val`."""
    place = int.from_bytes(hashlib.sha256(group.encode()).digest()[:8], "big") % held_out
    return {0: "test", 1: "val"}.get(place, "train")


def half_of(group: str) -> int:
    """The half of its split that a group of records is of, 1 or 2."""
    return 1 + hashlib.sha256(group.encode()).digest()[8] % 2


def _longest(example: Example) -> int:
    """The characters of its longest reply."""
    compared = completions_of(example) if KEY in example.metadata else ()
    return max(len(text) for text in (example.target, *(one.text for one in compared)))


def _key(example: Example) -> str:
    """What two examples have in common that say the same."""
    said = [[m.role, [p if isinstance(p, str) else _name(p) for p in m.content]] for m in example.messages]
    whole = json.dumps([said, example.target, example.metadata.get("completions")], ensure_ascii=False)
    return hashlib.sha256(whole.encode()).hexdigest()


def _language(example: Example) -> str:
    texts = [turn.text[:LETTERS] for turn in example.messages if turn.role != "system"]
    return language_of(" ".join([*texts, example.target[:LETTERS]])[: 2 * LETTERS])


def _name(image: ImageRef) -> str:
    return str(image.path) if image.path is not None else image.digest


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
