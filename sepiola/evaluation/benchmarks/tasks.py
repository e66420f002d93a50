"""Tasks on the phone: an agent is asked one by one, and right is who leaves the phone as the right calls would.

The model acts as `sepiola.Agent` does, in one reply: by functional tokens where it was taught them, else by functions
that its prompt declares. Latency is that of a whole request, from the text to the phone's last change.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rich.progress import Progress

from sepiola.acting.agent import TOKENS, Agent, KeptGenerator
from sepiola.acting.phone import functions
from sepiola.acting.phone.tasks import Task, task_of
from sepiola.acting.sets import as_taught
from sepiola.calling.functions import Function
from sepiola.calling.policy import Acted, execute
from sepiola.data.example import Example
from sepiola.errors import SpecError
from sepiola.evaluation.benchmarks.acting import calls_of
from sepiola.evaluation.benchmarks.contract import Measurement
from sepiola.evaluation.benchmarks.settings import MeasuredModel, Settings
from sepiola.evaluation.figures import Cell, Figures, Headline, Table
from sepiola.evaluation.metrics.accuracy import wilson_interval
from sepiola.evaluation.metrics.calls import Judged, judged
from sepiola.evaluation.metrics.seeds import accuracy_rows
from sepiola.evaluation.report.buckets import bucket_tables
from sepiola.reasoning.answer import Answer


@dataclass(frozen=True)
class Done:
    """One task, what the agent did, and where that led: its calls, its first call alone, and none."""

    task: Task
    judged: Judged
    acted: Acted
    reached: bool
    by_first: bool
    by_none: bool
    tokens: tuple[int, int]
    milliseconds: float


class Tasks:
    """Whatever the reader `tasks` gives."""

    split = "test"
    takes: Sequence[str] = ("option",)

    def measures(self, model: MeasuredModel, settings: Settings) -> bool:
        return True

    def run(self, model: MeasuredModel, settings: Settings) -> Measurement:
        examples, console = settings.examples, settings.console
        acting = KeptGenerator(model)
        agent = Agent(acting, functions_for(model.processor.functions))
        done, cut = list[Done](), 0
        with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
            for example in progress.track(examples, description=f"acting on {settings.what}"):
                acting.generator.cut.clear()
                done.append(_done(agent, task_of(example)))
                cut += bool(acting.generator.cut)
        unparsed = sum(one.judged.calls is None for one in done)
        baselines = {
            "first_call": _share(done, lambda one: one.by_first),
            "nothing_called": _share(done, lambda one: one.by_none),
        }
        return Measurement(
            {
                **_share(done, lambda one: one.reached),
                "unparsed": unparsed,
                "prompts_cut": cut,
                "baselines": baselines,
                "tasks": {
                    "mode": agent.mode.name,
                    "names": _accuracy([one.judged.name for one in done]),
                    "exact": _accuracy([bool(one.judged.exact) for one in done]),
                    "failed": sum(result.status == "failed" for one in done for result in one.acted.results),
                    "cost": _cost(done),
                },
            }
        )

    def tables(self, figures: Figures) -> list[Table]:
        tasks, cost = figures["tasks"], figures["tasks"]["cost"]
        cells = {"Right functions": _percent(tasks["names"]), "Right calls": _percent(tasks["exact"])}
        notes = [
            f"Percent of {figures['count']:,} tasks; the phone refused {tasks['failed']:,} calls.",
            f"{cost['tokens_in']:.0f} tokens of text in, {cost['tokens_out']:.0f} out.",
            f"{cost['median_ms']:.0f} ms a task at the median, {cost['p95_ms']:.0f} at the 95th percentile.",
        ]
        tables = bucket_tables(figures)
        for table in tables:
            table["title"] = f"Right end states {table['title'].lower()}"
        own: Table = {
            "title": "Calls of the tasks",
            "columns": [{"name": name, "notes": []} for name in cells],
            "lines": [{"name": "This model", "own": True, "published": False, "cells": list(cells.values())}],
            "note": " ".join(notes),
            "caption": " ".join(notes),
        }
        return [*tables, own]

    def headlines(self, figures: Figures) -> list[Headline]:
        return []

    def merge(self, arms: Mapping[str, Sequence[Figures]]) -> Figures:
        """Each arm's accuracy over its seeds, and the calls of the first."""
        return {"rows": accuracy_rows(arms), "tasks": next(iter(arms.values()))[0]["tasks"]}

    def reward(self, example: Example, answer: Answer) -> float | None:
        """1 where calls as JSON lead to the right end; None where the right ones are not known."""
        if "calls" not in example.metadata:
            return None
        task, calls = task_of(example), calls_of(answer.output)
        phone, named = task.phone(), {function.name: function for function in functions()}
        for call in calls or ():
            if call.name in named:
                execute(call, named[call.name], phone)
        return float(calls is not None and task.reached(phone))


