"""Specs of what a model rates replies by: the attributes of LaMDA (arXiv 2201.08239), each one a name in a recipe."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat

from sepiola.specs.base import Spec
from sepiola.specs.bricks import Probability


class AttributeSpec(Spec):
    """One thing that is right or wrong about a reply: `SENSIBLE`, `SPECIFIC`, `SAFE` …

    The model says `1` or `0` of it; `good` is which of the two is wanted (0 for `UNSAFE`). A reply whose wanted rating
    is less likely than `threshold` is dropped; the others are ranked by the sum of these, each times its `weight`.
    `labels` says in words what the model learned it from.
    """

    name: Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]{0,31}$")]
    weight: NonNegativeFloat = 0.0
    threshold: Probability | None = None
    good: Literal[0, 1] = 1
    labels: str = ""

    @property
    def token(self) -> str:
        """The special token after which the rating stands."""
        return f"<{self.name}>"

    def goodness(self, rating: float) -> float:
        """How likely the wanted rating is, where a 1 has probability `rating`."""
        return rating if self.good == 1 else 1.0 - rating


def each_once(attributes: Sequence[AttributeSpec]) -> tuple[AttributeSpec, ...]:
    """The attributes. Raises ValueError where two have one name."""
    names = [attribute.name for attribute in attributes]
    if len({*names}) < len(names):
        raise ValueError(f"attributes: expected each once, got {', '.join(names)}")
    return tuple(attributes)
