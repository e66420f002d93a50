"""What a strategy returns for one question, and what `ask` makes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sepiola.specs.base import Plain


@dataclass(frozen=True)
class Chain:
    """One sampled way to an answer: the `text` that answers, and the index into the question's choices that it names,
    None where it names none. A `rationale` stands in the text, or before it where another model wrote it.

    `said` is what it answers to an open question, as answers are compared; `log_probability` that of all its `tokens`
    under the model's own distribution. `order` are the choices in the order in which this chain read them, if it was
    another one, and `score` is a verifier's.
    """

    text: str
    choice: int | None
    log_probability: float
    tokens: int
    rationale: str | None = None
    said: str | None = None
    order: tuple[int, ...] | None = None
    score: float | None = None

    @property
    def whole(self) -> str:
        """All that was written on the way."""
        return self.text if not self.rationale or self.rationale in self.text else f"{self.rationale}\n{self.text}"

    @property
    def vote(self) -> int | str | None:
        """What the chain votes for; None where no answer can be read from it."""
        return self.said if self.choice is None else self.choice


@dataclass(frozen=True)
class Answer:
    """One question answered.

    `choice` is an index into the question's choices, None when the output names no choice (counted as unparsed) or
    the question is open. `output` is the model's text for the answer as it came; `rationale` is the reasoning before
    it, None when the strategy asks for none. `probabilities` are over the choices, in their order, when they were
    scored. A classifier's `evidence` is the log of the sum of its logits' exponentials, which probabilities do not
    tell: it is small where nothing that the model knows is near (minus the energy of arXiv 2010.03759). `cut` says that
    the limit on tokens ended a text without a question, such as a caption; `prompt_cut` that the model could not read
    the whole prompt. `confidence` is how probable the choice is: its probability where options were scored, the share
    of votes of `chains`. An answer that was generated greedily has none.
    """

    id: str
    output: str
    choice: int | None = None
    rationale: str | None = None
    probabilities: tuple[float, ...] | None = None
    evidence: float | None = None
    cut: bool = False
    prompt_cut: bool = False
    confidence: float | None = None
    chains: tuple[Chain, ...] = ()

    @classmethod
    def of(cls, plain: Plain) -> Answer:
        """An answer from what `dataclasses.asdict` made of it."""
        return cls(**{**plain, "chains": tuple(Chain(**chain) for chain in plain.get("chains", ()))})

    @classmethod
    def scored(cls, id: str, output: str, choice: int, probabilities: Sequence[float]) -> Answer:
        """An answer whose options were scored: it is as sure as the choice is probable."""
        return cls(id, output, choice, probabilities=tuple(probabilities), confidence=probabilities[choice])


@dataclass(frozen=True)
class Reply:
    """What `ask` returns: the answer's text, the rationale before it, and the probability of each of `choices`.

    `confidence` and `chains` are those of `Answer`.
    """

    answer: str
    rationale: str | None = None
    probabilities: tuple[float, ...] | None = None
    choice: int | None = None
    choices: tuple[str, ...] = ()
    confidence: float | None = None
    chains: tuple[Chain, ...] = ()
