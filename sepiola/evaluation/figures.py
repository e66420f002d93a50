"""What a measurement is made of: figures as plain data, and the tables and headlines that show them.

Accuracies and rates are shares, 0 to 1. A table has systems in lines; its page shows every part, the terminal the
values of its cells.
"""

from __future__ import annotations

from typing import NotRequired, TypedDict

from sepiola.specs.base import Plain

Figures = Plain
"""Plain JSON data by name; each benchmark's `run` says its keys."""


class Cell(TypedDict):
    """One figure as text, and what stands below it in small print."""

    value: str
    note: str


class Column(TypedDict):
    """A column's name, and what stands below it in small print."""

    name: str
    notes: list[str]


class Line(TypedDict):
    """One system's figures. `own` is the model that was measured; `published` figures come from a paper."""

    name: str
    own: bool
    published: bool
    cells: list[Cell | None]


class Table(TypedDict):
    """Systems in lines, figures in columns. `caption` is shown on the terminal too, where there is one."""

    title: str
    columns: list[Column]
    lines: list[Line]
    note: str
    caption: NotRequired[str]


class Headline(TypedDict):
    """A figure at the top of the report."""

    name: str
    value: str
    note: str
