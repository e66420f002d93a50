"""A signal asks to stop and is remembered; a second Ctrl-C is at once; afterwards all is as before."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from sepiola.training.signals import StopSignals


@pytest.mark.parametrize(("number", "name"), [(signal.SIGINT, "Ctrl-C"), (signal.SIGTERM, "SIGTERM")])
def test_a_signal_is_remembered_and_the_handlers_come_back(number: signal.Signals, name: str) -> None:
    before = signal.getsignal(number)
    with StopSignals() as stop:
        assert stop.received is None
        os.kill(os.getpid(), number)
        assert stop.received == name
    assert signal.getsignal(number) is before


def test_a_second_interrupt_is_at_once_and_a_second_sigterm_is_not() -> None:
    with StopSignals() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.received == "SIGTERM"
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_another_thread_leaves_the_handlers_alone() -> None:
    before, inside = signal.getsignal(signal.SIGINT), []

    def enter() -> None:
        with StopSignals():
            inside.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert inside == [before]
