"""Specs of what stretches rotary positions over texts longer than the model first learned from.

Keys are the Hub's own, but for `original_length` (`original_max_position_embeddings` there).
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field, model_validator

from sepiola.specs.base import Spec

Number = Annotated[float, Field(ge=1e-6, le=1e9)]
Length = Annotated[int, Field(ge=2, le=2**40)]


class LinearScaling(Spec):
    """Every position is divided by `factor` (position interpolation, arXiv 2306.15595)."""

    kind: Literal["linear"]
    factor: Number


class DynamicScaling(Spec):
    """The base grows with the text, once that is longer than the positions' `length` (dynamic NTK)."""

    kind: Literal["dynamic"]
    factor: Number


class YarnScaling(Spec):
    """YaRN (arXiv 2309.00071): slow angles are divided by `factor`, fast ones stay, those between are blended.

    `beta_fast` and `beta_slow` are the turns within `original_length` at which the blend begins and ends; `truncate`
    rounds these places to whole pairs. Queries and keys are multiplied by `attention_factor`; absent, it follows from
    `factor`, and from `mscale` and `mscale_all_dim` where both are given.
    """

    kind: Literal["yarn"]
    factor: Number
    original_length: Length
    attention_factor: Number | None = None
    beta_fast: Number = 32.0
    beta_slow: Number = 1.0
    mscale: Number | None = None
    mscale_all_dim: Number | None = None
    truncate: bool = True


class Llama3Scaling(Spec):
    """LLaMA 3.1's: angles of fewer than `low_freq_factor` turns within `original_length` are divided by `factor`, those
    of more than `high_freq_factor` stay, those between are blended.
    """

    kind: Literal["llama3"]
    factor: Number
    original_length: Length
    low_freq_factor: Number
    high_freq_factor: Number

    @model_validator(mode="after")
    def _order(self) -> Llama3Scaling:
        if self.high_freq_factor <= self.low_freq_factor:
            raise ValueError(
                f"high_freq_factor ({self.high_freq_factor}) must be above low_freq_factor ({self.low_freq_factor})"
            )
        return self


class LongRopeScaling(Spec):
    """LongRoPE (arXiv 2402.13753): each angle is divided by a factor of its own, from `long_factor` in texts longer
    than `original_length` and from `short_factor` in others.

    Queries and keys are multiplied by `attention_factor`; absent, it follows from `factor`.
    """

    kind: Literal["longrope"]
    factor: Number
    original_length: Length
    short_factor: tuple[Number, ...]
    long_factor: tuple[Number, ...]
    attention_factor: Number | None = None


RopeScaling = Annotated[
    LinearScaling | DynamicScaling | YarnScaling | Llama3Scaling | LongRopeScaling, Field(discriminator="kind")
]


def check_scaling(scaling: RopeScaling, head_width: int, base: float, length: int | None) -> None:
    """Raises ValueError for a scaling that does not fit heads so wide, this base, or so many positions."""
    if isinstance(scaling, LongRopeScaling):
        for key in ("short_factor", "long_factor"):
            if len(getattr(scaling, key)) != head_width // 2:
                raise ValueError(
                    f"{key} has {len(getattr(scaling, key))} numbers; a head of {head_width} needs {head_width // 2}"
                )
    if isinstance(scaling, YarnScaling) and not 1 < base < math.inf:
        raise ValueError(f"yarn needs a base above 1, not {base}")
    if isinstance(scaling, DynamicScaling) and (length is None or length > 2**40 or head_width < 4):
        raise ValueError(
            "dynamic scaling needs positions.length, from where on the base grows, and heads of 4 numbers or more"
        )


def border(scaling: RopeScaling | None, length: int | None) -> int | None:
    """The number of tokens beyond which a text's length changes the angles of all of it; None where it never does."""
    if isinstance(scaling, LongRopeScaling):
        return scaling.original_length
    return length if isinstance(scaling, DynamicScaling) else None
