"""Measures a model on a prompting benchmark: lays out the prompts, asks, and sums up with intervals and baselines.

Shares come with Wilson's 95% interval; F1, the log-likelihood and the perplexity with a percentile bootstrap over
items (1,000 resamples). A prompt that is too long loses whole shots, the first ones; only one that is still too long
without any is cut at its left, a chat model's within the question. Both are counted.
"""

from __future__ import annotations

import math
import os
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sepiola.errors import DataError, SpecError
from sepiola.evaluation.figures import Figures
from sepiola.evaluation.metrics.accuracy import wilson_interval
from sepiola.evaluation.metrics.bootstrap import mean_interval
from sepiola.evaluation.prompting.asking import Asking
from sepiola.evaluation.prompting.item import PromptItem, PromptSet
from sepiola.evaluation.prompting.task import PromptOutcome, Task
from sepiola.generation.chat import Chat
from sepiola.generation.text_scorer import Context, OnDone, TextScorer
from sepiola.specs.base import nearest

SHARES = ("accuracy", "exact_match")


@dataclass(frozen=True)
class PromptResult:
    """One tested item: the whole prompt, the ids of its shots, what came of it, and whether the prompt was cut."""

    item: PromptItem
    prompt: str
    shots: tuple[str, ...]
    outcome: PromptOutcome
    cut: bool = False

    def to_dict(self) -> Figures:
        """Plain data: everything that is needed to judge the judgement."""
        answers = self.item.references or (self.item.answer.strip(),)
        scores = dict(zip(self.item.options or answers, self.outcome.scores, strict=False))
        return {
            "id": self.item.id,
            "shots": list(self.shots),
            "prompt": self.prompt,
            "right": list(answers),
            "scores": scores,
            "output": self.outcome.output,
            "answer": self.outcome.answer,
            **self.outcome.metrics,
        }


def measure(
    task: Task,
    text_scorer: TextScorer,
    root: str | Path,
    *,
    chat: Chat | None = None,
    shots: int = 0,
    count: int | None = None,
    seed: int = 0,
    only: Sequence[str] = (),
    on_done: OnDone = None,
) -> tuple[Figures, list[PromptResult]]:
    """The figures of one task, and what became of each item.

    `root` is the folder of its files. `chat` asks what is a question as a conversation. `count` items are drawn by
    `seed`, all without it; `only` names the subjects or tasks to test. Raises SpecError for an unknown group or more
    shots than there are, and DataError for files that cannot be read.
    """
    rows = task.read(folder_of(root))
    pool = shot_pool(rows)
    kept = {item.id for items in pool.values() for item in items} if shots else set()
    tested = _chosen([item for item in rows.tested if item.id not in kept], count, seed, only)
    asking = Asking(text_scorer, chat if task.scoring.asks else None)
    fitted = [Fitted.of(task, asking, item, shots_of(task, pool, item, shots, seed)) for item in tested]
    outcomes = task.scoring.ask(asking, [one.prompt for one in fitted], tested, on_done)
    results = [
        PromptResult(item, str(one.prompt), tuple(shot.id for shot in one.shots), outcome, one.cut)
        for item, one, outcome in zip(tested, fitted, outcomes, strict=True)
    ]
    left_out = [shots - len(r.shots) for r in results]
    figures = {
        "split": task.split,
        "shots": shots,
        "seed": seed,
        "length": text_scorer.length,
        "chat_template": asking.chat is not None,
        "opening": text_scorer.tokenizer.backend.decode(text_scorer.opening, skip_special_tokens=False),
        "shots_left_out": sum(left_out),
        "prompts_with_fewer_shots": sum(n > 0 for n in left_out),
        "prompts_cut": sum(r.cut for r in results),
        **summary(task, results, seed),
        "baselines": baselines(task, tested, pool),
    }
    return figures, results


def shot_pool(rows: PromptSet) -> dict[str, list[PromptItem]]:
    """The items that may be shots, by group. One that is tested under another id too is left out."""
    tested: dict[tuple[str, tuple[str, ...]], set[str]] = defaultdict(set)
    for item in rows.tested:
        tested[item.prompt, item.options].add(item.id)
    pool: dict[str, list[PromptItem]] = defaultdict(list)
    for item in rows.shots:
        if tested.get((item.prompt, item.options), {item.id}) == {item.id}:
            pool[item.group].append(item)
    return pool


def shots_of(
    task: Task, pool: Mapping[str, Sequence[PromptItem]], item: PromptItem, shots: int, seed: int
) -> list[PromptItem]:
    """The item's shots: the first of its group, or drawn by the seed and its id, so that no other item matters."""
    there = pool.get(item.group, ())
    if shots > len(there):
        where = f" of {task.buckets} '{item.group}'" if item.group else ""
        raise SpecError(f"{shots} shots were asked for, but there are {len(there)}{where}; ask for fewer")
    return list(there[:shots]) if task.fixed else random.Random(f"{seed}:{item.id}").sample(there, shots)


