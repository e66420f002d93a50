"""Training requests for any set of functions, made from their names, descriptions and JSON Schemas, without a teacher.

A function is plain data: `name`, `description`, `parameters` (the JSON Schema of its arguments) and, if the user gives
some, `examples`: phrasings such as "wake me at {time}" or "[定|设]一个{time}的闹钟", in the notation of
`sepiola.tidepool.phone.grammar`, where `{daily=true}` is a value that the words themselves say ("wake me every day at
{time}{daily=true}"). Those phrase better than names can, and are used in two of three requests.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sepiola.acting import wording
from sepiola.acting.sampling import sample
from sepiola.calling.days import date_line
from sepiola.calling.schemas import Schema
from sepiola.data.example import Example, Message
from sepiola.errors import SpecError, shown
from sepiola.tidepool.phone import dates, phrases_en, phrases_zh
from sepiola.tidepool.phone.distractors_en import TOPICS
from sepiola.tidepool.phone.fills import Context, NoSuchDayError
from sepiola.tidepool.phone.grammar import Template, expand, share_of, templates
from sepiola.tidepool.phone.requests import Segments, share_group, unrelated, written
from sepiola.tidepool.words import LANGUAGES
from sepiola.tidepool.world import checked_arguments

KINDS = ("text", "several", "irrelevant", "near miss")
TURNS = (*("text", "several") * 3, "text", "irrelevant", "text", "near miss")
TO_LEARN = ("several", "text", "several", "irrelevant", "several", "text", "several", "near miss", "several", "text")
"""The turns of kinds to train on: one call is learned long before several are told apart."""
_COMPOSED = 240  # templates of a function and language that are composed of its names
_BY_EXAMPLE = 0.67
_DATED = 0.5
_TRIES = 400
_FIXED = re.compile(r"\{(\w+)=([^{}]*)\}")
_TYPES: dict[object, type | tuple[type, ...]] = {"boolean": bool, "integer": int, "number": (int, float), "string": str}
_LABELLED = re.compile(r"(:|\bis|\bfor|\bat|\bwith \w[\w ]*|, \w[\w ]*) $")  # ends so, and needs no "on"
_INTERJECTION = re.compile("^(.*[,，] ?|and |那|请问)")
_NEAR = {
    "en": (
        "[|hm, |wait, |oh, ][don't|do not|never|no need to] {core}",
        "[|hm, |wait, |and ][how do I|should I|why would I|when did you|did you] {core}?",
        "[|no, |sorry, ][I don't want|I never asked you] to {core}",
        "[|and |hm, ]what happens if [I|you] {core}?",
    ),
    "zh": (
        "[|嗯，|等等，|哦，][不要|别|先别|不用]{core}",
        "[|嗯，|等等，|请问][怎么|我该不该|为什么要|你刚才有没有]{core}？",
        "[|不，|算了，]我不[想|打算|需要]{core}",
        "[|那|请问]如果{core}会怎么样？",
    ),
}
_JOINS = {"en": (", then ", ". Then ", "; also ", " and then "), "zh": ("，然后", "，再", "。另外", "。接着")}


@dataclass(frozen=True)
class Phrasing:
    """A way to ask for a function. `fixed` are the arguments that its words themselves decide."""

    template: Template
    fixed: tuple[tuple[str, object], ...] = ()


@dataclass(frozen=True)
class _Asked:
    """A function with its phrasings in one language: of its names, and those that were given."""

    name: str
    schema: Schema
    made_up: tuple[Phrasing, ...]
    given: tuple[Phrasing, ...]

    def phrasing(self, rng: random.Random, *, order: bool) -> Phrasing:
        """Any phrasing; `order`: one that is no whole sentence."""
        given = [p for p in self.given if not (order and p.template.sentence)]
        return rng.choice(given if given and rng.random() < _BY_EXAMPLE else self.made_up)

    def asks(self, begin: str) -> bool:
        """Whether a whole sentence that was given begins as this does, but for its interjection: "how do I get to …?"
        asks for a route, and so does "wait, how do I navigate to …?".
        """
        opener = _INTERJECTION.sub("", begin).lower()
        return any(p.template.sentence and p.template.text.lower().startswith(opener) for p in self.given)


Piece = str | tuple[_Asked, Phrasing]  # of a request: words, or what asks for a function


def synthesize(
    functions: Sequence[Mapping[str, object]],
    split: str,
    count: int,
    *,
    seed: int = 0,
    languages: Sequence[str] = LANGUAGES,
    kinds: Sequence[str] | None = None,
    about: Sequence[str] | None = None,
) -> list[Example]:
    """`count` requests for the functions; functions, languages and kinds take turns. Those that are named in `about`
    take all the turns, so that each request with calls has one of theirs, and several come in any order.

    Kinds: `text` (one call), `several` (two or three), `irrelevant` (for what none of the functions does) and
    `near miss` (an order of one of them that is denied, doubted or asked about). `metadata` is as that of Tidepool's
    phone requests. Splits are disjoint by template and by open value. Raises SpecError for a function whose requests
    cannot be made, naming it, and DataError for wrong arguments.
    """
    names = [str(function["name"]) for function in functions]
    if not names or len(set(names)) < len(names):
        raise SpecError(
            f"expected one or more functions, each with a name of its own; got {', '.join(names) or 'none'}"
        )
    languages, _ = checked_arguments(split, count, languages, None, 64, names, "function")
    turns = list(TURNS if kinds is None else kinds)
    if not turns or set(turns) - set(KINDS):
        raise SpecError(f"kinds: expected one or more of {', '.join(KINDS)}; got {', '.join(turns) or 'none'}")
    asked = {language: [_asked(function, language) for function in functions] for language in languages}
    excluded, places = _served_topics(functions), [n for n, name in enumerate(names) if name in (about or names)]
    made = []
    for index in range(count):
        turn, number = divmod(index // len(languages), len(places))
        language = languages[index % len(languages)]
        kind = turns[(turn + number) % len(turns)]
        place = places[number]
        made.append(_example(asked[language], place, kind, excluded, split, index, seed, language, about is not None))
    return made


def _example(
    asked: list[_Asked],
    place: int,
    kind: str,
    excluded: set[str],
    split: str,
    index: int,
    seed: int,
    language: str,
    mixed: bool,
) -> Example:
    rng = random.Random(f"synthesis {seed} {split} {index} {asked[place].name} {kind}")
    while True:
        context = Context(rng, language, split)
        try:
            segments, calls, used = _request(asked, place, kind, excluded, context, mixed)
        except NoSuchDayError:
            continue
        break
    text = written(segments, language, rng)
    today = context.today or dates.some_day(rng)
    if context.today is not None or rng.random() < _DATED:
        text = f"{date_line(language, today)}\n{text}"
    metadata = {
        "split": split,
        "language": language,
        "kind": kind,
        "function": "" if kind == "irrelevant" else asked[place].name,
        "calls": calls,
        "today": today.isoformat(),
        "days": context.days,
        "picture": "none",
        "irrelevant": not calls,
        "near_miss": kind == "near miss",
        "templates": used,
        "values": context.opened,
        "group": share_group(used, context.opened),
    }
    name = f"synthesis-{split}-{index:06d}-{language}"
    return Example(name, (Message("user", (text,)),), json.dumps(calls, ensure_ascii=False), metadata=metadata)


def _request(
    asked: list[_Asked], place: int, kind: str, excluded: set[str], context: Context, mixed: bool
) -> tuple[Segments, list[dict[str, object]], list[str]]:
    if kind == "irrelevant":
        request = unrelated(context, excluded)
        return request.segments, [], request.templates
    for _ in range(_TRIES):
        pieces = _composed(asked, place, kind, context, mixed)
        whole = "".join(piece if isinstance(piece, str) else piece[1].template.text for piece in pieces)
        if share_of("template", whole) == context.split:
            break
    else:
        raise SpecError(
            f"{asked[place].name}: too few phrasings for the split '{context.split}'; give some as its 'examples'"
        )
    segments: Segments = []
    calls = []
    for piece in pieces:
        if isinstance(piece, str):
            segments.append((piece, False))
        else:
            said, call = _called(*piece, context)
            segments += said
            calls.append(call)
    return segments, [] if kind == "near miss" else calls, [whole]


def _composed(asked: list[_Asked], place: int, kind: str, context: Context, mixed: bool) -> list[Piece]:
    """The parts of a request; all of them together are its template. Of several, that at `place` is the first, or
    stands anywhere (`mixed`).
    """
    rng, language = context.rng, context.language
    if kind == "several":
        pieces: list[Piece] = []
        numbers = [place, *rng.choices(range(len(asked)), k=rng.choice((1, 1, 2)))]
        if mixed:
            rng.shuffle(numbers)
        for number in numbers:
            pieces += [rng.choice(_JOINS[language])] * bool(pieces)
            pieces.append((asked[number], asked[number].phrasing(rng, order=True)))
        return pieces
    phrasing = asked[place].phrasing(rng, order=kind == "near miss")
    frames = _frames(language, "near" if kind == "near miss" else phrasing.template.sentence)
    if kind == "near miss":
        frames = tuple(frame for frame in frames if not asked[place].asks(frame[0])) or frames
    begin, end = rng.choice(frames)
    return [begin, (asked[place], phrasing), "" if phrasing.template.text[-1] in "?？" else end]


@lru_cache
def _frames(language: str, kind: str | bool) -> tuple[tuple[str, str], ...]:
    """What may stand before and after: an order, a sentence (True), or an order that is not meant ("near")."""
    module = {"en": phrases_en, "zh": phrases_zh}[language]
    patterns = _NEAR[language] if kind == "near" else module.GREETINGS if kind else module.FRAMES
    frames = (text.partition("{core}") for pattern in patterns for text in expand(pattern))
    return tuple((begin, end) for begin, _, end in frames)


def _called(asked: _Asked, phrasing: Phrasing, context: Context) -> tuple[Segments, dict[str, object]]:
    arguments: dict[str, object] = dict(phrasing.fixed)
    segments: Segments = []
    for place, part in enumerate(phrasing.template.parts):
        if place % 2 == 0:
            segments.append((part, False))
            continue
        try:
            said, arguments[part] = sample(part, asked.schema["properties"][part], context)
        except SpecError as error:
            raise SpecError(f"{asked.name}: {error}") from None
        if _LABELLED.search(segments[-1][0]):
            said = said.removeprefix("on ")
        segments.append((said, True))
    return segments, {"name": asked.name, "arguments": arguments}


def _asked(function: Mapping[str, Any], language: str) -> _Asked:
    name, schema = str(function["name"]), function.get("parameters") or {"type": "object", "properties": {}}
    made_up = _made_up(name, str(function.get("description", "")), schema, language)
    given = [_given(name, template, schema) for template in templates(function.get("examples", ()))]
    own = tuple(p for p in given if wording.is_chinese(p.template.text) == (language == "zh"))
    return _Asked(name, schema, made_up, own)


def _given(name: str, template: Template, schema: Schema) -> Phrasing:
    """A user's phrasing. Raises SpecError for arguments that are none, missing or twice there, and for wrong values."""
    known, required = schema.get("properties", {}), schema.get("required", ())
    pairs = _FIXED.findall(template.text)
    said = Template(re.sub(" +", " ", _FIXED.sub("", template.text)).strip(), template.sentence)
    slots = [*said.slots, *(key for key, _ in pairs)]
    for slot in slots:
        if slot not in known or slots.count(slot) > 1:
            raise SpecError(
                f"{name}: the phrasing '{template.text}' has the slot {{{slot}}}, twice or for no argument; arguments: "
                f"{', '.join(known) or 'none'}"
            )
    missing = [argument for argument in required if argument not in slots]
    if missing:
        raise SpecError(f"{name}: the phrasing '{template.text}' lacks {{{missing[0]}}}, which a call needs")
    return Phrasing(said, tuple((key, _value(f"{name}: {{{key}={text}}}", known[key], text)) for key, text in pairs))


