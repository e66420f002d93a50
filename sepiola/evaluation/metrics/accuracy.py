"""Accuracy with its uncertainty: right or wrong per question, the Wilson 95% interval (Wilson, 1927), and the
paired difference of two systems on the same questions (a bootstrap interval and McNemar's exact test, 1947).

Questions and answers are joined by id, never by their order. An output from which no option can be read is
counted as unparsed; how it scores is a named option, since the reference code of Multimodal-CoT draws such an
answer at random among five options, which flatters a model that says nothing.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from sepiola.data.example import Example
from sepiola.errors import DataError
from sepiola.evaluation.figures import Figures
from sepiola.reasoning.answer import Answer
from sepiola.text.answers import normalised, read_open

Unparsed = Literal["wrong", "random"]

Z95 = 1.959963984540054
"""The normal quantile of a two-sided 95% interval."""

REFERENCE_OPTIONS = 5
"""The reference draws an unparsed answer among A to E, however many options the question has."""


@dataclass(frozen=True)
class Verdict:
    """One question with its answer: whether it counts as right, and whether the output could be read."""

    example: Example
    answer: Answer
    correct: bool
    parsed: bool


@dataclass(frozen=True)
class Accuracy:
    """`correct` of `count` questions; a baseline's `correct` may be an expectation, so it need not be whole.

    `unparsed` outputs were scored by `unparsed_rule`.
    """

    correct: float
    count: int
    unparsed: int = 0
    unparsed_rule: Unparsed = "wrong"

    @property
    def accuracy(self) -> float | None:
        """The share of right answers, 0 to 1; None when there is no question."""
        return self.correct / self.count if self.count else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """The Wilson 95% interval, 0 to 1; None when there is no question."""
        return wilson_interval(self.correct, self.count) if self.count else None

    def to_dict(self) -> Figures:
        """Plain data for reports: accuracy and interval as shares (0 to 1)."""
        return {
            "accuracy": self.accuracy,
            "interval": list(self.interval) if self.interval else None,
            "count": self.count,
            "correct": self.correct,
            "unparsed": self.unparsed,
            "unparsed_rule": self.unparsed_rule,
        }


@dataclass(frozen=True)
class Difference:
    """Accuracy of the first system minus the second's on the same questions, with a 95% bootstrap interval.

    `only_first` questions are right in the first alone, `only_second` in the second alone; `p_value` is
    McNemar's exact two-sided test of these two numbers.
    """

    difference: float
    interval: tuple[float, float]
    p_value: float
    only_first: int
    only_second: int
    count: int


def join_by_id(examples: Sequence[Example], answers: Sequence[Answer]) -> list[tuple[Example, Answer]]:
    """Pairs each example with its answer by id, in the order of the examples.

    Raises DataError when an id is missing, extra or twice on either side.
    """
    by_id = {answer.id: answer for answer in answers}
    ids = {example.id for example in examples}
    for kind, given, unique in (("examples", examples, ids), ("answers", answers, by_id)):
        if len(unique) != len(given):
            twice = Counter(item.id for item in given).most_common(1)[0][0]
            raise DataError(f"{kind}: the id '{twice}' stands more than once; ids must be unique to be joined")
    missing = [example.id for example in examples if example.id not in by_id]
    extra = [answer.id for answer in answers if answer.id not in ids]
    faults = []
    if missing:
        faults.append(f"{len(missing)} of {len(examples)} examples have no answer ({_some(missing)})")
    if extra:
        faults.append(f"{len(extra)} of {len(answers)} answers belong to no example ({_some(extra)})")
    if faults:
        raise DataError(f"{' and '.join(faults)}; give exactly one answer for each example, with the example's id")
    return [(example, by_id[example.id]) for example in examples]


def verdicts(
    examples: Sequence[Example], answers: Sequence[Answer], unparsed: Unparsed = "wrong", seed: int = 0
) -> list[Verdict]:
    """Right or wrong for each example, in the order of the examples.

    A question with choices is right when the answer's choice is the question's. An open question is right
    when the output equals `answer_text` after normalisation (width and case, outer spaces, end punctuation, a
    leading "The answer is" or "答案是"), as it stands or as `read_open` reads it; one that says nothing, or that it is
    not known, is unparsed. With `unparsed="random"` an unparsed choice is drawn among five options, as the reference
    draws it; the draw depends on the seed and the example's id alone. Raises DataError when ids do not match, when a
    question has no known answer or a choice does not exist.
    """
    if unparsed not in ("wrong", "random"):
        raise DataError(f"unparsed: got '{unparsed}', expected 'wrong' or 'random'")
    return [_verdict(example, answer, unparsed, seed) for example, answer in join_by_id(examples, answers)]


def accuracy(
    examples: Sequence[Example], answers: Sequence[Answer], unparsed: Unparsed = "wrong", seed: int = 0
) -> Accuracy:
    """Accuracy over all examples; see `verdicts` for how each is judged and what is raised."""
    return accuracy_of(verdicts(examples, answers, unparsed, seed), unparsed)


def accuracy_of(judged: Sequence[Verdict], unparsed: Unparsed = "wrong") -> Accuracy:
    """Sums verdicts that were made under the rule `unparsed`."""
    return Accuracy(
        correct=sum(v.correct for v in judged),
        count=len(judged),
        unparsed=sum(not v.parsed for v in judged),
        unparsed_rule=unparsed,
    )


def wilson_interval(correct: float, count: int, z: float = Z95) -> tuple[float, float]:
    """Wilson's score interval of a proportion, as shares (0 to 1). Raises DataError unless 0 <= correct <=
    count."""
    if count < 1 or not 0 <= correct <= count:
        raise DataError(f"an interval needs 0 <= correct <= count and count >= 1; got {correct} of {count}")
    share = correct / count
    scale = 1 + z * z / count
    centre = (share + z * z / (2 * count)) / scale
    half = z / scale * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    # At 0 and at all right the bound is exactly 0 or 1; rounding would leave it a hair off.
    low = 0.0 if correct == 0 else max(0.0, centre - half)
    high = 1.0 if correct == count else min(1.0, centre + half)
    return low, high


def paired_difference(
    examples: Sequence[Example],
    first: Sequence[Answer],
    second: Sequence[Answer],
    unparsed: Unparsed = "wrong",
    seed: int = 0,
    resamples: int = 10_000,
) -> Difference:
    """Accuracy of `first` minus `second`: 95% percentile bootstrap over questions, and McNemar's exact
    p-value.

    Raises DataError as `verdicts` does, or when there is no example.
    """
    pairs = zip(verdicts(examples, first, unparsed, seed), verdicts(examples, second, unparsed, seed), strict=True)
    return difference_of([(a.correct, b.correct) for a, b in pairs], seed, resamples)


def difference_of(outcomes: Sequence[tuple[bool, bool]], seed: int = 0, resamples: int = 10_000) -> Difference:
    """As `paired_difference`, of whether each question is right in the first system and in the second."""
    count = len(outcomes)
    if count == 0:
        raise DataError("a paired difference needs at least one example; got none")
    only_first = sum(a and not b for a, b in outcomes)
    only_second = sum(b and not a for a, b in outcomes)
    # Resampling questions is a multinomial draw of the three kinds of pair, so no list is resampled.
    kinds = [only_first / count, only_second / count, (count - only_first - only_second) / count]
    drawn = np.random.default_rng(seed).multinomial(count, kinds, size=resamples)
    low, high = np.quantile((drawn[:, 0] - drawn[:, 1]) / count, [0.025, 0.975])
    return Difference(
        difference=(only_first - only_second) / count,
        interval=(float(low), float(high)),
        p_value=_mcnemar(only_first, only_second),
        only_first=only_first,
        only_second=only_second,
        count=count,
    )


def _verdict(example: Example, answer: Answer, unparsed: Unparsed, seed: int) -> Verdict:
    question = example.question
    if question is not None and question.choices and question.answer is not None:
        if answer.choice is None:
            # Seeded by id, so that a bucket or another order of the same questions draws the same.
            drawn = random.Random(f"{seed}:{example.id}").randrange(REFERENCE_OPTIONS)
            return Verdict(example, answer, unparsed == "random" and drawn == question.answer, parsed=False)
        if not 0 <= answer.choice < len(question.choices):
            raise DataError(
                f"answer '{answer.id}': choice {answer.choice} does not exist, the question has "
                f"{len(question.choices)} choices (0 to {len(question.choices) - 1}); an output that names "
                "no option has choice None"
            )
        return Verdict(example, answer, answer.choice == question.answer, parsed=True)
    if question is not None and not question.choices and question.answer_text is not None:
        said, right = normalised(read_open(answer.output)), normalised(question.answer_text)
        same = right in (normalised(answer.output), said)
        return Verdict(example, answer, same, parsed=same or bool(said))
    raise DataError(f"example '{example.id}': its right answer is not known, so no answer to it can be scored")


def _mcnemar(only_first: int, only_second: int) -> float:
    discordant = only_first + only_second
    tail = sum(math.comb(discordant, k) for k in range(min(only_first, only_second) + 1))
    return min(1.0, 2 * tail / 2**discordant)


def _some(ids: Sequence[str]) -> str:
    return ", ".join(ids[:3]) + (", …" if len(ids) > 3 else "")
