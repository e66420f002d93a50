"""The five kinds of instruction of the field's textbooks, in English and Chinese, made of sets that lie in one folder.

| kind | English | Chinese |
| --- | --- | --- |
| translation | Flickr8k's captions into Chinese | the same into English |
| entities | values of made phone requests (Tidepool), by the names of their parameters | the same |
| comprehension | ScienceQA's questions on a text, with options | CMRC 2018, on the sentences around the answer |
| classification | CLINC150's intents | THUCNews's topics |
| generation | Alpaca | Alpaca, translated |

Chinese captions are Flickr8k-CN's: machine translations (`zhb`) to train and validate, those by people (`zhmtest`) to
test. No set of labelled named entities is at hand: the values of phone requests are known, for the requests are made.
Splits are by source item: photographs, scenes and templates, paragraphs, headlines, requests.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from pydantic import Field

from sepiola.data.example import Example, Message
from sepiola.datasets.clinc_oos import read_clinc_oos
from sepiola.datasets.cmrc2018 import passages
from sepiola.datasets.flickr8k import read_flickr8k
from sepiola.datasets.instructions import read_instructions
from sepiola.datasets.record_files import split_of
from sepiola.datasets.records import existing_folder, one_of, read_lines
from sepiola.datasets.scienceqa import read_scienceqa
from sepiola.datasets.thucnews import read_thucnews
from sepiola.errors import DataError, shown
from sepiola.specs.values import Names
from sepiola.tidepool.phone import requests
from sepiola.tidepool.words import LANGUAGES

SPLITS = ["train", "val", "test"]
WORDS = {
    "translation": {"en": "Translate into Chinese:", "zh": "翻译成英文："},
    "entities": {"en": "Name the values that the request holds:", "zh": "写出请求里的各个值："},
    "comprehension": {"en": "Read the text and answer.", "zh": "读短文，用原文回答。"},
    "classification": {"en": "What does the user want? Name the intent:", "zh": "这条新闻属于哪一类："},
    "generation": {"en": "", "zh": ""},
}
SHORT = {"en": 300, "zh": 120}  # letters of an open reply, or of a text that is read, at most
HELD_OUT = 10
_CHINESE_LINE = re.compile(r"(\S+?\.jpg)#zh\w*#(\d+)\s+(\S.*)")
_SENTENCE = re.compile(r"[^。！？；\n]*[。！？；\n]?")

Item = tuple[str, str, str]
"""What is asked about, the reply, and the source item that must stand in one split alone."""


def read_instruction_kinds(
    root: Path,
    split: str,
    *,
    kinds: Names = tuple(WORDS),
    languages: Names = LANGUAGES,
    each: Annotated[int, Field(ge=1, le=1_000_000)] = 1_000,
    seed: int = 0,
) -> list[Example]:
    """At most `each` examples of a kind and language, drawn by `seed`, which take turns.

    `root` holds `flickr8k/`, `scienceqa/`, `cmrc2018/`, `act/clinc_oos/`, `text/zh/` and `align/alpaca/`, as far as the
    kinds need them. `metadata` has the `kind` and what is asked about (`input`). Raises DataError for another kind or
    language, and for a source that is not there.
    """
    root = existing_folder(root, "the sources of instructions (flickr8k/, scienceqa/, cmrc2018/, align/alpaca/ …)")
    one_of(split, SPLITS, "A folder of instructions")
    for name, given, known in (("kinds", kinds, tuple(WORDS)), ("languages", languages, LANGUAGES)):
        if not set(given) <= set(known):
            raise DataError(f"{name}: got {shown(list(given))}; known: {', '.join(known)}")
    columns = []
    for kind in kinds:
        for language in languages:
            items = SOURCES[kind](root, split, language, each)
            random.Random(f"{seed} {kind} {language} {split}").shuffle(items)
            columns.append([_example(kind, language, split, n, item) for n, item in enumerate(items[:each])])
    longest = max(map(len, columns))
    return [column[at] for at in range(longest) for column in columns if at < len(column)]


def _example(kind: str, language: str, split: str, number: int, item: Item) -> Example:
    given, reply, group = item
    request = "\n".join(filter(None, (WORDS[kind][language], given)))
    metadata = {"split": split, "language": language, "group": group, "kind": kind, "input": given}
    name = f"{kind}-{language}-{split}-{number:05d}"
    return Example(name, (Message("user", (request,)),), reply, metadata=metadata)


def _translation(root: Path, split: str, language: str, each: int) -> list[Item]:
    folder = root / "flickr8k"
    official = {"val": "dev"}.get(split, split)
    english: dict[tuple[str, str], str] = {}
    for example in read_flickr8k(folder, official, task="text", languages=["en"]):
        for number, caption in enumerate(example.metadata["references"]):
            english[example.metadata["group"], str(number)] = caption
    pairs = []
    source = "flickr8kzhmtest.captions.txt" if split == "test" else "flickr8kzhb.caption.txt"
    for number, line in enumerate(read_lines(folder / "zh" / source), start=1):
        match = _CHINESE_LINE.fullmatch(line)
        if match is None:
            continue  # a caption that was translated into nothing
        key = Path(match[1]).stem, match[2]
        if key in english:
            pairs.append((english[key], match[3].strip(), key[0]))
        elif not key[1].isdigit():
            raise DataError(f"{folder}: line {number}: {shown(line)}; expected image#zh#number and a caption")
    return pairs if language == "en" else [(chinese, text, group) for text, chinese, group in pairs]


def _entities(root: Path, split: str, language: str, each: int) -> list[Item]:
    made = requests(split, each + each // 2 + 20, languages=[language], kinds=["text"])
    items = []
    for example in made:
        text = example.prompt.split("\n")[-1]
        (call,) = example.metadata["calls"]
        values = {name: value for name, value in call["arguments"].items() if isinstance(value, str) and value in text}
        if values:
            reply = "; ".join(f"{name}: {value}" for name, value in values.items())
            items.append((text, reply, text))
    return items


def _comprehension(root: Path, split: str, language: str, each: int) -> list[Item]:
    if language == "en":
        items = []
        every = [e for part in SPLITS for e in read_scienceqa(root / "scienceqa", part, with_image=False)]
        for example in every:  # the official splits share texts
            question = example.question
            hint = question.hint if question is not None else None
            if question is None or question.answer is None or not hint or not 40 <= len(hint) <= SHORT["en"]:
                continue
            group = hashlib.sha256(" ".join(hint.split()).encode()).hexdigest()[:16]
            if split_of(group, HELD_OUT) != split:
                continue
            asked = f"{hint}\n{question.text}\n{' / '.join(question.choices)}"
            items.append((asked, question.choices[question.answer], group))
        return items
    found = []
    for name in ("cmrc2018_dev.json", "cmrc2018_trial.json"):
        for context, questions in passages(root / "cmrc2018" / name):
            group = hashlib.sha256(context.encode()).hexdigest()[:16]
            if split_of(group, HELD_OUT) != split:
                continue
            for one in questions:
                around = _around(context, one.answers[0])
                if around is not None:
                    found.append((f"{around}\n{one.text.strip()}", one.answers[0], group))
    return found


def _around(text: str, answer: str) -> str | None:
    """The sentences around an answer, as many as are short; None where its own are too long."""
    sentences = [match.group() for match in _SENTENCE.finditer(text) if match.group()]
    at = next((n for n, sentence in enumerate(sentences) if answer in sentence), None)
    if at is None or len(sentences[at]) > SHORT["zh"]:
        return None
    first, last = at, at + 1
    while first > 0 and len("".join(sentences[first - 1 : last])) <= SHORT["zh"]:
        first -= 1
    while last < len(sentences) and len("".join(sentences[first : last + 1])) <= SHORT["zh"]:
        last += 1
    return "".join(sentences[first:last]).strip()


def _classification(root: Path, split: str, language: str, each: int) -> list[Item]:
    if language == "en":
        read = read_clinc_oos(root / "act" / "clinc_oos", split, out_of_scope=False)
        return [(e.prompt, e.target.replace("_", " "), e.metadata["group"]) for e in read]
    return [(e.prompt, e.target, e.metadata["group"]) for e in read_thucnews(root / "text" / "zh", split)]


def _generation(root: Path, split: str, language: str, each: int) -> list[Item]:
    folder = root / "align" / "alpaca"
    read = read_instructions(folder, split, sets=[f"alpaca_{language}"], languages=[language])
    short = [e for e in read if len(e.target) <= SHORT[language] and len(e.prompt) <= SHORT[language]]
    return [(e.prompt, e.target, e.metadata["group"]) for e in short]


SOURCES: dict[str, Callable[[Path, str, str, int], list[Item]]] = {
    "translation": _translation,
    "entities": _entities,
    "comprehension": _comprehension,
    "classification": _classification,
    "generation": _generation,
}
