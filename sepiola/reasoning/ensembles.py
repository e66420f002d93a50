"""Ensembles: several models answer one question, and their answers become one.

Every member says a probability for each option. They are averaged (bagging), counted as votes of unequal weight
(boosting), or weighted in a conditional logit (stacking).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Generic, Protocol, Self, TypeVar

import numpy as np

from sepiola.checkpoints.store import ENSEMBLE
from sepiola.data.example import Example
from sepiola.errors import CheckpointError, SepiolaError
from sepiola.reasoning.answer import Answer
from sepiola.reasoning.stacking import Scores, Stacked, log_scores
from sepiola.specs.base import read_yaml
from sepiola.specs.ensemble import CombiningSpec, StackedSpec, VotesSpec
from sepiola.specs.recipe import AnsweringSpec
from sepiola.specs.strategy import StrategySpec

MEMBERS = "members"

OnDone = Callable[[int], None] | None
Likely = tuple[float, ...]


class Answering(Protocol):
    """A strategy."""

    def answer(self, examples: Sequence[Example], on_done: OnDone = None) -> list[Answer]: ...


class AsksMember(Protocol):
    """What an ensemble asks of a member that is a model."""

    @property
    def asking(self) -> AnsweringSpec: ...
    def blind(self) -> Self: ...
    def by(self, strategy: StrategySpec) -> Self: ...
    def strategy(self, *, score: bool | None = None) -> Answering: ...


Member = TypeVar("Member", bound=AsksMember)


@dataclass(frozen=True)
class Joined(Generic[Member]):
    """Models that answer together, and how their answers become one.

    `beside` makes of the members a strategy that answers a question, given as often as there are members, as each of
    them does, all at once; None where that cannot be. It is made once, of the weights as they are then.
    """

    members: tuple[Member, ...]
    combining: CombiningSpec
    beside: Callable[[Sequence[Member]], Answering | None] = lambda _: None
    _made: dict[bool, Answering | None] = field(default_factory=dict)

    def strategy(self, answering: AnsweringSpec) -> Ensemble:
        """The members' strategies together: each by its own, choosing by likelihood, or all by another one that is
        asked for. Where `answering` shows no images the members are blind.
        """
        asked = [member if answering.images else member.blind() for member in self.members]
        if _named(answering.strategy) == _named(self.members[0].asking.strategy):
            each = [member.strategy(score=True) for member in asked]
            return Ensemble(each, self.combining, partial(self._beside, asked, answering.images))
        return Ensemble([member.by(answering.strategy).strategy() for member in asked], self.combining)

    def _beside(self, asked: Sequence[Member], images: bool) -> Answering | None:
        if images not in self._made:
            self._made[images] = self.beside(asked)
        return self._made[images]


def _named(strategy: StrategySpec) -> StrategySpec:
    """The strategy, whatever it chooses by."""
    return strategy.model_copy(update={"by": "score"})


def mean(spec: CombiningSpec, members: Sequence[Likely]) -> Likely:
    """The mean of every option's probabilities."""
    return tuple(np.mean(members, axis=0).tolist())


def votes(spec: CombiningSpec, members: Sequence[Likely]) -> Likely:
    """The shares of the votes for each option. Where no member has a vote, all have one."""
    assert isinstance(spec.by, VotesSpec)
    counted = np.zeros(len(members[0]))
    alphas = [own.get(len(counted), 0.0) for own in spec.by.alphas]
    for likely, alpha in zip(members, alphas if any(alphas) else [1.0] * len(members), strict=True):
        counted[int(np.argmax(likely))] += alpha
    return tuple((counted / counted.sum()).tolist())


def stacked(spec: CombiningSpec, members: Sequence[Likely]) -> Likely:
    """The conditional logit of the members' log-probabilities."""
    assert isinstance(spec.by, StackedSpec)
    return Stacked(spec.by.weights).probabilities([log_scores(likely) for likely in members])


