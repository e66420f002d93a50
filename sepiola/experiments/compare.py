"""Comparisons: one recipe under several arms and seeds, in one table.

Arms share what they have in common: a stage with the same model, data, seed and eyes is trained once.
"""

from __future__ import annotations

import functools
import math
import multiprocessing
import multiprocessing.connection
import os
import signal
import statistics
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, TextIO, cast

import torch
from rich.console import Console
from rich.table import Table

from sepiola.checkpoints import store
from sepiola.data.example import Example
from sepiola.data.sampler import spread
from sepiola.datasets import DataCache, read_spec
from sepiola.evaluation.metrics.caption_figures import FAULTS
from sepiola.evaluation.metrics.captions import METRICS
from sepiola.evaluation.metrics.retrieval import DIRECTIONS
from sepiola.evaluation.report.page import write_report
from sepiola.evaluation.report.scaling import load_scipy
from sepiola.experiments.answer import answer_all, pick_samples
from sepiola.experiments.costs import ASKED, costs
from sepiola.experiments.recipe_files import ComparisonSpec
from sepiola.experiments.run import Run, claim
from sepiola.specs.base import write_yaml
from sepiola.specs.recipe import RecipeSpec

SAVING_SECONDS = 20  # at most, what a worker has to save its stage when the comparison is gone


def compare(
    spec: ComparisonSpec, folder: Path, *, console: Console, device: str = "cpu", resume: bool = False
) -> dict[str, Any]:
    """Runs every arm with every seed, writes the report of all, and returns it; `checkpoint` is the first arm's."""
    if len(spec.seeds) > 1:
        load_scipy()  # the interval over seeds needs it, at the very end
    claim(folder, spec.model_dump(mode="json"), resume)
    reports = _run_all(spec, folder, console, device)
    runs = {arm: [reports[arm, seed] for seed in spec.seeds] for arm in spec.arms}
    main = _place(spec, folder, *next(iter(reports)))
    _link(folder / "checkpoint", main / "checkpoint")
    store.write_text(folder / "metrics.jsonl", (main / "metrics.jsonl").read_text(encoding="utf-8"))
    report = _report(spec, runs)
    report["costs"] = _costs(spec, folder)
    priced = {row["name"]: row for row in report["costs"]}
    report["rows"] = [{**row, **priced.get(row["name"], {})} for row in report["rows"]]
    write_report(folder, report, _samples(spec, main, console), folder / "metrics.jsonl")
    return report


Place = tuple[str, int]


