"""How far a model is from another in what it expects of held-out text, as one in few bits is from itself in float32.

The figures are those of llama.cpp's `llama-perplexity --kl-divergence`: the mean Kullback-Leibler divergence of the
next token's distribution, how often the likeliest token is the same, and both perplexities.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch

from sepiola.errors import SpecError
from sepiola.evaluation.figures import Cell, Column, Figures, Line, Table
from sepiola.evaluation.metrics.bootstrap import drawn_counts, percentiles
from sepiola.generation.text_scorer import TextScorer, windows


def divergence(model: TextScorer, base: TextScorer, documents: Sequence[Sequence[int]], seed: int = 0) -> Figures:
    """Of documents' token ids: `kl` in nats a token, the share of places with the same likeliest token (`same_top`),
    `perplexity` and `base_perplexity`, and how much more the first is (`perplexity_change`, a share).

    `kl_interval` and `perplexity_change_interval` are 95% percentile bootstraps over documents. Windows are those of
    bits per byte. Raises SpecError where the two have different tokenizers.
    """
    if model.tokenizer.to_json() != base.tokenizer.to_json():
        raise SpecError("kl-divergence: the two models have different tokenizers; compare a model with itself")
    length = min(model.length, base.length)
    table = np.array([_sums(model, base, ids, length) for ids in documents])
    draws = drawn_counts(len(table), seed) @ table

    def change(sums: np.ndarray) -> np.ndarray:
        return np.exp((sums[..., 1] - sums[..., 2]) / sums[..., 0]) - 1

    tokens, own, other, kl, same = (float(total) for total in table.sum(0))
    return {
        "kl": kl / tokens,
        "kl_interval": percentiles(draws[:, 3] / draws[:, 0]),
        "same_top": same / tokens,
        "perplexity": math.exp(own / tokens),
        "base_perplexity": math.exp(other / tokens),
        "perplexity_change": float(change(table.sum(0))),
        "perplexity_change_interval": percentiles(change(draws)),
    }


@torch.inference_mode()
def _sums(model: TextScorer, base: TextScorer, ids: Sequence[int], length: int) -> tuple[float, ...]:
    """Tokens of a document; its loss by each model, the divergence and the places with the same likeliest token."""
    own, other, kl, same = 0.0, 0.0, 0.0, 0
    for context, continuation in windows(ids, model.engine.tokens.start, length, fresh=max(1, length // 2)):
        pairs = zip(model.predictions(context, continuation), base.predictions(context, continuation), strict=True)
        at = 0
        for ours, theirs in pairs:
            next_tokens = torch.tensor(continuation[at : at + len(ours)])[:, None]
            at += len(ours)
            own -= float(ours.gather(1, next_tokens).sum())
            other -= float(theirs.gather(1, next_tokens).sum())
            kl += float((theirs.exp() * (theirs - ours)).sum())
            same += int((ours.argmax(-1) == theirs.argmax(-1)).sum())
    return float(len(ids)), own, other, kl, float(same)


def divergence_tables(languages: Figures) -> list[Table]:
    """Figures of `divergence` by language: figures in lines, languages in columns."""

    def cells(lines: Iterator[str]) -> list[Cell | None]:
        return [{"value": value, "note": ""} for value in lines]

    found = [languages[language] for language in languages]
    lines: list[Line] = [
        {"name": name, "own": own, "published": False, "cells": cells(show(figures) for figures in found)}
        for name, own, show in (
            ("Perplexity", True, lambda f: f"{f['perplexity']:.3f}"),
            ("Perplexity of the other", False, lambda f: f"{f['base_perplexity']:.3f}"),
            ("Change, %", True, lambda f: f"{100 * f['perplexity_change']:+.2f}"),
            ("Mean KL divergence", True, lambda f: f"{f['kl']:.5f}"),
            ("Same likeliest token, %", True, lambda f: f"{100 * f['same_top']:.1f}"),
        )
    ]
    columns: list[Column] = [{"name": language, "notes": []} for language in languages]
    note = "Of held-out text, in nats a token, against the distributions of the model that --kl-divergence names."
    return [{"title": "Distance from another model", "columns": columns, "lines": lines, "note": note}]
