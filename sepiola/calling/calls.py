"""Calls as text, both ways, and the grammars that allow nothing else.

The *functional* form is Octopus's (arXiv 2404.01744) in neutral names: a token a function, its arguments in the order
of the signature between `<fn_sep>`, and `<fn_end>` after the last call:

    <fn_1>Anna<fn_sep>I will be late<fn_end>        <fn_none><fn_end> calls nothing

Strings, dates and the members of a Literal stand as they are: the separators are special tokens, which no text holds.
A text of letters has a space before it that is not of it, unless the request says it behind something else (a quote, a
bracket), and days may count from today (`calling.days`). All else is JSON. `<fn_none>` stands for an argument that is
left out. The *declared* form, for functions that a request describes, is a JSON list of
`{"name": …, "arguments": {…}}`.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Iterator, Mapping, Sequence

from . import days, spans
from .bounds import FORMATS
from .errors import CallError, brief, shown
from .functions import Call, Function, Parameter
from .schemas import Schema

NONE, SEPARATOR, END = "<fn_none>", "<fn_sep>", "<fn_end>"
CALLS = 8
"""Calls of one reply at most."""
LETTER = r"[^\x00-\x1f\x7f-\x9f\u2028\u2029]"
SURE = 0.75
"""How likely a reply's first token of a function that was added must be: below it the agent of before replies."""
MARK = "<fn_"


def _but(characters: str) -> str:
    return LETTER.replace("[^", f"[^{characters}")


UNMARKED = f"({_but('<')}|<+({_but('f<')}|f({_but('n<')}|n{_but('_<')})))*(<+(fn?)?)?"
"""No text spells out a mark: what is read back is what was written. (A complement would say it shorter; llguidance runs
out of room for the states of one.)"""
_PATTERNS = {f"^{pattern}$": pattern for pattern in FORMATS.values()} | days.PATTERNS
"""How strings of these patterns are written."""
_SPACED = re.compile(spans.LETTERS)
FUNCTION = re.compile(r"<fn_[0-9]{1,6}>")
"""A function's own token."""
_TOKEN = re.compile(r"<fn_(?:[0-9]{1,6}|none|sep|end)>")


def tokens_of(functions: int) -> list[str]:
    """The special tokens of so many functions: one each, and those that they share."""
    return [*(f"<fn_{number}>" for number in range(functions)), NONE, SEPARATOR, END]


def write(
    calls: Sequence[Call],
    functions: Sequence[Function],
    today: datetime.date | None = None,
    forms: Mapping[str, str] | None = None,
    said: str = "",
) -> str:
    """Calls in the functional form; days count from `today`, where it is given, in their `forms` where those are known.
    Texts begin as they do in what is `said`, so that the tokens of a request are those of its calls.

    Raises CallError for a call that does not fit its function.
    """
    if not calls:
        return NONE + END
    numbers = {function.name: number for number, function in enumerate(functions)}
    text = ""
    for call in calls:
        if call.name not in numbers:
            raise CallError(f"no function is named '{brief(call.name)}'")
        function = functions[numbers[call.name]]
        function.check(call.arguments)
        values = [_written(parameter, call.arguments, today, forms, said) for parameter in function.parameters]
        text += f"<fn_{numbers[call.name]}>{SEPARATOR.join(values)}"
    return text + END


def read(
    text: str,
    functions: Sequence[Function],
    today: datetime.date | None = None,
    allowed: Sequence[str] | None = None,
) -> list[Call]:
    """The calls of a text in the functional form, whose values are read as literals and checked.

    Raises CallError for a text that is not whole, or says more than calls, for one that names another function than is
    `allowed` (all, by default), and for a day that counts from `today` where none is given.
    """
    marks = [*_TOKEN.finditer(text)]
    if not marks or marks[0].start() or marks[-1].group() != END or marks[-1].end() != len(text):
        raise CallError(f"expected calls from <fn_…> to {END}, got {shown(text)}")
    if text == NONE + END:
        return []
    pieces: list[tuple[str, list[str]]] = []
    for mark, following in zip(marks, [*marks[1:], None], strict=True):
        said = text[mark.end() : following.start() if following else len(text)]
        if MARK in said:
            raise CallError(f"an argument holds {MARK}…, which no text may spell: {shown(said)}")
        if mark.group() == END:
            if following is not None or said:
                raise CallError(f"something follows {END}: {shown(text)}")
        elif mark.group() == SEPARATOR and pieces:
            pieces[-1][1].append(said)
        elif mark.group() == NONE and pieces and not pieces[-1][1][-1]:
            pieces[-1][1][-1] = NONE + said
        elif mark.group() not in (SEPARATOR, NONE):
            pieces.append((mark.group(), [said]))
        else:
            raise CallError(f"{mark.group()} stands where no argument is: {shown(text)}")
    if not pieces:
        raise CallError(f"no call stands before {END}; {NONE}{END} calls nothing")
    called = [(_function(token, functions), values) for token, values in pieces]
    _check_allowed([function.name for function, _ in called], allowed)
    return [_read(function, values, today) for function, values in called]