def _run_all(spec: ComparisonSpec, folder: Path, console: Console, device: str) -> dict[Place, dict[str, Any]]:
    """The report of every arm and seed, `spec.jobs` at a time."""
    places = list(spec.recipes())
    if spec.jobs == 1:
        data = DataCache()
        return {place: _run(spec, folder, place, console, device, data) for place in places}
    threads = max(1, torch.get_num_threads() // spec.jobs)
    stderr = console.file is sys.stderr
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(spec.jobs, mp_context=context, initializer=_start, initargs=(threads,)) as pool:
        futures = {place: pool.submit(_run_apart, spec, folder, place, device, stderr) for place in places}
        try:
            return {place: future.result() for place, future in futures.items()}
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _start(threads: int) -> None:
    torch.set_num_threads(threads)
    threading.Thread(target=_end_with_parent, daemon=True).start()


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


def _run_apart(spec: ComparisonSpec, folder: Path, place: Place, device: str, stderr: bool) -> dict[str, Any]:
    """One run in a process of its own; its lines bear the arm's name."""
    arm, seed = place
    name = arm if len(spec.seeds) == 1 else f"{arm}, seed {seed}"
    stream = cast(TextIO, _Prefixed(sys.stderr if stderr else sys.stdout, f"{name}: "))
    try:
        return _run(spec, folder, place, Console(file=stream, width=160), device, _examples())
    finally:
        parent = multiprocessing.parent_process()
        if parent is not None and not parent.is_alive():
            os._exit(1)


@functools.cache
def _examples() -> DataCache:
    """What this process has read, kept from one of its runs to the next."""
    return DataCache()


def _run(
    spec: ComparisonSpec, folder: Path, place: Place, console: Console, device: str, data: DataCache
) -> dict[str, Any]:
    recipe, home = spec.recipes()[place], _place(spec, folder, *place)
    console.print(f"to {home}")
    return Run(recipe, home, console=console, shared=folder, data=data, device=device, resume=True).go()


def _place(spec: ComparisonSpec, folder: Path, arm: str, seed: int) -> Path:
    """Where a run of the comparison lies."""
    return folder / (arm if len(spec.seeds) == 1 else f"{arm}-seed{seed}")


class _Prefixed:
    """A text stream that begins every line with a name, so that runs side by side can be told apart."""

    def __init__(self, stream: TextIO, name: str) -> None:
        self.stream, self.name = stream, name

    def write(self, text: str) -> int:
        lines = text.splitlines(keepends=True)
        return self.stream.write("".join(self.name + line if line.strip() else line for line in lines))

    def flush(self) -> None:
        self.stream.flush()

    def isatty(self) -> bool:
        return False


def comparison_table(report: Mapping[str, Any]) -> Table:
    """The comparison's rows for the terminal."""
    table = Table(title=report["title"])
    buckets = list(report["rows"][0]["languages"])
    for column in ("", "accuracy", "95% interval", *buckets, "false claims", "questions"):
        table.add_column(column, justify="left" if not column else "right")
    for row in report["rows"]:
        interval = "–".join(f"{100 * v:.1f}" for v in row["interval"]) if row["interval"] else ""
        false = row.get("false_claims")
        table.add_row(
            row["name"],
            f"{100 * row['accuracy']:.1f}%",
            interval,
            *(f"{100 * row['languages'][b]:.1f}%" if b in row["languages"] else "" for b in buckets),
            f"{100 * false:.1f}%" if false is not None else "",
            str(row["count"]),
        )
    return table


def _report(spec: ComparisonSpec, runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    main = next(iter(runs.values()))[0]
    rows = [_row(arm, reports) for arm, reports in runs.items()] if "accuracy" in main else []
    for name, figures in main.get("baselines", {}).items():
        languages = {k: v["accuracy"] for k, v in figures.get("buckets", {}).get("language", {}).items()}
        rows.append(
            {
                "name": name.replace("_", " "),
                "accuracy": figures["accuracy"],
                "interval": figures["interval"],
                "count": figures["count"],
                "languages": languages,
            }
        )
    top = {k: v for k, v in main.items() if k not in ("title", "description", "rows", "recipe", "evaluations")}
    return {
        "title": spec.name,
        "description": spec.description,
        **top,
        **({"captions": _captions(runs)} if "captions" in main else {}),
        **({"retrieval": _retrieval(runs)} if "retrieval" in main else {}),
        "name": next(iter(runs)),
        "rows": rows,
        "seeds": list(spec.seeds),
        "recipe": write_yaml(spec.model_dump(mode="json")),
    }


def _costs(spec: ComparisonSpec, folder: Path) -> list[dict[str, Any]]:
    """What each arm's model of the first seed costs, measured when nothing else runs here."""
    recipes, seed = spec.recipes(), spec.seeds[0]
    return [
        {"name": arm, **costs(recipes[arm, seed], _place(spec, folder, arm, seed), _asked(recipes[arm, seed]))}
        for arm in spec.arms
    ]


def _asked(recipe: RecipeSpec) -> list[Example]:
    """Some of the questions that the recipe is measured on."""
    return spread(read_spec(recipe.evaluation[0]), ASKED) if recipe.evaluation else []


def _row(arm: str, reports: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One arm over its seeds: the mean; Student's interval over seeds, or the questions' own for a single seed."""
    accuracies = [r["accuracy"] for r in reports]
    rates = [r["hallucination"]["rate"] for r in reports if r.get("hallucination", {}).get("rate") is not None]
    by_language = [r.get("buckets", {}).get("language", {}) for r in reports]
    mean = statistics.fmean(accuracies)
    return {
        "name": arm,
        "accuracy": mean,
        "interval": _interval(accuracies, reports[0]["interval"], 1.0),
        "count": reports[0]["count"],
        "unparsed": sum(r["unparsed"] for r in reports),
        "accuracies": accuracies,
        "languages": {k: statistics.fmean(b[k]["accuracy"] for b in by_language) for k in by_language[0]},
        "false_claims": statistics.fmean(rates) if rates else None,
    }


def _interval(values: Sequence[float], own: Any, most: float) -> Any:
    """Student's 95% interval over seeds, between 0 and `most`; of a single seed its `own`."""
    if len(values) == 1:
        return own
    student = float(load_scipy().stats.t.ppf(0.975, len(values) - 1))
    mean, reach = statistics.fmean(values), student * statistics.stdev(values) / len(values) ** 0.5
    return [max(0.0, mean - reach), min(most, mean + reach)]


def _mean(figures: Sequence[Mapping[str, Any]], key: str, most: float) -> dict[str, Any]:
    """One figure over the seeds: its mean under `key`, its interval, and each seed's own."""
    values = [figure[key] for figure in figures]
    return {key: statistics.fmean(values), "interval": _interval(values, figures[0]["interval"], most), "seeds": values}


def _captions(runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """The captions of the first arm, with the other arms among its baselines."""
    found = {}
    for language, figures in next(iter(runs.values()))[0]["captions"].items():
        arms = {arm: _mean_captions([r["captions"][language] for r in reports]) for arm, reports in runs.items()}
        own = arms.pop(next(iter(runs)))
        found[language] = {**own, "count": figures["count"], "baselines": {**arms, **figures["baselines"]}}
    return found


def _mean_captions(seeds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Metrics and fluency of one arm and language over its seeds."""
    faults = {name: _mean([seed["fluency"][name] for seed in seeds], "rate", 1.0) for name in FAULTS}
    return {**{name: _mean([seed[name] for seed in seeds], "value", math.inf) for name in METRICS}, "fluency": faults}


def _retrieval(runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """The first arm's retrieval, with that of all arms over their seeds as `arms`."""
    own = next(iter(runs.values()))[0]["retrieval"]

    def over_seeds(reports: Sequence[Mapping[str, Any]], direction: str) -> dict[str, Any]:
        found = [report["retrieval"][direction] for report in reports]
        return {cut: _mean([seed[cut] for seed in found], "recall", 1.0) for cut in own[direction]}

    arms = {arm: {way: over_seeds(reports, way) for way in DIRECTIONS} for arm, reports in runs.items()}
    return {**own, "arms": arms}


def _samples(spec: ComparisonSpec, main: Path, console: Console) -> list[Any]:
    from sepiola.api import load

    recipe = next(iter(spec.recipes().values()))
    if not recipe.evaluation:
        return []
    examples = read_spec(recipe.evaluation[0])[:120]
    return pick_samples(examples, answer_all(load(main), examples, console, "samples"))


def _link(link: Path, target: Path) -> None:
    """`checkpoint` points at the main arm's, relative, so that the run's folder can be moved."""
    if link.is_symlink():
        link.unlink()
    link.symlink_to(target.relative_to(link.parent))