COMBINING: dict[str, Callable[[CombiningSpec, Sequence[Likely]], Likely]] = {
    "mean": mean,
    "votes": votes,
    "stacked": stacked,
}
"""How the members' probabilities for one question become the ensemble's."""


class Ensemble:
    """A strategy over the strategies of several members; a lone question goes to what `beside` gives, if anything."""

    def __init__(
        self,
        members: Sequence[Answering],
        combining: CombiningSpec,
        beside: Callable[[], Answering | None] = lambda: None,
    ) -> None:
        self.members = members
        self.combining = combining
        self.beside = beside

    def answer(self, examples: Sequence[Example], on_done: OnDone = None) -> list[Answer]:
        """Raises SepiolaError for a member that gives no probabilities, or for other options than the rest."""
        together = self.beside() if len(examples) == 1 else None
        if together is not None:
            answers = [[answer] for answer in together.answer([*examples] * len(self.members))]
        else:
            shown = [on_done, *[None] * (len(self.members) - 1)]
            answers = [member.answer(examples, done) for member, done in zip(self.members, shown, strict=True)]
        return [self._joint(e, each) for e, each in zip(examples, zip(*answers, strict=True), strict=True)]

    def _joint(self, example: Example, members: Sequence[Answer]) -> Answer:
        silent = [answer.probabilities is None and bool(answer.chains) for answer in members]
        if all(silent):
            return members[0]
        count = len(example.question.choices) if example.question is not None else 0
        equal = (1 / max(1, count),) * count  # a member of whose chains none can be read favours no option
        likely = [equal if mute else probabilities_of(own) for mute, own in zip(silent, members, strict=True)]
        if len({len(own) for own in likely}) > 1:
            counts = [len(own) for own in likely]
            raise SepiolaError(
                f"{members[0].id}: the members of this ensemble know {counts} options; train them on data with the "
                "same labels"
            )
        joint = COMBINING[self.combining.by.kind](self.combining, likely)
        best = max(range(len(joint)), key=lambda option: (joint[option], sum(own[option] for own in likely)))
        said = next((answer for answer in members if answer.choice == best), members[0])
        cut = any(answer.prompt_cut for answer in members)
        answer = Answer.scored(said.id, said.output, best, joint)
        evidence = [own.evidence for own in members if own.evidence is not None]
        mean_evidence = sum(evidence) / len(evidence) if len(evidence) == len(members) else None
        return replace(answer, rationale=said.rationale, evidence=mean_evidence, prompt_cut=cut)


def probabilities_of(answer: Answer) -> Likely:
    """An answer's probabilities. Raises SepiolaError where it has none."""
    if answer.probabilities is None:
        raise SepiolaError(
            f"{answer.id}: answered without a probability for each option, so it can be neither averaged nor learned: "
            "ask a question with choices, by a strategy that scores them (strategy.by: score)"
        )
    return answer.probabilities


class StrategyScorer:
    """A strategy as a member of stacking: the logarithms of its probabilities are its scores."""

    def __init__(self, strategy: Answering) -> None:
        self.strategy = strategy

    def scores(self, examples: Sequence[Example]) -> list[Scores]:
        """Raises SepiolaError where the strategy gives no probabilities."""
        return [log_scores(probabilities_of(answer)) for answer in self.strategy.answer(examples)]


def read_ensemble(folder: Path) -> tuple[list[Path], CombiningSpec] | None:
    """Where the members lie of an ensemble in a checkpoint folder, and how their answers become one; None for a folder
    of one model. Raises CheckpointError for members that are not there.
    """
    path = folder / ENSEMBLE
    if not path.is_file():
        return None
    combining = CombiningSpec.parse(read_yaml(path), str(path))
    folders = [member_folder(folder, number) for number in range(combining.members)]
    missing = [str(member) for member in folders if not member.is_dir()]
    if missing:
        raise CheckpointError(f"{folder}: an ensemble of {len(folders)} members that lacks {', '.join(missing)}")
    return folders, combining


def member_folder(folder: Path, number: int) -> Path:
    """Where a member lies in an ensemble's checkpoint folder."""
    return folder / MEMBERS / str(number)
