"""Some damaged inputs of every kind, and the watch that is kept over them."""

from __future__ import annotations

import datetime
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sepiola.acting.agent import Agent
from sepiola.calling.functions import Call
from sepiola.calling.policy import Result, Runner, execute
from sepiola.errors import DataError
from tests.fuzz import watch
from tests.fuzz.__main__ import commands, fuzz, lines
from tests.fuzz.kinds import KINDS
from tests.fuzz.watch import only_reading, tried


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_input_is_one_message_or_right(kind: str, tmp_path: Path) -> None:
    assert fuzz(30, 0, [kind], tmp_path) == []


def test_a_wrong_value_on_the_command_line_is_one_message() -> None:
    assert commands(2, 0) == []


def test_a_command_line_of_anything_is_one_message_or_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert lines(20, 0, tmp_path) == []


def _fails() -> None:
    raise ValueError("foreign")


def _hangs() -> None:
    while True:
        pass


def _writes() -> None:
    Path("/tmp/sepiola-fuzz-outside").write_text("x")


_CODE = compile("1", "nowhere", "exec")


def _long() -> None:
    raise DataError("x" * 100_000)


@pytest.mark.parametrize(
    ("deed", "fault"),
    [
        (_fails, "ValueError: 'foreign'"),
        (_hangs, "more than 1 s"),
        (_writes, "writes '/tmp/sepiola-fuzz-outside'"),
        (_long, "a message of 100,000 characters"),
        (lambda: subprocess.run([sys.executable, "-c", ""], check=False), "subprocess.Popen"),
        (lambda: bytearray(1 << 40), "MemoryError"),
    ],
)
def test_what_no_input_may_do_is_seen(
    deed: Callable[[], object], fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "SECONDS", 1)
    found = tried(deed, tmp_path)
    Path("/tmp/sepiola-fuzz-outside").unlink(missing_ok=True)
    assert found is not None and fault in found


@pytest.mark.parametrize(
    ("deed", "fault"),
    [
        (lambda: eval("1"), "compile"),
        (lambda: exec(_CODE), "exec"),
        (lambda: Path("/etc/hostname").read_bytes(), "open ('/etc/hostname'"),
        (lambda: Path("/tmp").iterdir().__next__(), "os.listdir"),
        (lambda: Path("/tmp/sepiola-fuzz-none").unlink(missing_ok=True), "os.remove"),
    ],
)
def test_what_only_reads_does_nothing_else(deed: Callable[[], object], fault: str, tmp_path: Path) -> None:
    def read() -> None:
        with only_reading():
            deed()

    found = tried(read, tmp_path)
    assert found is not None and found.startswith(fault)
    assert tried(deed, tmp_path) is None


def test_an_agent_that_does_what_it_may_not_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(agent: Agent, written: str, today: datetime.date) -> list[Call]:
        return agent.mode.read(written, agent.functions, None, today)

    def run(runner: Runner, call: Call, before: int, seconds: float) -> Result:
        return execute(call, runner.functions[call.name], runner.state)

    for owner, name, method in ((Agent, "read", read), (Runner, "_result", run)):
        with monkeypatch.context() as patched:
            patched.setattr(owner, name, method)
            faults = {fault for _, _, fault in fuzz(150, 0, ["reply"], tmp_path / name)}
        assert any("what the policy forbids" in fault or "dry run" in fault for fault in faults)


def test_what_is_right_or_says_why_not_is_no_fault(tmp_path: Path) -> None:
    def refuses() -> None:
        raise DataError("the file is damaged")

    assert tried(lambda: (tmp_path / "inside").write_text("x"), tmp_path) is None
    assert tried(refuses, tmp_path) is None