def _check_allowed(names: Sequence[str], allowed: Sequence[str] | None) -> None:
    """Raises CallError for a name that is not `allowed`, where not all are."""
    for name in names:
        if allowed is not None and name not in allowed:
            raise CallError(f"{name} is not allowed; nothing was called in its place")


def lark(
    functions: Sequence[Function],
    allowed: Sequence[str] | None = None,
    said: str | None = None,
    *,
    one_call: bool = False,
    denied: Sequence[str] = (),
) -> str:
    """The grammar of the functional form, for llguidance; only functions that are `allowed` (all, by default) may be
    called. Where it is given what is `said`, copied arguments are spans of it. With `one_call` a reply is one call.

    Those that are `denied` may be named and not called: with such a name the reply ends, so that no other function is
    called in its place.
    """
    chosen = [(n, f) for n, f in enumerate(functions) if allowed is None or f.name in allowed]
    refused = [f"<fn_{n}>" for n, f in enumerate(functions) if f.name in denied]
    ways = [f"{NONE} {END}"] if not one_call or not chosen else []
    if chosen:
        ways.append(f"call {END}" if one_call else f"call{{1,{CALLS}}} {END}")
    if refused:
        ways.append(f"denied {END}" if one_call or not chosen else f"call{{0,{CALLS - 1}}} denied {END}")
    lines = [f"start: {' | '.join(ways)}"]
    if refused:
        lines.append(f"denied: {' | '.join(refused)}")
    if chosen:
        lines.append("call: " + " | ".join(f"f{number}" for number, _ in chosen))
    terminals: dict[str, str] = {}  # names by what they stand for: what many arguments may say is compiled once
    for number, function in chosen:
        names = [f"f{number}_{place}" for place in range(len(function.parameters))]
        lines.append(f"f{number}: <fn_{number}> " + f" {SEPARATOR} ".join(names))
        for name, parameter in zip(names, function.parameters, strict=True):
            lines += _rules(name, parameter, said if parameter.copied else None, terminals)
    lines += [f"{terminal}: {source}" for source, terminal in terminals.items()]
    return "\n".join(lines)


def json_form(
    functions: Sequence[Function], allowed: Sequence[str] | None = None, *, one_call: bool = False
) -> dict[str, object]:
    """The JSON Schema of the declared form; with `one_call` of a list of one."""
    chosen = [f for f in functions if allowed is None or f.name in allowed]
    calls = [
        {
            "type": "object",
            "properties": {"name": {"const": f.name}, "arguments": f.schema},
            "required": ["name", "arguments"],
            "additionalProperties": False,
        }
        for f in chosen
    ]
    bounds = {"minItems": 1, "maxItems": 1} if one_call else {"maxItems": CALLS}
    return {"type": "array", "items": {"anyOf": calls}, **bounds} if calls else {"const": []}


def read_json(text: str, functions: Sequence[Function], allowed: Sequence[str] | None = None) -> list[Call]:
    """The calls of a text in the declared form. Raises CallError for another text, for calls that do not fit, and for
    one of another function than is `allowed` (all, by default).
    """
    try:
        said = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CallError(f"expected a JSON list of calls, got {shown(text)} ({error})") from None
    known = {function.name: function for function in functions}
    calls = []
    for item in said if isinstance(said, list) else [said]:
        if not isinstance(item, dict) or set(item) != {"name", "arguments"} or not isinstance(item["arguments"], dict):
            raise CallError(f'expected {{"name": …, "arguments": {{…}}}}, got {shown(item)}')
        if not isinstance(item["name"], str) or item["name"] not in known:
            raise CallError(f"no function is named {shown(item['name'])}")
        _check_allowed([item["name"]], allowed)
        known[item["name"]].check(item["arguments"])
        calls.append(Call(item["name"], item["arguments"]))
    return calls


def _plain(schema: Schema) -> bool:
    """Whether values stand as they are: strings and dates, and names of a Literal."""
    if "enum" in schema or "const" in schema:
        values = schema.get("enum", [schema.get("const")])
        return all(isinstance(value, str) and value and value.isprintable() for value in values)
    return schema.get("type") == "string" and ("pattern" not in schema or schema["pattern"] in _PATTERNS)


def _inner(parameter: Parameter) -> tuple[Schema, bool]:
    """The schema of what is written, and whether it may be left out."""
    schema, optional = parameter.schema, not parameter.required
    parts = schema.get("anyOf", [schema])
    kept = [part for part in parts if part.get("type") != "null"]
    if len(kept) < len(parts):
        optional = True
        schema = kept[0] if len(kept) == 1 else {**schema, "anyOf": kept}
    return schema, optional


