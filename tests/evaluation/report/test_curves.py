"""Training curves of a metrics file: what is kept of each stage."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sepiola.evaluation.report.curves import stage_curves
from sepiola.evaluation.report.page import write_report


def test_stages_keep_their_order_and_figures(tmp_path: Path) -> None:
    records: list[dict[str, Any]] = [
        {"step": i, "stage": "align", "loss": 10 - i, "tokens_per_second": 100 * i} for i in range(1, 6)
    ]
    records += [
        {"step": 5, "stage": "align", "validation_loss": 3.5},
        {"step": 3, "stage": "align", "validation_loss": 2.5},
    ]
    records += [{"step": 9, "stage": "answer", "loss": float("nan")}, {"stage": "answer", "loss": 1.0}]
    align, answer = stage_curves(records)
    assert {k: v for k, v in align.items() if k != "plot"} == {
        "name": "align",
        "steps": 5,
        "first": 9,
        "last": 5,
        "best": 2.5,
        "speed": 300,
    }
    assert (answer["steps"], answer["last"], answer["plot"]) == (None, None, "")
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in records), encoding="utf-8")
    page = write_report(tmp_path, {"title": "t"}, curves=path).read_text(encoding="utf-8")
    assert page.count("<svg") == 1 and "validation loss" in page
