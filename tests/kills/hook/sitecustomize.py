"""What a Python that is to be killed loads first: it counts its own changes of files below a folder, by the
interpreter's audit events, and at one of them sends itself a signal, tells its parent, or waits for another process.

All is told by the environment: `KILLS_FOLDER` is the folder; `KILLS_AT` the number of the change; `KILLS_SIGNAL` the
signal, or `KILLS_TELL` an open pipe to which a byte goes; `KILLS_LOG` a file that gets the time of every change;
`KILLS_MEET` a folder in which two processes wait for one another at the first change.
"""

from __future__ import annotations

import os
import signal
import sys
import time

CHANGES = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.symlink", "shutil.rmtree")
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class Watch:
    """Counts the changes and does at the one named what is told."""

    def __init__(self) -> None:
        self.folder = os.environ["KILLS_FOLDER"]
        self.at = int(os.environ.get("KILLS_AT", "0"))
        self.signal = int(os.environ.get("KILLS_SIGNAL", "0"))
        self.tell = int(os.environ.get("KILLS_TELL", "-1"))
        self.meet = os.environ.get("KILLS_MEET")
        log = os.environ.get("KILLS_LOG")
        self.log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND) if log else -1
        self.count = 0

    def __call__(self, event: str, arguments: tuple[object, ...]) -> None:
        if event not in CHANGES or not arguments:
            return
        if event == "open" and not (isinstance(arguments[2], int) and arguments[2] & WRITES):
            return
        path = arguments[0]
        if not isinstance(path, str | os.PathLike) or not os.fspath(path).startswith(self.folder):
            return
        self.count += 1
        if self.log >= 0:
            os.write(self.log, f"{time.monotonic()}\n".encode())
        if self.meet is not None and self.count == 1:
            self._meet(self.meet)
        if self.count == self.at:
            if self.signal:
                os.kill(os.getpid(), self.signal)
            else:
                os.write(self.tell, b".")

    def _meet(self, folder: str) -> None:
        os.close(os.open(os.path.join(folder, str(os.getpid())), os.O_WRONLY | os.O_CREAT))
        limit = time.monotonic() + 120  # the other one has failed
        while len(os.listdir(folder)) < 2 and time.monotonic() < limit:
            time.sleep(0.0005)


signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background has Ctrl-C ignored
if "KILLS_FOLDER" in os.environ:
    sys.addaudithook(Watch())
