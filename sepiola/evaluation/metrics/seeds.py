"""Figures of several runs of one arm, each with another seed: their mean, and Student's 95% interval over seeds."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from sepiola.evaluation.figures import Figures
from sepiola.evaluation.report.scaling import load_scipy


def interval_over_seeds(values: Sequence[float], single: list[float] | None, most: float) -> list[float] | None:
    """Student's 95% interval over seeds, between 0 and `most`; of one seed alone its interval `single`."""
    if len(values) == 1:
        return single
    student = float(load_scipy().stats.t.ppf(0.975, len(values) - 1))
    mean, reach = statistics.fmean(values), student * statistics.stdev(values) / len(values) ** 0.5
    return [max(0.0, mean - reach), min(most, mean + reach)]


def mean_over_seeds(figures: Sequence[Figures], key: str, most: float) -> Figures:
    """One figure over the seeds: its mean under `key`, its interval, and each seed's own."""
    values = [figure[key] for figure in figures]
    interval = interval_over_seeds(values, figures[0]["interval"], most)
    return {key: statistics.fmean(values), "interval": interval, "seeds": values}


def accuracy_rows(arms: Mapping[str, Sequence[Figures]]) -> list[Figures]:
    """The rows of a comparison: each arm over its seeds, then the first arm's baselines."""
    rows = [_arm(arm, seeds) for arm, seeds in arms.items()]
    first = next(iter(arms.values()))[0]
    for name, figures in first["baselines"].items():
        languages = {k: v["accuracy"] for k, v in figures.get("buckets", {}).get("language", {}).items()}
        row = {"name": name.replace("_", " "), **{k: figures[k] for k in ("accuracy", "interval", "count")}}
        rows.append({**row, "languages": languages})
    return rows


def _arm(arm: str, seeds: Sequence[Figures]) -> Figures:
    """One arm: the mean; Student's interval over seeds, or the questions' own for a single seed."""
    accuracies = [figures["accuracy"] for figures in seeds]
    claims = [figures.get("hallucination", {}).get("rate") for figures in seeds]
    rates = [rate for rate in claims if rate is not None]
    by_language = [figures.get("buckets", {}).get("language", {}) for figures in seeds]
    return {
        "name": arm,
        "accuracy": statistics.fmean(accuracies),
        "interval": interval_over_seeds(accuracies, seeds[0]["interval"], 1.0),
        "count": seeds[0]["count"],
        "unparsed": sum(figures["unparsed"] for figures in seeds),
        "accuracies": accuracies,
        "languages": {k: statistics.fmean(b[k]["accuracy"] for b in by_language) for k in by_language[0]},
        "false_claims": statistics.fmean(rates) if rates else None,
    }
