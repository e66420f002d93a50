"""Dialogues that ask a toolset before they answer (`sepiola.reasoning.grounding`): `TS, 48/2`, what the toolset gives,
then `User, 24`.

- `sums`: questions of one operation in English and Chinese, drawn; what the calculator is asked is their arithmetic.
- `gsm8k`: word problems (English); what is asked are the authors' own `<<48/2=24>>`, with the results that they write.
  Problems of more than four calls are left out.
- `cmrc2018`: questions on Chinese passages; the toolset is asked the question, and gives the passage's part with the
  answer.

Every turn of the model is an example; `metadata["step"]` says which, and `answer` what the user hears at the end.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from sepiola.data.example import Example, Message
from sepiola.datasets.cmrc2018 import passages
from sepiola.datasets.records import existing_folder, field, json_lines, one_of
from sepiola.specs.values import Drawn, Seed

SPLITS = ["train", "val", "test"]
MOST_CALLS = 4
LETTERS = 300  # of a passage, around its answer
Part = Literal["sums", "gsm8k", "cmrc2018"]
Step = tuple[str, str]
"""What the toolset is asked, and what it gives."""
_CALL = re.compile(r"<<([^<>=]+)=([^<>=]+)>>")
_SUMS = {
    "en": ("What is {}?", "How much is {}?", "Please work out {}.", "Can you tell me what {} makes?"),
    "zh": ("{}等于多少？", "请算一下{}。", "{}是多少？", "你知道{}得多少吗？"),
}
_SPOKEN = {
    "en": {"+": "{} plus {}", "-": "{} minus {}", "*": "{} times {}"},
    "zh": {"+": "{}加{}", "-": "{}减{}", "*": "{}乘以{}"},
}
_TOLD = {"en": "User, It is {}.", "zh": "User, 是{}。"}


def read_grounded(
    root: Path,
    split: str,
    *,
    parts: Annotated[Sequence[Part], Field(min_length=1)] = ("sums", "gsm8k", "cmrc2018"),
    sums: Drawn = 2000,
    largest: Annotated[int, Field(ge=9, le=10**9)] = 999,
    seed: Seed = 0,
) -> list[Example]:
    """The turns of each part; gsm8k and cmrc2018 lie in `<root>/gsm8k` and `<root>/cmrc2018`.

    A sum's numbers say which split it is of, so that no sum of `test` is seen in training. Raises DataError for a
    record that is damaged.
    """
    one_of(split, SPLITS, "grounded")
    root = existing_folder(root, "gsm8k/ and cmrc2018/")
    examples: list[Example] = []
    for part in parts:
        examples += _sums(split, sums, largest, seed) if part == "sums" else _READ[part](root / part, split)
    return examples


def _sums(split: str, count: int, largest: int, seed: int) -> list[Example]:
    rng, examples, drawn = random.Random(f"{seed} {split}"), list[Example](), set[str]()
    for _ in range(count * 20):
        if len(drawn) == count:
            break
        sign, left, right = rng.choice("+-*"), rng.randint(1, largest), rng.randint(1, largest)
        arithmetic = f"{left}{sign}{right}"
        if arithmetic in drawn or _split(arithmetic) != split:
            continue
        drawn.add(arithmetic)
        language = rng.choice(("en", "zh"))
        spoken = _SPOKEN[language][sign].format(left, right) if rng.random() < 0.5 else f"{left} {sign} {right}"
        result = str({"+": left + right, "-": left - right, "*": left * right}[sign])
        asked, closing = rng.choice(_SUMS[language]).format(spoken), _TOLD[language].format(result)
        examples += _turns(f"sum-{arithmetic}", asked, [(arithmetic, result)], closing, result, split, language)
    return examples


def _gsm8k(root: Path, split: str) -> list[Example]:
    """The authors' training set, a twentieth of it for `val`, and their test set."""
    path = root / ("test.jsonl" if split == "test" else "train.jsonl")
    examples = []
    for number, record in enumerate(json_lines(path, "question", "answer")):
        where = f"{path}, line {number + 1}"
        asked, worked = field(record, "question", (str,), where), field(record, "answer", (str,), where)
        steps = [(call.strip(), result.strip()) for call, result in _CALL.findall(worked)]
        steps = [(call, result) for call, result in steps if re.search(r"\d\s*[-+*/]", call)]
        answer = worked.rpartition("####")[2].strip()
        held_out = split == "test" or (_split(asked, 20) == "val") == (split == "val")
        if steps and len(steps) <= MOST_CALLS and answer and held_out:
            examples += _turns(f"gsm8k-{number}", asked, steps, f"User, {answer}", answer, split, "en")
    return examples


def _cmrc2018(root: Path, split: str) -> list[Example]:
    """The trial set for `val`, and of the development set's passages a fifth for `test`, the others to train on."""
    path = root / ("cmrc2018_trial.json" if split == "val" else "cmrc2018_dev.json")
    examples = []
    for context, questions in passages(path):
        if split != "val" and (_split(context, 5) == "val") != (split == "test"):
            continue
        for asked in questions:
            first, question = asked.answers[0], asked.text
            place = context.find(first)
            if place < 0:
                continue
            begin = max(0, min(place - (LETTERS - len(first)) // 2, len(context) - LETTERS))
            steps = [(question, context[begin : begin + LETTERS].strip())]
            examples += _turns(f"cmrc-{asked.id}", question, steps, f"User, {first}", first, split, "zh")
    return examples


_READ: dict[str, Callable[[Path, str], list[Example]]] = {"gsm8k": _gsm8k, "cmrc2018": _cmrc2018}


def _turns(
    identity: str, asked: str, steps: Sequence[Step], closing: str, answer: str, split: str, language: str
) -> list[Example]:
    """The model's turns in their order: each call, and what the user hears."""
    said, examples = [Message("user", (asked.strip(),))], list[Example]()
    for number, target in enumerate([*(f"TS, {call}" for call, _ in steps), closing]):
        metadata = {"split": split, "language": language, "group": identity, "step": number, "answer": answer}
        examples.append(Example(f"{identity}-{number}", tuple(said), target, metadata=metadata))
        if number < len(steps):
            said += [Message("assistant", (target,)), Message("user", (f"TS: {steps[number][1]}",))]
    return examples


def _split(text: str, parts: int = 10) -> str:
    """By a text alone: one part in so many is `val`, another is `test`."""
    place = int.from_bytes(hashlib.sha256(json.dumps(text).encode()).digest()[:8], "big") % parts
    return {0: "val", 1: "test"}.get(place, "train")
