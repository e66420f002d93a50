"""Spec of a dataset's examples, as recipes and the command line name them."""

from __future__ import annotations

from pydantic import Field, PositiveInt

from sepiola.specs.base import Plain, Spec


class DataSpec(Spec):
    """Examples of one dataset. `options` go to its reader; environment variables in `root` are expanded."""

    reader: str
    root: str | None = None
    split: str = "train"
    count: PositiveInt | None = None
    options: Plain = Field(default_factory=dict)
