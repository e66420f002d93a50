"""Spec of a dataset's examples, as recipes and the command line name them."""

from __future__ import annotations

from pydantic import Field, PositiveInt, SerializerFunctionWrapHandler, model_serializer

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

    @model_serializer(mode="wrap")
    def _without_none(self, plain: SerializerFunctionWrapHandler) -> Plain:
        """Without rationales it is written as it was before there were any, so that runs of then go on."""
        return {key: value for key, value in plain(self).items() if key != "rationales" or value is not None}
