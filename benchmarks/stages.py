"""A training step of the recipes' stages, this checkout against another: `python benchmarks/stages.py --against PATH`.

Each side trains the first steps of the same stage, each by its own recipe of that name, code and command line, in
processes that take turns; what is compared is the seconds a step that their own `metrics.jsonl` holds. The stage of the
language model trains blind: the features of a frozen vision encoder are read, not trained. ScienceQA is read from the
folder that SEPIOLA_DATA names; where it is absent, Tidepool's questions stand in, at that recipe's model, vocabulary
and batch.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml
from measure import parser, ratio, report

STAGES = {
    "demo: rationale": ("demo", 1),
    "demo: vision encoder": ("demo", 0),
    "scienceqa: rationale": ("scienceqa", 1),
}
"""Recipes, and their stages by number: names differ between checkouts."""
TIDEPOOL = {"reader": "tidepool", "count": 4800, "options": {"size": 64}}
LOGGED = 10  # steps a line of the metrics


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--against", type=Path, required=True, help="another checkout of this repository")
    options.add_argument("--steps", type=int, default=60, help="steps a run; the first ten are not counted")
    options.add_argument("--stages", nargs="+", choices=sorted(STAGES), default=list(STAGES))
    arguments = options.parse_args()
    report(arguments, run(arguments))


def run(arguments: Any) -> dict[str, Any]:
    """Every stage's seconds a step on both sides, and how many times faster ours is."""
    sides = {"ours": Path(__file__).resolve().parents[1], "theirs": arguments.against.resolve()}
    figures: dict[str, Any] = {"steps": arguments.steps, "rounds": arguments.rounds}
    for name in arguments.stages:
        times: dict[str, list[float]] = {side: [] for side in sides}
        for _ in range(arguments.rounds):
            for side, checkout in sides.items():
                times[side].append(seconds_a_step(checkout, *STAGES[name], arguments.steps, arguments.threads))
        figures[name] = {
            "ratio": round(ratio(times["theirs"], times["ours"]), 2),
            "seconds_a_step": {side: [round(t, 4) for t in each] for side, each in times.items()},
        }
    return figures


def seconds_a_step(checkout: Path, recipe: str, stage: int, steps: int, threads: int) -> float:
    """The median over some tens of steps of one fresh run of the stage."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "stage.yaml"
        file.write_text(yaml.safe_dump(stage_alone(checkout, recipe, stage, steps), allow_unicode=True))
        environment = {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": str(threads)}
        command = [sys.executable, "-m", "sepiola", "train", str(file), "--runs", folder]
        done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{checkout}: {recipe}, {stage}: {done.stderr[-2000:]}")
        (metrics,) = Path(folder).glob("*/stages/*/metrics.jsonl")
        lines = [json.loads(line) for line in metrics.read_text().splitlines()]
    seconds = [line["seconds"] for line in lines if line["step"] and line["step"] % LOGGED == 0]
    return statistics.median((b - a) / LOGGED for a, b in pairwise(seconds))


def stage_alone(checkout: Path, name: str, stage: int, steps: int) -> dict[str, Any]:
    """The checkout's own recipe with this one stage, from fresh weights, and nothing to measure after it."""
    comparison = yaml.safe_load((checkout / "recipes" / "mm-cot" / f"{name}.yaml").read_text(encoding="utf-8"))
    recipe = comparison["base"]
    chosen = recipe["stages"][stage]
    data = chosen["data"]
    if data["reader"] == "tidepool":
        data = {**data, "count": TIDEPOOL["count"]}
    elif "SEPIOLA_DATA" not in os.environ:
        data = TIDEPOOL
    kept = {key: value for key, value in chosen.items() if key not in ("start", "epochs")}
    recipe["stages"] = [{**kept, "steps": steps, "data": data}]
    if "vision" not in chosen["learn"]:
        recipe |= comparison["arms"]["blind"]
    return {key: value for key, value in recipe.items() if key not in ("strategy", "evaluation")}


if __name__ == "__main__":
    main()
