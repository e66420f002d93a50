"""ScienceQA (Lu et al., NeurIPS 2022): school science questions with options, hint, lecture and solution.

What the folder holds says which of three layouts it has.

- Official: `problems.json` and `pid_splits.json`; the images of a question lie in `<split>/<pid>/` under the
  folder or its `images/`: the question's own first (`image.png`), then `choice_0.png`, `choice_1.png` … in
  their order.
- Flat: the same two files, where each record also has `image_file`, a path from the folder or null. A record
  with `image` but no `image_file` has an image that is not at hand.
- Hub: the parquet files of `derek-thomas/ScienceQA`, the images inside; the rows have no problem id, so their
  place in the split is the id.

In every text field null means unknown and stays None; "" means known to be empty.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from sepiola.data.example import Example, Message, Question
from sepiola.data.image import ImageRef
from sepiola.datasets.records import existing_folder, field, one_of, read_json
from sepiola.errors import DataError, shown
from sepiola.specs.base import Plain

log = logging.getLogger(__name__)

SPLITS = ["train", "val", "test", "minitrain", "minival", "minitest", "trainval"]
TAXONOMY = ("task", "grade", "subject", "topic", "category", "skill")
HUB_FILES = {"train": ["train"], "val": ["validation"], "test": ["test"], "trainval": ["train", "validation"]}


def read_scienceqa(
    root: Path, split: str, with_image: bool | None = None, with_solution: bool | None = None
) -> list[Example]:
    """Reads one split. `with_image` keeps only questions with an image at hand (True) or without one (False),
    `with_solution` those whose lecture or solution is known and not empty, or the others.

    Problem ids of the split that `problems.json` lacks are left out and their number is logged. Metadata
    holds `split`, `language`, `group` (equal for questions with the same words and options), the taxonomy
    (None where unknown), `has_image` (the question has one, at hand or not) and `image_available`.

    Raises DataError, naming file and problem, for a missing field, a wrong type, an answer out of range, damaged
    files, and a split that the folder does not hold.
    """
    root = existing_folder(root, "ScienceQA")
    one_of(split, SPLITS, "ScienceQA")
    if (root / "problems.json").is_file():
        examples = _read_problems(root, split)
    elif _hub_files(root):
        examples = _read_hub(root, split)
    else:
        raise DataError(
            f"{root}: no ScienceQA here; expected problems.json with pid_splits.json, or the Hub's "
            "train-*.parquet, validation-*.parquet, test-*.parquet (in the folder or its data/)"
        )
    return [
        example
        for example in examples
        if with_image in (None, bool(example.images)) and with_solution in (None, _explained(example))
    ]


def _explained(example: Example) -> bool:
    return example.question is not None and bool(example.question.lecture or example.question.solution)


def _read_problems(root: Path, split: str) -> list[Example]:
    source, splits_file = root / "problems.json", root / "pid_splits.json"
    problems, splits = read_json(source), read_json(splits_file)
    if not isinstance(problems, dict):
        raise DataError(f"{source}: expected an object from problem id to record, got {type(problems).__name__}")
    if not isinstance(splits, dict) or not all(isinstance(pids, list) for pids in splits.values()):
        raise DataError(f"{splits_file}: expected an object from split to a list of problem ids")
    if split not in splits:
        raise DataError(f"{splits_file}: no split '{split}'; it holds {', '.join(splits)}")
    pids = [str(pid) for pid in splits[split]]
    present = [pid for pid in pids if pid in problems]
    if not present:
        raise DataError(f"{source}: holds none of the {len(pids)} problems of '{split}' in {splits_file.name}")
    if len(present) < len(pids):
        log.warning("%s: %d of the %d problems of '%s' are absent", source, len(pids) - len(present), len(pids), split)
    examples = []
    for pid in present:
        record, where = problems[pid], f"{source}: problem {pid}"
        if not isinstance(record, dict):
            raise DataError(f"{where}: expected an object, got {type(record).__name__}")
        name = field(record, "image", (str, type(None)), where)
        home = record["split"] if isinstance(record.get("split"), str) else split
        if "image_file" in record:
            images = _flat_images(root, record, where)
        else:
            images = _official_images(root, home, pid, name) if name else ()
        examples.append(_example(pid, record, images, has_image=bool(name or images), split=home, where=where))
    return examples


def _flat_images(root: Path, record: Mapping[str, object], where: str) -> tuple[ImageRef, ...]:
    file = field(record, "image_file", (str, type(None)), where)
    return (ImageRef(path=root / file),) if file else ()


def _official_images(root: Path, split: str, pid: str, name: str) -> tuple[ImageRef, ...]:
    """The question's image and its choices' images; none when the split's images were never downloaded."""
    homes = [folder / split for folder in (root / "images", root) if (folder / split).is_dir()]
    if not homes:
        return ()
    for folder in (home / pid for home in homes):
        if (folder / name).is_file():
            choices = [path for path in folder.glob("choice_*.png") if path.name != name]
            choices.sort(key=lambda path: (len(path.name), path.name))  # choice_10 after choice_9
            return tuple(ImageRef(path=path) for path in (folder / name, *choices))
    return (ImageRef(path=homes[0] / pid / name),)


