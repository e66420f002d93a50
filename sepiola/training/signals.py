"""Ctrl-C and SIGTERM end a run after the step in progress, so that what is saved is whole. A second Ctrl-C is
at once.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType


class StopSignals:
    """While entered, `received` names the signal that asked to stop. Does nothing outside the main thread."""

    def __init__(self) -> None:
        self.received: str | None = None
        self.status = 0  # of a process that the signal ends: 128 and its number
        self._before: dict[int, Callable[[int, FrameType | None], object] | int | None] = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.status = 128 + number
        self.received = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
