"""One trial: work of a kind is killed once or twice, begun again until it ends, and compared with work that was not."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.kills.contents import contents, difference
from tests.kills.kinds import KINDS, Kind
from tests.kills.process import HANGS, Ended, Moment, draw, finished, killed, raced, whole

AGAIN = 0.25  # of the restarts are killed too
RACE = "race"
BUSY = ("another process is at this run", "holds this run already")  # how a process says that it is the second


@dataclass(frozen=True)
class Trial:
    """What came of work that was killed at these moments: None for `fault` when its end is the expected one."""

    kind: str
    moments: tuple[str, ...]
    fault: str | None

    def __str__(self) -> str:
        return f"{self.kind}: {', again '.join(self.moments)}, begun again: {self.fault or 'identical'}"


class Measured:
    """A kind's work, its end when it is not killed, and when it changes files."""

    def __init__(self, kind: type[Kind], home: Path) -> None:
        self.work = kind(home)
        self.work.begin()
        self.times = whole(self.work.command(again=False), self.work.watched, home / "times")
        self.expected = contents(self.work.target)

    def trial(self, name: str, rng: random.Random, moments: tuple[Moment, ...] = ()) -> Trial:
        """Kills the work at these moments, or at one or two that are drawn."""
        told: list[str] = []
        while not told:  # a moment that did not come is no kill
            self.work.begin()
            moment = moments[0] if moments else draw(self.times, rng)
            ended = self._killed(moment, told, again=False)
        more = moments[1:] or ((draw(self.times, rng),) if not moments and rng.random() < AGAIN else ())
        fault = self._unkind(ended) or self.work.fault()
        for moment in more:
            if fault is None:
                ended = self._killed(moment, told, again=True)
                fault = self._unkind(ended) or self.work.fault()
        return Trial(name, tuple(told), fault or self._end())

    def _killed(self, moment: Moment, told: list[str], *, again: bool) -> Ended:
        ended = killed(self.work.command(again=again), self.work.watched, moment)
        if ended.reached:
            told.append(str(moment))
        return ended

    def _unkind(self, ended: Ended) -> str | None:
        """What is wrong with how a killed process ended: a hang, or a traceback of the command line."""
        if HANGS in ended.said:
            return ended.said[-200:]
        traceback = "Traceback" in ended.said and "sepiola" in self.work.command(again=False)
        return f"a traceback: {ended.said[-500:]}" if traceback else None

    def _end(self) -> str | None:
        """Begins the work again, until its end; what is wrong with that end."""
        ended = finished(self.work.command(again=True))
        if ended.status:
            return f"begun again, it ends with status {ended.status}: {ended.said[-500:]}"
        return difference(self.expected, contents(self.work.target)) or self.work.fault()

    def race(self, *, again: bool) -> Trial:
        """Starts a run twice at one moment, anew or, `again`, with --resume, which waits for the other."""
        self.work.begin()
        name = "both at the lock of a run that was killed" if again else "both at the lock of a new run"
        if again:
            killed(self.work.command(again=False), self.work.watched, draw(self.times, random.Random(0)))
        meeting = self.work.home / "meeting"
        shutil.rmtree(meeting, ignore_errors=True)
        ended = sorted(raced(self.work.command(again=again), self.work.watched, meeting), key=lambda end: end.status)
        statuses = [end.status for end in ended]
        if statuses != ([0, 0] if again else [0, 2]):
            return Trial(RACE, (name,), f"statuses {statuses}: {ended[1].said[-500:]}")
        said = (BUSY[0] in ended[1].said or BUSY[1] in ended[1].said) if not again else True
        fault = None if said else f"the second does not say why: {ended[1].said[-500:]}"
        return Trial(RACE, (name,), fault or difference(self.expected, contents(self.work.target)))


def trials(count: int, seed: int, kinds: list[str], folder: Path) -> Iterator[Trial]:
    """So many trials, by turns of every kind, and then two races of a run with itself."""
    measured: dict[str, Measured] = {}
    for number in range(count):
        name = kinds[number % len(kinds)]
        if name not in measured:
            measured[name] = Measured(KINDS[name], folder / name)
        yield measured[name].trial(name, random.Random(f"{seed} {name} {number}"))
    if "training" in measured:
        for again in (False, True):
            yield measured["training"].race(again=again)
