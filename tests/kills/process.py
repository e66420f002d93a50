"""Starts a command, measures when it changes files, and kills it at one of these changes or some time after it."""

from __future__ import annotations

import bisect
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

HOOK = Path(__file__).parent / "hook"
SIGNALS = (*(signal.SIGKILL,) * 3, signal.SIGTERM, signal.SIGINT)
LONGEST = 600.0  # seconds of one process
HANGS = "still at work after"


@dataclass(frozen=True)
class Moment:
    """When a process gets which signal: `delay` seconds after its change number `change` of `of`, counted from 1."""

    change: int
    of: int
    delay: float
    signal: signal.Signals

    def __str__(self) -> str:
        late = f" + {self.delay:.3f} s" if self.delay else ""
        return f"{self.signal.name} at change {self.change} of {self.of}{late}"


@dataclass(frozen=True)
class Ended:
    """How a process ended; `reached` says whether it got the signal."""

    status: int
    said: str
    reached: bool = False


def draw(times: Sequence[float], rng: random.Random) -> Moment:
    """A moment of a process that changed files at these times: at any of the changes, or at any time between them."""
    place, delay = rng.randrange(len(times)), 0.0
    if rng.random() < 0.5:
        when = rng.uniform(times[0], times[-1])
        place = bisect.bisect_right(times, when) - 1
        delay = when - times[place]
    return Moment(place + 1, len(times), delay, rng.choice(SIGNALS))


def whole(command: Sequence[str], folder: Path, log: Path) -> list[float]:
    """Runs a command to its end; gives the times of its changes below a folder. Raises RuntimeError when it fails."""
    ended = _wait(_start(command, {"KILLS_FOLDER": str(folder), "KILLS_LOG": str(log)}))
    if ended.status:
        raise RuntimeError(f"{' '.join(command)}: status {ended.status}: {ended.said[-2000:]}")
    times = [float(line) for line in log.read_text().split()]
    log.unlink()
    return times


def finished(command: Sequence[str]) -> Ended:
    """Runs a command to its end."""
    return _wait(_start(command, {}))


def killed(command: Sequence[str], folder: Path, moment: Moment) -> Ended:
    """Runs a command that changes files below a folder, and sends it a signal at a moment."""
    told = {"KILLS_FOLDER": str(folder), "KILLS_AT": str(moment.change)}
    if not moment.delay:
        ended = _wait(_start(command, {**told, "KILLS_SIGNAL": str(int(moment.signal))}))
        return Ended(ended.status, ended.said, ended.status != 0)
    reader, writer = os.pipe()
    try:
        process = _start(command, {**told, "KILLS_TELL": str(writer)}, writer)
        os.close(writer)
        reached = bool(os.read(reader, 1))
        if reached:
            time.sleep(moment.delay)
            process.send_signal(moment.signal)
    finally:
        os.close(reader)
    ended = _wait(process)
    return Ended(ended.status, ended.said, reached and ended.status != 0)


def raced(command: Sequence[str], folder: Path, meeting: Path) -> list[Ended]:
    """Runs a command twice; both wait for one another at their first change below a folder."""
    meeting.mkdir()
    told = {"KILLS_FOLDER": str(folder), "KILLS_MEET": str(meeting)}
    processes = [_start(command, told) for _ in range(2)]
    return [_wait(process) for process in processes]


def _start(command: Sequence[str], told: Mapping[str, str], pipe: int | None = None) -> subprocess.Popen[str]:
    path = os.pathsep.join([str(HOOK), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, **told, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.Popen(
        [sys.executable, *command],
        env=environment,
        pass_fds=[] if pipe is None else [pipe],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    )


def _wait(process: subprocess.Popen[str]) -> Ended:
    try:
        _, said = process.communicate(timeout=LONGEST)
    except subprocess.TimeoutExpired:
        process.kill()
        _, said = process.communicate()
        said += f"\n{HANGS} {LONGEST:g} s"
    return Ended(process.returncode, said)
