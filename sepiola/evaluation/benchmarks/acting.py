"""Acting: requests whose calls are known, asked under a constraint, so that nothing but calls can be written.

A model that was taught functions writes their tokens (functional mode); any other reads the functions that the example
declares, and calls them by number or writes JSON (declared mode), where a retriever may choose some of them before.
What the constraint earns is measured by asking without it as well.
Latency is measured on the first requests, asked one by one.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import statistics
import time
from collections.abc import Mapping, Sequence

from sepiola.acting.modes import Mode, mode_of
from sepiola.acting.sets import as_taught
from sepiola.calling.functions import Call, Function, declared
from sepiola.data.example import Example, Message
from sepiola.errors import CallError, SepiolaError, SpecError, brief
from sepiola.evaluation.baselines.functions import nearest_functions
from sepiola.evaluation.benchmarks.contract import Measurement
from sepiola.evaluation.benchmarks.settings import MeasuredModel, Settings
from sepiola.evaluation.figures import Figures, Headline, Table
from sepiola.evaluation.metrics.accuracy import wilson_interval
from sepiola.evaluation.metrics.calls import Judged, call_figures, call_tables, judged, share
from sepiola.evaluation.metrics.constraint import constraint_figures, constraint_tables
from sepiola.evaluation.metrics.seeds import accuracy_rows
from sepiola.evaluation.metrics.sight import sight_figures
from sepiola.reasoning.answer import Answer

TOKENS = 160
TIMED = 30
"""Requests that are asked one by one."""
TOGETHER = 256

Offered = tuple[Sequence[Function], Sequence[str] | None]  # functions, and the names of those that may be called


class Acting:
    """Any set whose examples hold `calls`."""

    split = "test"
    takes: Sequence[str] = ("option", "retriever", "top", "one-call", "unconstrained")

    def measures(self, model: MeasuredModel, settings: Settings) -> bool:
        if not asks_for_calls(settings.examples):
            return False
        return bool(model.processor.functions) or all("tools" in e.metadata for e in settings.examples)

    def run(self, model: MeasuredModel, settings: Settings) -> Measurement:
        asking = Asking(model, settings)
        untaught = _untaught(settings.examples, asking.known)
        rows = asking.judged(settings.examples)
        right = [row.right for row in rows]
        figures = call_figures(rows)
        languages: dict[str, list[bool]] = {}
        for row, one in zip(rows, right, strict=True):
            languages.setdefault(str(row.example.metadata.get("language", "other")), []).append(one)
        about = {"mode": asking.mode.name, "cost": asking.cost(), **asking.chosen(settings.examples)}
        if settings.unconstrained:
            about["unconstrained"] = constraint_figures(rows, asking.judged(settings.examples, constrained=False))
        return Measurement(
            {
                **_accuracy(right),
                "unparsed": figures["unparsed"],
                "prompts_cut": len(asking.generator.cut),
                "buckets": {"language": {name: _accuracy(some) for name, some in sorted(languages.items())}},
                "baselines": {},
                "acting": {
                    **figures,
                    **about,
                    "untaught": untaught,
                    "sight": sight_figures(rows, asking.judged) if asking.sees else {},
                },
            }
        )

    def tables(self, figures: Figures) -> list[Table]:
        return [*call_tables(figures), *constraint_tables(figures["acting"].get("unconstrained"))]

    def headlines(self, figures: Figures) -> list[Headline]:
        exact = figures["acting"]["exact"]
        if exact["value"] is None:
            return []
        return [
            {"name": "Exact calls", "value": f"{100 * exact['value']:.1f}%", "note": f"of {exact['count']:,} requests"}
        ]

    def merge(self, arms: Mapping[str, Sequence[Figures]]) -> Figures:
        """Each arm's accuracy over its seeds, and the calls of the first."""
        return {"rows": accuracy_rows(arms), "acting": next(iter(arms.values()))[0]["acting"]}

    def reward(self, example: Example, answer: Answer) -> float | None:
        """1 for the right calls as JSON; None where they are not known."""
        exact = judged(example, calls_of(answer.output)).exact if "calls" in example.metadata else None
        return None if exact is None else float(exact)


def _untaught(examples: Sequence[Example], known: Sequence[Function]) -> int:
    """How many requests call functions that the model was not taught. Raises SpecError where all that call any do."""
    names = {function.name for function in known}
    called = [{str(call["name"]) for call in e.metadata["calls"]} for e in examples if e.metadata["calls"]]
    count = sum(not names >= wanted for wanted in called) if known else 0
    if called and count == len(called):
        wanted = sorted(set().union(*called) - names)
        raise SpecError(
            f"the requests call {brief(', '.join(wanted))}, and the model was taught "
            f"{brief(', '.join(sorted(names)))}: measure it on requests for its own functions, "
            "or a model that reads what a request declares"
        )
    return count


