"""Words of a request as values of a call: spans from the edge of one word, or Chinese character, to that of another.

Most open values (a name, a message, a thing) are said in the request as they are to be called with. An agent whose
training saw nothing else may write nothing else: it then chooses where a value begins and ends, and cannot misspell it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from sepiola.acting.bounds import TEXT
from sepiola.generation.schemas import Schema

_WORD = re.compile(r"[^\W\d_\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]+|\d+|.", re.DOTALL)
_BETWEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


NESTED = 60
"""Words that stand in one another's brackets: llguidance reads no deeper ones than some 80."""


def words(text: str) -> list[str]:
    """A text in pieces: runs of letters, runs of digits, and each other character, Chinese ones too."""
    return _WORD.findall(text)


def is_span(value: str, text: str) -> bool:
    """Whether the value stands in the text, from the edge of a word to that of another."""
    edges, place = {0}, 0
    for word in words(text):
        place += len(word)
        edges.add(place)
    found = re.finditer(f"(?={re.escape(value)})", text)
    return any(match.start() in edges and match.start() + len(value) in edges for match in found)


def regex(text: str, least: int, most: int) -> str:
    """A regular expression of all spans of the text, within a line, of so many characters; none is as good as none.

    Spans are written out: llguidance has automata of substrings, and fails where one meets a bound of length.
    """
    pieces, spans = words(text), {""} if least == 0 else set[str]()
    for start in range(len(pieces)):
        ends, length = list[int](), 0  # characters up to the end of each piece that may still belong to the span
        for piece in pieces[start:]:
            length += len(piece)
            if length > most or _BETWEEN.search(piece):
                break
            ends.append(length)
        for first in range(0, len(ends), NESTED):
            span = ""
            for place in range(min(first + NESTED, len(ends)) - 1, first - 1, -1):
                span = re.escape(pieces[start + place]) + (f"(?:{span})?" if span and ends[place] >= least else span)
            if ends[min(first + NESTED, len(ends)) - 1] >= least:
                spans.add(re.escape("".join(pieces[start : start + first])) + span)
    return "|".join(sorted(spans))


def with_strings(schema: Schema, form: Callable[[int, int], str]) -> dict[str, object]:
    """The schema with a pattern for each open string: `form` gives one for strings of so many characters."""
    made = dict(schema)
    if made.get("type") == "string" and not {"enum", "const", "pattern"} & set(made):
        return made | {"pattern": f"^(?:{form(made.get('minLength', 0), made.get('maxLength', TEXT))})$"}
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
    if isinstance(value, str):
        if not {"enum", "const", "pattern"} & set(schema):
            yield value
    elif isinstance(value, list):
        for item in value:
            yield from strings(item, schema.get("items", {}))
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from strings(item, schema.get("properties", {}).get(key, {}))
