"""Words of a request as values of a call: spans from the edge of one word, or Chinese character, to that of another.

Most open values (a name, a message, a thing) are said in the request as they are to be called with. An agent whose
training saw nothing else may write nothing else: it then chooses where a value begins and ends, and cannot misspell it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache

from .bounds import TEXT
from .schemas import Schema

LETTERS = r"[^\W\d_\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]"
"""Letters that words are made of; Chinese characters stand alone."""
_WORD = re.compile(rf"{LETTERS}+|\d+|.", re.DOTALL)
_BETWEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


NESTED = 60
"""Words that stand in one another's brackets: llguidance reads no deeper ones than some 80."""


def words(text: str) -> list[str]:
    """A text in pieces: runs of letters, runs of digits, and each other character, Chinese ones too."""
    return _WORD.findall(text)


def is_span(value: str, text: str) -> bool:
    """Whether the value stands in the text, from the edge of a word to that of another, no space around it."""
    edges, place = {0}, 0
    for word in words(text):
        place += len(word)
        edges.add(place)
    found = re.finditer(f"(?={re.escape(value)})", text)
    return value == value.strip() and any(m.start() in edges and m.start() + len(value) in edges for m in found)


def regex(text: str, least: int, most: int) -> str:
    """A regular expression of all spans of the text, within a line, of so many characters; none is as good as none.

    Spans are written out: llguidance has automata of substrings, and fails where one meets a bound of length.
    """
    return _regex(text, least, min(most, len(text)))


@lru_cache(maxsize=32)
def _regex(text: str, least: int, most: int) -> str:
    pieces, spans = words(text), {""} if least == 0 else set[str]()
    for start, opening in enumerate(pieces):
        if opening.isspace():
            continue
        ends, length = list[int](), 0  # characters up to the end of each piece that may still belong to the span
        for piece in pieces[start:]:
            length += len(piece)
            if length > most or _BETWEEN.search(piece):
                break
            ends.append(length)
        for first in range(0, len(ends), NESTED):
            span = ""
            for place in range(min(first + NESTED, len(ends)) - 1, first - 1, -1):
                piece = pieces[start + place]
                ending = ends[place] >= least and not piece.isspace()
                if span or ending:
                    span = re.escape(piece) + (f"(?:{span})?" if span and ending else span)
            if span:
                spans.add(re.escape("".join(pieces[start : start + first])) + span)
    return "|".join(sorted(spans))


def with_strings(schema: Schema, form: Callable[[int, int], str]) -> dict[str, object]:
    """The schema with a pattern for each open string: `form` gives one for strings of so many characters."""
    made = dict(schema)
    if _open(schema):
        bounds = made.pop("minLength", 0), made.pop("maxLength", TEXT)
        return made | {"pattern": f"^(?:{form(*bounds)})$"}
    if "items" in made:
        made["items"] = with_strings(made["items"], form)
    if "properties" in made:
        made["properties"] = {name: with_strings(part, form) for name, part in made["properties"].items()}
    for key in ("anyOf", "oneOf"):
        if key in made:
            made[key] = [with_strings(part, form) for part in made[key]]
    return made


def strings(value: object, schema: Schema) -> Iterator[str]:
    """The open strings of an argument: those that no `enum` or `pattern` bounds."""
    found = list[str]()

    def keep(string: str) -> str:
        found.append(string)
        return string

    changed(value, schema, keep)
    yield from found


def changed(value: object, schema: Schema, change: Callable[[str], str]) -> object:
    """The value with its open strings changed."""
    if "anyOf" in schema or "oneOf" in schema:
        fitting = (part for part in schema.get("anyOf", schema.get("oneOf")) if _fits(value, part))
        return changed(value, next(fitting, {}), change)
    if isinstance(value, str):
        return change(value) if _open(schema) else value
    if isinstance(value, list):
        return [changed(item, schema.get("items", {}), change) for item in value]
    if isinstance(value, dict):
        parts = schema.get("properties", {})
        return {key: changed(item, parts.get(key, {}), change) for key, item in value.items()}
    return value


def _open(schema: Schema) -> bool:
    return schema.get("type") == "string" and not {"enum", "const", "pattern"} & set(schema)


def _fits(value: object, schema: Schema) -> bool:
    kinds = {"string": str, "array": list, "object": dict}
    kind = kinds.get(str(schema.get("type")))
    return kind is not None and isinstance(value, kind)
