"""The lines of a run's metrics: what was written is read, a cut line is dropped, faults are named."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from torch.utils.tensorboard import SummaryWriter

from sepiola.data import metrics_log
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


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A disk without room for a line and a half more."""

    def writes_a_part(path: Any, mode: str, **keywords: Any) -> Any:
        file = io.open(path, mode, **keywords)  # noqa: SIM115, UP020 (closed by the class)

        class Full:
            def __enter__(self) -> Any:
                return self

            def __exit__(self, *error: object) -> None:
                file.close()

            def truncate(self, size: int) -> None:
                file.truncate(size)

            def write(self, data: bytes) -> None:
                file.write(data[:5])
                raise OSError(28, "No space left on device")

        return Full()

    monkeypatch.setattr(metrics_log, "open", writes_a_part, raising=False)
    return monkeypatch


def test_a_full_disk_ends_nothing_and_lines_wait_for_room(
    tmp_path: Path, full: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    log = MetricsLog(tmp_path, None)
    log.write({"step": 1, "stage": "对齐"})
    log.write({"step": 2})
    assert caplog.text.count("metrics.jsonl: cannot be written (No space left on device)") == 1
    full.undo()
    log.write({"step": 3})
    log.close()
    assert [line["step"] for line in read_metrics(log.path)] == [1, 2, 3]


@pytest.mark.parametrize("call", ["__init__", "add_scalar", "close"])
def test_a_fault_of_tensorboard_ends_nothing(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*arguments: object, **keywords: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(SummaryWriter, call, fail)
    log = MetricsLog(tmp_path, None, tensorboard=True)
    log.write({"step": 1, "loss": 2.0, "seconds": 1.0})
    log.close()
    assert caplog.text.count("TensorBoard ends here") == 1 and "No space left" in caplog.text
    assert read_metrics(log.path) == [{"step": 1, "loss": 2.0, "seconds": 1.0}]


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
