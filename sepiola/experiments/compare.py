"""Comparisons: one recipe under several arms and seeds, in one table.

Arms share what they have in common: a stage with the same model, data, seed and images is trained once.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO, TypeVar, cast

import torch
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sepiola.checkpoints import store
from sepiola.data.example import Example
from sepiola.data.sampler import spread
from sepiola.datasets import DATASETS, DataCache, read_spec
from sepiola.evaluation.benchmarks import BENCHMARKS
from sepiola.evaluation.figures import Figures
from sepiola.evaluation.report.page import write_report
from sepiola.evaluation.report.scaling import load_scipy
from sepiola.evaluation.report.tables import whole
from sepiola.experiments.costs import ASKED, costs
from sepiola.experiments.evaluate import answers_files, pick_samples
from sepiola.experiments.members import run_of
from sepiola.experiments.paired import differences, read_answers
from sepiola.experiments.recipe_files import ComparisonSpec
from sepiola.experiments.run import Run, claimed
from sepiola.nn.device import find_device
from sepiola.reasoning.answer import Answer
from sepiola.specs.base import write_yaml
from sepiola.specs.recipe import RecipeSpec
from sepiola.specs.stage import StageSpec
from sepiola.training.progress import say

SAVING_SECONDS = 20  # at most, what a worker has to save its stage when the comparison is gone


def compare(
    spec: ComparisonSpec, folder: Path, *, console: Console, device: str = "cpu", resume: bool = False
) -> Figures:
    """Runs every arm with every seed, writes the report of all, and returns it; `checkpoint` is the first arm's."""
    find_device(device)
    if len(spec.seeds) > 1:
        load_scipy()  # the interval over seeds needs it, at the very end
    with claimed(folder, spec.model_dump(mode="json"), resume, console):
        return _compare(spec, folder, console, device)


def _compare(spec: ComparisonSpec, folder: Path, console: Console, device: str) -> Figures:
    reports = _run_all(spec, folder, console, device)
    runs = {arm: [reports[arm, seed] for seed in spec.seeds] for arm in spec.arms}
    main = _place(spec, folder, *next(iter(reports)))
    _link(folder / "checkpoint", main / "checkpoint")
    store.write_text(folder / "metrics.jsonl", (main / "metrics.jsonl").read_text(encoding="utf-8"))
    report = _report(spec, runs)
    report["costs"] = _costs(spec, folder)
    priced = {row["name"]: row for row in report["costs"]}
    paired = _paired(spec, folder)
    report["rows"] = [{**row, **priced.get(row["name"], {}), **paired.get(row["name"], {})} for row in report["rows"]]
    write_report(folder, report, _samples(spec, main), folder / "metrics.jsonl")
    return report


Place = tuple[str, int]
Result = TypeVar("Result")


