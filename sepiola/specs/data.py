"""Spec of a dataset's examples, as recipes and the command line name them."""

from __future__ import annotations

from pydantic import Field, PositiveInt

from sepiola.specs.base import Plain, Spec
from sepiola.specs.values import Name


class DataSpec(Spec):
    """Examples of one dataset. `options` go to its reader; environment variables in `root` are expanded.

    `rationales` is a file of `sepiola data teach`, whose rationales stand in place of the dataset's own.
    """

    reader: Name
    root: str | None = None
    split: Name = "train"
    count: PositiveInt | None = None
    options: Plain = Field(default_factory=dict)
    rationales: str | None = None
