"""CDial-GPT's sample of LCCC (Wang et al., arXiv 2008.03946): short Chinese dialogues between people.

Every turn after the first is an example. The characters of the files are parted by spaces, which are taken out. Of the
dialogues that are for validation half are `val` and half `test`, and a dialogue whose first turn stands in one of these
is left out of `train`.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from sepiola.data.example import Example, Message, Role
from sepiola.datasets.records import existing_folder, one_of, read_json, read_lines
from sepiola.errors import DataError, shown

SPLITS = ["train", "val", "test"]
_WIDE = r"[\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef]"
_PARTED = re.compile(rf"(?<={_WIDE}) | (?={_WIDE})")


def read_cdial(root: Path, split: str) -> list[Example]:
    """Reads `<root>/toy_train.txt` and `toy_valid.txt` (a dialogue a line, turns parted by tabs) and `toy_data.json`.

    Raises DataError for a dialogue that is damaged.
    """
    root = existing_folder(root, "CDial-GPT's dialogues (toy_train.txt, toy_valid.txt, toy_data.json)")
    one_of(split, SPLITS, "CDial-GPT")
    path = root / "toy_data.json"
    longer = read_json(path)
    if not isinstance(longer, dict) or not {"train", "valid", "test"} <= longer.keys():
        raise DataError(f"{path}: expected the lists train, valid and test, got {shown(longer)}")
    lines = {name: [line.split("\t") for line in read_lines(root / f"toy_{name}.txt")] for name in ("train", "valid")}
    dialogues = {
        "train": [*lines["train"], *longer["train"]],
        "val": [*lines["valid"][::2], *longer["valid"]],
        "test": [*lines["valid"][1::2], *longer["test"]],
    }
    later = SPLITS[SPLITS.index(split) + 1 :]
    known = {_turns(dialogue, path)[0] for name in later for dialogue in dialogues[name]}
    examples: list[Example] = []
    for number, dialogue in enumerate(dialogues[split]):
        turns = _turns(dialogue, path)
        if turns[0] not in known:
            examples += _examples(f"cdial-{split}-{number}", turns, split)
    return examples


def _examples(identity: str, turns: list[str], split: str) -> list[Example]:
    """An example of each turn that follows another; the one who spoke last is the user."""
    group = hashlib.sha256(turns[0].encode()).hexdigest()[:16]
    metadata = {"split": split, "language": "zh", "group": group, "dialogue": identity}
    examples = []
    for place in range(1, len(turns)):
        roles: list[Role] = ["user" if (place - at) % 2 else "assistant" for at in range(place)]
        said = tuple(Message(role, (turn,)) for role, turn in zip(roles, turns, strict=False))
        examples.append(Example(f"{identity}-{place}", said, turns[place], metadata=metadata))
    return examples


def _turns(dialogue: object, path: Path) -> list[str]:
    if not isinstance(dialogue, list) or not all(isinstance(turn, str) and turn.strip() for turn in dialogue):
        raise DataError(f"{path.parent}: a dialogue is {shown(dialogue)}; expected a list of turns that say something")
    return [_PARTED.sub("", turn).strip() for turn in dialogue]
