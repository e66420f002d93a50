"""THUCNews headlines: Chinese news headlines in ten classes, a thousand of each class in each of two files.

`thucnews_headlines_test` is the split `test`; `thucnews_headlines_dev` is `train` and, a tenth drawn by the headline's
own digest, `val`. No headline stands in two splits, whatever its case, width and spaces: one that stands in the test
file too is test, and one that is repeated in a file counts once. Splits are in the order of the digests, since the test
file is sorted by class and the first so many should be of every class.
"""

from __future__ import annotations

import hashlib
import unicodedata
from pathlib import Path

from sepiola.data.example import Example, Message, Question
from sepiola.datasets.records import existing_folder, one_of, read_lines
from sepiola.errors import DataError, shown

SPLITS = ["train", "val", "test"]
TASKS = ("topics", "headlines")
HELD_OUT = 26  # of 256 headlines in the dev file so many are `val`


def read_thucnews(root: Path, split: str, *, task: str = "topics") -> list[Example]:
    """Reads `<root>/thucnews_headlines_{class,dev,test}.txt`; the last two may be gzip (`.txt.gz`).

    `task: topics` asks for the headline's class; `headlines` is the text alone, to model language. Raises DataError for
    a line that is not a headline and a class number.
    """
    root = existing_folder(root, "THUCNews headlines (thucnews_headlines_class.txt, …_dev.txt, …_test.txt)")
    one_of(split, SPLITS, "THUCNews")
    if task not in TASKS:
        raise DataError(f"THUCNews has no task '{task}'; known: {', '.join(TASKS)}")
    topics = tuple(read_lines(root / "thucnews_headlines_class.txt"))
    chosen = test = _headlines(root / "thucnews_headlines_test.txt", len(topics))
    if split != "test":
        dev = _headlines(root / "thucnews_headlines_dev.txt", len(topics))
        chosen = {key: row for key, row in dev.items() if key not in test and _held_out(key) == (split == "val")}
    return [_example(*chosen[key], topics, split, task) for key in sorted(chosen, key=_digest)]


def _example(identity: str, headline: str, number: int, topics: tuple[str, ...], split: str, task: str) -> Example:
    metadata = {"split": split, "language": "zh", "group": _key(headline), "topic": topics[number]}
    if task == "headlines":
        return Example(identity, (Message("user", ()),), headline, metadata=metadata)
    question = Question(headline, topics, number, hint="")
    return Example(identity, (Message("user", (headline,)),), topics[number], question, metadata)


def _headlines(path: Path, topics: int) -> dict[str, tuple[str, str, int]]:
    """Each headline's id, text and class, by what makes it the same headline."""
    packed = path.with_name(f"{path.name}.gz")
    source = packed if packed.is_file() else path
    headlines: dict[str, tuple[str, str, int]] = {}
    known = {str(topic) for topic in range(topics)}
    for number, line in enumerate(read_lines(source), start=1):
        headline, tab, topic = line.partition("\t")
        if not tab or not headline.strip() or topic not in known:
            raise DataError(
                f"{source}: line {number}: {shown(line)}; expected headline, tab, class (0 to {topics - 1})"
            )
        identity = f"{path.stem.removeprefix('thucnews_headlines_')}-{number}"
        headlines.setdefault(_key(headline), (identity, headline.strip(), int(topic)))
    return headlines


def _key(headline: str) -> str:
    return "".join(unicodedata.normalize("NFKC", headline).casefold().split())


def _held_out(key: str) -> bool:
    return _digest(key)[-1] < HELD_OUT


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