def _value(where: str, schema: Schema, text: str) -> object:
    """What a phrasing says of an argument: a text as it stands, and else a JSON literal."""
    try:
        literal = json.loads(text)
    except ValueError:
        literal = text
    for part in schema.get("anyOf") or schema.get("oneOf") or (schema,):
        for value in (text, literal):
            if value in part["enum"] if "enum" in part else isinstance(value, _TYPES.get(part.get("type"), ())):
                return value
    raise SpecError(f"{where} in a phrasing is no value of the argument; expected one of {shown(dict(schema))}")


def _made_up(name: str, description: str, schema: Schema, language: str) -> tuple[Phrasing, ...]:
    """Phrasings composed of the function's names: an order, then its arguments in any order, optional ones at will."""
    properties, required = schema.get("properties", {}), schema.get("required", ())
    said = wording.orders(name, description, language)
    found: dict[str, Phrasing] = {}
    for number in range(_COMPOSED):
        rng = random.Random(f"{name} {language} {number}")
        chosen = [key for key in properties if key in required or rng.random() < 0.4]
        rng.shuffle(chosen)
        text, fixed = rng.choice(said), []
        for key in chosen:
            part = properties[key]
            described = str(part.get("description", ""))
            if part.get("type") == "boolean":
                value = rng.random() < 0.6
                text += rng.choice(wording.switches(key, described, language)[value])
                fixed.append((key, value))
            else:
                free = part.get("type") == "string" and "enum" not in part
                text += rng.choice(wording.mentions(key, described, language, text=free))
        found.setdefault(text, Phrasing(Template(text), tuple(fixed)))
    return tuple(found.values())


def _served_topics(functions: Sequence[Mapping[str, object]]) -> set[str]:
    """Topics of Tidepool's other requests that one of the functions may well serve."""
    texts = [f"{function['name']} {function.get('description', '')}" for function in functions]
    return {topic for topic, words in TOPICS.items() if wording.served(words.split(), texts)}
