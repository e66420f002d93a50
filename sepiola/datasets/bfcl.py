"""Berkeley Function Calling Leaderboard v4 (Patil et al., ICML 2025): requests that declare functions, and every value
that the right call's arguments may have.

It has a test set alone. Requests of several turns, whose answers are states of simulated systems, and those whose right
calls are not known (`live_relevance`) are not read. Types of Python, Java and JavaScript become JSON Schema's.
`metadata["allowed"]` lists all values of an argument, among which "" says that it may be left out. The right call
leaves those out, and has the first value of the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from sepiola.data.example import Example, Message
from sepiola.data.language import language_of
from sepiola.datasets.records import existing_folder, field, json_lines, one_of
from sepiola.datasets.tool_calls import calling, tool_of
from sepiola.errors import DataError, shown
from sepiola.specs.base import Plain
from sepiola.specs.values import Names

ANSWERED = ("simple_python", "multiple", "parallel", "parallel_multiple", "live_simple", "live_multiple",
            "live_parallel", "live_parallel_multiple")  # fmt: skip
IRRELEVANT = ("irrelevance", "live_irrelevance")
OTHER_LANGUAGES = ("simple_java", "simple_javascript")
CATEGORIES = (*ANSWERED, *IRRELEVANT, *OTHER_LANGUAGES)


def read_bfcl(root: Path, split: str, *, categories: Names = (*ANSWERED, *IRRELEVANT)) -> list[Example]:
    """Reads `<root>/BFCL_v4_<category>.json`, and `possible_answer/` beside it.

    `simple_java` and `simple_javascript` are read when they are named. Raises DataError for a category that is not
    read, and for a record without question, function or answer.
    """
    root = existing_folder(root, "BFCL (BFCL_v4_*.json, possible_answer/)")
    one_of(split, ["test"], "BFCL")
    examples = []
    for category in categories:
        if category not in CATEGORIES:
            raise DataError(f"BFCL has no category {shown(category)} that is read; known: {', '.join(CATEGORIES)}")
        path = root / f"BFCL_v4_{category}.json"
        answers: dict[str, object] = {}
        if category not in IRRELEVANT:
            listed = json_lines(root / "possible_answer" / path.name, "id", "ground_truth")
            answers = {str(record["id"]): record["ground_truth"] for record in listed}
        for record in json_lines(path, "id", "question", "function"):
            where = f"{path}, {record['id']}"
            if category not in IRRELEVANT and record["id"] not in answers:
                raise DataError(f"{where}: has no answer in possible_answer/{path.name}")
            examples.append(_example(record, answers.get(str(record["id"]), []), category, where))
    return examples


def _example(record: Mapping[str, object], answers: object, category: str, where: str) -> Example:
    turns = field(record, "question", (list,), where)
    if len(turns) != 1 or not isinstance(turns[0], list) or not turns[0]:
        raise DataError(f"{where}: 'question' is {shown(turns)}; expected one turn")
    messages = [_message(turn, where) for turn in turns[0]]
    declared = field(record, "function", (list,), where)
    tools = [
        tool_of(field(f, "name", (str,), where), field(f, "description", (str,), where), f.get("parameters"), where)
        for f in declared
    ]
    schemas = {tool["function"]["name"]: tool["function"]["parameters"] for tool in tools}
    allowed = _allowed(answers, schemas, where)
    calls = [{"name": one["name"], "arguments": _first(one, schemas[one["name"]])} for one in allowed]
    text = messages[-1].text
    metadata = {"split": "test", "language": language_of(text), "category": category, "group": "+".join(schemas),
                "allowed": allowed, "picture": "none"}  # fmt: skip
    return calling(str(record["id"]), messages, calls, tools, metadata)


def _message(turn: Mapping[str, object], where: str) -> Message:
    role = field(turn, "role", (str,), where)
    if role not in ("system", "user", "assistant"):
        raise DataError(f"{where}: the role is {shown(role)}; expected system, user or assistant")
    return Message(role, (field(turn, "content", (str,), where),))


def _allowed(answers: object, schemas: Mapping[str, object], where: str) -> list[Plain]:
    """The right calls, each argument with the list of its values."""
    allowed = []
    for answer in answers if isinstance(answers, list) else [answers]:
        if not isinstance(answer, dict) or len(answer) != 1:
            raise DataError(f"{where}: the answer is {shown(answer)}; expected one function with its arguments")
        ((name, arguments),) = answer.items()
        if name not in schemas:
            raise DataError(f"{where}: the answer calls {shown(name)}, which the request does not declare")
        lists = {key: values for key, values in arguments.items() if isinstance(values, list)}
        if len(lists) < len(arguments):
            raise DataError(f"{where}: {name}: expected a list of values for each argument, got {shown(arguments)}")
        allowed.append({"name": name, "arguments": lists})
    return allowed


def _first(allowed: Plain, schema: Plain) -> dict[str, object]:
    """The arguments with the first of their values; those that may be left out are."""
    required = schema.get("required", ())
    given = {}
    for name, values in allowed["arguments"].items():
        if (name in required and values) or (values and "" not in values):
            given[name] = _plain(next((value for value in values if value != ""), ""))
    return given


def _plain(value: object) -> object:
    """A value without the lists of alternatives that stand inside objects."""
    if isinstance(value, Mapping):
        inner = {key: part if isinstance(part, list) else [part] for key, part in value.items()}
        return {key: _plain(parts[0]) for key, parts in inner.items() if parts and "" not in parts}
    return [_plain(part) for part in value] if isinstance(value, list) else value
