"""Figures of captions whose scenes are known, of the arms of `benchmarks/alignment.py`, and their plot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from sepiola.data.example import Example
from sepiola.evaluation.metrics.captions import cider_d
from sepiola.evaluation.metrics.rationales import words
from sepiola.tidepool import false_claims


def figures_of(
    examples: Sequence[Example], texts: Sequence[str], scores: Sequence[float], lengths: Sequence[int]
) -> dict[str, float]:
    """What captions are like: false claims by the scene, of all claims (%) and a caption; the mean score by the reward
    model; tokens; CIDEr-D, the mean of the two languages.
    """
    about = [example.metadata for example in examples]
    counted = [false_claims(text, a["scene"], a["family"], a["language"]) for text, a in zip(texts, about, strict=True)]
    false, claims = (sum(column) for column in zip(*counted, strict=True))
    cider = []
    for language in sorted({a["language"] for a in about}):
        pairs = [(t, e.target) for t, e in zip(texts, examples, strict=True) if e.metadata["language"] == language]
        cider.append(100 * fmean(cider_d([words(t) for t, _ in pairs], [[words(t)] for _, t in pairs])))
    return {
        "false": round(100 * false / max(claims, 1), 2),
        "gold": round(-false / len(texts), 4),
        "claims": round(claims / len(texts), 3),
        "proxy": round(fmean(scores), 4),
        "tokens": round(fmean(lengths), 2),
        "letters": round(fmean(map(len, texts)), 2),
        "cider": round(fmean(cider), 1),
    }


def summary(before: Mapping[str, Any], runs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Each arm's figures at its end, the mean of its seeds, beside the captioner's."""
    rows = [{"arm": "stage 1", "seeds": 1, **before}]
    for arm in dict.fromkeys(run["arm"] for run in runs):
        ends = [run["curve"][-1] for run in runs if run["arm"] == arm]
        row: dict[str, Any] = {
            key: round(fmean(end[key] for end in ends), 2) for key in ends[0] if key not in ("step", "greedy")
        }
        row["each"] = [end["false"] for end in ends]
        if "greedy" in ends[0]:
            row["greedy"] = {k: round(fmean(end["greedy"][k] for end in ends), 2) for k in ends[0]["greedy"]}
        rows.append({"arm": arm, "seeds": len(ends), **row})
    return rows


def plot(before: Mapping[str, Any], runs: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Gold and proxy over the KL, each arm's seeds thin lines of one colour."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(10, 4.5))
    for number, arm in enumerate(dict.fromkeys(run["arm"] for run in runs)):
        for place, run in enumerate(run for run in runs if run["arm"] == arm):
            points = sorted([{**before, "kl": 0.0}, *run["curve"]], key=lambda point: point.get("step", 0))
            for axis, key in zip(axes, ("gold", "proxy"), strict=True):
                label = arm if place == 0 else None
                axis.plot(
                    [p["kl"] for p in points], [p[key] for p in points], ".-", color=f"C{number}", lw=1, label=label
                )
    axes[0].set(xlabel="KL to stage 1, nats a caption", ylabel="false claims a caption, negated", title="Gold")
    axes[1].set(xlabel="KL to stage 1, nats a caption", ylabel="mean score", title="Proxy: the reward model")
    axes[1].legend()
    figure.tight_layout()
    figure.savefig(path)
