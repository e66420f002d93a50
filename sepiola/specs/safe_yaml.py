"""YAML from outside to plain data: None, booleans, numbers, texts, lists and keyed values, and nothing else.

What YAML allows and no recipe needs is refused with its line: a key that stands twice, objects of other kinds, values
that hold themselves, aliases that multiply (the "billion laughs"), nesting without end, numbers of thousands of digits.
A date stays the text that it is.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import yaml

from sepiola.errors import SpecError, brief, shown

LONGEST = 1 << 22  # characters
DEEPEST = 60  # levels of nesting
MOST = 100_000  # values, those behind aliases counted wherever they are named
DIGITS = 40  # of a whole number

_TEXTS = ("timestamp", "value")  # what else plain text may be in YAML 1.1: a date, "="
_FOREIGN = ("binary", "omap", "pairs", "set")


def load_yaml(text: str, source: str) -> object:
    """Plain data of YAML text. Raises SpecError that names `source` and, where it is known, the line."""
    if len(text) > LONGEST:
        raise SpecError(f"{source}: {len(text):,} characters; expected YAML of at most {LONGEST:,}")
    try:
        return yaml.load(text, Loader=_PlainLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f" (line {mark.line + 1}, column {mark.column + 1})" if mark is not None else ""
        reason = error.problem or error.context or "cannot be read"
        raise SpecError(f"{source}: not valid YAML: {brief(reason)}{place}") from None
    except yaml.YAMLError as error:
        raise SpecError(f"{source}: not valid YAML: {brief(str(error))}") from None


class _PlainLoader(yaml.SafeLoader):
    """PyYAML's safe loader, without what the module's paragraph refuses."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self._depth += 1
        if self._depth > DEEPEST:
            mark = self.peek_event().start_mark
            raise yaml.composer.ComposerError(None, None, f"nested more than {DEEPEST} levels deep", mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        if isinstance(node, yaml.ScalarNode) and not node.value.isprintable():
            _refuse_half(node)
        return node

    def get_single_node(self) -> yaml.Node | None:
        node = super().get_single_node()
        if node is not None:
            _count(node, {})
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        if isinstance(node, yaml.MappingNode):
            _refuse_repeated(node)
        return super().construct_mapping(node, deep=deep)

    def construct_number(self, node: yaml.ScalarNode) -> int | float:
        """A number; the reading of `0x_` and of thousands of digits fails in Python."""
        whole = node.tag.endswith(":int")
        if whole and len(node.value) > DIGITS:
            raise _refused(f"a number of {len(node.value):,} digits; expected at most {DIGITS}", node)
        try:
            return self.construct_yaml_int(node) if whole else self.construct_yaml_float(node)
        except (ValueError, IndexError, OverflowError):
            raise _refused(f"{shown(node.value)} is no number", node) from None

    def construct_truth(self, node: yaml.ScalarNode) -> bool:
        """A truth value; `!!bool maybe` is none."""
        try:
            return self.construct_yaml_bool(node)
        except KeyError:
            raise _refused(f"{shown(node.value)} is neither true nor false", node) from None


for _tag, _constructor in {
    "int": _PlainLoader.construct_number,
    "float": _PlainLoader.construct_number,
    "bool": _PlainLoader.construct_truth,
    **dict.fromkeys(_TEXTS, _PlainLoader.construct_yaml_str),
    **dict.fromkeys(_FOREIGN, _PlainLoader.construct_undefined),
}.items():
    _PlainLoader.add_constructor(f"tag:yaml.org,2002:{_tag}", _constructor)


def _refused(problem: str, node: yaml.Node) -> yaml.MarkedYAMLError:
    return yaml.constructor.ConstructorError(None, None, problem, node.start_mark)


def _count(node: yaml.Node, counts: dict[int, int | None]) -> int:
    """The values of a node, each alias counted as what it names. Refuses too many, and a value that holds itself."""
    if id(node) in counts:
        known = counts[id(node)]
        if known is None:
            raise _refused("a value that holds itself", node)
        return known
    counts[id(node)] = None
    members: list[yaml.Node] = []
    if isinstance(node, yaml.MappingNode):
        members = [member for pair in node.value for member in pair]
    elif isinstance(node, yaml.SequenceNode):
        members = node.value
    total = 1 + sum(_count(member, counts) for member in members)
    if total > MOST:
        raise _refused(f"aliases make more than {MOST:,} values of it", node)
    counts[id(node)] = total
    return total


def _refuse_half(node: yaml.ScalarNode) -> None:
    """Refuses half a character pair, which an escape can name and no file can hold."""
    try:
        node.value.encode()
    except UnicodeEncodeError:
        raise _refused(f"{shown(node.value)} holds half a character pair", node) from None


def _refuse_repeated(node: yaml.MappingNode) -> None:
    """Refuses a key that stands twice; the last one would win in silence. Keys of a merge (`<<`) may be laid over."""
    earlier: dict[tuple[str, str], int] = {}
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
            continue
        name = (key.tag, key.value)
        if name in earlier:
            raise _refused(f"the key {shown(key.value)} stands twice, first in line {earlier[name] + 1}", key)
        earlier[name] = key.start_mark.line
