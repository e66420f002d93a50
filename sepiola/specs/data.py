"""Spec of a dataset's examples, as recipes and the command line name them."""

from __future__ import annotations

from typing import Any

from pydantic import Field, PositiveInt

from sepiola.specs.base import Spec


class DataSpec(Spec):
    """Examples of one dataset. `options` go to its reader; environment variables in `root` are expanded."""

    reader: str
    root: str | None = None
    split: str = "train"
    count: PositiveInt | None = None
    options: dict[str, Any] = Field(default_factory=dict)
