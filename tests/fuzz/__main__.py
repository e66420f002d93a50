"""`python -m tests.fuzz --count 10000`: so many damaged inputs, and what they find, by the place where it is."""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.fuzz.acting import AGENT
from tests.fuzz.command_lines import command_line
from tests.fuzz.kinds import KINDS, whole
from tests.fuzz.mutations import NASTY
from tests.fuzz.watch import tried


def fuzz(
    count: int, seed: int, kinds: list[str], folder: Path, agent: Path | None = None
) -> list[tuple[str, int, str]]:
    """The faults of so many inputs, by turns of every kind: the kind, the input's number, and what is wrong.

    `agent` is asked in the place of one with random weights.
    """
    folder.mkdir(exist_ok=True)
    source, faults = folder / "whole", []
    whole(source)
    if agent is not None:
        (source / AGENT).symlink_to(agent.resolve())
    for number in range(count):
        kind = kinds[number % len(kinds)]
        home = folder / "input"
        with tempfile.TemporaryDirectory(dir=folder) as name:
            home = Path(name)
            action = KINDS[kind](random.Random(f"{seed} {kind} {number}"), home, source)
            fault = tried(action, home)
        if fault is not None:
            faults.append((kind, number, fault))
    return faults


def commands(count: int, seed: int) -> list[tuple[str, int, str]]:
    """The faults of so many `--set` through the real command line: another status than 0 or 2, or a traceback."""
    faults = []
    for number in range(count):
        rng = random.Random(f"{seed} command {number}")
        text = f"{rng.choice(['name', 'seeds', 'jobs', 'base.model', 'stages.0.steps', 'stages.0.data'])}="
        text += json.dumps(rng.choice([value for value in NASTY if "\0" not in str(value)]))
        line = [sys.executable, "-m", "sepiola", "compare", "mm-cot/demo", "--device", "cuda:99", "--set", text]
        line = line if number % 2 else [*line[:5], *line[7:], "--sets"]
        done = subprocess.run(line, capture_output=True, text=True, errors="replace", timeout=300, check=False)
        if done.returncode != 2 or "Traceback" in done.stderr:
            faults.append(("command", number, f"status {done.returncode}: {done.stderr[-200:]}"))
    return faults


def lines(count: int, seed: int, folder: Path) -> list[tuple[str, int, str]]:
    """The faults of so many command lines of all commands, run in this process."""
    whole(folder / "lines")
    faults = []
    for number in range(count):
        with tempfile.TemporaryDirectory(dir=folder) as name:
            action = command_line(random.Random(f"{seed} line {number}"), Path(name), folder / "lines")
            fault = tried(action, Path(name))
        if fault is not None:
            faults.append(("line", number, fault))
    return faults


def main() -> None:
    """Tries the inputs and prints each fault once, with how often and for which input first."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--commands", type=int, default=10)
    parser.add_argument("--lines", type=int, default=100)
    parser.add_argument("--kind", choices=KINDS, action="append")
    parser.add_argument("--agent", type=Path, help="an agent of the phone's ten functions that is asked")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        faults = fuzz(given.count, given.seed, given.kind or list(KINDS), Path(folder), given.agent)
        faults += lines(given.lines, given.seed, Path(folder))
    faults += commands(given.commands, given.seed)
    counts = Counter((kind, fault) for kind, _, fault in faults)
    first = {(kind, fault): number for kind, number, fault in reversed(faults)}
    for (kind, fault), often in counts.most_common():
        print(f"{kind} {first[kind, fault]} ({often} times): {fault}")
    print(f"{given.count} inputs, {len(faults)} faults of {len(counts)} kinds")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
