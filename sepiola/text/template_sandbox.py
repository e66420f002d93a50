"""The Jinja environment that chat templates run in: `transformers`' own, in a sandbox, on a budget.

A template is code by whoever uploaded the checkpoint. Jinja's sandbox bars Python's internals and ranges over 100,000.
The budget bars the rest: loops and macros without end, and texts, lists and numbers that grow without bound. What it
takes to lay out any conversation is far below it.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sized
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from functools import lru_cache, wraps
from typing import Any

from jinja2 import nodes
from jinja2.exceptions import SecurityError, TemplateError
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace
from jinja2.visitor import NodeTransformer

SECONDS = 10.0  # of processor time, for one rendering
LETTERS = 1 << 28  # written and handled in one rendering
BIGGEST = 1 << 26  # letters of one text, with all that a list or an object holds
LONGEST = 1 << 20  # members of one list
LARGEST = 100_000  # of a number that says how long or how wide
BITS = 1 << 16  # of a number
_WIDE = re.compile(r"\d{6,}|\*|\{[^{}]*\{")  # a field of a format that states, or is given, so great a width
_SPREADS = {
    *("batch", "center", "expandtabs", "format", "format_map", "indent", "ljust", "pprint", "rjust", "slice", "string"),
    *("tojson", "translate", "truncate", "wordwrap", "zfill"),
}
"""Filters and methods whose result is as long as what they are given, one times the other, at most."""


class RefusalError(TemplateError):
    """Raised by a template's own `raise_exception`."""


class BudgetError(TemplateError):
    """A template that runs or grows without bound."""


class _Budget:
    def __init__(self) -> None:
        self.letters = LETTERS
        self.ends = time.thread_time() + SECONDS

    def spend(self, letters: int) -> None:
        self.letters -= letters
        if self.letters < 0:
            raise BudgetError(f"it makes more than {LETTERS:,} letters")
        if time.thread_time() > self.ends:
            raise BudgetError(f"it runs for more than {SECONDS:g} s")


_budget: ContextVar[_Budget | None] = ContextVar("budget", default=None)


@contextmanager
def budget() -> Iterator[None]:
    """One rendering's budget."""
    token = _budget.set(_Budget())
    try:
        yield
    finally:
        _budget.reset(token)


def _spend(letters: int) -> None:
    if letters > BIGGEST:
        raise BudgetError(f"it makes a text of {letters:,} letters")
    here = _budget.get()
    if here is not None:
        here.spend(letters)


def _weight(value: object, known: dict[int, int] | None = None) -> int:
    """How many letters a value is, written out in full; what is held several times counts as often."""
    if isinstance(value, str | bytes):
        return len(value)
    if isinstance(value, int):
        return 1 + value.bit_length() // 3
    if not isinstance(value, Mapping | list | tuple | set):
        return 1
    known = {} if known is None else known
    if id(value) not in known:
        members = [*value, *value.values()] if isinstance(value, Mapping) else value
        known[id(value)] = BIGGEST  # of a value that holds itself
        known[id(value)] = 2 + sum(_weight(member, known) + 2 for member in members)
    return known[id(value)]


def _counted(items: Iterator[object]) -> Iterator[object]:
    for item in items:
        _spend(1 + _weight(item))
        yield item


def _checked(name: str, arguments: list[object]) -> list[object]:
    """The arguments of a filter or a method of text, itself first. Raises BudgetError when its result is too long."""
    first, *others = arguments = [_counted(a) if isinstance(a, Iterator) else a for a in arguments]
    for number in others:
        if isinstance(number, int | float) and abs(number) > LARGEST:
            raise BudgetError(f"it asks '{name}' for {str(number)[:20]}")
    if name == "replace" and len(others) >= 2 and isinstance(first, str):
        _spend(len(first) + first.count(str(others[0])) * len(str(others[1])))
    elif name == "join":
        between, items = (first, others[0]) if isinstance(first, str) and others else (str(others[:1]), first)
        _spend(_weight(items) + (len(items) if isinstance(items, Sized) else 1) * len(between))
    elif name in _SPREADS:
        if name.startswith("format") and isinstance(first, str) and _WIDE.search(first):
            raise BudgetError(f"it asks '{name}' for a width")
        product = max(1, _weight(first))
        for other in others:
            product *= max(1, abs(int(other)) if isinstance(other, int | float) else _weight(other))
        _spend(product)
    elif isinstance(first, str):
        _spend(len(first))
    return arguments


def _guarded(name: str, function: Callable[..., object]) -> Callable[..., object]:
    passed = 1 if hasattr(function, "jinja_pass_arg") else 0

    @wraps(function)
    def guarded(*arguments: object, **named: object) -> object:
        checked = _checked(name, [*arguments[passed:], *named.values()])
        return function(*arguments[:passed], *checked[: len(arguments) - passed], **named)

    return guarded


