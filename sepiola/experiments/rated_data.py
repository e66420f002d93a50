"""A model's own ratings clean its training data (LaMDA, arXiv 2201.08239, section 5): every turn of a dataset is rated,
those below a threshold are dropped, and of the others the best are kept.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.progress import track

from sepiola.api import Model
from sepiola.data.files import make_folder, write_text
from sepiola.datasets import read_spec
from sepiola.datasets.turns import written
from sepiola.errors import DataError, SpecError
from sepiola.reasoning.rating import Candidate
from sepiola.reasoning.sample_and_rank import rater_of
from sepiola.specs.base import Plain
from sepiola.specs.data import DataSpec

FILE = "turns.jsonl"


def rate_data(model: Model, data: DataSpec, out: Path, *, keep: float = 1.0, console: Console) -> Plain:
    """Rates the turn of every example, and writes what is kept to `out/turns.jsonl`, which the reader `turns` reads.

    Dropped is what the model's thresholds drop; of the rest the best share `keep` stays, in the data's order. Raises
    SpecError for a share that is none, and DataError where nothing is kept or the file is there already.
    """
    if not 0 < keep <= 1:
        raise SpecError(f"keep: got {keep:g}, expected a share above 0 and at most 1")
    path = out / FILE
    if path.exists():
        raise DataError(f"{path} is there already: remove it, or name another folder")
    rater, examples = rater_of(model), read_spec(data)
    rows = track(examples, "rating turns", console=console, disable=not console.is_terminal, transient=True)
    judged = [rater.judge(example.messages, example.target) for example in rows]
    dropped = Counter(name for candidate in judged for name in candidate.below)
    left = [place for place, candidate in enumerate(judged) if candidate.dropped is None]
    best = sorted(left, key=lambda place: -judged[place].score)[: round(keep * len(left))]
    if not best:
        raise DataError(f"of {len(examples)} turns none is kept: {dict(dropped)} are below the model's thresholds")
    make_folder(out)
    lines = [written(examples[place]) | {"rated": _rated(judged[place])} for place in sorted(best)]
    write_text(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    others = [judged[place].score for place in left if place not in {*best}]
    return {
        "turns": len(examples),
        "dropped": dict(sorted(dropped.items())),
        "left_out": len(others),
        "kept": len(best),
        "mean_score": {"kept": _mean([judged[place].score for place in best]), "left_out": _mean(others)},
        "file": str(path),
    }


def _rated(candidate: Candidate) -> Plain:
    return {name: round(rating, 4) for name, rating in candidate.ratings.items()} | {"score": round(candidate.score, 4)}


def _mean(scores: list[float]) -> float | None:
    return sum(scores) / len(scores) if scores else None
