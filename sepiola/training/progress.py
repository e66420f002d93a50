"""What a person sees of a run: a bar with loss, speed and time left; in a log file, a line every ten
seconds.
"""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


def say(console: Console, text: str) -> None:
    """A line as it is: brackets in a path are no markup, and a narrow terminal puts no line ends into it."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


class Display:
    """A bar on a terminal, lines elsewhere. Use as a context manager."""

    def __init__(self, name: str, steps: int, *, console: Console | None = None, every: float = 10.0) -> None:
        self.name = name
        self.steps = steps
        self.every = every
        self.console = console or Console(stderr=True)
        self._first: tuple[float, int] | None = None
        self._last = time.monotonic()
        self._bar = (
            Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[text]}"),
                TimeRemainingColumn(),
                console=self.console,
            )
            if self.console.is_terminal
            else None
        )

    def __enter__(self) -> Display:
        if self._bar is not None:
            self._bar.start()
            self._task = self._bar.add_task(self.name, total=self.steps, text="")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, step: int, loss: float, tokens_per_second: float) -> None:
        """Shows a finished step."""
        text = f"loss {loss:.3f}  {tokens_per_second:.0f} tokens/s"
        if self._bar is not None:
            self._bar.update(self._task, completed=step, text=text)
            return
        now = time.monotonic()
        if self._first is None:
            self._first = (now, step)
        if now - self._last >= self.every or step == self.steps:
            self._last = now
            done = step - self._first[1]
            left = f"  {_clock((now - self._first[0]) / done * (self.steps - step))} left" if done else ""
            self.say(f"{self.name}: step {step}/{self.steps}  {text}{left}")

    def say(self, text: str) -> None:
        """A line of its own."""
        say(self.console, text)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
