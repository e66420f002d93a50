"""ToolAlpaca's evaluation sets (Tang et al., 2023): requests to APIs that are described by OpenAPI documents, with the
calls that answer them.

An operation is a function; its path, query and body parameters are its arguments. An argument that stands for what an
earlier call gives (`${animeId from searchAnime}`) is not known, and neither are the others of its call. Calls of what
the document does not describe are answered by no call that could be written: their requests are left out, and counted.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sepiola.data.example import Example, Message
from sepiola.datasets.records import existing_folder, field, one_of, read_json
from sepiola.datasets.tool_calls import calling, tool_of
from sepiola.errors import DataError, brief, shown
from sepiola.specs.base import Plain
from sepiola.specs.safe_files import parse_json
from sepiola.specs.values import Names

log = logging.getLogger(__name__)

SETS = ("real", "simulated")
DEEPEST = 8
"""References inside a document are followed so deep."""


def read_toolalpaca(root: Path, split: str, *, sets: Names = SETS) -> list[Example]:
    """Reads `<root>/eval_<set>.json`. Raises DataError for a record that lacks what it needs, naming its API."""
    root = existing_folder(root, "ToolAlpaca (eval_real.json, eval_simulated.json)")
    one_of(split, ["test"], "ToolAlpaca")
    examples, left_out = list[Example](), 0
    for name in sets:
        if name not in SETS:
            raise DataError(f"ToolAlpaca has no set {shown(name)}; known: {', '.join(SETS)}")
        path = root / f"eval_{name}.json"
        records = read_json(path)
        if not isinstance(records, list):
            raise DataError(f"{path}: expected a list of APIs, got {shown(records)}")
        for place, record in enumerate(records):
            if not isinstance(record, dict):
                raise DataError(f"{path}: record {place}: expected an object, got {shown(record)}")
            where = f"{path}: {brief(str(record.get('Name', f'record {place}')))}"
            read = _requests(record, f"toolalpaca-{name}-{place}", where)
            examples += [example for example in read if example is not None]
            left_out += sum(example is None for example in read)
    if left_out:
        log.info("ToolAlpaca: %d requests are left out: their calls are of no operation that is described", left_out)
    return examples


def _requests(record: Mapping[str, object], identity: str, where: str) -> list[Example | None]:
    """The requests to one API; None for one whose calls are of no operation."""
    tools = _tools(record, where)
    known = {tool["function"]["name"] for tool in tools}
    asked = field(record, "Instructions", (list,), where)
    answers = field(record, "Golden_Answers", (list,), where)
    if len(asked) != len(answers):
        raise DataError(f"{where}: {len(asked)} instructions, but {len(answers)} golden answers")
    examples: list[Example | None] = []
    for number, (text, answer) in enumerate(zip(asked, answers, strict=True)):
        if not isinstance(text, str) or not isinstance(answer, list):
            raise DataError(f"{where}: instruction {number}: expected a text with a list of calls")
        calls = [_call(step, f"{where}: instruction {number}") for step in answer]
        if any(call["name"] not in known for call in calls):
            examples.append(None)
            continue
        metadata = {"split": "test", "language": "en", "group": identity, "api": str(record.get("Name", "")),
                    "picture": "none"}  # fmt: skip
        examples.append(calling(f"{identity}-{number}", [Message("user", (text,))], calls, tools, metadata))
    return examples


def _call(step: object, where: str) -> dict[str, object]:
    if not isinstance(step, dict):
        raise DataError(f"{where}: expected a call, got {shown(step)}")
    name, said = (field(step, key, (str,), where) for key in ("Action", "Action_Input"))
    try:
        arguments = json.loads(said)
    except ValueError:  # it names what an earlier call gives
        arguments = None
    return {"name": name, "arguments": arguments if isinstance(arguments, dict) else None}


def _tools(record: Mapping[str, object], where: str) -> list[Plain]:
    document = parse_json(field(record, "Documentation", (str,), where), f"{where}: Documentation", DataError)
    if not isinstance(document, dict):
        raise DataError(f"{where}: Documentation: got {shown(document)}; expected an object")
    places = field(record, "Function_Projection", (dict,), where)
    tools = []
    for name, place in places.items():
        try:
            path, method = place
            operation = document["paths"][path][method]
        except (KeyError, TypeError, ValueError):
            operation = None
        if not isinstance(operation, dict):
            raise DataError(f"{where}: {brief(name)}: {shown(place)} is no operation of its Documentation")
        described = str(operation.get("summary") or operation.get("description") or "")
        tools.append(tool_of(name, described, _parameters(operation, document), where))
    return tools


def _parameters(operation: Plain, document: Plain) -> Plain:
    """The JSON Schema of an operation's arguments."""
    properties, required = Plain(), list[str]()
    for raw in operation.get("parameters", ()):
        parameter = _resolved(raw, document)
        schema = parameter.get("schema") or {}
        described = {"description": parameter["description"]} if parameter.get("description") else {}
        properties[parameter["name"]] = {**schema, **described}
        required += [parameter["name"]] if parameter.get("required") else []
    content = _resolved(operation.get("requestBody") or {}, document).get("content") or {}
    for body in list(content.values())[:1]:
        schema = body.get("schema") or {}
        properties |= schema.get("properties") or {}
        required += [key for key in schema.get("required") or () if key not in required]
    return {"type": "object", "properties": properties, "required": required}


def _resolved(part: object, document: Plain, depth: int = 0) -> Any:
    """A part of a document with its references replaced by what they refer to; too deep ones allow every value."""
    if isinstance(part, Sequence) and not isinstance(part, str):
        return [_resolved(each, document, depth) for each in part]
    if not isinstance(part, Mapping):
        return part
    reference = part.get("$ref")
    if not isinstance(reference, str):
        return {key: _resolved(value, document, depth) for key, value in part.items()}
    found: Any = document
    for key in reference.removeprefix("#/").split("/"):
        found = found.get(key) if isinstance(found, Mapping) else None
    return _resolved(found, document, depth + 1) if depth < DEEPEST and found is not None else {}
