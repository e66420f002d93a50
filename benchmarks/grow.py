"""Functions added to an agent one at a time, as `sepiola act add` does it, beside plain fine-tuning of all weights.

Both arms learn the same functions in the same order from the same requests, each once, and are measured after
each on the same held-out requests: those that call the new function, those that call functions that were added before,
and those of the functions that the agent knew at the start. `add` replays old requests, and keeps what the agent was
for all that calls nothing new; `plain` are all weights on the requests of the new function alone, and nothing is kept.
What stands in the folder's `figures.jsonl` is not done again, so that the same command goes on after a stop.

    sepiola act train phone --out runs/agent
    python benchmarks/grow.py --agent runs/agent --out /tmp/grown
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from sepiola.acting.sets import functions_named
from sepiola.api import load
from sepiola.data.example import Example
from sepiola.datasets.requests import read_requests
from sepiola.evaluation.benchmarks import measure
from sepiola.evaluation.benchmarks.settings import Settings
from sepiola.evaluation.metrics.accuracy import wilson_interval
from sepiola.experiments.agent import REQUESTS, write_requests
from sepiola.experiments.grow import add_functions
from sepiola.specs.data import DataSpec

ARMS = ("add", "plain")
PLAIN = ["stages.0.steps=157"]  # as many of the new function's requests as an addition reads


def measured(run: Path, examples: list[Example], *, keeps: bool = True) -> tuple[dict[str, Any], dict[str, Any]]:
    """Percent of right names and right calls, with the interval of the latter: of all, and of requests for one call."""
    data, model = DataSpec(reader="requests", root=str(run)), load(run)
    if not keeps:
        model.kept = None
    figures = measure(model, Settings(data, read=lambda _: examples)).figures["acting"]
    one = [some for name, some in figures["by"].items() if name.endswith(", one call")]
    return percent([figures]), percent(one)


def percent(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """The figures of some parts together."""
    count = sum(part["exact"]["count"] for part in parts)
    name, exact = (
        sum(round(part[key]["value"] * part[key]["count"]) for part in parts if part[key]["count"])
        for key in ("name", "exact")
    )
    interval = [round(100 * bound, 2) for bound in wilson_interval(exact, count)]
    return {
        "name": round(100 * name / count, 2),
        "exact": round(100 * exact / count, 2),
        "interval": interval,
        "count": count,
    }


def calls(example: Example, name: str) -> bool:
    return any(call["name"] == name for call in example.metadata["calls"])


def requests_for(folder: Path, name: str) -> list[Example]:
    """The held-out requests that call the function which was added in this folder."""
    return [e for e in read_requests(folder / REQUESTS / "new", "test") if calls(e, name)]


def requests_of(addition: Path, folder: Path, name: str) -> None:
    """The requests of an addition that is done; to train on, those of the new function alone."""
    shutil.copytree(addition / REQUESTS, folder / REQUESTS)
    some = {e.prompt: e for e in read_requests(addition / REQUESTS, "train") if calls(e, name)}
    write_requests(folder / REQUESTS / "train.jsonl", list(some.values()))


def done(out: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """The lines that are there already, by arm and function."""
    file = out / "figures.jsonl"
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.is_file() else []
    return {(line["arm"], line["function"]): line for line in lines}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agent", type=Path, required=True, help="a run of `sepiola act train`")
    parser.add_argument("--functions", default="android", help="a file or a set, whose functions are added")
    parser.add_argument("--number", type=int, default=10, help="how many of them")
    parser.add_argument("--count", type=int, default=5000, help="requests of each new function")
    parser.add_argument("--measured", type=int, default=2000, help="requests of the old functions, at most")
    parser.add_argument("--added", type=int, default=100, help="requests of each function added before, at most")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=ARMS)
    parser.add_argument("--set", dest="changes", action="append", default=[], help="of the recipe octopus-v3/add")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, required=True, help="the folder of the agents, and of figures.jsonl")
    given = parser.parse_args()
    if given.arms[0] != "add":
        parser.error("--arms: plain fine-tuning learns from the requests of an addition: give add, or add plain")
    torch.set_num_threads(given.threads)
    names = [function.name for function in functions_named(given.functions)][: given.number]
    old = [e for e in read_requests(given.agent / REQUESTS, "test") if e.metadata["calls"]][: given.measured]
    there = done(given.out)
    before = dict.fromkeys(given.arms, measured(given.agent, old)[0])
    runs = dict.fromkeys(given.arms, given.agent)
    added: list[Example] = []
    given.out.mkdir(parents=True, exist_ok=True)
    print(json.dumps({"old functions at the start": before[given.arms[0]]}), flush=True)
    small = ["evaluation.0.count=64", "evaluation.1.count=64"]  # measured below, on more
    for number, name in enumerate(names, start=1):
        folders = {arm: given.out / f"{number:02d}-{arm.replace(' ', '-')}" for arm in given.arms}
        for arm, folder in folders.items():
            if (arm, name) in there:
                runs[arm], before[arm] = folder, there[arm, name]["old"]
                continue
            shutil.rmtree(folder, ignore_errors=True)  # what a run that was stopped left
            if arm == "plain":
                requests_of(folders["add"], folder, name)
            began, busy = time.monotonic(), time.process_time()
            add_functions(
                runs[arm],
                given.functions,
                folder,
                console=Console(quiet=True),
                only=[name],
                count=given.count,
                changes=[*small, *given.changes, *(PLAIN if arm == "plain" else ())],
                seed=given.seed,
            )
            seconds, processor = time.monotonic() - began, time.process_time() - busy
            new = requests_for(folder, name)
            line: dict[str, Any] = {
                "arm": arm,
                "function": name,
                "seconds": round(seconds),
                "processor": round(processor),
            }
            line["new"], line["new, one call"] = measured(folder, new, keeps=arm != "plain")
            line["old"], _ = measured(folder, old, keeps=arm != "plain")
            if added:
                line["added before"], line["added before, one call"] = measured(folder, added, keeps=arm != "plain")
            for figure in ("name", "exact"):
                line[f"lost {figure}"] = round(before[arm][figure] - line["old"][figure], 2)
            runs[arm], before[arm] = folder, line["old"]
            print(json.dumps(line), flush=True)
            with (given.out / "figures.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        added += requests_for(folders["add"], name)[: given.added]


if __name__ == "__main__":
    main()
