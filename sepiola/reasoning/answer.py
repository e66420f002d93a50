"""What a strategy returns for one question."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Answer:
    """One question answered.

    `choice` is an index into the question's choices, None when the output names no choice (counted as unparsed) or
    the question is open. `output` is the model's text for the answer as it came; `rationale` is the reasoning before
    it, None when the strategy asks for none. `probabilities` are over the choices, in their order, when they were
    scored. `cut` says that the limit on tokens ended a text without a question, such as a caption.
    """

    id: str
    output: str
    choice: int | None = None
    rationale: str | None = None
    probabilities: tuple[float, ...] | None = None
    cut: bool = False
