"""Specs of ensembles: several members of one recipe, how each is made unlike the others, and how their answers become
one.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveInt, field_validator, model_validator

from sepiola.specs.base import Plain, Spec
from sepiola.specs.data import DataSpec
from sepiola.specs.values import Name

Members = Annotated[int, Field(ge=2, le=64)]


class TaughtSpec(Spec):
    """How a model learns of a teacher: `weight` of each question's target is the teacher's and the rest the dataset's
    answer. `questions` are more, which the teacher alone answers; answers that they may have are not read.
    """

    weight: Annotated[float, Field(gt=0.0, le=1.0)] = 0.5
    questions: DataSpec | None = None


class DistilledSpec(TaughtSpec):
    """The one model that learns of an ensemble. It trains for `steps`, by default as many as a member."""

    steps: PositiveInt | None = None


class MembersSpec(Spec):
    """What every kind of ensemble says.

    All members train the recipe's stages, each from a seed of its own. Stages that are `shared` are trained once, on
    all of their data, and begin every member. With `distilled` one more model of the recipe then learns the members'
    joint probabilities, and it is what the run leaves; `true` says that all is as by default.
    """

    shared: tuple[Name, ...] = ()
    distilled: DistilledSpec | None = None

    @field_validator("distilled", mode="before")
    @classmethod
    def _whether(cls, value: object) -> object:
        return ({} if value else None) if isinstance(value, bool) else value

    @property
    def trainings(self) -> int:
        """How often the stages that are not shared are trained, at most."""
        return self._of_members + (self.distilled is not None)

    @property
    @abstractmethod
    def _of_members(self) -> int: ...


class BaggingSpec(MembersSpec):
    """Every member trains on a bootstrap of the data, drawn by whole groups; the option of the greatest mean
    probability is the answer (Breiman, "Bagging predictors", 1996). Without `bootstrap` members differ by their seed
    alone, and train on all data ("deep ensembles", arXiv 1612.01474).
    """

    kind: Literal["bagging"]
    members: Members = 5
    bootstrap: bool = True

    @property
    def _of_members(self) -> int:
        return self.members


class BoostingSpec(MembersSpec):
    """Every member trains on data that is drawn by weights: what the members before it got wrong weighs more. Each has
    the vote that SAMME gives it (`sepiola.reasoning.boosting`); `members` are the most there can be.
    """

    kind: Literal["boosting"]
    members: Members = 5

    @property
    def _of_members(self) -> int:
        return self.members


class StackingSpec(MembersSpec):
    """A small model chooses by what all members say of each option (`sepiola.reasoning.stacking`). It is fitted to
    answers out of fold: of each member `folds` more are trained, each without one part of the data, and answer that
    part alone. `members` are changes of the recipe (`key.path: value`), `{}` the recipe itself.
    """

    kind: Literal["stacking"]
    members: tuple[Plain, ...] = Field(min_length=2, max_length=64)
    folds: int = Field(default=5, ge=2, le=100)
    penalty: NonNegativeFloat = 1.0

    @property
    def _of_members(self) -> int:
        return len(self.members) * (self.folds + 1)


EnsembleSpec = Annotated[BaggingSpec | BoostingSpec | StackingSpec, Field(discriminator="kind")]


class MeanSpec(Spec):
    """Members' probabilities are averaged."""

    kind: Literal["mean"]


class VotesSpec(Spec):
    """Each member has `alphas[K]` of a vote in a question of K options, and none where K is not named."""

    kind: Literal["votes"]
    alphas: tuple[dict[int, float], ...]


class StackedSpec(Spec):
    """The softmax of the members' log-probabilities, each times its weight."""

    kind: Literal["stacked"]
    weights: tuple[float, ...] = Field(min_length=1)


class CombiningSpec(Spec):
    """What an ensemble's folder says: how many members there are, and how their answers become one."""

    members: int = Field(ge=1, le=64)
    by: Annotated[MeanSpec | VotesSpec | StackedSpec, Field(discriminator="kind")]

    @model_validator(mode="after")
    def _each(self) -> CombiningSpec:
        given = {"votes": getattr(self.by, "alphas", None), "stacked": getattr(self.by, "weights", None)}
        for kind, each in given.items():
            if each is not None and len(each) != self.members:
                raise ValueError(f"by: {kind} holds {len(each)} entries for {self.members} members; expected as many")
        return self
