"""Ctrl-C and SIGTERM end a run after the step in progress, so that what is saved is whole. A second Ctrl-C is
at once.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType

from sepiola.errors import TrainingError


class InterruptedTrainingError(TrainingError):
    """The run was asked to stop; its state is saved. `status` is that of a process which the signal has ended."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class StopSignals:
    """While entered, `received` names the signal that asked to stop. Does nothing outside the main thread.

    A process that is not `alone` gets each Ctrl-C twice, from the terminal and from what started it (torchrun, which
    ends it when it takes too long).
    """

    def __init__(self, *, alone: bool = True) -> None:
        self.alone = alone
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

    def agreed(self, gather: Callable[[tuple[str | None, int]], list[tuple[str | None, int]]]) -> bool:
        """Whether any of the processes whose words `gather` gives was asked to stop; then all of them were."""
        asked = [each for each in gather((self.received, self.status)) if each[0] is not None]
        if asked:
            self.received, self.status = asked[0]
        return bool(asked)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None and number == signal.SIGINT and self.alone:
            raise KeyboardInterrupt
        self.status = 128 + number
        self.received = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