class _Environment(ImmutableSandboxedEnvironment):
    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> object:
        if operator == "%" and isinstance(left, str):
            _checked("format", [left, right])
        elif isinstance(left, int) and isinstance(right, int):
            bits = left.bit_length() * right if operator == "**" else left.bit_length() + right.bit_length()
            if operator in ("*", "**") and bits > BITS:
                raise BudgetError(f"it makes a number of {bits:,} bits")
        elif operator in ("+", "*"):
            many = [len(x) if isinstance(x, Sized) else x for x in (left, right) if not isinstance(x, float)]
            size = sum(many) if operator == "+" else many[0] * many[-1]
            text = isinstance(left, str) or isinstance(right, str)
            if not text and size > LONGEST:
                raise BudgetError(f"it makes a list of {size:,} members")
            _spend(max(0, size))
        return super().call_binop(context, operator, left, right)

    def call(self, context: Context, function: Any, *arguments: Any, **named: object) -> object:
        method = getattr(function, "__wrapped__", function)
        text = getattr(method, "__self__", None)
        if isinstance(text, str):
            arguments = tuple(_checked(method.__name__, [text, *arguments, *named.values()])[1 : len(arguments) + 1])
        return super().call(context, function, *arguments, **named)


class _Ticks(Extension):
    """Counts the rounds of loops and the calls of macros, by what each writes as it stands."""

    def tick(self, letters: int) -> str:
        """One round."""
        _spend(letters)
        return ""


class _Counting(NodeTransformer):
    def __init__(self, ticks: Extension) -> None:
        self.ticks = ticks

    def _body(self, node: Any) -> object:
        letters = 1 + sum(len(data.data) for data in node.find_all(nodes.TemplateData))
        call = self.ticks.call_method("tick", [nodes.Const(letters)], lineno=node.lineno)
        node = self.generic_visit(node)
        node.body.insert(0, nodes.ExprStmt(call, lineno=node.lineno))
        return node

    visit_For = visit_Macro = visit_CallBlock = _body  # noqa: N815 (names of Jinja's nodes)

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        node.nodes = [nodes.Filter(n, "string", [], [], None, None, lineno=node.lineno) for n in node.nodes]
        return node


class _Generation(Extension):
    """`{% generation %}` says what the assistant wrote, for training; only `marked` shows it in the text."""

    tags = {"generation"}  # noqa: RUF012 (as Jinja declares it)

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        marks = [nodes.Output([self.call_method("mark", [nodes.Const(end)])], lineno=line) for end in (False, True)]
        return nodes.Scope([marks[0], *body, marks[1]], lineno=line)

    def mark(self, end: bool) -> str:
        """What stands before and after what the assistant wrote: nothing where nobody asks."""
        return _marks.get()[end]


_marks: ContextVar[tuple[str, str]] = ContextVar("marks", default=("", ""))


@contextmanager
def marked(begin: str, end: str) -> Iterator[None]:
    """Renders with these texts around what the assistant wrote, where the template says it."""
    token = _marks.set((begin, end))
    try:
        yield
    finally:
        _marks.reset(token)


class _Namespace(Namespace):
    """Jinja's `namespace` without underscored names, which Jinja itself looks up on objects."""

    def __init__(*arguments: Any, **attributes: object) -> None:
        self, *rest = arguments  # so that an attribute may be called `self`
        Namespace.__init__(self)
        for name, value in dict(*rest, **attributes).items():
            self[name] = value

    def __setitem__(self, name: str, value: object) -> None:
        if str(name).startswith("_"):
            raise SecurityError(f"a namespace takes no underscored name, here {name!r}")
        super().__setitem__(name, value)


def _written(value: object) -> object:
    """What is written of a value; its whole weight counts."""
    _spend(_weight(value))
    return value


@lru_cache(maxsize=1)
def environment() -> ImmutableSandboxedEnvironment:
    """The environment, made once."""

    def refuse(message: str) -> None:
        raise RefusalError(message)

    def to_json(
        value: object,
        ensure_ascii: bool = False,
        indent: int | str | None = None,
        separators: tuple[str, str] | None = None,
        sort_keys: bool = False,
    ) -> str:
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    made = _Environment(
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=[_Generation, _Ticks, "jinja2.ext.loopcontrols"],
        finalize=_written,
    )
    made.filters["tojson"] = to_json
    made.filters = {name: _guarded(name, function) for name, function in made.filters.items()}
    made.globals["raise_exception"] = refuse
    made.globals["strftime_now"] = lambda pattern: datetime.now().strftime(pattern)
    made.globals["namespace"] = _Namespace
    del made.globals["lipsum"]  # words at random, as many as are asked for
    return made


def counting(tree: nodes.Template) -> nodes.Template:
    """The tree of a template, with its loops and macros counted and what it joins checked."""
    ticks = next(extension for extension in environment().extensions.values() if isinstance(extension, _Ticks))
    counted: nodes.Template = _Counting(ticks).visit(tree)
    return counted
