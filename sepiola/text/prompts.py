"""The prompt formats of Multimodal-CoT (Zhang et al., 2023, arXiv 2302.00923), by name, in English and
Chinese.

A name is INPUT-OUTPUT, each letter a part, laid out in the order of the letters. Input: Q question, C context
(the hint, "N/A" when empty or unknown), M options, G a rationale that is given, L and E the record's own
lecture and explanation. Output: A answer, L lecture, E explanation (the solution). `QCM-LE` is the first
stage, `QCMG-A` the second, `QCM-LEA` and `QCM-ALE` one stage. Without M the answer is spoken as its text
(`Q-A`), as in open questions; T speaks it as its text although the options are shown (`QCM-T`, as UnifiedQA does,
arXiv 2005.00700). B stands alone: the question's own text, if it has any, and the pictures, which the answer follows at
once, without a cue (`B-A`).

Kept from the reference code: the words and their order; "Answer:" closes the prompt when the output is the
answer alone and "Solution:" otherwise; rationale targets open with "Solution:"; what follows an answer opens
with "BECAUSE:". Done differently, since they are defects there: line breaks are kept (it joins everything
into one line); `LE` has no second full stop at its end, so first-stage targets and second-stage inputs are
the same text; `AE` carries the explanation and `AL` the lecture (it swaps them); an answer is parsed by its
place, while it counts an output in which two answers stand as failed.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass

from sepiola.data.example import Example, Message, Question
from sepiola.errors import DataError, SpecError
from sepiola.text.answers import read_choice

INPUT_LETTERS = {
    "Q": "question",
    "C": "context",
    "M": "options",
    "G": "given rationale",
    "L": "lecture",
    "E": "explanation",
    "B": "bare question",
}
OUTPUT_LETTERS = {"A": "answer", "T": "answer as its text", "L": "lecture", "E": "explanation"}
MAX_OPTIONS = 26


@dataclass(frozen=True)
class Frame:
    """The fixed words of one language."""

    question: str
    context: str
    options: str
    solution: str
    answer: str
    because: str
    empty_context: str
    sentence: str
    stop: str
    space: str

    def answer_sentence(self, answer: str) -> str:
        return f"{self.sentence}{answer}{self.stop}"


FRAMES = {
    "en": Frame(
        question="Question: ",
        context="Context: ",
        options="Options: ",
        solution="Solution: ",
        answer="Answer: ",
        because="BECAUSE: ",
        empty_context="N/A",
        sentence="The answer is ",
        stop=".",
        space=" ",
    ),
    "zh": Frame(
        question="问题：",
        context="背景：",
        options="选项：",
        solution="解释：",
        answer="答案：",
        because="因为：",
        empty_context="无",
        sentence="答案是",
        stop="。",
        space="",
    ),
}

_LETTER = re.compile(r"The answer is \(([A-Z])\)|答案是\s*[（(]\s*([A-Z])\s*[)）]")
_SENTENCE = re.compile(r"The answer is |答案是")
_CUE = re.compile(r"\s*(?:Solution|Answer|BECAUSE|解释|答案|因为)\s*[:：]\s*")
_BECAUSE = re.compile(r"(?:BECAUSE|因为)\s*[:：]")
_ANSWER_FIRST = re.compile(
    r"(?P<answer>The answer is [^\n]*?\.|答案是[^\n]*?[。.])\s*(?:BECAUSE|因为)\s*[:：](?P<rationale>.*)",
    re.DOTALL,
)


@dataclass(frozen=True)
class PromptFormat:
    """One prompt format: `input` and `output` are its letters, in their order."""

    input: str
    output: str

    @classmethod
    def parse(cls, name: str) -> PromptFormat:
        """Reads a name such as `QCM-LEA`. Raises SpecError that says which letters are known."""
        given, dash, asked = name.partition("-")
        if not dash or not given or not asked:
            raise SpecError(f"prompt format '{name}': expected INPUT-OUTPUT, for example QCM-A or QCM-LE")
        for side, letters, known in (("input", given, INPUT_LETTERS), ("output", asked, OUTPUT_LETTERS)):
            for letter in letters:
                if letter not in known:
                    words = ", ".join(f"{key} {word}" for key, word in known.items())
                    raise SpecError(f"prompt format '{name}': unknown {side} letter '{letter}'; known: {words}")
                if letters.count(letter) > 1:
                    raise SpecError(f"prompt format '{name}': the {side} letter '{letter}' stands twice")
        if "Q" not in given and given != "B":
            raise SpecError(f"prompt format '{name}': the input needs Q, the question, or is B, the bare question")
        if "A" in asked and "T" in asked:
            raise SpecError(f"prompt format '{name}': the output has A or T, not both")
        if {"A", "T"} & set(asked[1:-1]):
            raise SpecError(f"prompt format '{name}': A and T stand first or last in the output, not between L and E")
        return cls(given, asked)

    @property
    def name(self) -> str:
        return f"{self.input}-{self.output}"

    @property
    def takes_rationale(self) -> bool:
        """Whether the prompt shows a rationale from outside (G)."""
        return "G" in self.input

    @property
    def gives_rationale(self) -> bool:
        """Whether the target holds a rationale."""
        return self.output not in ("A", "T")

    @property
    def gives_answer(self) -> bool:
        """Whether the target holds the answer."""
        return "A" in self.output or "T" in self.output

    @property
    def _lettered(self) -> bool:
        """Whether the answer is a letter among options that are shown."""
        return "M" in self.input and "A" in self.output

    def apply(self, example: Example, rationale: str | None = None) -> Example:
        """The example as one user message, images first, and its target text.

        `rationale` fills G; without it G shows the record's own lecture and explanation, as stage-two
        training does. The target is "" when the record does not hold what it is made of (see `trainable`).
        Metadata gains `prompt_format`, `hint_known` and, with G, `rationale` ("given" or "gold").

        Raises DataError for an example without question parts, more than 26 options, a rationale that the
        format does not show, or one that it shows and nobody knows.
        """
        question = _question(example)
        if rationale is not None and not self.takes_rationale:
            raise DataError(
                f"{example.id}: the prompt format {self.name} shows no rationale; use one with G in its "
                f"input, for example {self.input}G-{self.output}"
            )
        frame = _frame(example)
        prompt = self._prompt(question, frame, example.id, rationale)
        metadata = {**example.metadata, "prompt_format": self.name, "hint_known": question.hint is not None}
        if self.takes_rationale:
            metadata["rationale"] = "gold" if rationale is None else "given"
        return dataclasses.replace(
            example,
            messages=(Message("user", (prompt, *example.images) if self.input == "B" else (*example.images, prompt)),),
            target=self._target(question, frame),
            metadata=metadata,
        )

    def target(self, example: Example) -> str:
        """The target text alone; "" when the record does not hold what it is made of."""
        return self._target(_question(example), _frame(example))

    def trainable(self, example: Example, rationale: str | None = None) -> bool:
        """Whether the record holds all that the prompt and the target are made of.

        A needs a known answer; L and E need one text among those they name that is known and not empty. In
        the input, G without a `rationale`, L and E need a text that is known, which may be empty.
        """
        question = _question(example)
        if self.gives_answer and not self._answer(question):
            return False
        if self.gives_rationale and not _reasons(question, self.output, ""):
            return False
        shown = [letters for letters in _runs(self.input) if letters[0] in "LE"]
        if self.takes_rationale and rationale is None:
            shown.append("LE")
        return all(_known(question, letters) for letters in shown)

    def parse_answer(self, text: str, question: Question) -> int | None:
        """The index of the choice that an output of this format names; None when it names none.

        As the format's own targets have it: with M the letter counts, in its place, the first answer when the format
        answers first, else the last; without M the answer's text equals a choice, outer spaces aside, and case too
        unless two choices differ in case alone. What is written otherwise is read by `sepiola.text.answers`, of an
        output with a rationale its answer sentence alone. None for open questions.
        """
        if not self.gives_answer or not question.choices:
            return None
        if self._lettered and (letters := _LETTER.findall(text)):
            return _index(letters[0 if self._answers_first else -1], len(question.choices))
        if not self._lettered and (spoken := self._spoken_choice(text, question.choices)) is not None:
            return spoken
        answer = self._answer_sentence(text) if self.gives_rationale else text
        return read_choice(answer, question.choices, lettered="M" in self.input)

    def _spoken_choice(self, text: str, choices: tuple[str, ...]) -> int | None:
        choices = tuple(choice.strip() for choice in choices)
        folded = [choice.casefold() for choice in choices]
        for candidate in map(str.strip, self._spoken_answers(text)):
            if candidate in choices:
                return choices.index(candidate)
            if folded.count(candidate.casefold()) == 1:
                return folded.index(candidate.casefold())
        return None

    def _answer_sentence(self, text: str) -> str:
        """Where an output with a rationale answers; nothing where no words announce it."""
        if not self._answers_first:
            return split_rationale(text)[1]
        head = _BECAUSE.split(_strip_cue(text), maxsplit=1)
        return head[0] if len(head) > 1 else split_rationale(text)[1]

    def _spoken_answers(self, text: str) -> list[str]:
        """The ways to read an output's answer that is spoken as text: as it stands, without the words around
        it."""
        sentence = _strip_cue(text)
        if self._answers_first:
            first = _ANSWER_FIRST.match(sentence)
            sentence = first["answer"] if first else sentence
        elif self.gives_rationale:
            sentences = [*_SENTENCE.finditer(sentence)]
            sentence = sentence[sentences[-1].start() :] if sentences else ""
        start = _SENTENCE.match(sentence)
        spoken = sentence[start.end() :] if start else sentence
        # The stop may be the sentence's or the choice's own ("3.5 cm.").
        return [text, spoken, spoken.rstrip().removesuffix(".").removesuffix("。")]

    @property
    def _answers_first(self) -> bool:
        return self.output.startswith(("A", "T")) and self.gives_rationale

    def _prompt(self, question: Question, frame: Frame, example_id: str, rationale: str | None) -> str:
        if self.input == "B":
            return question.text
        lines = []
        for letters in _runs(self.input):
            if letters == "Q":
                lines.append(frame.question + question.text)
            elif letters == "C":
                lines.append(frame.context + ((question.hint or "").strip() or frame.empty_context))
            elif letters == "M" and question.choices:
                lines.append(frame.options + _options(question.choices, example_id))
            elif letters == "G":
                if rationale is None:
                    rationale = self._gold(question, "LE", frame, example_id)
                lines.append((frame.solution + _strip_cue(rationale)).rstrip())
            elif letters[0] in "LE":
                lines.append((frame.because + self._gold(question, letters, frame, example_id)).rstrip())
        lines.append((frame.solution if self.gives_rationale else frame.answer).rstrip())
        return "\n".join(lines)

    def _gold(self, question: Question, letters: str, frame: Frame, example_id: str) -> str:
        if not _known(question, letters):
            parts = " and ".join(INPUT_LETTERS[letter] for letter in letters)
            raise DataError(
                f"{example_id}: the prompt format {self.name} shows a rationale, but the record's {parts} is "
                "unknown; give a rationale, or keep only examples that are `trainable`"
            )
        return _reasons(question, letters, frame.space)

    def _answer(self, question: Question) -> str:
        """The answer as a letter in parentheses when the options are shown, else as its text; "" when
        unknown."""
        if not question.choices:
            return (question.answer_text or "").strip()
        if question.answer is None:
            return ""
        return f"({_letter(question.answer)})" if self._lettered else question.choices[question.answer].strip()

    def _target(self, question: Question, frame: Frame) -> str:
        answer = self._answer(question)
        reasons = _reasons(question, self.output, frame.space)
        if (self.gives_answer and not answer) or (self.gives_rationale and not reasons):
            return ""
        letter = self._lettered and bool(question.choices)
        if not self.gives_rationale:
            return frame.answer_sentence(answer) if letter else answer
        if not self.gives_answer:
            return frame.solution + reasons
        if self._answers_first:
            return f"{frame.answer_sentence(answer)}{frame.space}{frame.because}{reasons}"
        return f"{reasons}{frame.space}{frame.answer_sentence(answer)}"


def split_rationale(text: str) -> tuple[str, str]:
    """(rationale, answer sentence) of an output; either is "" when it is not there.

    Reads answer-first (`ALE`) and answer-last (`LEA`) outputs. Leading "Solution:" or "Answer:" are taken
    off.
    """
    body = _strip_cue(text)
    first = _ANSWER_FIRST.match(body)
    if first and (_LETTER.search(first["answer"]) or not _LETTER.search(body)):
        return first["rationale"].strip(), first["answer"].strip()
    answers = [*_LETTER.finditer(body)] or [*_SENTENCE.finditer(body)]
    if not answers:
        return body, ""
    start = answers[-1].start()
    return body[:start].strip(), body[start:].strip()


def _question(example: Example) -> Question:
    if example.question is None:
        raise DataError(f"{example.id}: prompt formats need the question's parts, and this example has messages only")
    return example.question


def _frame(example: Example) -> Frame:
    return FRAMES["zh" if example.metadata.get("language") == "zh" else "en"]


def _runs(letters: str) -> list[str]:
    """The letters one by one, L and E together where they are neighbours: they share a line."""
    return re.findall(r"[LE]+|.", letters)


def _known(question: Question, letters: str) -> bool:
    return ("L" in letters and question.lecture is not None) or ("E" in letters and question.solution is not None)


def _reasons(question: Question, letters: str, space: str) -> str:
    """Lecture and solution in the order of L and E among `letters`, unknown and empty ones left out."""
    texts = {"L": question.lecture, "E": question.solution}
    parts = [(texts.get(letter) or "").strip() for letter in letters]
    return space.join(part for part in parts if part)


def _options(choices: tuple[str, ...], example_id: str) -> str:
    if len(choices) > MAX_OPTIONS:
        raise DataError(
            f"{example_id}: {len(choices)} options, but letters name at most {MAX_OPTIONS}; use a prompt "
            "format without M, for example Q-A"
        )
    return " ".join(f"({_letter(index)}) {choice}" for index, choice in enumerate(choices))


def _letter(index: int) -> str:
    return chr(ord("A") + index)


def _index(letters: tuple[str | None, ...], n_choices: int) -> int | None:
    """The index of the one letter that matched."""
    letter = next(letter for letter in letters if letter)
    index = ord(letter) - ord("A")
    return index if index < n_choices else None


def _strip_cue(text: str) -> str:
    cue = _CUE.match(text)
    return (text[cue.end() :] if cue else text).strip()
