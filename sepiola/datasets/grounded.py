"""Dialogues that ask a toolset before they answer (`sepiola.reasoning.grounding`): `TS, 48/2`, what the toolset gives,
then `User, 24`.

- `sums`: questions of one operation in English and Chinese, drawn; what the calculator is asked is their arithmetic.
- `gsm8k`: word problems (English); what is asked are the authors' own `<<48/2=24>>`, with the results that they write.
  Problems of more than four calls are left out.
- `cmrc2018`: questions on Chinese passages; the toolset is asked the question, and gives the passage's part with the
  answer.
- `facts`: age, city and work of drawn people in English and Chinese; the toolset is asked "Rafa Nodel's age", and gives
  "Rafa Nodel / age / 35", as in LaMDA (arXiv 2201.08239, section 6.2).

Every turn of the model is an example; `metadata["step"]` says which, `part` of what, and `answer` what the user hears
at the end.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from sepiola.data.example import Example, Message
from sepiola.datasets.cmrc2018 import passages
from sepiola.datasets.records import existing_folder, field, json_lines, one_of
from sepiola.errors import DataError
from sepiola.specs.bricks import Probability
from sepiola.specs.values import Drawn, Seed

SPLITS = ["train", "val", "test"]
MOST_CALLS = 4
LETTERS = 300  # of a passage, around its answer
NOISE = 0.3
"""Share of sums beside which retrieval gives a person's age that is one of the numbers."""
Part = Literal["sums", "gsm8k", "cmrc2018", "facts"]
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
NOTHING = "TS: -"
"""The toolset's turn where it gives nothing."""
_SYLLABLES = "ba ca da el fi go ha in jo ka lu ma no or pe ra su ti un va"
_SURNAMES, _GIVEN = "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗", "安博晨达恩芳国涵嘉凯兰明宁鹏琪荣思涛伟欣雅泽志子雨"
_CITIES = {
    "en": "Athens Berlin Cairo Dublin Geneva Hanoi Lisbon London Madrid Milan Oslo Paris Prague Rome Tokyo",
    "zh": "北京 上海 广州 深圳 成都 杭州 武汉 西安 南京 重庆 天津 苏州 长沙 青岛 大连 厦门",
}
_WORK = {
    "en": "actor baker cook doctor driver farmer guard judge lawyer nurse painter pilot singer teacher writer",
    "zh": "演员 面包师 厨师 医生 司机 农民 保安 法官 律师 护士 画家 飞行员 歌手 老师 作家",
}
_FACTS = {
    "en": (
        ("age", ("How old is {}?", "What age is {}?")),
        ("city", ("Where does {} live?", "Which city is {} from?")),
        ("work", ("What does {} do?", "What is the work of {}?")),
    ),
    "zh": (
        ("年龄", ("{}多大了？", "{}今年几岁？")),
        ("城市", ("{}住在哪里？", "{}是哪个城市的？")),
        ("工作", ("{}是做什么的？", "{}的职业是什么？")),
    ),
}


def read_grounded(
    root: Path | None,
    split: str,
    *,
    parts: Annotated[Sequence[Part], Field(min_length=1)] = ("sums", "gsm8k", "cmrc2018"),
    sums: Drawn = 2000,
    largest: Annotated[int, Field(ge=9, le=10**9)] = 999,
    people: Drawn = 400,
    nothing_found: Probability = 0.0,
    seed: Seed = 0,
) -> list[Example]:
    """The turns of each part; gsm8k and cmrc2018 lie in `<root>/gsm8k` and `<root>/cmrc2018`, the others are drawn.

    A sum's numbers and a person's name say which split they are of, so that none of `test` is seen in training. In a
    share `nothing_found` of the dialogues the toolset gives nothing, and the model answers by itself. Raises DataError
    for a record that is damaged.
    """
    one_of(split, SPLITS, "grounded")
    examples: list[Example] = []
    for part in parts:
        if part == "sums":
            examples += _sums(split, sums, largest, seed, noise=NOISE if "facts" in parts else 0.0)
        elif part == "facts":
            examples += _facts(split, people, seed)
        elif root is None:
            raise DataError(f"grounded: {part} lies on disk: name the folder that holds {part}/ (`root`, --data)")
        else:
            examples += _READ[part](existing_folder(root, "gsm8k/ and cmrc2018/") / part, split)
    return [_unanswered(e) if _share(seed, e.metadata["group"]) < nothing_found else e for e in examples]


