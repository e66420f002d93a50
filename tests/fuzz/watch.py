"""What an input may not do while it is tried: run for long, grow, start a program, or write outside its folder.

What reads words that may mean harm is watched more narrowly (`only_reading`).
"""

from __future__ import annotations

import os
import resource
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sepiola.errors import SepiolaError

SECONDS = 20  # of processor time
GROWTH = 6 << 30  # bytes of address space
LONGEST = 8000  # characters of a message
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_PLAIN = (
    *(
        "sys._getframe",
        "builtins.id",
        "object.__getattr__",
        "object.__setattr__",
        "object.__delattr__",
        "array.__new__",
    ),
    *("sys.excepthook", "sys.unraisablehook", "gc.get_objects", "gc.get_referents", "gc.get_referrers"),
)
"""Events that touch nothing but objects in memory."""
_STARTS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "socket.connect")


class TooLong(BaseException):
    """The input took more processor time than one may."""


@dataclass
class _Guard:
    folder: Path | None = None
    deeds: list[str] = field(default_factory=list)
    narrow: bool = False

    def __call__(self, event: str, arguments: tuple[object, ...]) -> None:
        if self.folder is None:
            return
        opened = event == "open"
        if event in _STARTS or (self.narrow and event not in _PLAIN and not (opened and self._inside(arguments[0]))):
            self.deeds.append(f"{event} {str(arguments[:2])[:200]}")
        elif opened and isinstance(arguments[2], int) and arguments[2] & _WRITES and not self._inside(arguments[0]):
            self.deeds.append(f"writes {arguments[0]!r}")

    def _inside(self, path: object) -> bool:
        """Whether a path leads into the input's folder, or to nothing; a number is of one that is open already."""
        if not isinstance(path, str | bytes):
            return isinstance(path, int)
        real = Path(os.path.realpath(os.fsdecode(path)))
        return real == Path(os.devnull) or (self.folder is not None and real.is_relative_to(self.folder))


_guard = _Guard()
sys.addaudithook(_guard)


@contextmanager
def only_reading() -> Iterator[None]:
    """Meanwhile nothing is compiled, run or imported, no file outside the input's folder is opened or touched, and no
    other audit event of Python's comes: what is done, is done to objects in memory.
    """
    _guard.narrow = True
    try:
        yield
    finally:
        _guard.narrow = False


def tried(action: Callable[[], object], folder: Path) -> str | None:
    """What is wrong with the way in which an action ends; None when it succeeds or says clearly why not."""
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (size + GROWTH, limits[1]))
    before = signal.signal(signal.SIGPROF, _stop)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    _guard.folder, _guard.deeds = folder.resolve(), []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            action()
        fault = None
    except SepiolaError as error:
        fault = (
            f"a message of {len(str(error)):,} characters: {str(error)[:200]}" if len(str(error)) > LONGEST else None
        )
        fault = "an empty message" if not str(error).strip() else fault
    except TooLong:
        fault = f"more than {SECONDS} s"
    except BaseException as error:  # a panic of a library in Rust is no Exception
        if isinstance(error, KeyboardInterrupt):
            raise
        where = traceback.extract_tb(error.__traceback__)
        ours = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in where if "/sepiola/" in frame.filename]
        fault = f"{type(error).__name__}: {str(error)[:160]!r} at {' < '.join(reversed(ours[-3:]))}"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
        resource.setrlimit(resource.RLIMIT_AS, limits)
        _guard.folder = None
    return fault or ("; ".join(_guard.deeds) or None)


def _stop(number: int, frame: object) -> None:
    raise TooLong
