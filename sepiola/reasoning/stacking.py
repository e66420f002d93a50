"""Stacking: a small model over what several members say of each option (Wolpert, "Stacked generalization", 1992).

The model is a conditional logit (McFadden, 1974): `P(option) = softmax(Σ weight · score)` over the options of a
question, with one weight a member, so that it takes questions of any number of options. A member is whatever gives each
option a number: a network's log-probabilities, the votes of the nearest training questions, a linear model. Weights are
fitted to scores that each member gave to examples which it was not trained on (`out_of_fold`); scores of training
examples would reward the member that has learned them by heart.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sepiola.data.example import Example
from sepiola.data.folds import folds
from sepiola.errors import DataError

Scores = tuple[float, ...]
"""One number for each option of a question, higher for the likelier: log-probabilities, votes."""

LEAST = math.log(1e-9)
"""The log-probability of an option that a member gives none: one member alone cannot rule an option out."""

STEPS = 100


class OptionScorer(Protocol):
    """What may be a member: it gives a number to every option of each example's question."""

    def scores(self, examples: Sequence[Example]) -> list[Scores]: ...


def log_scores(probabilities: Sequence[float]) -> Scores:
    """Scores of a member that answers with probabilities: their logarithms, bounded below."""
    return tuple(max(math.log(p), LEAST) if p > 0 else LEAST for p in probabilities)


def out_of_fold(
    examples: Sequence[Example], count: int, seed: int, train: Callable[[list[Example]], OptionScorer]
) -> list[Scores]:
    """The scores of each example by a member that `train` made of the other folds: whole groups stand in one fold
    (`sepiola.data.folds`). `train` is called once a fold. Raises DataError for fewer groups than folds.
    """
    fold = folds(examples, count, seed)
    found: list[Scores] = [()] * len(examples)
    for number in range(count):
        held = [place for place, own in enumerate(fold) if own == number]
        member = train([example for example, own in zip(examples, fold, strict=True) if own != number])
        for place, scores in zip(held, member.scores([examples[place] for place in held]), strict=True):
            found[place] = scores
    return found


@dataclass(frozen=True)
class Stacked:
    """A conditional logit: one weight a member."""

    weights: tuple[float, ...]

    def probabilities(self, members: Sequence[Scores]) -> tuple[float, ...]:
        """The probability of each option of one question, of every member's scores for them.

        Raises DataError for another number of members, and for members that score different numbers of options.
        """
        features = _features([members], len(self.weights))
        logits = features[0] @ np.asarray(self.weights)
        likely = np.exp(logits - logits.max())
        return tuple((likely / likely.sum()).tolist())


def fit_stacked(questions: Sequence[Sequence[Scores]], answers: Sequence[int], *, penalty: float = 1.0) -> Stacked:
    """The weights of the greatest likelihood, less `penalty / 2` times their squares' sum, by Newton's method.

    `questions` holds for each question every member's scores; the penalty is on scores that are scaled to unit
    variance within a question, so that members who score in different units are treated alike. Raises DataError where
    there is nothing to fit, and for an answer that is no option.
    """
    if not questions or len(questions) != len(answers):
        raise DataError(f"stacking: {len(questions)} scored questions and {len(answers)} answers; expected as many")
    members = len(questions[0])
    features = _features(questions, members)
    for options, answer in zip(features, answers, strict=True):
        if not 0 <= answer < len(options):
            raise DataError(f"stacking: answer {answer} is none of a question's {len(options)} options")
    scale = np.sqrt(np.concatenate(features).var(axis=0))
    scale[scale == 0] = 1.0
    features = [options / scale for options in features]
    weights = np.zeros(members)
    value, gradient, curvature = _likelihood(weights, features, answers, penalty)
    for _ in range(STEPS):
        move = np.linalg.solve(curvature, gradient)
        size = 1.0
        while size > 1e-8:
            tried = _likelihood(weights + size * move, features, answers, penalty)
            if tried[0] >= value:
                break
            size /= 2
        else:
            break
        weights, before = weights + size * move, value
        value, gradient, curvature = tried
        if value - before < 1e-12 * (1 + abs(value)):
            break
    return Stacked(tuple((weights / scale).tolist()))


Matrix = NDArray[np.float64]


def _likelihood(
    weights: Matrix, features: Sequence[Matrix], answers: Sequence[int], penalty: float
) -> tuple[float, Matrix, Matrix]:
    """The penalised log-likelihood, its gradient, and the negative of its second derivatives."""
    value = -penalty / 2 * float(weights @ weights)
    gradient, curvature = -penalty * weights, penalty * np.eye(len(weights))
    for options, answer in zip(features, answers, strict=True):
        logits = options @ weights
        logits = logits - logits.max()
        likely = np.exp(logits)
        likely /= likely.sum()
        mean = likely @ options
        value += float(logits[answer] - np.log(np.exp(logits).sum()))
        gradient = gradient + options[answer] - mean
        curvature = curvature + (options * likely[:, None]).T @ options - np.outer(mean, mean)
    return value, gradient, curvature


def _features(questions: Sequence[Sequence[Scores]], members: int) -> list[Matrix]:
    """Each question's scores `(options, members)`, those of a member with the mean 0 over its options."""
    found = []
    for scored in questions:
        lengths = {len(scores) for scores in scored}
        if len(scored) != members or len(lengths) != 1 or lengths == {0}:
            raise DataError(
                f"stacking: expected the scores of {members} members, all for the same options; got "
                f"{len(scored)} with {sorted(lengths)} options"
            )
        matrix = np.asarray(scored, dtype=np.float64).T
        if not np.isfinite(matrix).all():
            raise DataError("stacking: a score is no finite number; bound logarithms below (`log_scores`)")
        found.append(matrix - matrix.mean(axis=0))
    return found