class Asking:
    """A model that is asked for calls, in the mode that it was taught."""

    def __init__(self, model: MeasuredModel, settings: Settings) -> None:
        self.model = model
        self.retriever = settings.retriever
        self.one_call = settings.one_call
        self.mode = mode_of(model.processor.functions)
        self.known = as_taught(model.processor.functions or ())
        self.generator = model.example_generator(TOKENS)
        self.sees = self.generator.image_encoder is not None
        self.times = list[float]()
        self.tokens_in, self.tokens_out = list[int](), list[int]()

    def judged(self, examples: Sequence[Example], *, constrained: bool = True) -> list[Judged]:
        """Every example with its calls. The first ones of all are asked one by one, and timed."""
        offered = [self._offered(example) for example in examples]
        asked = [declaring(e, self.mode.declaration(*some)) for e, some in zip(examples, offered, strict=True)]
        written = self._constrained(asked, offered) if constrained else self._free(asked)
        return [
            judged(
                example,
                _read(text, some, self.mode, example.today),
                some[0] if "allowed" not in example.metadata else (),
            )
            for example, text, some in zip(examples, written, offered, strict=True)
        ]

    def _constrained(self, asked: Sequence[Example], offered: Sequence[Offered]) -> list[str]:
        written = list[str]()
        while len(written) < len(asked):
            place = len(written)
            end = place + (1 if len(self.times) < TIMED else TOGETHER)
            began = time.perf_counter()
            grammars = [
                self.mode.grammar(self.model.vocabulary, *some, _said(example), one_call=self.one_call)
                for example, some in zip(asked[place:end], offered[place:end], strict=True)
            ]
            written += [texts[0] for texts in self.generator.write(asked[place:end], grammar=grammars)]
            if end == place + 1:
                self.times.append(1000 * (time.perf_counter() - began))
        encode = self.generator.tokenizer.encode
        self.tokens_in += [len(encode(example.prompt)) for example in asked]
        self.tokens_out += [len(encode(text)) for text in written]
        return written

    def _free(self, asked: Sequence[Example]) -> list[str]:
        """What the model writes where nothing keeps it from writing anything."""
        return [texts[0] for texts in self.generator.write(asked, special_tokens=self.mode.special_tokens)]

    def cost(self) -> Figures:
        """Tokens of text in and out, and milliseconds of requests that were asked alone."""
        return {
            "tokens_in": statistics.fmean(self.tokens_in),
            "tokens_out": statistics.fmean(self.tokens_out),
            "median_ms": statistics.median(self.times),
            "p95_ms": sorted(self.times)[int(0.95 * (len(self.times) - 1))],
            "timed": len(self.times),
        }

    def chosen(self, examples: Sequence[Example]) -> Figures:
        """How often the right functions are among those that the retriever offers, and how often the one that is
        nearest by TF-IDF is the right one.
        """
        found: Figures = {}
        relevant = [(e, {call["name"] for call in e.metadata["calls"]}) for e in examples if e.metadata["calls"]]
        if self.retriever is not None:
            names = [self._offered(example)[1] for example, _ in relevant]
            found["offered"] = share(
                [called <= set(some or ()) for (_, called), some in zip(relevant, names, strict=True)]
            )
        choices = [(e, called) for e, called in relevant if len(e.metadata.get("tools", ())) > 1]
        if choices:
            try:
                nearest = nearest_functions([example for example, _ in choices])
            except SepiolaError as error:
                return {**found, "nearest_left_out": str(error)}
            right = [
                len(e.metadata["calls"]) == 1 and called == {n} for (e, called), n in zip(choices, nearest, strict=True)
            ]
            found["nearest"] = share(right)
        return found

    def _offered(self, example: Example) -> Offered:
        """The functions, and the names of those that the retriever chooses for the request; all without one."""
        functions = self.known or declared(example.metadata["tools"])
        if self.retriever is None:
            return functions, None
        return functions, self.retriever.choose(example.messages[-1].text, functions)


def asks_for_calls(examples: Sequence[Example]) -> bool:
    """Whether the examples are requests whose calls are known."""
    return bool(examples) and all(e.question is None and "calls" in e.metadata for e in examples)


def declaring(example: Example, declaration: str) -> Example:
    """The example with what is declared before its messages."""
    if not declaration:
        return example
    first, *others = example.messages
    opening = Message(first.role, (declaration, *first.content))
    return dataclasses.replace(example, messages=(opening, *others))


def _said(example: Example) -> str | None:
    """What a call may copy from: pictures may say something else."""
    return None if example.images else example.prompt


def _read(text: str, offered: Offered, mode: Mode, today: datetime.date | None) -> list[Call] | None:
    """The calls of a reply; None for what is none."""
    try:
        return mode.read(text, *offered, today)
    except CallError:
        return None


def calls_of(text: str) -> list[Call] | None:
    """The calls of a reply as JSON; None for what is none."""
    try:
        said = json.loads(text)
        calls = [Call(str(call["name"]), dict(call["arguments"])) for call in said]
    except (ValueError, RecursionError, KeyError, TypeError):
        return None
    return calls if isinstance(said, list) else None


def _accuracy(right: Sequence[bool]) -> Figures:
    return {"accuracy": sum(right) / len(right), "interval": list(wilson_interval(sum(right), len(right))),
            "count": len(right)}  # fmt: skip


BENCHMARK = Acting()
