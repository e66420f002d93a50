"""LaMDA's toolset (arXiv 2201.08239, section 6.2): a calculator, a translator and retrieval.

A tool takes one text and gives a list of texts, which is empty where it cannot read the text. All are asked, in the
order calculator, translator, retrieval, and what they give is put together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from sepiola.errors import SpecError
from sepiola.reasoning.toolset.calculator import Calculator
from sepiola.reasoning.toolset.retrieval import Retrieval
from sepiola.reasoning.toolset.translator import Translator
from sepiola.specs.base import nearest

LONGEST = 500
"""Letters of a text that tools are asked; a longer one is none of theirs."""


class Tool(Protocol):
    """One text in, a list of texts out."""

    def __call__(self, text: str) -> list[str]: ...


class Toolset:
    """Tools in their order."""

    def __init__(self, tools: Sequence[Tool]) -> None:
        self.tools = tuple(tools)

    def __call__(self, text: str) -> list[str]:
        text = text.strip()
        if not text or len(text) > LONGEST:
            return []
        return [found for tool in self.tools for found in tool(text)]


def _calculator(path: Path | None) -> Calculator:
    if path is not None:
        raise SpecError(f"calculator={path}: a calculator reads no file; leave it out")
    return Calculator()


def _translator(path: Path | None) -> Translator:
    return Translator.load(_given(path, "translator=phrases.tsv"))


def _retrieval(path: Path | None) -> Retrieval:
    return Retrieval.load(_given(path, "retrieval=FOLDER"))


def _given(path: Path | None, form: str) -> Path:
    if path is None:
        raise SpecError(f"{form.partition('=')[0]} reads what it knows from disk: give {form}")
    return path


TOOLS: dict[str, Callable[[Path | None], Tool]] = {
    "calculator": _calculator,
    "translator": _translator,
    "retrieval": _retrieval,
}
"""How each tool is made of where its data lie, in the order in which tools are asked."""


def toolset_of(named: Sequence[str]) -> Toolset:
    """The tools of `calculator`, `translator=phrases.tsv`, `retrieval=FOLDER`, in their own order.

    Raises SpecError for another name, and for one without what it needs.
    """
    asked: dict[str, Path | None] = {}
    for entry in named:
        name, _, path = entry.partition("=")
        if name not in TOOLS:
            raise SpecError(f"no tool is named '{name}'; {nearest(name, TOOLS)}")
        asked[name] = Path(path) if path else None
    return Toolset([make(asked[name]) for name, make in TOOLS.items() if name in asked])
