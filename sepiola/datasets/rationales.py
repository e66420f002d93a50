"""Rationales beside a dataset: files of `sepiola data teach`, whose lectures and solutions stand in place of its own.

A line has the question's `id`, its `solution`, and may have a `lecture`; what else stands there is for whoever chooses
among such files (`kind`, `skill`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from sepiola.data.example import Example
from sepiola.datasets.records import field, json_lines
from sepiola.errors import DataError
from sepiola.specs.base import Plain


def read_rationales(path: Path) -> dict[str, Plain]:
    """The records of a file by their ids. Raises DataError for a line that is no rationale, and for an id twice."""
    records: dict[str, Plain] = {}
    for number, record in enumerate(json_lines(path, "solution"), start=1):
        where = f"{path}, line {number}"
        name = str(field(record, "id", (str, int), where))
        field(record, "solution", (str,), where)
        field({"lecture": None, **record}, "lecture", (str, type(None)), where)
        if name in records:
            raise DataError(f"{where}: the question '{name}' has a rationale already; give it one")
        records[name] = record
    return records


def with_rationales(examples: Sequence[Example], path: Path) -> list[Example]:
    """The examples with the file's lectures and solutions; of a question that the file lacks neither is known.

    Raises DataError where the file has none of the questions.
    """
    records = read_rationales(path)
    explained = [
        dataclasses.replace(
            example,
            question=dataclasses.replace(
                example.question,
                lecture=records.get(example.id, {}).get("lecture"),
                solution=records.get(example.id, {}).get("solution"),
            ),
        )
        if example.question is not None
        else example
        for example in examples
    ]
    if not any(example.id in records for example in examples if example.question is not None):
        raise DataError(f"{path}: has a rationale for none of the {len(examples)} examples; it was made of other data")
    return explained
