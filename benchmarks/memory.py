"""The memory of the recipes' stages: the most that a process held, against what the dry run says.

`python benchmarks/memory.py [RECIPE …]`. Each stage of a recipe's first arm trains some steps in a process of its own,
the largest batch of an epoch among them. With `--evaluate` a last process measures the trained model on the recipe's
evaluation sets. `--checkout` takes the package and its recipes from another checkout. Recipes on datasets need the
folder that SEPIOLA_DATA names.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

RECIPES = ("mm-cot/demo", "mm-cot/scienceqa", "pretrain/bilingual")
EVALUATION = "evaluation"


def main() -> None:
    from measure import parser, report

    options = parser(__doc__)
    options.add_argument("recipes", nargs="*", default=RECIPES, help="names of shipped recipes, or YAML files")
    options.add_argument("--steps", type=int, default=40, help="steps of each stage")
    options.add_argument("--stages", nargs="+", help="these alone are measured; the stages before them train too")
    options.add_argument("--evaluate", action="store_true", help="measure the evaluation too")
    options.add_argument("--checkout", type=Path, default=Path(__file__).resolve().parents[1])
    options.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a change of the recipes")
    arguments = options.parse_args()
    figures: dict[str, Any] = {"steps": arguments.steps}
    for recipe in arguments.recipes:
        figures |= measured(recipe, arguments)
    report(arguments, figures)


def measured(recipe: str, arguments: Any) -> dict[str, Any]:
    """What each stage of a recipe was said to take and what it took, in GB."""
    changes = [part for change in arguments.set for part in ("--set", change)]
    explained = python(arguments, "-m", "sepiola", "train", recipe, "--dry-run", "--json", *changes)
    said = {stage["name"]: stage["memory_gb"] for stage in explained["runs"][0]["stages"]}
    if arguments.evaluate:
        said[EVALUATION] = max(said.values())
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        for stage, gigabytes in said.items():
            more = (recipe, stage, folder, str(arguments.steps), *arguments.set)
            took = python(arguments, str(Path(__file__).resolve()), "--stage", *more)["peak_gb"]
            if arguments.stages is None or stage in arguments.stages:
                figure = {"said": round(gigabytes, 2), "measured": round(took, 2), "ratio": round(took / gigabytes, 2)}
                figures[f"{recipe} {stage}"] = figure
    return figures


def python(arguments: Any, *command: str) -> Any:
    """What a process of the checkout prints, which is JSON."""
    threads, checkout = str(arguments.threads), arguments.checkout.resolve()
    environment = {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": threads}
    done = subprocess.run([sys.executable, *command], cwd=checkout, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{checkout}: {' '.join(command)}: {done.stderr[-2000:]}")
    return json.loads(done.stdout[done.stdout.index("{") :])


def train_stage(recipe: str, name: str, folder: str, steps: str, *changes: str) -> None:
    """Trains one stage, those before it done, or evaluates what they have left; prints the peak of this process."""
    import numpy as np
    from rich.console import Console

    from sepiola.experiments.recipe_files import ComparisonSpec, read_recipe
    from sepiola.experiments.run import Run

    class Placed(Run):
        """A run whose batches begin some steps before the largest."""

        def objective(self, stage: Any) -> Any:
            objective: Any = super().objective(stage)
            batches = objective.batches

            def placed(data: Any, images: Any) -> Any:
                made = batches(data, images)
                sampler = made.sampler
                longest = [max(len(n) * sampler.lengths[n].max() for n in step) for step in sampler.steps(0)]
                made.restore({"epoch": 0, "position": max(0, int(np.argmax(longest)) - int(steps) // 2)})
                return made

            objective.batches = placed
            return objective

    spec = read_recipe(recipe, list(changes))
    spec = next(iter(spec.recipes().values())) if isinstance(spec, ComparisonSpec) else spec
    short = [stage.model_copy(update={"steps": int(steps), "epochs": None}) for stage in spec.stages]
    run = Placed(
        spec.model_copy(update={"stages": tuple(short)}), Path(folder), console=Console(stderr=True), resume=True
    )
    run.go() if name == EVALUATION else run.train(run.stages[name])
    status = Path("/proc/self/status").read_text().splitlines()
    peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))
    print(json.dumps({"peak_gb": peak * 1024 / 1e9}))


if __name__ == "__main__":
    train_stage(*sys.argv[2:]) if sys.argv[1:2] == ["--stage"] else main()