def _run_all(spec: ComparisonSpec, folder: Path, console: Console, device: str) -> dict[Place, Figures]:
    """The report of every arm and seed, `spec.jobs` at a time."""
    places = list(spec.recipes())
    if spec.jobs == 1:
        data = DataCache()
        for place in places:
            _made(spec, folder, place, console, device, data).check_data()
        return {place: _run(spec, folder, place, console, device, data) for place in places}
    stderr = console.file is sys.stderr
    with _workers(1, torch.get_num_threads(), DataCache()) as pool:
        data = _results(pool, [pool.submit(_lead, spec, folder, device, stderr)])[0]
    with _workers(spec.jobs, max(1, torch.get_num_threads() // spec.jobs), data) as pool:
        futures = [pool.submit(_run_apart, spec, folder, place, device, stderr) for place in places]
        return dict(zip(places, _results(pool, futures), strict=True))


def _workers(jobs: int, threads: int, data: DataCache) -> ProcessPoolExecutor:
    """Processes of so many threads each, which have read `data` already."""
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(jobs, mp_context=context, initializer=_start, initargs=(threads, data))


def _results(pool: ProcessPoolExecutor, futures: Sequence[Future[Result]]) -> list[Result]:
    try:
        return [future.result() for future in futures]
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise


def _start(threads: int, data: DataCache) -> None:
    torch.set_num_threads(threads)
    _read.append(data)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _lead(spec: ComparisonSpec, folder: Path, device: str, stderr: bool) -> DataCache:
    """Trains on all threads what only runs that see begin with, and lets it see the pictures of the stages that follow.

    Side by side, blind runs would be done long before the others. Where there are as many such stages as jobs, they
    keep all threads busy as they are. Returns what was read on the way.
    """
    console = Console(file=sys.stderr if stderr else sys.stdout, width=160)
    stages: dict[Path, tuple[Run, StageSpec]] = {}
    with _no_orphan():
        for place, recipe in spec.recipes().items():
            run, first = _made(spec, folder, place, console, device, _read[-1]), recipe.stages[0]
            run.check_data()
            if run.images and first.objective.needs_images(recipe.model, first):
                stages[run.stage_folder(first)] = (run, first)
        if len(stages) < spec.jobs:
            for run, stage in stages.values():
                run.train(stage)
                run.encode_images(stage)
    return _read[-1]


def _end_with_parent() -> None:
    """Ends this process when the one that started it is gone, killed or not: no run goes on unseen.

    A stage in training has a while to save its state, so that the comparison resumes where it was.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(SAVING_SECONDS)
        os._exit(1)


def _run_apart(spec: ComparisonSpec, folder: Path, place: Place, device: str, stderr: bool) -> Figures:
    """One run in a process of its own; its lines bear the arm's name."""
    arm, seed = place
    name = arm if len(spec.seeds) == 1 else f"{arm}, seed {seed}"
    stream = cast(TextIO, _Prefixed(sys.stderr if stderr else sys.stdout, f"{name}: "))
    with _no_orphan():
        return _run(spec, folder, place, Console(file=stream, width=160), device, _read[-1])


@contextmanager
def _no_orphan() -> Iterator[None]:
    """Ends this process after its work, or when that is interrupted, if the one that started it is gone."""
    try:
        yield
    finally:
        parent = multiprocessing.parent_process()
        if parent is not None and not parent.is_alive():
            os._exit(1)


_read: list[DataCache] = []
"""What this process has read, kept from one of its runs to the next."""


def _run(spec: ComparisonSpec, folder: Path, place: Place, console: Console, device: str, data: DataCache) -> Figures:
    run = _made(spec, folder, place, console, device, data)
    say(console, f"to {run.folder}")
    return run.go()


def _made(spec: ComparisonSpec, folder: Path, place: Place, console: Console, device: str, data: DataCache) -> Run:
    """A run of the comparison; one that has begun goes on."""
    recipe, home = spec.recipes()[place], _place(spec, folder, *place)
    return run_of(recipe)(recipe, home, console=console, shared=folder, data=data, device=device, resume=True)


def _place(spec: ComparisonSpec, folder: Path, arm: str, seed: int) -> Path:
    """Where a run of the comparison lies."""
    return folder / (arm if len(spec.seeds) == 1 else f"{arm}-seed{seed}")


class _Prefixed:
    """A text stream that begins every line with a name, so that the lines of runs side by side differ."""

    def __init__(self, stream: TextIO, name: str) -> None:
        self.stream, self.name = stream, name

    def write(self, text: str) -> int:
        lines = text.splitlines(keepends=True)
        return self.stream.write("".join(self.name + line if line.strip() else line for line in lines))

    def flush(self) -> None:
        self.stream.flush()

    def isatty(self) -> bool:
        return False


def comparison_table(report: Figures) -> Table:
    """The comparison's rows for the terminal."""
    table = Table(title=report["title"])
    buckets = list(report["rows"][0]["languages"])
    columns = ("", "accuracy", "95% interval", "against the first", *buckets, "false claims", "questions")
    for column in columns:
        table.add_column(column, justify="left" if not column else "right")
    for row in report["rows"]:
        interval = "–".join(f"{100 * v:.1f}" for v in row["interval"]) if row["interval"] else ""
        false = row.get("false_claims")
        table.add_row(
            escape(row["name"]),
            f"{100 * row['accuracy']:.1f}%",
            interval,
            _signed(row),
            *(f"{100 * row['languages'][b]:.1f}%" if b in row["languages"] else "" for b in buckets),
            f"{100 * false:.1f}%" if false is not None else "",
            str(row["count"]),
        )
    return whole(table)


def _signed(row: Figures) -> str:
    """The row's difference from the first one's accuracy, in points, with its interval."""
    if (span := row.get("difference_interval")) is None:
        return ""
    return f"{100 * row['difference']:+.1f} ({100 * span[0]:+.1f} to {100 * span[1]:+.1f})"


def _report(spec: ComparisonSpec, runs: Mapping[str, Sequence[Figures]]) -> Figures:
    """The first arm's figures of the first evaluation set, and what its benchmark makes of all arms and seeds."""
    main = next(iter(runs.values()))[0]
    top = {k: v for k, v in main.items() if k not in ("title", "description", "rows", "recipe", "evaluations")}
    merged = BENCHMARKS[main["benchmark"]].merge(runs) if "benchmark" in main else {}
    return {
        "title": spec.name,
        "description": spec.description,
        **top,
        "rows": [],
        **merged,
        "name": next(iter(runs)),
        "seeds": list(spec.seeds),
        "recipe": write_yaml(spec.model_dump(mode="json")),
    }


def _costs(spec: ComparisonSpec, folder: Path) -> list[Figures]:
    """What each arm's model of the first seed costs, measured when nothing else runs here."""
    recipes, seed = spec.recipes(), spec.seeds[0]
    return [
        {"name": arm, **costs(recipes[arm, seed], _place(spec, folder, arm, seed), _asked(recipes[arm, seed]))}
        for arm in spec.arms
    ]


def _asked(recipe: RecipeSpec) -> list[Example]:
    """Some of the questions that the recipe is measured on."""
    return spread(_first_set(recipe), ASKED)


def _first_set(recipe: RecipeSpec) -> list[Example]:
    """The examples of the first evaluation set; none of a benchmark that brings its own questions."""
    data = recipe.evaluation[0] if recipe.evaluation else None
    return read_spec(data) if data is not None and data.reader in DATASETS else []


def _samples(spec: ComparisonSpec, main: Path) -> list[tuple[Example, Answer]]:
    """Some of the main run's answers to its first evaluation set."""
    recipe = next(iter(spec.recipes().values()))
    answers = read_answers(answers_files(main, recipe)[0]) if recipe.evaluation else []
    examples = {example.id: example for example in _first_set(recipe)}
    return pick_samples([(examples[answer.id], answer) for answer in answers if answer.id in examples])


def _paired(spec: ComparisonSpec, folder: Path) -> dict[str, Figures]:
    """How each arm differs from the first on the first evaluation set; nothing where they have not the same."""
    recipes = spec.recipes()
    if any(recipe.evaluation[:1] != next(iter(recipes.values())).evaluation[:1] for recipe in recipes.values()):
        return {}
    examples = _first_set(next(iter(recipes.values())))
    places = {arm: [(_place(spec, folder, arm, seed), recipes[arm, seed]) for seed in spec.seeds] for arm in spec.arms}
    files = {arm: [answers_files(*place)[0] for place in own if place[1].evaluation] for arm, own in places.items()}
    return differences(examples, files) if examples else {}


def _link(link: Path, target: Path) -> None:
    """`checkpoint` points at the main arm's, relative, so that the run's folder can be moved."""
    if link.is_symlink():
        link.unlink()
    link.symlink_to(target.relative_to(link.parent))
