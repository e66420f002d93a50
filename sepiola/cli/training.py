"""The commands that train: `sepiola demo`, `train`, `compare` and `scale`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from sepiola.cli.options import AsJson, Device, Runs, Set, console_of, print_json
from sepiola.errors import SepiolaError


def demo(
    quick: Annotated[
        bool, typer.Option("--quick", help="The same path with far less training: some 20 seconds.")
    ] = False,
    as_json: AsJson = False,
    runs: Runs = Path("runs"),
) -> None:
    """Train a small two-stage model on Tidepool and its blind twin, on this machine, and compare them.

    Needs no download. A second call goes on where the first one stopped.
    """
    from sepiola.experiments.demo import run_demo

    run_demo(quick=quick, runs=runs, console=console_of(as_json), as_json=as_json)


def train(
    recipe: Annotated[str, typer.Argument(help="A shipped recipe's name (mm-cot/demo …) or the path of a YAML file.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check and explain the recipe; train nothing.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that was stopped.")] = False,
    assignments: Set = None,
    as_json: AsJson = False,
    device: Device = "cpu",
    runs: Runs = Path("runs"),
) -> None:
    """Train a recipe: its stages, then its evaluation. The run lands in runs/NAME/.

    Several processes train one model together: torchrun --nproc-per-node 2 -m sepiola train RECIPE
    """
    from sepiola.evaluation.report.tables import terminal_tables
    from sepiola.experiments.compare import compare as run_comparison
    from sepiola.experiments.compare import comparison_table
    from sepiola.experiments.costs import costs_table
    from sepiola.experiments.dry_run import explain, print_explanation
    from sepiola.experiments.members import run_of
    from sepiola.experiments.recipe_files import ComparisonSpec, read_recipe
    from sepiola.training.progress import say
    from sepiola.training.ranks import ranks_of
    from sepiola.training.signals import InterruptedTrainingError

    spec = read_recipe(recipe, assignments or [])
    folder = runs / spec.name
    with ranks_of(device) as ranks:
        console = console_of(as_json) if ranks.first else Console(quiet=True)
        if ranks.size > 1 and (isinstance(spec, ComparisonSpec) or spec.ensemble is not None or dry_run):
            raise SepiolaError(
                f"{recipe}: {ranks.size} ranks train one model together; a comparison, an ensemble and --dry-run are "
                "for one process: run them without torchrun, or train each arm or member as a recipe of its own"
            )
        if dry_run:
            explanation = explain(spec, console)
            print_json(explanation) if as_json else print_explanation(explanation, console)
            return
        if isinstance(spec, ComparisonSpec):
            report = run_comparison(spec, folder, console=console, device=device, resume=resume)
            tables = [comparison_table(report)] if report["rows"] else list(terminal_tables(report))
            tables.append(costs_table(report["costs"]))
        else:
            run = run_of(spec)(spec, folder, console=console, device=ranks.device, resume=resume, ranks=ranks)
            try:
                report = run.go()
            except InterruptedTrainingError as error:  # all ranks are stopped, and one says so
                if ranks.first:
                    raise
                raise typer.Exit(error.status) from None
            if not ranks.first:
                return
            tables = list(terminal_tables(report))
    if as_json:
        print_json(report)
        return
    for table in tables:
        console.print(table)
    say(console, f"report: {folder / 'report.html'}")


def compare(
    recipe: Annotated[
        str, typer.Argument(help="A comparison: a shipped one's name (compare/bridges …) or a YAML file.")
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check and explain it; train nothing.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a comparison that was stopped.")] = False,
    assignments: Set = None,
    as_json: AsJson = False,
    device: Device = "cpu",
    runs: Runs = Path("runs"),
) -> None:
    """Train one recipe under several arms and seeds: what each reaches, and what it costs, in one table.

    The runs land in runs/NAME/, one folder an arm and seed.
    """
    from sepiola.experiments.recipe_files import ComparisonSpec, read_recipe

    if not isinstance(read_recipe(recipe, assignments or []), ComparisonSpec):
        raise SepiolaError(f"{recipe} has no arms to compare; train it: sepiola train {recipe}")
    train(recipe, dry_run, resume, assignments, as_json, device, runs)


def scale(
    recipe: Annotated[str, typer.Argument(help="A recipe of one stage: a shipped one's name or a YAML file's path.")],
    sizes: Annotated[str, typer.Option("--sizes", help="Widths from the smallest up; the last is predicted first.")],
    tokens_per_parameter: Annotated[
        float, typer.Option("--tokens-per-parameter", help="Training tokens for each parameter that multiplies.")
    ] = 5.0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a ladder that was stopped.")] = False,
    assignments: Set = None,
    as_json: AsJson = False,
    device: Device = "cpu",
    runs: Runs = Path("runs"),
) -> None:
    """Train a ladder of small models, predict the next one's loss, then train that one and check.

    The ladder lands in runs/NAME-scale/.
    """
    from sepiola.evaluation.report.tables import terminal_tables
    from sepiola.experiments.recipe_files import read_recipe
    from sepiola.experiments.scale import ladder, parse_sizes
    from sepiola.training.progress import say

    spec, console = read_recipe(recipe, assignments or []), console_of(as_json)
    folder = runs / f"{spec.name}-scale"
    per = tokens_per_parameter
    report = ladder(
        spec, parse_sizes(sizes), folder, tokens_per_parameter=per, console=console, device=device, resume=resume
    )
    if as_json:
        print_json(report["scaling"])
        return
    for table in terminal_tables(report):
        console.print(table)
    say(console, f"report: {folder / 'report.html'}")
