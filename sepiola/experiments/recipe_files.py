"""Recipes: found by name or path, changed by `--set`, checked, and written out in full.

A recipe's `model` is a preset's name, or a preset with changes (`like: t5-small`, …), or a whole spec. A comparison
is a recipe with `arms`: the same recipe several times, each with some keys changed, over some seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, PositiveInt, model_validator

from sepiola.errors import SpecError
from sepiola.models.build import outline, resolve_model
from sepiola.specs.base import Spec, nearest, override, read_yaml
from sepiola.specs.recipe import RecipeSpec
from sepiola.training.lora import linears
from sepiola.training.objectives import objective_specs


class ComparisonSpec(Spec):
    """`base` (a whole recipe as plain data) under each arm's changes (`key.path: value`), for each seed.

    The first arm is the main one: its checkpoint is the comparison's. `jobs` runs go on at a time, each with its
    share of the threads: small models use two cores better so.
    """

    name: str
    description: str = ""
    base: dict[str, Any]
    arms: dict[str, dict[str, Any]] = Field(min_length=1)
    seeds: tuple[int, ...] = Field(default=(0,), min_length=1)
    jobs: PositiveInt = 1

    @model_validator(mode="after")
    def _seeds(self) -> ComparisonSpec:
        if "seed" in self.base:
            raise ValueError("base.seed: a comparison runs every seed of 'seeds'; set that")
        return self

    def recipes(self) -> dict[tuple[str, int], RecipeSpec]:
        """The recipe of each arm and seed. Raises SpecError that names the arm."""
        return {
            (arm, seed): parse_recipe(
                _change(self.base, {**changes, "seed": seed, "name": arm}), f"{self.name}, arm '{arm}'"
            )
            for seed in self.seeds
            for arm, changes in self.arms.items()
        }


def folders() -> list[Path]:
    """Where shipped recipes lie: inside an installed package, or beside it in a checkout."""
    package = Path(__file__).parent.parent
    return [f for f in (package / "_recipes", package.parent / "recipes") if f.is_dir()]


def shipped() -> dict[str, Path]:
    """Every shipped recipe by name, `folder/file` without the ending."""
    return {
        str(path.relative_to(folder).with_suffix("")): path
        for folder in folders()
        for path in sorted(folder.rglob("*.yaml"))
    }


def read_recipe(name_or_path: str, assignments: Sequence[str] = ()) -> RecipeSpec | ComparisonSpec:
    """A recipe by name or path with `--set` assignments applied. Raises SpecError before anything is loaded.

    In a comparison, assignments change `base` unless they begin with `arms.`, `seeds` or `name`.
    """
    known = shipped()
    path = Path(name_or_path)
    if not path.is_file():
        if path.suffix or name_or_path not in known:
            raise SpecError(
                f"no recipe '{name_or_path}': neither a file nor a shipped recipe; {nearest(name_or_path, known)}"
            )
        path = known[name_or_path]
    raw = read_yaml(path)
    if not isinstance(raw, dict):
        raise SpecError(f"{path}: expected a recipe's keys and values")
    if "arms" not in raw:
        return parse_recipe(override(raw, assignments), str(path))
    comparison_keys = ("arms", "seeds", "name", "jobs")
    moved = [a if a.partition("=")[0].split(".")[0] in comparison_keys else f"base.{a}" for a in assignments]
    spec = ComparisonSpec.parse(override(raw, moved), str(path))
    spec.recipes()
    return spec


def parse_recipe(raw: Mapping[str, Any], source: str = "recipe") -> RecipeSpec:
    """A recipe from plain data, as a file holds it. Raises SpecError."""
    model = raw.get("model")
    if model is None:
        raise SpecError(f"{source}: model: this key is required")
    recipe = RecipeSpec.parse(
        {**raw, "model": resolve_model(model, f"{source}: model").model_dump()}, source, objective_specs()
    )
    for stage in recipe.stages:
        if stage.lora is not None:
            linears(outline(recipe.model), stage)  # wrong targets are refused before anything is read
    return recipe


def _change(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    from sepiola.specs.base import write_yaml

    return override(dict(base), [f"{key}={write_yaml(value)}" for key, value in changes.items()])
