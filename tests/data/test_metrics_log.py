"""The lines of a run's metrics: what was written is read, a cut line is dropped, faults are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from sepiola.data.metrics_log import MetricsLog, read_metrics
from sepiola.errors import DataError


def test_a_resumed_log_drops_the_lines_after_its_step(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path, None)
    for step in (1, 2, 3):
        log.write({"step": step, "stage": "对齐"})
    log.close()
    again = MetricsLog(tmp_path, 2)
    again.write({"step": 3, "stage": "again"})
    again.close()
    assert again.resumed and [line["stage"] for line in read_metrics(again.path)] == ["对齐", "对齐", "again"]
    anew = MetricsLog(tmp_path, None)
    anew.close()
    assert not anew.resumed and read_metrics(anew.path) == []


def test_metrics_are_read_and_faults_are_named(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "loss": 2.5}\n\n{"step": 2, "lo', encoding="utf-8")
    assert read_metrics(path) == [{"step": 1, "loss": 2.5}], "a last line cut by a stop is dropped"
    path.write_text('{"step": 1}\nnot json\n{"step": 2}\n', encoding="utf-8")
    with pytest.raises(DataError, match="line 2: not JSON"):
        read_metrics(path)
    path.write_text("[1, 2]\n", encoding="utf-8")
    with pytest.raises(DataError, match="line 1: expected an object"):
        read_metrics(path)
    with pytest.raises(DataError, match="cannot read the metrics"):
        read_metrics(tmp_path / "none.jsonl")
