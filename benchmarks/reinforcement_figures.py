"""What `benchmarks/reinforcement.py` writes: a summary over seeds, and a plot over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from sepiola.evaluation.metrics.accuracy import wilson_interval


def summary(count: int, runs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Each arm's figures over its seeds: right replies, their 95% interval, and what was gained."""
    rows = []
    for arm in dict.fromkeys(run["arm"] for run in runs):
        some = [run for run in runs if run["arm"] == arm]
        own, before = [run["curve"][-1]["exact"] for run in some], some[0]["curve"][0]["exact"]
        low, high = wilson_interval(round(sum(own) / 100 * count), count * len(own))
        row = {"arm": arm, "seeds": len(own), "before": before, "exact": round(fmean(own), 2), "each": own}
        row |= {"low": round(100 * low, 2), "high": round(100 * high, 2), "gain": round(fmean(own) - before, 2)}
        agents = [run["as agent"] for run in some if "as agent" in run]
        row |= {"as agent": round(fmean(agents), 2), "as agent, each": agents} if agents else {}
        rows.append({**row, "deviation": round(stdev(own), 2) if len(own) > 1 else None})
    return rows


def plot(runs: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Rewards of training (thin) and held-out exact replies (thick) over time, the means of an arm's seeds."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 5))
    for number, arm in enumerate(dict.fromkeys(run["arm"] for run in runs)):
        own, colour = [run for run in runs if run["arm"] == arm], f"C{number}"
        points = list(zip(*(run["curve"] for run in own), strict=False))
        times = [fmean(point["seconds"] for point in some) / 60 for some in points]
        axes.plot(times, [fmean(p["exact"] for p in some) for some in points], "o-", color=colour, lw=2.5, label=arm)
        for run in own:
            rewards = run["rewards"]
            axes.plot(
                [r["seconds"] / 60 for r in rewards], [r["reward"] for r in rewards], color=colour, lw=0.6, alpha=0.6
            )
    axes.axhline(runs[0]["curve"][0]["exact"], color="grey", ls=":")
    axes.set(
        xlabel="minutes of one processor", ylabel="percent", title="Held-out exact (thick), reward of rollouts (thin)"
    )
    axes.legend()
    figure.tight_layout()
    figure.savefig(path)
