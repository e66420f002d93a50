"""Specs of strategies: how an answer is reached, one spec a `kind`.

A recipe's `strategy`, what is saved beside a model, and what `ask` and `--strategy` are given are the same specs. In a
recipe `answer` and `rationale` name the stages whose models write them; elsewhere they are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, TypeAlias

from pydantic import BeforeValidator, Field, model_validator

from sepiola.specs.base import Spec
from sepiola.specs.values import Seed

Candidates = Annotated[int, Field(ge=1, le=1024)]
"""Replies that are sampled at once."""
Chains = Annotated[int, Field(ge=1, le=1024)]


class StrategySpec(Spec):
    """The base of every strategy's spec. `by`: answers are generated and parsed, or chosen by the likelihood of each
    option (`score`).
    """

    stages: ClassVar[tuple[str, ...]] = ("answer",)
    """The keys that name stages of a recipe."""

    writes: ClassVar[bool] = False
    """Whether it is nothing for a classifier, which reads and does not write."""

    kind: str
    answer: str | None = None
    by: Literal["generate", "score"] = "generate"


class DirectSpec(StrategySpec):
    """The answer alone. Where `answer` is a stage that trains a classifier, it answers by its labels."""

    kind: Literal["direct"] = "direct"


class OneStageSpec(StrategySpec):
    """Rationale and answer in one output."""

    writes = True

    kind: Literal["one-stage"]


class TwoStageSpec(StrategySpec):
    """One model writes the rationale, another answers from it."""

    stages = ("answer", "rationale")
    writes = True

    kind: Literal["two-stage"]
    rationale: str | None = None


class SampleAndRankSpec(StrategySpec):
    """The best of so many `candidates` by the ratings that the stage teaches."""

    writes = True

    kind: Literal["sample-and-rank"]
    candidates: Candidates = 16


class LeastToMostSpec(StrategySpec):
    """At most `steps` smaller questions are asked and answered first (arXiv 2205.10625)."""

    writes = True

    kind: Literal["least-to-most"]
    steps: Annotated[int, Field(ge=1, le=64)] = 4


class SelfConsistencySpec(StrategySpec):
    """Several `chains` are sampled and vote (arXiv 2203.11171): over two stages where a rationale model is there, else
    in one output.

    Chains are drawn at `temperature` among the `top_k` likeliest tokens. A vote counts one (`plain`); or by the softmax
    over the question's chains, divided by `vote_temperature`, of a chain's mean log-probability a token (`weighted`),
    of its score by a reward model (`verifier`), or of its log-probability under a second model (`peer`, arXiv
    2408.06195); or the model itself names the chain that most agree with (`universal`, arXiv 2311.17311). `verifier` is
    the folder of the model that scores, or in a recipe the stage that teaches it. With `shuffle` the options stand in
    another order in each chain. With `stop`, chains are drawn `round` at a time, until it is so probable that the
    leader wins the vote of all of them (arXiv 2305.11860). `calibration` is the temperature that makes a probability of
    the share of votes.
    """

    stages = ("answer", "rationale")
    writes = True

    kind: Literal["self-consistency"]
    rationale: str | None = None
    chains: Chains = 8
    vote: Literal["plain", "weighted", "verifier", "peer", "universal"] = "plain"
    verifier: str | None = None
    vote_temperature: float = Field(default=0.1, gt=0.0, le=1e6)
    temperature: float = Field(default=0.7, ge=0.0, le=1e6)
    top_k: int = Field(default=40, ge=0, le=1 << 24)
    seed: Seed = 0
    shuffle: bool = True
    stop: float | None = Field(default=None, gt=0.5, lt=1.0)
    round: Chains = 4
    calibration: float | None = Field(default=None, gt=0.0, le=1e6)

    @model_validator(mode="after")
    def _votes(self) -> SelfConsistencySpec:
        if self.temperature == 0 and self.chains > 1:
            raise ValueError("temperature: 0 writes the same chain every time, and equal chains cannot vote; give 0.7")
        if (self.vote in ("verifier", "peer")) != (self.verifier is not None):
            raise ValueError("vote: verifier or peer, and 'verifier', whose folder it scores by, go together")
        return self


def _kind_by_default(raw: object) -> object:
    raw = {"kind": raw} if isinstance(raw, str) else raw
    return {"kind": "direct", **raw} if isinstance(raw, Mapping) else raw


AnyStrategy: TypeAlias = Annotated[
    DirectSpec | OneStageSpec | TwoStageSpec | SampleAndRankSpec | LeastToMostSpec | SelfConsistencySpec,
    Field(discriminator="kind"),
]
AnyStrategySpec: TypeAlias = Annotated[AnyStrategy, BeforeValidator(_kind_by_default)]
"""The spec of any strategy; one that names no kind is direct, and a name is short for its kind."""
