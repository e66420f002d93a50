"""What a reward is: one file, with the spec of its own fields, and one line in `REWARDS`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Protocol

from pydantic import AfterValidator

from sepiola.data.example import Example
from sepiola.errors import SpecError
from sepiola.generation.endpoint import checked_base
from sepiola.specs.base import Spec


def _base(url: str) -> str:
    try:
        return checked_base(url)
    except SpecError as error:
        raise ValueError(str(error)) from None


BaseURL = Annotated[str, AfterValidator(_base)]
"""Where a chat model answers: http://HOST/v1."""


@dataclass(frozen=True)
class Written:
    """What the policy wrote after a prompt: its text, and the same with the names of special tokens (`marked`).

    `ended` says that it came to its end, and was not cut.
    """

    text: str
    marked: str
    ended: bool


class RewardSpec(Spec):
    """The base of every reward's own spec, which `kind` names."""

    kind: str

    def tokens(self) -> list[str]:
        """The special tokens that a tokenizer must have for it, beside the usual ones."""
        return []

    def callables(self) -> Sequence[Callable[..., object]]:
        """The functions whose calls it rewards: what `constrained` lets the policy write."""
        return ()

    def check_words(self, words: str) -> None:
        """Raises SpecError where it judges conversations that are laid out otherwise than by `words`
        (`sepiola.reasoning.reward.words_of`), which the policy writes by.
        """


class Reward(Protocol):
    """How good completions are."""

    spec: ClassVar[type[RewardSpec]]

    def __init__(self, spec: RewardSpec) -> None: ...

    def score(self, examples: Sequence[Example], written: Sequence[Written]) -> list[float]:
        """A number for each completion; the example is the one that was asked, its target the right answer."""
        ...
