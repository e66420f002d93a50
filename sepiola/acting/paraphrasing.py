"""Paraphrases of requests whose calls are known: what a chat model is asked for, and which of its answers are kept.

A paraphrase has the calls of its request. So every value that stands in the request must stand in the paraphrase,
letter by letter; what is said otherwise (tomorrow, three, 猫) can only be checked by asking which calls it means.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence

from sepiola.acting.checking import same_calls
from sepiola.calling.functions import Call, Function
from sepiola.data.language import language_of
from sepiola.specs.base import Plain

EACH = 3
"""Paraphrases that are asked for at once."""
LONGEST = 3
"""So many times as long as its request a paraphrase may be."""
REASONS = {
    "empty": "no text",
    "language": "in another language",
    "long": "far longer than the request",
    "value": "a value is missing",
    "same": "no new words",
    "split": "a phrasing of another split",
    "unread": "the teacher's reading of it is no list of calls",
    "meaning": "the teacher reads other calls in it",
}
_ASKED = {
    "en": (
        "Rewrite the request below in {each} ways in which other people would ask for exactly the same: in other "
        "words, in another order, more or less polite, shorter or longer. Add nothing and leave nothing out.{values} "
        "Write English, one rewriting a line, and nothing else.\n\nRequest: {text}"
    ),
    "zh": (
        "请用{each}种不同的说法改写下面的请求，意思必须完全相同：换用词，换语序，更客气或更随意，更短或更长。"
        "不要增加或遗漏任何内容。{values}用中文写，每行一种说法，不要写别的。\n\n请求：{text}"
    ),
}
_VALUES = {
    "en": " Keep these exactly as they stand, letter by letter: {}.",
    "zh": "以下内容必须一字不改地保留：{}。",
}
_READ = """Functions, as JSON:
{tools}

Which of them does the request below ask for, and with which arguments? Reply with a JSON list of objects {{"name": …,
"arguments": {{…}}}}, one a call, and nothing else; [] where none of them is asked for. Take texts from the request as
they stand, leave out arguments that it does not speak of, and write dates as 2024-05-01 and times as 18:30:00.

{lead}Request: {text}"""
_MARKS = re.compile(r"^\s*(?:[-*•·]|\(?\d{1,2}[.):、）])\s+|^\s*\d[、）]\s*")
_QUOTES = {'"': '"', "“": "”", "「": "」", "'": "'"}


def said_values(calls: Sequence[Mapping[str, object]], text: str) -> tuple[list[str], bool]:
    """The values of the calls as they stand in the text, longest first, and whether all of them do."""
    found, whole = dict[str, None](), True
    for call in calls:
        for value in _leaves(call["arguments"]):
            form = next((form for form in _forms(value) if stands(form, text)), None)
            if form is None:
                whole = False
            else:
                found[form] = None
    return sorted(found, key=lambda form: (-len(form), form)), whole


def stands(value: str, text: str) -> bool:
    """Whether a value stands in a text, and not as a part of a longer word or number."""
    begin = r"(?<![0-9A-Za-z])" if re.match(r"[0-9A-Za-z]", value) else ""
    end = r"(?![0-9A-Za-z])" if re.search(r"[0-9A-Za-z]$", value) else ""
    return bool(value) and re.search(f"{begin}{re.escape(value)}{end}", text) is not None


def paraphrases_asked(text: str, language: str, values: Sequence[str]) -> str:
    """The question for paraphrases of a request, in its language."""
    kept = _VALUES[language].format(("、" if language == "zh" else ", ").join(f'"{v}"' for v in values))
    return _ASKED[language].format(each=EACH, text=text, values=kept if values else "")


def paraphrases_in(answer: str) -> list[str]:
    """The paraphrases of an answer, one a line, without numbers and quotes around them."""
    found = []
    for line in answer.splitlines():
        text = _MARKS.sub("", line).strip()
        if len(text) > 1 and _QUOTES.get(text[0]) == text[-1] and text[0] not in text[1:-1]:
            text = text[1:-1].strip()
        if text:
            found.append(text)
    return found[:EACH]


def fault_of(text: str, request: str, language: str, values: Sequence[str]) -> str:
    """Why a paraphrase is not kept, by its words alone: a key of REASONS, or "" for none."""
    faults = {
        "empty": not any(character.isalnum() for character in text),
        "language": language_of(text) not in (language, language_of(request)),
        "long": len(text) > LONGEST * len(request) + 20,
        "value": any(not stands(value, text) for value in values),
        "same": phrasing(text, ()) == phrasing(request, ()),
    }
    return next((reason for reason, holds in faults.items() if holds), "")


def phrasing(text: str, values: Sequence[str]) -> str:
    """What two texts have in common that differ in values, case, spaces and punctuation alone."""
    for value in values:
        text = text.replace(value, "\0")
    return "".join(character for character in text.casefold() if character.isalnum() or character == "\0")


def reading_asked(text: str, lead: str, functions: Sequence[Function]) -> str:
    """The question which calls a request means; `lead` says the day, where the request does."""
    tools = json.dumps([function.tool["function"] for function in functions], ensure_ascii=False)
    return _READ.format(tools=tools, lead=lead, text=text)


def reading_in(answer: str) -> list[Call] | None:
    """The calls of an answer; None where it is no list of calls."""
    try:
        said = json.loads(answer[answer.index("[") : answer.rindex("]") + 1])
        return [Call(str(call["name"]), dict(call["arguments"])) for call in said]
    except (ValueError, RecursionError, KeyError, TypeError):
        return None


def means(calls: Sequence[Plain], read: Sequence[Call], functions: Sequence[Function]) -> bool:
    """Whether a reading has the calls, in any order; what is left out has its default."""
    defaults = {f.name: {p.name: p.default for p in f.parameters} for f in functions}
    right = [(call["name"], {**defaults[call["name"]], **call["arguments"]}) for call in calls]
    return same_calls(right, [(call.name, {**defaults.get(call.name, {}), **call.arguments}) for call in read])


def _leaves(value: object) -> Iterator[object]:
    if isinstance(value, Mapping):
        for part in value.values():
            yield from _leaves(part)
    elif isinstance(value, list):
        for part in value:
            yield from _leaves(part)
    else:
        yield value


def _forms(value: object) -> list[str]:
    """How a value may stand in a text; a boolean and nothing do not."""
    if isinstance(value, str):
        return [value, value.replace("_", " ")]
    if value is None or isinstance(value, bool):
        return []
    return [str(value), f"{value:g}"] if isinstance(value, float) else [str(value)]
