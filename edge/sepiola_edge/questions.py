"""A question's words: the lines of a prompt format, and the options as answers.

`sepiola export` writes the words of the format that the model was trained with, in English and Chinese, and holds what
is laid out by them against `sepiola.text`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from sepiola_edge import checks
from sepiola_edge.errors import EdgeError

MAX_OPTIONS = 26
_HAN = re.compile(r"[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_LETTER = re.compile(r"The answer is \(([A-Z])\)|答案是\s*[（(]\s*([A-Z])\s*[)）]")
_SENTENCE = re.compile(r"The answer is |答案是")
_CUE = re.compile(r"\s*(?:Solution|Answer|BECAUSE|解释|答案|因为)\s*[:：]\s*")
_ANSWER_FIRST = re.compile(
    r"(?P<answer>The answer is [^\n]*?\.|答案是[^\n]*?[。.])\s*(?:BECAUSE|因为)\s*[:：](?P<rationale>.*)",
    re.DOTALL,
)


@dataclass(frozen=True)
class Question:
    """One question, with its options and a hint, if there are any."""

    text: str
    choices: tuple[str, ...] = ()
    hint: str = ""

    @property
    def language(self) -> str:
        """`zh` where most of the letters, counted in bytes, are Chinese, else `en`."""
        letters = "".join(filter(str.isalpha, self.text))
        return "zh" if len("".join(_HAN.findall(letters)).encode()) > len(letters.encode()) / 2 else "en"


@dataclass(frozen=True)
class Format:
    """A prompt format, by the words of each language.

    `lines` are what a prompt is made of: a part's name and what stands before it. `cue` closes the prompt. The
    answer is the option's letter or text (`answer`), in a `sentence` where the letters stand in brackets. Where a
    rationale stands in one output with the answer, `reasons` says on which side of it.
    """

    words: Mapping[str, Mapping[str, Any]]

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> Format:
        """The format as `edge.json` holds it. Raises EdgeError for one that is damaged."""
        try:
            made = cls({language: dict(raw[language]) for language in ("en", "zh")})
            for mark, hint, choices in product(("?", "问"), ("", "?"), ((), ("a", "b"), ("yes", "no"), ("是", "否"))):
                question = Question(mark, choices, hint)
                for text in (made.prompt(question, "?"), *made.options(question, "?"), *made.options(question)):
                    checks.text({"format": text}, "format")
            return made
        except EdgeError:
            raise
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise EdgeError(f"edge.json: a prompt format is damaged ({error})") from None

    def prompt(self, question: Question, rationale: str | None = None) -> str:
        """The text that asks. Raises EdgeError for more than 26 options that are shown by letter."""
        words = self.words[question.language]
        lines = [line for part in words["lines"] for line in self._lines(*part, question=question, rationale=rationale)]
        return "\n".join([*lines, *([words["cue"]] if words["cue"] is not None else [])])

    def options(self, question: Question, rationale: str = "") -> list[str]:
        """Each option as the model would answer with it."""
        words = self.words[question.language]
        return [
            self._target(index, choice, question, words, rationale) for index, choice in enumerate(question.choices)
        ]

    def _lines(self, part: str, lead: str, *more: Any, question: Question, rationale: str | None) -> list[str]:
        choices = question.choices
        match part:
            case "question":
                return [lead + question.text]
            case "hint":
                hint = question.hint.strip() or more[0]
                return [] if hint is None else [lead + hint]
            case "rationale":
                return [(lead + without_cue(rationale or "")).rstrip()]
            case "options" if choices:
                return [lead + " ".join(f"({_letter(i)}) {choice}" for i, choice in enumerate(_few(choices)))]
            case "listed" if choices and self._lettered(question):
                return [*(f"{_letter(i)}. {choice}" for i, choice in enumerate(_few(choices))), more[0]]
            case "listed" if choices:
                return [more[1]]
        return []

    def _lettered(self, question: Question) -> bool:
        words = self.words[question.language]
        yes_or_no = words.get("yes_or_no")
        if yes_or_no is None or len(question.choices) != 2:
            return bool(words["answer"] == "letter")
        names = {" ".join(choice.casefold().split()).strip(yes_or_no["edges"]) for choice in question.choices}
        return not (names & {*yes_or_no["yes"]} and names & {*yes_or_no["no"]})

    def _target(self, index: int, choice: str, question: Question, words: Mapping[str, Any], rationale: str) -> str:
        answer = choice.strip()
        if self._lettered(question):
            answer = _letter(index) if words["sentence"] is None else f"({_letter(index)})"
        reasons = words["reasons"]
        if words["sentence"] is not None and (reasons is not None or words["answer"] == "letter"):
            before, after = words["sentence"]
            answer = f"{before}{answer}{after}"
        if reasons is None:
            return answer
        rationale = rationale.strip()
        if not rationale:
            return ""
        space = words["space"]
        if reasons == "last":
            return f"{answer}{space}{words['because']}{rationale}"
        return f"{rationale}{space}{answer}"


def split_rationale(text: str) -> str:
    """The rationale of an output, which may stand before or behind the answer's sentence; its cue is taken off."""
    body = without_cue(text)
    first = _ANSWER_FIRST.match(body)
    if first and (_LETTER.search(first["answer"]) or not _LETTER.search(body)):
        return first["rationale"].strip()
    answers = [*_LETTER.finditer(body)] or [*_SENTENCE.finditer(body)]
    return body[: answers[-1].start()].strip() if answers else body


def without_cue(text: str) -> str:
    """A rationale without the word that announces it."""
    cue = _CUE.match(text)
    return (text[cue.end() :] if cue else text).strip()


def _few(choices: Sequence[str]) -> Sequence[str]:
    if len(choices) > MAX_OPTIONS:
        raise EdgeError(f"{len(choices)} choices, but letters name at most {MAX_OPTIONS}")
    return choices


def _letter(index: int) -> str:
    return chr(ord("A") + index)
