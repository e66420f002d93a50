"""A run of a recipe over examples that a benchmark has at hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sepiola.data.example import Example
from sepiola.datasets import DataCache
from sepiola.experiments.stages import Stages
from sepiola.specs.data import DataSpec
from sepiola.specs.recipe import RecipeSpec


class Given(Stages):
    """The stages of a recipe, whose data are those that are given."""

    def __init__(self, recipe: RecipeSpec, folder: Path, examples: Sequence[Example]) -> None:
        super().__init__(recipe, folder, DataCache(), "cpu")
        self.examples = [*examples]

    def read(self, data: DataSpec) -> list[Example]:
        return self.examples