def _sums(split: str, count: int, largest: int, seed: int, *, noise: float) -> list[Example]:
    rng, examples, drawn = random.Random(f"{seed} {split}"), list[Example](), set[str]()
    others = random.Random(f"{seed} noise {split}")
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
        given = result
        if others.random() < noise:
            name, what, *_ = _person(others, others.choice(("en", "zh")))
            given = f"{result}\nTS: {name} / {what} / {others.choice((left, right))}"
        examples += _turns("sums", arithmetic, asked, [(arithmetic, given)], closing, result, split, language)
    return examples


def _person(rng: random.Random, language: str) -> tuple[str, str, str, str, str]:
    """A drawn name, what an age is called, and the person's age, city and work."""
    if language == "en":
        name = " ".join("".join(rng.choices(_SYLLABLES.split(), k=rng.randint(2, 3))).title() for _ in range(2))
    else:
        name = rng.choice(_SURNAMES) + "".join(rng.choices(_GIVEN, k=2))
    city, work = rng.choice(_CITIES[language].split()), rng.choice(_WORK[language].split())
    return name, _FACTS[language][0][0], str(rng.randint(18, 90)), city, work


def _facts(split: str, count: int, seed: int) -> list[Example]:
    """Every fact of so many people."""
    rng, examples, drawn = random.Random(f"{seed} people {split}"), list[Example](), set[str]()
    for _ in range(count * 20):
        if len(drawn) == count:
            break
        language = rng.choice(("en", "zh"))
        name, *known = _person(rng, language)
        if name in drawn or _split(name) != split:
            continue
        drawn.add(name)
        for (what, wordings), value in zip(_FACTS[language], known[1:], strict=True):
            steps = [(f"{name}'s {what}" if language == "en" else f"{name}的{what}", f"{name} / {what} / {value}")]
            asked, closing = rng.choice(wordings).format(name), _TOLD[language].format(value)
            examples += _turns("facts", f"{name}-{what}", asked, steps, closing, value, split, language)
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
            examples += _turns("gsm8k", str(number), asked, steps, f"User, {answer}", answer, split, "en")
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
            examples += _turns("cmrc2018", asked.id, question, steps, f"User, {first}", first, split, "zh")
    return examples


_READ: dict[str, Callable[[Path, str], list[Example]]] = {"gsm8k": _gsm8k, "cmrc2018": _cmrc2018}


def _turns(
    part: Part, name: str, asked: str, steps: Sequence[Step], closing: str, answer: str, split: str, language: str
) -> list[Example]:
    """The model's turns in their order: each call, and what the user hears."""
    said, examples, identity = [Message("user", (asked.strip(),))], list[Example](), f"{part}-{name}"
    for number, target in enumerate([*(f"TS, {call}" for call, _ in steps), closing]):
        of = {"split": split, "language": language, "part": part, "group": identity}
        metadata = {**of, "step": number, "answer": answer}
        examples.append(Example(f"{identity}-{number}", tuple(said), target, metadata=metadata))
        if number < len(steps):
            said += [Message("assistant", (target,)), Message("user", (f"TS: {steps[number][1]}",))]
    return examples


def _unanswered(example: Example) -> Example:
    """The same turn where the toolset gave nothing."""
    first, *others = example.messages
    blank = [Message("user", (NOTHING,)) if message.role == "user" else message for message in others]
    return replace(example, messages=(first, *blank))


def _share(seed: int, text: str) -> float:
    """Where a text falls between 0 and 1, by itself and the seed."""
    return random.Random(f"{seed} {text}").random()


def _split(text: str, parts: int = 10) -> str:
    """By a text alone: one part in so many is `val`, another is `test`."""
    place = int.from_bytes(hashlib.sha256(json.dumps(text).encode()).digest()[:8], "big") % parts
    return {0: "val", 1: "test"}.get(place, "train")
