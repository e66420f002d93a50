"""A teacher for requests that were made from specifications: a chat model paraphrases some of them, and reads its
paraphrases again, so that only those are kept which mean the same calls.

Each split is paraphrased by itself: a paraphrase stays in the file of its request, and one whose phrasing stands in
another split is dropped. Answers lie beside the requests (`paraphrases-train.jsonl`), so that a stopped run goes on.
"""

from __future__ import annotations

import datetime
import json
import math
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from sepiola.acting.paraphrasing import (
    EACH,
    REASONS,
    fault_of,
    means,
    paraphrases_asked,
    paraphrases_in,
    phrasing,
    reading_asked,
    reading_in,
    said_values,
)
from sepiola.calling.days import date_line
from sepiola.calling.functions import Function
from sepiola.data.files import write_text
from sepiola.data.journal import Journal
from sepiola.data.language import language_of
from sepiola.datasets.records import json_lines
from sepiola.errors import SepiolaError
from sepiola.generation.endpoint import Endpoint
from sepiola.specs.base import Plain
from sepiola.training.progress import say

SOURCE = "paraphrase_of"
TOGETHER = 32
"""Requests whose answers are kept at once: what a kill can cost."""


@dataclass(frozen=True)
class Teacher:
    """A chat model that paraphrases `requests` of the training split, and as large a share of the test split.

    With `verify` it is asked which calls each paraphrase means. Without, only requests are paraphrased whose values all
    stand in them, for nothing else could be checked.
    """

    endpoint: Endpoint
    requests: int = 2000
    verify: bool = True


@dataclass(frozen=True)
class _Asked:
    """A request as the teacher reads it: without the line that says the day, which stays as it is."""

    record: Plain
    lead: str
    text: str
    language: str
    values: list[str]
    whole: bool


