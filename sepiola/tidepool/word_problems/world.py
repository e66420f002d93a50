"""Word problems of several steps in English and Chinese: questions, worked chains of reasoning, and their numbers.

A story is drawn as a program (`sepiola.tidepool.word_problems.story`), so every chain is true by construction. Splits
are disjoint twice: by structure, the answer's expression without its numbers, and by the sums and differences that
must be worked out.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import itemgetter

from sepiola.data.example import Example, Message, Question
from sepiola.errors import DataError
from sepiola.tidepool.word_problems.program import Number, Program, UnfitError, split_of, structure_split
from sepiola.tidepool.word_problems.story import (
    EVENTS,
    OPENINGS,
    QUESTIONS,
    Sentence,
    Story,
    bare_sums,
    change,
    handover,
    share_times,
)
from sepiola.tidepool.word_problems.wording import NAMES, REASONS, TELLS, THINGS, sum_text
from sepiola.tidepool.words import LANGUAGES
from sepiola.tidepool.world import checked_arguments

STEPS = range(2, 6)
"""Sentences of a solution."""
LARGEST_SUM = 99  # of bare sums
_EVENTS = (0, 1, 1, 1, 2, 2)
_TRIES = 100  # of numbers, before something else happens
_BEGINS = re.compile(r"(?:^|(?<=[.?] ))[a-z]")
_SUM = re.compile(r"(\d+)\s*([-+×÷])\s*(\d+)\s*=\s*(\d+)")


def word_problems(
    split: str,
    count: int,
    *,
    seed: int = 0,
    languages: Sequence[str] = LANGUAGES,
    families: Sequence[str] | None = None,
    size: int = 128,
    choices: int = 0,
    sums: float = 0.0,
) -> list[Example]:
    """`count` problems; families, which are what is asked (`QUESTIONS`), and languages take turns.

    Questions are open, the answer a number in digits; with `choices` so many numbers are offered, in their order,
    those that a step of the solution finds among them. A share `sums` of the problems is bare: a number is given, and
    two to five sums and differences change it (family `sums`). They too are of the split, by structure and by sums.
    `metadata` holds the `structure`, `operations` and number of `steps`. Nothing is drawn, so `size` is of no use.
    Raises DataError as `sepiola.tidepool.generate` does, and for a single choice.
    """
    if choices == 1:
        raise DataError("choices: got 1; expected 2 or more, or 0 for open questions")
    spoken, names = checked_arguments(split, count, languages, families, size, tuple(QUESTIONS), "kind of word problem")
    made = []
    for index in range(count):
        turn, place = divmod(index, len(names))
        language = spoken[(turn + place) % len(spoken)]
        family = names[place]
        if sums and random.Random(f"sums {seed} {split} {index}").random() < sums:
            family = "sums"
        rng = random.Random(f"word problems {seed} {split} {index} {family}")
        story, answer = _drawn(rng, split, family) if family != "sums" else _drawn_sums(rng, split)
        telling = Telling(language, rng.choice(NAMES[language]), rng.choice(THINGS[language]), rng.choice)
        name = f"tidepool-word-problem-{split}-{index:06d}-{language}"
        made.append(_example(name, split, family, story, answer, telling, choices))
    return made


def textbook(language: str) -> Example:
    """The problem of the textbook, which belongs to the test split: two children share 30 apples, the elder takes twice
    the younger's and gives 4 to the parents; of the rest the younger shall have 2 more. The elder must hand over 4.
    """
    story = Story(random.Random(0))
    share_times(story, 30, 2)
    change(story, 0, "gives", "-", 4)
    answer = handover(story, 0, 2)
    telling = Telling(language, NAMES[language][-1], THINGS[language][0])
    return _example(f"tidepool-textbook-{language}", "test", "handover", story, answer, telling)


def false_sums(text: str) -> tuple[int, int]:
    """How many sums of a text ("20 - 4 = 16") are wrong, and how many it has; a quotient must be whole."""
    found = [(int(left), sign, int(right), int(result)) for left, sign, right, result in _SUM.findall(text)]
    return sum(not _true(*parts) for parts in found), len(found)


def _true(left: int, sign: str, right: int, result: int) -> bool:
    if sign == "÷":
        return right * result == left and right != 0
    return {"+": left + right, "-": left - right, "×": left * right}[sign] == result


def _drawn(rng: random.Random, split: str, question: str) -> tuple[Story, Number]:
    """A story of the split, all of whose numbers are needed, and its answer.

    What happens is drawn first, and it is the structure; then numbers, until they fit.
    """
    while True:
        opening = OPENINGS[rng.choice([*OPENINGS])]
        events = [(EVENTS[rng.choice([*EVENTS])], rng.randrange(2)) for _ in range(rng.choice(_EVENTS))]
        child = rng.randrange(2)
        for _ in range(_TRIES):
            story = Story(rng)
            try:
                opening(story)
                for event, whose in events:
                    event(story, whose)
                answer = QUESTIONS[question](story, child)
            except UnfitError:
                continue
            fits = len(story.reasoned) in STEPS and story.program.uses_all(answer)
            if not fits or structure_split(answer.form) != split:
                break
            if split_of(answer.form, story.program.operations) == split:
                return story, answer


def _drawn_sums(rng: random.Random, split: str) -> tuple[Story, Number]:
    """Bare sums of the split, and what they come to: signs are drawn first, and they are the structure."""
    while True:
        signs = [rng.choice("+-") for _ in range(rng.choice(STEPS))]
        for _ in range(_TRIES):
            story = Story(rng, Program(LARGEST_SUM))
            try:
                answer = bare_sums(story, signs)
            except UnfitError:
                continue
            if structure_split(answer.form) != split:
                break
            if split_of(answer.form, story.program.operations) == split:
                return story, answer


@dataclass(frozen=True)
class Telling:
    """How a story is stated: in which language, of which children and things, and with which of its phrases."""

    language: str
    names: tuple[str, str]
    things: tuple[str, str]
    phrase: Callable[[Sequence[str]], str] = itemgetter(0)

    def problem(self, stated: Sequence[Sentence]) -> str:
        """The sentences of a problem."""
        return self._joined(self._filled(self.phrase(TELLS[self.language][one.name]), one) for one in stated)

    def solution(self, reasoned: Sequence[Sentence]) -> str:
        """The sentences of its solution."""
        return self._joined(self._filled(REASONS[self.language][one.name], one) for one in reasoned)

    def _filled(self, template: str, sentence: Sentence) -> str:
        sums = [sum_text(one, self.language) for one in sentence.sums]
        slots = {key: self.names[value] if key in "AB" else value for key, value in sentence.slots.items()}
        text = template.format(*sums, **slots, things=self.things[0], c=self.things[1])
        return _BEGINS.sub(lambda letter: letter[0].upper(), text)

    def _joined(self, sentences: Iterable[str]) -> str:
        return ("" if self.language == "zh" else " ").join(sentences)


def _example(
    name: str, split: str, family: str, story: Story, answer: Number, telling: Telling, choices: int = 0
) -> Example:
    text, operations = telling.problem(story.stated), story.program.operations
    offered = _offered(story.rng, answer.value, [one.result for one in operations], choices) if choices else []
    question = Question(
        text,
        tuple(map(str, offered)),
        answer=offered.index(answer.value) if offered else None,
        answer_text=None if offered else str(answer),
        hint="",
        lecture="",
        solution=telling.solution(story.reasoned),
    )
    metadata = {
        "split": split,
        "language": telling.language,
        "family": family,
        "group": hashlib.sha256(answer.form.encode()).hexdigest()[:16],
        "structure": answer.form,
        "operations": [[one.left, one.sign, one.right, one.result] for one in operations],
        "steps": str(len(story.reasoned)),
    }
    return Example(name, (Message("user", (text,)),), str(answer), question, metadata)


def _offered(rng: random.Random, right: int, found: Sequence[int], count: int) -> list[int]:
    """So many numbers in their order: the right one, what other steps find, and neighbours."""
    wrong = list(dict.fromkeys(number for number in reversed(found) if number != right))[: count // 2]
    near = [n for n in range(max(1, right - count - 10), right + count + 10) if n != right and n not in wrong]
    return sorted([right, *wrong, *rng.sample(near, count - 1 - len(wrong))])