def _hub_files(root: Path, name: str = "*") -> list[Path]:
    return sorted([*root.glob(f"{name}-*.parquet"), *root.glob(f"data/{name}-*.parquet")])


def _read_hub(root: Path, split: str) -> list[Example]:
    if split not in HUB_FILES:
        raise DataError(
            f"{root}: the Hub's rows have no problem ids, so no split '{split}'; known: {', '.join(HUB_FILES)}"
        )
    examples = []
    for name in HUB_FILES[split]:
        home = "val" if name == "validation" else name
        for index, (path, record) in enumerate(_hub_rows(root, name)):
            where = f"{path}: row {index} of {home}"
            image = field(record, "image", (dict, type(None)), where)
            data = image.get("bytes") if image else None
            images = (ImageRef(data=data),) if data else ()
            examples.append(
                _example(f"{home}-{index}", record, images, has_image=image is not None, split=home, where=where)
            )
    return examples


def _hub_rows(root: Path, name: str) -> Iterator[tuple[Path, Plain]]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise DataError(f"{root}: reading parquet files needs pyarrow; run: pip install 'sepiola[train]'") from None
    files = _hub_files(root, name)
    shards = re.search(r"-of-(\d+)", files[0].name) if files else None
    if not files or (shards and int(shards[1]) != len(files)):
        expected = int(shards[1]) if shards else "at least 1"
        raise DataError(f"{root}: found {len(files)} files {name}-*.parquet, expected {expected}; download the rest")
    for path in files:
        try:
            rows = pq.read_table(path).to_pylist()
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{path}: damaged parquet file: {error}") from None
        for row in rows:
            yield path, row


def _example(
    pid: str,
    record: Mapping[str, object],
    images: tuple[ImageRef, ...],
    *,
    has_image: bool,
    split: str,
    where: str,
) -> Example:
    text = field(record, "question", (str,), where)
    choices = field(record, "choices", (list,), where)
    if not choices or not all(isinstance(choice, str) for choice in choices):
        raise DataError(f"{where}: 'choices' is {shown(choices)}; expected a list of texts")
    answer = field(record, "answer", (int,), where)
    if not 0 <= answer < len(choices):
        raise DataError(f"{where}: 'answer' is {answer}; expected 0 to {len(choices) - 1}, an index into 'choices'")
    known = {key: field(record, key, (str, type(None)), where) for key in ("hint", "lecture", "solution", *TAXONOMY)}
    question = Question(
        text,
        choices=tuple(choices),
        answer=answer,
        hint=known["hint"],
        lecture=known["lecture"],
        solution=known["solution"],
    )
    metadata = {
        "split": split,
        "language": "en",
        "group": _group(text, choices),
        **{key: known[key] for key in TAXONOMY},
        "has_image": has_image,
        "image_available": bool(images),
    }
    return Example(pid, (Message("user", (*images, text)),), choices[answer], question, metadata)


def _group(text: str, choices: list[str]) -> str:
    """The same for the same words and options, whatever their case, spacing and order."""
    parts = [" ".join(part.casefold().split()) for part in (text, *choices)]
    parts[1:] = sorted(parts[1:])
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
