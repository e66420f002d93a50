"""Spec of a linear reward model over hashed n-grams of replies."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sepiola.specs.base import Spec

ReplyFamily = Literal["words", "characters", "runs", "form", "details"]
REPLY_FAMILIES: tuple[ReplyFamily, ...] = ("words", "characters", "form")


class LinearRewardSpec(Spec):
    """A table of `buckets` weights over what a reply says, by `families` of features (`sepiola.text.reply_features`).

    Each family counts alike, but for `form` and `details`, which count less.
    """

    buckets: int = Field(default=1 << 20, ge=2, le=1 << 28)
    families: tuple[ReplyFamily, ...] = Field(default=REPLY_FAMILIES, min_length=1)
