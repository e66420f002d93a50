"""How well scores agree with what is preferred: the share of pairs in the right order, and Kendall's tau.

Of a prompt's completions every pair counts of which one is better. Tau-b (Kendall, 1945) is each prompt's, averaged
over prompts; scores that tie cost it. Intervals are over prompts, whose pairs are not independent. Of the half of all
pairs whose lengths differ least, length says little: a model that has learned length alone falls there.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import numpy.typing as npt

from sepiola.data.example import Example
from sepiola.data.preferences import Completion, completions_of
from sepiola.errors import DataError
from sepiola.evaluation.figures import Cell, Figures, Line, Table
from sepiola.evaluation.metrics.accuracy import wilson_interval
from sepiola.evaluation.metrics.bootstrap import mean_interval, ratio_interval

BASELINES = {"longer": "the longer one", "shorter": "the shorter one", "linear": "TF-IDF, linear"}
Numbers = npt.NDArray[np.float64]


def preference_figures(examples: Sequence[Example], scores: Sequence[Sequence[float]], seed: int = 0) -> Figures:
    """The figures of scores, a row an example. Raises DataError where no completion is better than another."""
    rows = [completions_of(example) for example in examples]
    pairs = [_pairs(row) for row in rows]
    if not any(pairs):
        raise DataError(f"preferences: no completion of {len(examples)} prompts is better than another")
    prompts = np.array([prompt for prompt, some in enumerate(pairs) for _ in some])
    leads = np.array([scores[p][better] - scores[p][worse] for p, some in enumerate(pairs) for better, worse in some])
    both = [(rows[p][better].text, rows[p][worse].text) for p, some in enumerate(pairs) for better, worse in some]
    lengths = np.array([[len(text) for text in texts] for texts in both], dtype=np.float64)
    apart = np.abs(lengths[:, 0] - lengths[:, 1]) / np.maximum(lengths.max(1), 1)
    alike = np.argsort(apart, kind="stable")[: (len(apart) + 1) // 2]
    right = _right(leads)
    taus = np.array([tau(scores[p], [one.score for one in rows[p]]) for p, some in enumerate(pairs) if some])
    return {
        "prompts": len(taus),
        **_share(right, prompts, seed),
        "kendall_tau": {"value": float(taus.mean()), "interval": mean_interval(taus, seed)},
        "alike_in_length": _share(right[alike], prompts[alike], seed),
    }


def tau(scores: Sequence[float], truth: Sequence[float]) -> float:
    """Kendall's tau-b of two rankings; 0 where either of them is one tie."""
    signs = [
        (np.sign(scores[i] - scores[j]), np.sign(truth[i] - truth[j])) for i, j in combinations(range(len(truth)), 2)
    ]
    agree = sum(one * other for one, other in signs)
    parted = [sum(abs(pair[at]) for pair in signs) for at in (0, 1)]
    return float(agree / (parted[0] * parted[1]) ** 0.5) if all(parted) else 0.0


def preference_tables(figures: Figures) -> list[Table]:
    """The model (or a comparison's `arms`) and the baselines in lines."""
    arms = figures.get("arms") or {"This model": figures}
    first = next(iter(arms))
    lines = [_line(name, found, own=name == first) for name, found in arms.items()]
    lines += [_line(BASELINES[name], found) for name, found in figures.get("baselines", {}).items()]
    return [
        {
            "title": "Preferences",
            "columns": [{"name": name, "notes": []} for name in ("pairs, %", "Kendall's tau", "alike in length, %")],
            "lines": lines,
            "note": f"{figures['count']:,} pairs of {figures['prompts']:,} prompts; half of them are alike in length. "
            "Below each figure its 95% interval, over prompts.",
        }
    ]


def _line(name: str, found: Figures, *, own: bool = False) -> Line:
    wholes = (found, None, found.get("alike_in_length"))
    cells = [None if one is None else _cell(100 * one["accuracy"], one["interval"], 100.0, 1) for one in wholes]
    if "kendall_tau" in found:
        cells[1] = _cell(found["kendall_tau"]["value"], found["kendall_tau"]["interval"], 1.0, 3)
    return {"name": name, "own": own, "published": False, "cells": cells}


def _cell(value: float, interval: Sequence[float] | None, scale: float, digits: int) -> Cell:
    note = "" if interval is None else "–".join(f"{scale * bound:.{digits}f}" for bound in interval)
    return {"value": f"{value:.{digits}f}", "note": note}


def _pairs(row: Sequence[Completion]) -> list[tuple[int, int]]:
    places = range(len(row))
    return [(i, j) for i in places for j in places if row[i].score > row[j].score]


def _right(leads: Numbers) -> Numbers:
    """1 for pairs in the right order, and a half for ties."""
    return (leads > 0) + (leads == 0) / 2


def _share(right: Numbers, prompts: npt.NDArray[np.int_], seed: int) -> Figures:
    """The mean over pairs, with Wilson's interval where each prompt has one, and a bootstrap's over prompts else."""
    every = np.bincount(prompts)
    there = every > 0
    totals = np.bincount(prompts, right)[there].astype(np.float64)
    counts = every[there].astype(np.float64)
    alone = bool((counts == 1).all())
    interval = [*wilson_interval(float(right.sum()), len(right))] if alone else ratio_interval(totals, counts, seed)
    return {"accuracy": float(right.mean()), "interval": interval, "count": len(right)}