@dataclass(frozen=True)
class Fitted:
    """A prompt as long as the model reads, the shots in it, and whether its question is `cut`."""

    prompt: Context
    shots: Sequence[PromptItem]
    cut: bool

    @classmethod
    def of(cls, task: Task, asking: Asking, item: PromptItem, shots: Sequence[PromptItem]) -> Fitted:
        """With the last of the shots, as many as there is room for before the item."""
        scorer = asking.text_scorer
        room = scorer.length - (task.scoring.room(asking, item) if scorer.engine.causal else 0)
        prompt = asking.lay_out(item, shots)
        while (over := len(scorer.encode(prompt)) > room) and shots:
            shots = shots[1:]
            prompt = asking.lay_out(item, shots)
        return cls(asking.lay_out(asking.shortened(item, room), ()) if over else prompt, shots, over)


def summary(task: Task, results: Sequence[PromptResult], seed: int) -> Figures:
    """`accuracy`, `interval` and `count` of the first metric, over all and by group; every metric with its interval."""
    names = list(results[0].outcome.metrics)
    metrics = {name: _figure(name, [r.outcome.metrics[name] for r in results], seed) for name in names}
    if "log_likelihood" in metrics:
        value, (low, high) = metrics["log_likelihood"]["value"], metrics["log_likelihood"]["interval"]
        metrics["perplexity"] = {"value": _perplexity(value), "interval": [_perplexity(high), _perplexity(low)]}
    groups: dict[str, list[float]] = defaultdict(list)
    for result in results:
        groups[result.item.group].append(result.outcome.metrics[names[0]])
    figures: Figures = {
        **_share([result.outcome.metrics[names[0]] for result in results]),
        "unparsed": sum(result.outcome.answer is None for result in results),
        "metric": names[0],
        "metrics": metrics,
    }
    if task.buckets:
        buckets = {group: _share(values) for group, values in groups.items()}
        figures["average_of_buckets"] = sum(bucket["accuracy"] for bucket in buckets.values()) / len(buckets)
        figures["buckets"] = {task.buckets: buckets}
    return figures


def baselines(task: Task, tested: Sequence[PromptItem], pool: Mapping[str, Sequence[PromptItem]]) -> Figures:
    """What guessing earns: `chance` among the options; `majority`, the commonest answer of the group's shots."""
    guesses: Figures = {}
    if all(item.options for item in tested):
        guesses["chance"] = _share([1 / len(item.options) for item in tested])
    majority = {group: task.scoring.guess(items) for group, items in pool.items()}
    if all(item.group in majority for item in tested):
        judged = [majority[item.group](item) for item in tested]
        guesses["majority"] = _share([next(iter(metrics.values())) for metrics in judged])
    return guesses


def _share(values: Sequence[float]) -> Figures:
    """The share of right answers, expected ones among them, as the picture benchmarks give it."""
    right = min(sum(values), len(values))  # a sum of rounded parts may pass the count
    return {
        "accuracy": right / len(values),
        "interval": list(wilson_interval(right, len(values))),
        "count": len(values),
    }


def _figure(metric: str, values: Sequence[float], seed: int) -> Figures:
    """The mean and its 95% interval."""
    if metric in SHARES:
        share = _share(values)
        return {"value": share["accuracy"], "interval": share["interval"]}
    return {"value": sum(values) / len(values), "interval": mean_interval(values, seed)}


def _perplexity(log_likelihood: float) -> float:
    return math.exp(min(-log_likelihood, 700.0))  # beyond that a float is infinite, which JSON has no word for


def _chosen(items: Sequence[PromptItem], count: int | None, seed: int, only: Sequence[str]) -> list[PromptItem]:
    groups = dict.fromkeys(item.group for item in items)
    for group in only:
        if group not in groups:
            raise SpecError(f"the benchmark has no part '{group}'; {nearest(group, groups)}")
    left = [item for item in items if not only or item.group in only]
    if not left:
        raise DataError("the benchmark's files hold no question; give its folder")
    if count is None or count >= len(left):
        return left
    return [left[i] for i in sorted(random.Random(seed).sample(range(len(left)), count))]


def folder_of(root: str | Path) -> Path:
    """The folder that `root` names. Raises DataError for an environment variable that is not set."""
    expanded = os.path.expandvars(str(root))
    if "$" in expanded:
        raise DataError(f"data '{root}': the environment variable is not set; set it to the folder of your data")
    return Path(expanded).expanduser()