def paraphrase(
    folder: Path, functions: Sequence[Function], teacher: Teacher, *, console: Console, seed: int = 0
) -> None:
    """Adds paraphrases to `train.jsonl` and `test.jsonl` in the folder; files that hold some are left as they are.

    Says on the console how many were kept, and what became of the others. Raises SepiolaError when the endpoint answers
    no longer: what it answered is kept, and a second call goes on.
    """
    records = {split: list(json_lines(folder / f"{split}.jsonl")) for split in ("train", "test")}
    share = min(1.0, teacher.requests / len(records["train"]))
    for split, own in records.items():
        path = folder / f"{split}.jsonl"
        if any(SOURCE in record for record in own):
            say(console, f"paraphrases for {split}: those of {path}")
            continue
        elsewhere = {_phrasing(r) for other, some in records.items() if other != split for r in some}
        count = math.ceil(share * len(own))
        made = _Paraphrasing(folder / f"paraphrases-{split}.jsonl", functions, teacher, elsewhere, console)
        own += made.of(own, count, random.Random(f"teacher {seed} {split}"))
        if any(SOURCE in record for record in own):
            write_text(path, "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in own))


class _Paraphrasing:
    """The paraphrases of one split. `elsewhere` are the phrasings of the others."""

    def __init__(
        self, path: Path, functions: Sequence[Function], teacher: Teacher, elsewhere: set[str], console: Console
    ) -> None:
        self.functions, self.teacher, self.elsewhere, self.console = functions, teacher, elsewhere, console
        self.journal = Journal(path, {"teacher": teacher.endpoint.model, "verify": teacher.verify})
        self.failed: dict[str, str] = {}

    def of(self, records: Sequence[Plain], count: int, rng: random.Random) -> list[Plain]:
        """The paraphrases of `count` of the records, as records."""
        able = [asked for asked in map(_asked, records) if self._can_check(asked)]
        chosen = rng.sample(able, min(count, len(able)))
        left = [asked for asked in chosen if not self._answered(asked)]
        with Progress(console=self.console, transient=True, disable=not self.console.is_terminal) as progress:
            bar = progress.add_task(f"paraphrasing {self.journal.path.stem}", total=len(chosen))
            progress.advance(bar, len(chosen) - len(left))
            for start in range(0, len(left), TOGETHER):
                some = left[start : start + TOGETHER]
                try:
                    self.journal.add(self._answers(some))
                except SepiolaError as error:
                    done = sum(map(self._answered, chosen))
                    raise SepiolaError(
                        f"the teacher: {error}; {done} of {len(chosen)} requests are paraphrased and kept in "
                        f"{self.journal.path}: run the same command again to go on"
                    ) from None
                progress.advance(bar, len(some))
        made = self._made(chosen)
        self._say(chosen, made)
        if len(able) < count:
            say(self.console, f"  only {len(able)} requests could be checked, of {count} wanted")
        return made

    def _answered(self, asked: _Asked) -> bool:
        return self.journal.records.get(asked.record["id"], {}).get("before") == asked.text

    def _can_check(self, asked: _Asked) -> bool:
        return "image" not in asked.record and (self.teacher.verify or (asked.whole and bool(asked.record["calls"])))

    def _answers(self, some: Sequence[_Asked]) -> list[Plain]:
        """A line of the journal for each request that was answered; the others are noted as failed."""
        questions = [paraphrases_asked(asked.text, asked.language, asked.values) for asked in some]
        found: dict[str, list[tuple[str, str]]] = {}  # texts, and why they are dropped
        for asked, answer in zip(some, self.teacher.endpoint.ask_each(questions, temperature=0.7), strict=True):
            if isinstance(answer, SepiolaError):
                self.failed[asked.record["id"]] = str(answer)
            else:
                said = dict.fromkeys(paraphrases_in(answer)) or {"": None}
                found[asked.record["id"]] = [(text, self._fault(text, asked)) for text in said]
        answered = [asked for asked in some if asked.record["id"] in found]
        if self.teacher.verify:
            self._verify(answered, found)
        return [
            {
                "id": asked.record["id"],
                "before": asked.text,
                "texts": [text for text, fault in found[asked.record["id"]] if not fault],
                "dropped": [{"text": text, "reason": fault} for text, fault in found[asked.record["id"]] if fault],
            }
            for asked in answered
            if asked.record["id"] not in self.failed
        ]

    def _fault(self, text: str, asked: _Asked) -> str:
        fault = fault_of(text, asked.text, asked.language, asked.values)
        return fault or ("split" if phrasing(text, asked.values) in self.elsewhere else "")

    def _verify(self, answered: Sequence[_Asked], found: dict[str, list[tuple[str, str]]]) -> None:
        """Drops the paraphrases in which the teacher reads other calls."""
        pairs = [
            (asked, place)
            for asked in answered
            for place, (_, fault) in enumerate(found[asked.record["id"]])
            if not fault
        ]
        questions = [
            reading_asked(found[asked.record["id"]][place][0], asked.lead, self.functions) for asked, place in pairs
        ]
        for (asked, place), answer in zip(pairs, self.teacher.endpoint.ask_each(questions), strict=True):
            name = asked.record["id"]
            if isinstance(answer, SepiolaError):
                self.failed[name] = str(answer)
                continue
            read = reading_in(answer)
            same = read is not None and means(asked.record["calls"], read, self.functions)
            fault = "" if same else "unread" if read is None else "meaning"
            found[name][place] = (found[name][place][0], fault)

    def _made(self, chosen: Sequence[_Asked]) -> list[Plain]:
        known, made, texts = self.journal.records, list[Plain](), set[str]()
        for asked in chosen:
            for number, text in enumerate(known.get(asked.record["id"], {}).get("texts", ()), start=1):
                if text not in texts:
                    texts.add(text)
                    name = asked.record["id"]
                    made.append({**asked.record, "id": f"{name}-p{number}", "text": asked.lead + text, SOURCE: name})
        return made

    def _say(self, chosen: Sequence[_Asked], made: Sequence[Plain]) -> None:
        known = [self.journal.records.get(asked.record["id"], {}) for asked in chosen]
        dropped = Counter(REASONS[one["reason"]] for record in known for one in record.get("dropped", ()))
        say = partial(self.console.print, markup=False)
        say(f"{self.journal.path.stem}: {len(made)} kept of {len(chosen)} requests, {EACH} asked of each")
        for reason, number in dropped.most_common():
            say(f"  dropped {number}: {reason}")
        if self.failed:
            say(f"  no answer for {len(self.failed)} requests: {next(iter(self.failed.values()))}")


def _asked(record: Plain) -> _Asked:
    text = str(record["text"])
    language = "zh" if record.get("language", language_of(text)) == "zh" else "en"
    lead = ""
    if "today" in record:
        day = f"{date_line(language, datetime.date.fromisoformat(record['today']))}\n"
        lead = day if text.startswith(day) else ""
    request = text.removeprefix(lead)
    return _Asked(record, lead, request, language, *said_values(record["calls"], request))


def _phrasing(record: Plain) -> str:
    asked = _asked(record)
    return phrasing(asked.text, asked.values)
