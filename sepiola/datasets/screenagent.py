"""ScreenAgent (Niu et al., IJCAI 2024): sessions of computer control, a screenshot and a prompt in, actions out.

Prompts are in English and Chinese; actions are calls whose name is their `action_type`. Positions are in pixels of
the screen, whose size is `metadata["screen"]`, whatever the size of the picture. 145 clicks without boxes are too few
to learn from.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from sepiola.data.example import Example, Message
from sepiola.data.image import ImageRef
from sepiola.datasets.records import existing_folder, field, json_lines, one_of
from sepiola.datasets.tool_calls import calling
from sepiola.errors import DataError, shown
from sepiola.specs.values import Names
from sepiola.tidepool.words import LANGUAGES

_BLOCK = re.compile(r"```json\s*(.*?)```", re.DOTALL)


def read_screenagent(root: Path, split: str, *, languages: Names = LANGUAGES) -> list[Example]:
    """Reads `<root>/records.jsonl` and the pictures that it names: an example a step and language.

    The texts of actions are in the prompt's language where the record has them so. Raises DataError for a record
    without prompt or actions.
    """
    root = existing_folder(root, "ScreenAgent (records.jsonl, images/)")
    one_of(split, ["train"], "ScreenAgent")
    for language in languages:
        if language not in LANGUAGES:
            raise DataError(f"ScreenAgent has no language {shown(language)}; known: {', '.join(LANGUAGES)}")
    path = root / "records.jsonl"
    examples = []
    for number, record in enumerate(json_lines(path, "actions", "image", "session"), start=1):
        where = f"{path}, line {number}"
        picture = root / field(record, "image", (str,), where)
        for language in languages:
            prompt = field(record, f"send_prompt_{language}", (str,), where)
            calls = [_call(action, where) for action in _actions(record, language, where)]
            metadata = {
                "split": split, "language": language, "group": field(record, "session", (str,), where),
                "picture": "needed", "task": record.get(f"task_prompt_{language}"),
                "screen": [field(record, f"video_{side}", (int,), where) for side in ("width", "height")],
            }  # fmt: skip
            message = Message("user", (ImageRef(path=picture), prompt))
            examples.append(calling(f"screenagent-{number}-{language}", [message], calls, None, metadata))
    return examples


def _actions(record: Mapping[str, object], language: str, where: str) -> list[object]:
    """The actions in a language; as the session has them where the translation is damaged, or has not as many."""
    actions: list[object] = field(record, "actions", (list,), where)
    block = _BLOCK.search(str(record.get(f"LLM_response_editer_{language}", "")))
    try:
        translated = json.loads(block[1]) if block else None
    except ValueError:
        translated = None
    found = translated if isinstance(translated, list) else [translated]
    kinds = [action.get("action_type") if isinstance(action, dict) else None for action in found]
    same = kinds == [action.get("action_type") for action in actions if isinstance(action, dict)]
    return found if same else actions


def _call(action: object, where: str) -> dict[str, object]:
    if not isinstance(action, dict):
        raise DataError(f"{where}: expected an action, got {shown(action)}")
    name = field(action, "action_type", (str,), where)
    return {"name": name, "arguments": {key: value for key, value in action.items() if key != "action_type"}}