def _rules(name: str, parameter: Parameter, said: str | None, terminals: dict[str, str]) -> Iterator[str]:
    schema, optional = _inner(parameter)
    none = f" | {NONE}" if optional else ""
    if not _plain(schema):
        whole = {
            **spans.with_strings(schema, lambda least, most: _strings(said, least, most, _but("<"), _but("< "))),
            "x-guidance": {"whitespace_flexible": False},
        }
        inner = f"{name}_json" if none else name
        yield f"{inner}: %json {json.dumps(whole, ensure_ascii=False)}"
        if none:
            yield f"{name}: {inner}{none}"
    elif "enum" in schema or "const" in schema:
        values = schema.get("enum", [schema.get("const")])
        yield f"{name}: " + " | ".join(json.dumps(value, ensure_ascii=False) for value in values) + none
    else:
        yield f"{name}: {terminals.setdefault(_open(schema, said), f'T{name.upper()}')}{none}"


def _open(schema: Schema, said: str | None) -> str:
    """A string, as a terminal of Lark."""
    if "pattern" in schema:
        return f"/{_PATTERNS[schema['pattern']]}/"
    bounds = schema.get("minLength", 0), schema["maxLength"]
    return f"/{_strings(said, *bounds, LETTER, _but(' '))}/ & /{UNMARKED}/"


def _strings(said: str | None, least: int, most: int, letter: str, other: str) -> str:
    """A regular expression of texts of so many characters, spans of what is said where there are any.

    A space before the text is not of it (`_spaced`); `letter` are its characters, `other` those but the space.
    """
    span = "" if said is None else spans.regex(said.replace(MARK, "\n"), least, most)
    if span:
        return f" ?(?:{span})".replace("/", r"\/")
    text = f" {letter}{{{least},{most}}}|{other}{letter}{{{max(least - 1, 0)},{most - 1}}}" if most else " ?"
    return f"(?:{text})?" if least == 0 else f"(?:{text})"


def _spaced(text: str, said: str) -> str:
    """A text as it is written: letters stand behind a space, as they do in most requests, so that tokens are copied as
    they are read. Those that are said behind anything else alone stand behind nothing.
    """
    if text.startswith(" "):
        return f" {text}"
    behind = spans.is_span(text, said) and f" {text}" not in said
    return text if behind or not _SPACED.match(text) else f" {text}"


def _unspaced(text: str) -> str:
    return text.removeprefix(" ")


def _written(
    parameter: Parameter,
    arguments: Mapping[str, object],
    today: datetime.date | None,
    forms: Mapping[str, str] | None,
    said: str,
) -> str:
    schema, optional = _inner(parameter)
    value = arguments.get(parameter.name, parameter.default)
    if optional and (value is None or (not parameter.required and value == parameter.default)):
        return NONE
    plain = _plain(schema)
    value = spans.changed(value, schema, lambda text: _spaced(text, said))
    text = str(value) if plain else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    if plain and today is not None and schema.get("pattern") in days.PATTERNS:
        text = days.relative(text, today, forms)
    if not re.fullmatch(UNMARKED, text):
        raise CallError(f"{parameter.name}: {shown(value)} holds what no call can say (control characters, <fn_…>)")
    return text


def _function(token: str, functions: Sequence[Function]) -> Function:
    number = int(token[4:-1])
    if number >= len(functions):
        raise CallError(f"{token}: there are {len(functions)} functions")
    return functions[number]


def _read(function: Function, values: Sequence[str], today: datetime.date | None) -> Call:
    if len(values) != max(1, len(function.parameters)) or (not function.parameters and values != [""]):
        raise CallError(f"{function.name} takes {len(function.parameters)} arguments, got {len(values)}")
    arguments: dict[str, object] = {}
    for parameter, said in zip(function.parameters, values, strict=False):
        schema, optional = _inner(parameter)
        if said == NONE:
            if not optional:
                raise CallError(f"{function.name}: the argument '{parameter.name}' is missing")
            if parameter.required:
                arguments[parameter.name] = None
        elif _plain(schema):
            day = schema.get("pattern") in days.PATTERNS
            value = days.absolute(said, today) if day else said
            arguments[parameter.name] = spans.changed(value, schema, _unspaced)
        else:
            try:
                arguments[parameter.name] = spans.changed(json.loads(said), schema, _unspaced)
            except (ValueError, RecursionError) as error:
                raise CallError(
                    f"{function.name}: {parameter.name}: expected JSON, got {shown(said)} ({error})"
                ) from None
    function.check(arguments)
    return Call(function.name, arguments)
