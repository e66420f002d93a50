"""`python -m tests.kills --count 20`: real commands are killed, begun again, and compared at their end."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from tests.kills.kinds import KINDS
from tests.kills.trials import trials


def main() -> None:
    """Kills and compares; prints a line for each trial, or all as JSON."""
    parser = argparse.ArgumentParser(prog="python -m tests.kills")
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", choices=KINDS, action="append")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    began, done = time.monotonic(), []
    with tempfile.TemporaryDirectory() as folder:
        for trial in trials(given.count, given.seed, given.kind or list(KINDS), Path(folder).resolve()):
            done.append(trial)
            if not given.json:
                print(trial, flush=True)
    faults = sum(trial.fault is not None for trial in done)
    seconds = round(time.monotonic() - began)
    if given.json:
        print(json.dumps({"trials": [asdict(trial) for trial in done], "faults": faults, "seconds": seconds}))
    else:
        print(f"{len(done)} trials, {faults} with another end, in {seconds} s")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
