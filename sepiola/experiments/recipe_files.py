"""Recipes: found by name or path, changed by `--set`, checked, and written out in full.

A recipe's `model` is a preset's name, or a preset with changes (`like: t5-small`, …), or a whole spec. A comparison
is a recipe with `arms`: the same recipe several times, each with some keys changed, over some seeds.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from sepiola.datasets import DATASETS, check_options
from sepiola.errors import SepiolaError, SpecError, brief
from sepiola.evaluation.benchmarks import BENCHMARKS
from sepiola.models.build import outline, resolve_model
from sepiola.specs.base import Spec, assign, nearest, override, read_assignment, read_yaml
from sepiola.specs.recipe import RecipeSpec
from sepiola.specs.values import Name, Seed, folded
from sepiola.training.lora import linears
from sepiola.training.objectives import objective_specs

TAKEN = ("checkpoint", "features", "stages")
FILES = (".html", ".json", ".jsonl", ".png", ".svg", ".yaml")
"""What a comparison's folder holds beside its arms: these folders, and files that end so."""


class ComparisonSpec(Spec):
    """`base` (a whole recipe as plain data) under each arm's changes (`key.path: value`), for each seed.

    The first arm is the main one: its checkpoint is the comparison's. `jobs` runs go on at a time, each with its
    share of the threads: small models use two cores better so.
    """

    name: Name
    description: str = ""
    base: dict[str, object]
    arms: dict[Name, dict[str, object]] = Field(min_length=1)
    seeds: tuple[Seed, ...] = Field(default=(0,), min_length=1)
    jobs: int = Field(default=1, ge=1, le=256)

    @model_validator(mode="after")
    def _places(self) -> ComparisonSpec:
        if "seed" in self.base:
            raise ValueError("base.seed: a comparison runs every seed of 'seeds'; set that")
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"seeds: expected each once, got {list(self.seeds)}")
        for arm in self.arms:
            if arm.casefold() in TAKEN or arm.casefold().endswith(FILES):
                raise ValueError(
                    f"arms: '{arm}' may be what the comparison's own folder holds; give the arm another name"
                )
        if len({folded(arm) for arm in self.arms}) != len(self.arms):
            raise ValueError(
                "arms: two names differ in case or in composed letters alone, which some file systems do not tell apart"
            )
        return self

    def recipes(self) -> dict[tuple[str, int], RecipeSpec]:
        """The recipe of each arm and seed. Raises SpecError that names the arm."""
        return {
            (arm, seed): parse_recipe(
                _change(self.base, {**changes, "seed": seed, "name": arm}, f"{self.name}, arm '{arm}'"),
                f"{self.name}, arm '{arm}'",
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
    if not _is_file(path):
        if path.suffix or name_or_path not in known:
            raise SpecError(
                f"no recipe '{brief(name_or_path)}': neither a file nor a shipped recipe; "
                f"{nearest(name_or_path, known)}"
            )
        path = known[name_or_path]
    raw = read_yaml(path)
    if not isinstance(raw, dict):
        raise SpecError(f"{path}: expected a recipe's keys and values")
    if "arms" not in raw:
        return parse_recipe(override(raw, assignments), str(path))
    comparison_keys = ("arms", "seeds", "name", "jobs")
    raw = copy.deepcopy(raw)
    for key, value, source in map(read_assignment, assignments):
        assign(raw, key if key.split(".")[0] in comparison_keys else f"base.{key}", value, source)
    spec = ComparisonSpec.parse(raw, str(path))
    spec.recipes()
    return spec


def _is_file(path: Path) -> bool:
    """Whether a file lies there; not where the name is too long, or no name at all."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def parse_recipe(raw: Mapping[str, Any], source: str = "recipe") -> RecipeSpec:
    """A recipe from plain data, as a file holds it. Raises SpecError."""
    model = raw.get("model")
    if model is None:
        raise SpecError(f"{source}: model: this key is required")
    recipe = RecipeSpec.parse(
        {**raw, "model": resolve_model(model, f"{source}: model").model_dump()}, source, objective_specs()
    )
    _check_data(recipe, source)
    member_recipes(recipe, source)
    if recipe.ensemble is not None and recipe.ensemble.distilled is not None:
        student_recipe(recipe, "teacher", source)
    for stage in recipe.stages:
        if stage.lora is not None:
            linears(outline(recipe.model), stage)  # wrong targets are refused before anything is read
    return recipe


def member_recipes(recipe: RecipeSpec, source: str = "recipe") -> list[RecipeSpec]:
    """The recipe of each member of the recipe's ensemble; none without one. Raises SpecError that names the member."""
    ensemble = recipe.ensemble
    if ensemble is None:
        return []
    alone = recipe.model_copy(update={"ensemble": None})
    if not isinstance(ensemble.members, tuple):
        return [alone] * ensemble.members
    places = [f"{source}: ensemble.members[{number}]" for number in range(len(ensemble.members))]
    return [
        parse_recipe(_change(alone.to_dict(), changes, place), place) if changes else alone
        for changes, place in zip(ensemble.members, places, strict=True)
    ]


def student_recipe(recipe: RecipeSpec, teacher: str, source: str = "recipe") -> RecipeSpec:
    """The recipe of the one model that its ensemble, saved as `teacher`, is distilled into. Raises SpecError."""
    ensemble, strategy = recipe.ensemble, recipe.strategy
    assert ensemble is not None and ensemble.distilled is not None and strategy is not None
    number = [stage.name for stage in recipe.stages].index(str(strategy.answer))
    taught, stage, place = ensemble.distilled, f"stages.{number}", f"{source}: ensemble.distilled"
    learned = {**taught.to_dict(), "kind": "distillation", "teacher": teacher}
    learned.pop("steps", None)
    changes: dict[str, object] = {f"{stage}.objective": {**recipe.stages[number].objective.to_dict(), **learned}}
    if taught.steps is not None:
        changes |= {f"{stage}.steps": taught.steps, f"{stage}.epochs": None}
    return parse_recipe(_change(recipe.model_copy(update={"ensemble": None}).to_dict(), changes, place), place)


def _check_data(recipe: RecipeSpec, source: str) -> None:
    """Raises SpecError for a dataset that is not known, and for an option that its reader does not take."""
    sets = [(f"stages[{n}].data", stage.data) for n, stage in enumerate(recipe.stages)]
    sets += [(f"stages[{n}].validation", stage.validation) for n, stage in enumerate(recipe.stages) if stage.validation]
    sets += [
        (f"stages[{n}].objective.{name}", data)
        for n, stage in enumerate(recipe.stages)
        for name, data in stage.objective.reads_beside.items()
    ]
    sets += [(f"evaluation[{n}]", data) for n, data in enumerate(recipe.evaluation)]
    sets += [("few_shot.data", recipe.few_shot.data)] if recipe.few_shot and recipe.few_shot.data else []
    for place, data in sets:
        known = [*DATASETS, *(BENCHMARKS if place.startswith("evaluation") else ())]
        if data.reader not in known:
            raise SpecError(
                f"{source}: {place}.reader: no dataset is named '{data.reader}'; {nearest(data.reader, known)}"
            )
        try:
            check_options(data)
        except SepiolaError as error:
            raise SpecError(f"{source}: {place}.options: {error}") from None


def _change(base: Mapping[str, Any], changes: Mapping[str, Any], source: str) -> dict[str, object]:
    """`base` with an arm's changes laid over it."""
    changed = copy.deepcopy(dict(base))
    for key, value in changes.items():
        assign(changed, key, copy.deepcopy(value), f"{source}: {brief(key)}")
    return changed
