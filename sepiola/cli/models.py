"""`sepiola models`: the presets with their parameter counts, or one in full."""

from __future__ import annotations

from typing import Annotated, TypedDict

import typer

from sepiola.cli.options import AsJson, console_of, print_json


class Row(TypedDict):
    """A preset: `parameters` is the number that its paper counts, `total` all of them."""

    name: str
    family: str
    parameters: int
    parts: dict[str, int]
    total: int


def models(
    name: Annotated[str | None, typer.Argument(help="Show one preset in full.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the presets with their parameter counts, or show one."""
    from rich.table import Table

    from sepiola.evaluation.report.tables import whole
    from sepiola.models.build import parameter_counts, preset, presets
    from sepiola.specs.base import write_yaml

    chosen = {name: preset(name)} if name else presets()
    rows: list[Row] = []
    for key, spec in chosen.items():
        counts = parameter_counts(spec)
        total = counts.pop("total")
        published = sum(counts[part] for part in counts if part in spec.counted)
        rows.append({"name": key, "parameters": published, "family": spec.family, "parts": counts, "total": total})
    if as_json:
        print_json({**rows[0], "spec": chosen[name].to_dict()} if name else rows)
        return
    console = console_of(False)
    table = Table("name", "family", "parameters", "parts")
    table.columns[0].no_wrap = True  # to be copied
    for row in rows:
        parts = ", ".join(f"{part} {_millions(n)}" for part, n in row["parts"].items())
        table.add_row(row["name"], row["family"], _millions(row["parameters"]), parts)
    console.print(whole(table))
    if name:
        console.print(write_yaml(chosen[name].to_dict()), highlight=False)


def _millions(count: int) -> str:
    return f"{count / 1e9:.2f}B" if count >= 1e9 else f"{count / 1e6:.1f}M"
