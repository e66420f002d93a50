"""Training curves from a run's metrics.jsonl: one line of JSON a step with `step`, `stage`, `loss`,
`validation_loss`, `tokens_per_second`; any key may be absent from a line."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from sepiola.evaluation.report.plots import Point, loss_curve
from sepiola.specs.base import Plain


def stage_curves(records: Sequence[Mapping[str, object]]) -> list[Plain]:
    """Per stage, in the order of their first line: `name`, `steps`, `first` and `last` loss, `best`
    validation loss, `speed` (median tokens per second) and `plot` (inline SVG). A figure that no line has is
    None."""
    stages: dict[str, list[Mapping[str, object]]] = {}
    for record in records:
        stages.setdefault(str(record.get("stage") or ""), []).append(record)
    result = []
    for name, lines in stages.items():
        train, validation = _series(lines, "loss"), _series(lines, "validation_loss")
        speeds = [y for _, y in _series(lines, "tokens_per_second")]
        steps = [x for key in ("loss", "validation_loss") for x, _ in _series(lines, key)]
        result.append(
            {
                "name": name,
                "steps": int(max(steps)) if steps else None,
                "first": train[0][1] if train else None,
                "last": train[-1][1] if train else None,
                "best": min((y for _, y in validation), default=None),
                "speed": median(speeds) if speeds else None,
                "plot": loss_curve(name, train, validation),
            }
        )
    return result


def _series(lines: Sequence[Mapping[str, Any]], key: str) -> list[Point]:
    usable = [line for line in lines if _finite(line.get("step")) and _finite(line.get(key))]
    return [(float(line["step"]), float(line[key])) for line in usable]


def _finite(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