def functions_for(known: Sequence[Mapping[str, object]] | None) -> list[Function]:
    """The phone's ten, among the others that a model was taught. Raises SpecError where it was not taught them all."""
    own = {function.name: function for function in functions()}
    if not known:
        return list(own.values())
    missing = own.keys() - {str(entry["name"]) for entry in known}
    if missing:
        raise SpecError(
            f"tasks: they need the phone's functions, and the model was not taught {', '.join(sorted(missing))}; "
            "measure one that was (sepiola train octopus-v3/phone)"
        )
    return [own.get(function.name, function) for function in as_taught(known)]


def _done(agent: Agent, task: Task) -> Done:
    example = task.example
    agent.phone = task.phone()
    began = time.perf_counter()
    acted = agent.run(task.request, example.images, task.today, measured=True)
    milliseconds = 1000 * (time.perf_counter() - began)
    reply = next(line for line in acted.log if "written" in line)
    named = {function.name: function for function in agent.functions}
    first = task.phone()
    for call in acted.calls[:1]:
        execute(call, named[call.name], first)
    encode = agent.model.example_generator(TOKENS).tokenizer.encode
    prompt = agent.prompt(task.request, example.images, task.today)
    return Done(
        task,
        judged(example, None if "error" in reply else acted.calls, agent.functions),
        acted,
        task.reached(agent.phone),
        task.reached(first),
        task.reached(task.phone()),
        (len(encode(prompt.prompt)), len(encode(reply["written"]))),
        milliseconds,
    )


def _cost(done: Sequence[Done]) -> Figures:
    times = sorted(one.milliseconds for one in done)
    return {
        "tokens_in": statistics.fmean(one.tokens[0] for one in done),
        "tokens_out": statistics.fmean(one.tokens[1] for one in done),
        "median_ms": statistics.median(times),
        "p95_ms": times[int(0.95 * (len(times) - 1))],
        "timed": len(times),
    }


def _share(done: Sequence[Done], right: Callable[[Done], bool]) -> Figures:
    """How many are right: of all, by language, and by the number of calls, in each language too."""
    groups: dict[str, dict[str, list[bool]]] = {"language": {}, "calls": {}}
    for one in done:
        language, verdict = str(one.task.example.metadata["language"]), right(one)
        groups["language"].setdefault(language, []).append(verdict)
        for group in ("calls", f"calls_in_{language}"):
            for name in _names(one.task):
                groups.setdefault(group, {}).setdefault(name, []).append(verdict)
    buckets = {
        title: {name: _accuracy(some) for name, some in sorted(groups[title].items())} for title in sorted(groups)
    }
    return {**_accuracy([right(one) for one in done]), "buckets": buckets}


def _names(task: Task) -> list[str]:
    """What a task counts to: those with its number of calls, and those with several; with a picture apart."""
    count = len(task.calls)
    if task.example.images:
        return ["picture"]
    return [f"{count} call{'s' * (count != 1)}", *(["2 to 4 calls"] if count > 1 else [])]


def _accuracy(right: Sequence[bool]) -> Figures:
    low_and_high = list(wilson_interval(sum(right), len(right)))
    return {"accuracy": sum(right) / len(right), "interval": low_and_high, "count": len(right)}


def _percent(figure: Figures) -> Cell:
    low, high = figure["interval"]
    return {"value": f"{100 * figure['accuracy']:.1f}", "note": f"{100 * low:.1f} to {100 * high:.1f}"}


BENCHMARK = Tasks()
