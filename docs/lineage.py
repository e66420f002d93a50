"""Writes the lineage page when the book is built: the family tree, and every preset as a diff of its ancestor."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from sepiola.models.build import parameter_counts, presets, raw_presets

MARK = "<!-- lineage -->"
COLUMN, ROW, WIDTH, HEIGHT = 178, 46, 148, 34


def on_page_markdown(markdown: str, **_: Any) -> str:
    """mkdocs calls this for every page."""
    return markdown.replace(MARK, page()) if MARK in markdown else markdown


def page() -> str:
    """The tree, then one section a model that begins a family or changes more than sizes."""
    order = list(_walk(None, 0))
    return "\n\n".join([_tree(order), *(_section(name) for name, _ in order)])


def _models() -> dict[str, dict[str, Any]]:
    """Presets of language models alone, as their files write them."""
    full = presets()
    return {name: raw for name, raw in raw_presets().items() if full[name].language and not full[name].bridge}


def _ancestor(name: str) -> str | None:
    """The nearest preset above this one that begins something new."""
    parent: str | None = _models()[name].get("like")
    while parent is not None and not _begins(parent):
        parent = _models()[parent].get("like")
    return parent


def _begins(name: str) -> bool:
    """Whether a preset is more than another size of its parent."""
    raw, models = _models()[name], _models()
    if "like" not in raw or raw["like"] not in models:
        return True
    return "family" in raw or bool(set(raw.get("language", {})) - {"width", "layers", "attention", *_SIZES})


_SIZES = ("feed_forward", "head_scale", "embedding_scale", "dropout")


def _walk(parent: str | None, depth: int) -> Iterator[tuple[str, int]]:
    for name in _models():
        if _begins(name) and _ancestor(name) == parent:
            yield name, depth
            yield from _walk(name, depth + 1)


def _sizes(name: str) -> list[str]:
    """The preset and all that differ from it in size alone."""
    return [n for n in _models() if n == name or (not _begins(n) and _ancestor(n) == name)]


def _section(name: str) -> str:
    raw = {key: value for key, value in _models()[name].items() if key not in ("like", "family")}
    parent = _models()[name].get("like")
    title = f"`{name}` is `{parent}` with:" if parent else f"`{name}`:"
    rows = "\n".join(f"| `{size}` | {_million(size)} |" for size in _sizes(name))
    diff = yaml.safe_dump(raw, sort_keys=False, default_flow_style=None, width=100).rstrip()
    return f"## {name}\n\n{title}\n\n```yaml\n{diff}\n```\n\n| preset | parameters |\n| --- | ---: |\n{rows}"


def _million(name: str) -> str:
    count = parameter_counts(presets()[name])["total"]
    return f"{count / 1e9:,.2f}B" if count >= 1e9 else f"{count / 1e6:,.1f}M"


def _tree(order: list[tuple[str, int]]) -> str:
    """An SVG: time runs to the right, a line leads from each model to those that changed it."""
    place = {name: (depth * COLUMN + 4, row * ROW + 6) for row, (name, depth) in enumerate(order)}
    width = max(x for x, _ in place.values()) + WIDTH + 8
    parts = []
    for name, (x, y) in place.items():
        parent = _ancestor(name)
        if parent is not None:
            px, py = place[parent]
            start, bend = px + 18, y + HEIGHT / 2
            path = f"M{start} {py + HEIGHT} V{bend} H{x}"
            parts.append(f'<path d="{path}" fill="none" stroke="currentColor" stroke-opacity=".45"/>')
        box = f'x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="6"'
        parts.append(f'<rect {box} fill="currentColor" fill-opacity=".07" stroke="currentColor" stroke-opacity=".5"/>')
        parts.append(
            f'<a href="#{name.replace(".", "")}"><text x="{x + WIDTH / 2}" y="{y + 22}" text-anchor="middle" '
            f'font-size="14" fill="currentColor">{name}</text></a>'
        )
    height = len(order) * ROW + 8
    title = "<title>Family tree of the presets</title>"
    return f'<svg viewBox="0 0 {width} {height}" style="max-width:{width}px" role="img">{title}{"".join(parts)}</svg>'
