"""The files of CMRC 2018 (Cui et al., 2019, arXiv 1810.07366): Chinese passages with questions, answered by spans."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sepiola.datasets.records import field, read_json
from sepiola.errors import DataError, shown
from sepiola.specs.base import Plain


@dataclass(frozen=True)
class PassageQuestion:
    """A question on a passage and the answers that people gave, at least one."""

    id: str
    text: str
    answers: tuple[str, ...]


def passages(path: Path) -> list[tuple[str, list[PassageQuestion]]]:
    """Every passage of a file with its questions. Raises DataError for a record that is damaged."""
    found = []
    for article in _objects(read_json(path), "data", str(path)):
        for paragraph in _objects(article, "paragraphs", str(path)):
            context = field(paragraph, "context", (str,), str(path))
            found.append((context, [_question(asked, path) for asked in _objects(paragraph, "qas", str(path))]))
    return found


def _question(asked: Plain, path: Path) -> PassageQuestion:
    identity = field(asked, "id", (str,), str(path))
    where = f"{path}, {identity}"
    answers = tuple(field(answer, "text", (str,), where) for answer in _objects(asked, "answers", where))
    if not answers:
        raise DataError(f"{where}: 'answers' is empty; expected at least one")
    return PassageQuestion(identity, field(asked, "question", (str,), where), answers)


def _objects(record: object, key: str, where: str) -> list[Plain]:
    """The list of objects under a key."""
    if not isinstance(record, dict):
        raise DataError(f"{where}: expected an object with '{key}', got {shown(record)}")
    rows: list[Plain] = field(record, key, (list,), where)
    if not all(isinstance(row, dict) for row in rows):
        raise DataError(f"{where}: '{key}' is {shown(rows)}; expected a list of objects")
    return rows
