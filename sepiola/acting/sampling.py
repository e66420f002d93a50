"""Values of arguments by their JSON Schema, with the words that a user says for them.

Free text is made of Tidepool's names, goods, places and messages, by what an argument's name speaks of; values of
`examples` in the schema come first. Open values belong to one split, as in Tidepool's phone requests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sepiola.acting import wording
from sepiola.acting.wording import label, words_of
from sepiola.calling.bounds import FORMATS
from sepiola.calling.schemas import Schema
from sepiola.errors import SpecError, shown
from sepiola.tidepool.phone import dates
from sepiola.tidepool.phone.fills import Context
from sepiola.tidepool.phone.grammar import share_of
from sepiola.tidepool.phone.values import quoted

Said = tuple[str, object]

_KINDS = {
    "person": "name person to contact recipient who artist author owner user guest attendee",
    "email": "email mail",
    "place": "place where from",
    "town": "city town location address destination origin country area station",
    "product": "product item article goods object thing device",
    "query": "query topic keyword keywords search question about",
    "message": "message text body content note comment description reason",
    "subject": "title subject label headline summary event task",
    "restaurant": "restaurant shop store company",
    "dish": "dish food meal recipe",
    "grocery": "grocery ingredient plant",
    "pet_name": "pet",
    "tag": "id code tag number reference ticket",
}
_KIND_OF = {word: kind for kind, words in _KINDS.items() for word in words.split()}
_FORMAT_OF = {f"^{pattern}$": name for name, pattern in FORMATS.items()}
_ANY = ("product", "subject", "place", "person")
_WEAK = {"name", "title", "text", "to", "from", "description"}  # less telling than the words beside them
_SHORT = ("pet_name", "grocery", "tag")  # where others are too long
_ALIASED = 0.8  # share of values that are said by another word, where there is one
_CLOSED_RANGE = 60  # an integer of fewer values than these is in all splits
_TRIES = 500
_WIDEST = 1000  # numbers without a bound are up to this
_UNBOUNDED = 10**9  # a bound beyond this is none


def sample(name: str, schema: Schema, context: Context) -> Said:
    """A value of the argument: how it is said, and as JSON. Raises SpecError for a schema that it cannot sample."""
    for key in ("anyOf", "oneOf"):
        if key in schema:
            parts = [part for part in schema[key] if part.get("type") != "null"]
            return sample(name, context.rng.choice(parts), context)
    if "const" in schema:
        return _word(schema["const"], context), schema["const"]
    if "enum" in schema:
        value = context.rng.choice([value for value in schema["enum"] if value is not None])
        others = wording.aliases(str(value), str(schema.get("description", "")), context.language)
        if others and context.rng.random() < _ALIASED:
            return context.rng.choice(others), value
        return _word(value, context), value
    if "examples" in schema:
        value = context.rng.choice(list(schema["examples"]))
        return _word(value, context), value
    for keyword in ("$ref", "allOf", "pattern"):
        if keyword in schema and schema.get("format") not in FORMATS and schema[keyword] not in _FORMAT_OF:
            raise SpecError(f"{name}: values under '{keyword}' cannot be made up; list some as the schema's 'examples'")
    kind = schema.get("type")
    if kind == "string":
        return _string(name, schema, context)
    if kind in ("integer", "number"):
        return _number(schema, context, whole=kind == "integer")
    if kind == "boolean":
        chosen = context.rng.random() < 0.5
        return ({"en": ("no", "yes"), "zh": ("否", "是")}[context.language][chosen]), chosen
    if kind == "array":
        return _array(name, schema, context)
    if kind == "object":
        return _object(name, schema, context)
    raise SpecError(f"{name}: got {shown(dict(schema))}; expected a schema with a type, an enum or anyOf")


def _word(value: object, context: Context) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value).replace("_", " ") if isinstance(value, str) and context.rng.random() < 0.8 else str(value)


def _string(name: str, schema: Schema, context: Context) -> Said:
    form = schema.get("format") or _FORMAT_OF.get(schema.get("pattern", ""))
    if form == "date":
        said, day = context.day(dates.coming)
        return said, day.isoformat()
    if form == "time":
        return dates.clock(context.rng, context.language, 7, 21)
    if form == "date-time":
        said, day = context.day(dates.coming)
        at, value = dates.clock(context.rng, context.language, 7, 21)
        return (f"{said}{at}" if context.language == "zh" else f"{said} at {at}"), f"{day.isoformat()}T{value}"
    if form is not None:
        raise SpecError(
            f"{name}: values of the format '{form}' cannot be made up; list some as the schema's 'examples'"
        )
    least, most = int(schema.get("minLength", 0)), int(schema.get("maxLength", 200))
    words = sorted(reversed(words_of(name)), key=_WEAK.__contains__)
    known = [_KIND_OF[word] for word in words if word in _KIND_OF][:1] or _ANY
    for attempt in range(_TRIES):
        before = len(context.opened)
        value = context.open(context.rng.choice(known if attempt < _TRIES // 2 else _SHORT))
        if least <= len(value) <= most:
            return quoted(value, context.language, context.rng), value
        del context.opened[before:]
    raise SpecError(
        f"{name}: no text of {least} to {most} characters could be made up; list some as the schema's 'examples'"
    )


def _number(schema: Schema, context: Context, *, whole: bool) -> Said:
    least, most = schema.get("minimum"), schema.get("maximum")
    step = schema.get("multipleOf") or (1 if whole else 0.5)
    if (above := schema.get("exclusiveMinimum")) is not None:
        least = above + step
    if (below := schema.get("exclusiveMaximum")) is not None:
        most = below - step
    if least is not None and least < -_UNBOUNDED:
        least = None
    if most is not None and most > _UNBOUNDED:
        most = None
    if least is None:
        least = 1 if most is None or most >= 1 else most - _WIDEST
    most = least + _WIDEST if most is None else min(most, least + 100 * _WIDEST)
    first, last = -int(-least // step), int(most // step)
    if last < first:
        raise SpecError(f"no number from {least} to {most} is a multiple of {step}")
    for _ in range(_TRIES):
        multiple = context.rng.randint(first, last) * step
        value = int(multiple) if whole or float(multiple).is_integer() else float(multiple)
        if last - first < _CLOSED_RANGE or share_of("value", str(value)) == context.split:
            break
    if last - first >= _CLOSED_RANGE:
        context.opened.append(str(value))
    words = dates.NUMBERS[context.language]
    if isinstance(value, int) and 0 < value < len(words) and context.rng.random() < 0.4:
        return words[value], value
    return str(value), value


def _array(name: str, schema: Schema, context: Context) -> Said:
    items = schema.get("items")
    if not isinstance(items, Mapping):
        raise SpecError(f"{name}: a list whose members have no schema; give 'items'")
    least, most = int(schema.get("minItems", 1)), int(schema.get("maxItems", 3))
    count = context.rng.randint(max(least, min(1, most)), max(least, min(most, 3)))
    said: list[str] = []
    values: list[object] = []
    for _ in range(_TRIES):
        if len(values) >= count:
            break
        text, value = sample(name.removesuffix("s"), items, context)
        if value not in values:
            said.append(text)
            values.append(value)
    if context.language == "zh":
        return "、".join(said), values
    return ", ".join(said[:-1]) + (" and " if len(said) > 1 else "") + (said[-1] if said else "nothing"), values


def _object(name: str, schema: Schema, context: Context) -> Said:
    properties = schema.get("properties")
    if not isinstance(properties, Mapping):
        raise SpecError(f"{name}: an object without 'properties' may be anything; name them")
    required: Sequence[str] = schema.get("required", ())
    said: list[str] = []
    values: dict[str, object] = {}
    for key, part in properties.items():
        if key in required or context.rng.random() < 0.4:
            text, values[key] = sample(f"{name}_{key}", part, context)
            called = label(key, str(part.get("description", "")), context.language)
            between = " " if context.language == "en" else ""
            said.append(f"{called}{between}{text}" if said else text)
    return ("，" if context.language == "zh" else " with ").join(said), values
