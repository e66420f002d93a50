"""What a person sees of a run: lines in a file, at the end at least; a bar on a terminal."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from sepiola.training import progress
from sepiola.training.progress import Display, say


def test_a_file_gets_a_line_every_so_often_and_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock is the test's: two seconds a step."""
    now = iter(range(0, 1000, 2))
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(now)))
    out = io.StringIO()
    with Display("answer", 9, console=Console(file=out), every=6.0) as display:
        for step in range(1, 10):
            display.update(step, 1 / step, 1234.5)
    lines = out.getvalue().splitlines()
    assert [line.split("  ")[0] for line in lines] == [f"answer: step {step}/9" for step in (3, 6, 9)]
    assert lines[0] == "answer: step 3/9  loss 0.333  1234 tokens/s  0:12 left"
    assert lines[-1].endswith("0:00 left")


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0:00"), (65, "1:05"), (3600 + 125, "1:02:05")])
def test_clock(seconds: float, text: str) -> None:
    assert progress._clock(seconds) == text


def test_a_terminal_gets_a_bar() -> None:
    out = io.StringIO()
    with Display("回答", 3, console=Console(file=out, force_terminal=True, width=100)) as display:
        for step in range(1, 4):
            display.update(step, 0.25, 10.0)
        display.say("saved [here]")
    assert "3/3" in out.getvalue() and "loss 0.250" in out.getvalue() and "回答" in out.getvalue()
    assert "saved [here]" in out.getvalue()


def test_a_line_is_said_as_it_is() -> None:
    file = io.StringIO()
    path = "/data/[2024] photos[/b]/" + 12 * "a long name of a folder/"
    say(Console(file=file, width=40), f"report: {path}")
    assert file.getvalue() == f"report: {path}\n"
