"""What a strategy returns for one question, and what `ask` makes of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Answer:
    """One question answered.

    `choice` is an index into the question's choices, None when the output names no choice (counted as unparsed) or
    the question is open. `output` is the model's text for the answer as it came; `rationale` is the reasoning before
    it, None when the strategy asks for none. `probabilities` are over the choices, in their order, when they were
    scored. A classifier's `evidence` is the log of the sum of its logits' exponentials, which probabilities do not
    tell: it is small where nothing that the model knows is near (minus the energy of arXiv 2010.03759). `cut` says that
    the limit on tokens ended a text without a question, such as a caption; `prompt_cut` that the model could not read
    the whole prompt.
    """

    id: str
    output: str
    choice: int | None = None
    rationale: str | None = None
    probabilities: tuple[float, ...] | None = None
    evidence: float | None = None
    cut: bool = False
    prompt_cut: bool = False


@dataclass(frozen=True)
class Reply:
    """What `ask` returns: the answer's text, the rationale before it, and the probability of each of `choices`."""

    answer: str
    rationale: str | None = None
    probabilities: tuple[float, ...] | None = None
    choice: int | None = None
    choices: tuple[str, ...] = ()
