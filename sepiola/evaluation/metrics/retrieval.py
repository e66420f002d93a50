"""Retrieval: of all texts, is a picture's own among the first k (R@k), and of all pictures a text's own?

As CLIP's and its forerunners' papers count (Karpathy and Fei-Fei, arXiv 1412.2306): a picture with several captions is
found by any of them. Pictures are the same where their bytes are, texts where their letters are. Equal scores are
ranked against the model.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sepiola.data.example import Example
from sepiola.errors import DataError
from sepiola.evaluation.figures import Cell, Column, Figures, Line, Table
from sepiola.evaluation.metrics.accuracy import wilson_interval
from sepiola.generation.matcher import Compares

CUTS = (1, 5, 10)
DIRECTIONS = ("image_to_text", "text_to_image")


def retrieval(matcher: Compares, examples: Sequence[Example]) -> Figures:
    """R@1, 5 and 10 in both directions over the examples' pictures and captions, as `recalls` gives them.

    Examples without exactly one image, or without a caption, are left out. Raises DataError when none is left.
    """
    pairs = [(example.images[0], example.target) for example in examples if example.target and len(example.images) == 1]
    if not pairs:
        raise DataError("retrieval needs examples with one image and a caption each; there is none")
    digests = [image.digest for image, _ in pairs]
    images = {digest: image for digest, (image, _) in zip(digests, pairs, strict=True)}
    texts = list(dict.fromkeys(text for _, text in pairs))
    rows = {digest: row for row, digest in enumerate(images)}
    columns = {text: column for column, text in enumerate(texts)}
    right = torch.zeros(len(rows), len(columns), dtype=torch.bool)
    for digest, (_, text) in zip(digests, pairs, strict=True):
        right[rows[digest], columns[text]] = True
    scores = matcher.scores(list(images.values()), texts).cpu()
    found = (recalls(scores, right), recalls(scores.t(), right.t()))
    return {"images": len(images), "texts": len(texts), **dict(zip(DIRECTIONS, found, strict=True))}


def recalls(scores: Tensor, right: Tensor) -> dict[str, Figures]:
    """R@k of queries: `scores` `(queries, candidates)`, and which are `right`, at least one for each query.

    Each of `R@1`, `R@5` and `R@10` has `recall`, its Wilson 95% `interval`, the queries' `count`, and `chance`, what a
    random order of the candidates would find. Shares are 0 to 1. Raises DataError for scores that are not finite.
    """
    if not bool(scores.isfinite().all()):
        raise DataError("retrieval: some scores are not finite; the model's weights are damaged or diverged")
    best = scores.masked_fill(~right, -torch.inf).amax(dim=1, keepdim=True)
    before = ((scores >= best) & ~right).sum(dim=1)
    figures = {}
    for cut in CUTS:
        hits = int((before < cut).sum())
        figures[f"R@{cut}"] = {
            "recall": hits / len(scores),
            "interval": list(wilson_interval(hits, len(scores))),
            "count": len(scores),
            "chance": _chance(right, cut),
        }
    return figures


def _chance(right: Tensor, cut: int) -> float:
    """The mean probability that a random order has a right candidate among the first `cut`."""
    candidates, wrong = right.shape[1], (~right).sum(dim=1).double()
    missed = torch.ones(len(right), dtype=torch.float64)
    for drawn in range(min(cut, candidates)):
        missed *= (wrong - drawn).clamp(min=0) / (candidates - drawn)
    return float((1 - missed).mean())


def retrieval_tables(figures: Figures | None) -> list[Table]:
    """The figures as the report's table: this model (or a comparison's `arms`) and chance in lines, R@k of both
    directions in columns.
    """
    if not figures:
        return []

    def line(name: str, found: Figures, key: str, *, own: bool = False) -> Line:
        cells: list[Cell | None] = []
        for one in (found[direction][f"R@{cut}"] for direction in DIRECTIONS for cut in CUTS):
            note = " to ".join(f"{100 * end:.1f}" for end in one["interval"]) if key == "recall" else ""
            cells.append({"value": f"{100 * one[key]:.1f}", "note": note})
        return {"name": name, "own": own, "published": False, "cells": cells}

    arms = figures.get("arms") or {"This model": figures}
    first = next(iter(arms))
    lines = [line(name, found, "recall", own=name == first) for name, found in arms.items()]
    lines.append(line("chance", figures, "chance"))
    columns: list[Column] = [
        {"name": f"{name.replace('_', ' ')} {cut}", "notes": [f"n = {one['count']:,}"]}
        for name in DIRECTIONS
        for cut, one in figures[name].items()
    ]
    note = f"Percent among {figures['images']:,} pictures and {figures['texts']:,} texts; below each its 95% interval."
    return [{"title": "Retrieval", "columns": columns, "lines": lines, "note": note}]
