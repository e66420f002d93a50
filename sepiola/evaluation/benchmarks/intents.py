"""Intents: requests to a voice assistant, each of one of many intents or out of scope (CLINC150, EMNLP 2019).

A classifier names the likeliest intent, and rejects what it is not sure to be in scope: below one threshold, found on
the validation split. Its score is the evidence for all intents (`sepiola.reasoning.answer`).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

from sepiola.data.example import Example
from sepiola.errors import DataError
from sepiola.evaluation.baselines.intents import Sureness, intent_baselines
from sepiola.evaluation.benchmarks.answering import answer_all
from sepiola.evaluation.benchmarks.contract import Measurement
from sepiola.evaluation.benchmarks.settings import MeasuredModel, Settings
from sepiola.evaluation.figures import Figures, Headline, Table
from sepiola.evaluation.metrics.accuracy import accuracy
from sepiola.evaluation.metrics.intents import COST, FIGURES, Sorted, intent_figures, intent_tables, threshold_of
from sepiola.evaluation.metrics.seeds import accuracy_rows, interval_over_seeds
from sepiola.reasoning.answer import Answer

VALIDATION = "val"


class Intents:
    """Any set whose questions hold an `intent`, and are `irrelevant` where it is none of the model's."""

    split = "test"
    takes: Sequence[str] = ("option",)

    def measures(self, model: MeasuredModel, settings: Settings) -> bool:
        return bool(model.spec.labels and settings.examples) and all(map(_has_intent, settings.examples))

    def run(self, model: MeasuredModel, settings: Settings) -> Measurement:
        sets = {"asked": settings.examples, VALIDATION: self._validation(settings)}
        answers = {name: answer_all(model, examples, settings) for name, examples in sets.items()}
        choices, outside = model.spec.labels, _outside([*sets["asked"], *sets[VALIDATION]])
        sure = {name: [_sureness(answer, choices, outside) for answer in some] for name, some in answers.items()}
        intents, threshold = _measured(sets, sure, settings.seed)
        known, missing = settings.learnable(settings.data.reader)
        train = [e for e in known if _has_intent(e) and not e.metadata["irrelevant"]]
        baselines: Figures = {}
        if train:
            texts, learnt = [_text(e) for e in train], [str(e.metadata["intent"]) for e in train]
            asked = {name: [_text(e) for e in examples] for name, examples in sets.items()}
            found = intent_baselines(texts, learnt, asked)
            baselines = {name: _measured(sets, rows, settings.seed)[0] for name, rows in found.items()}
        decided = [
            _decided(answer, choices, one, outside, threshold)
            for answer, one in zip(answers["asked"], sure["asked"], strict=True)
        ]
        figures: Figures = {
            **accuracy(sets["asked"], decided).to_dict(),
            "prompts_cut": sum(answer.prompt_cut for answer in decided),
            "buckets": {},
            "baselines": {},
            "intents": {**intents, "cost": COST, "seed": settings.seed, "threshold_from": VALIDATION,
                        "baselines": baselines},
        }  # fmt: skip
        if missing:
            figures["baselines_left_out"] = {"baselines": "majority, linear", "reason": missing}
        return Measurement(figures, list(zip(sets["asked"], decided, strict=True)))

    def _validation(self, settings: Settings) -> Sequence[Example]:
        spec = settings.data.model_copy(update={"split": VALIDATION, "count": None})
        examples = settings.read(spec)
        if not all(map(_has_intent, examples)):
            raise DataError(f"{spec.reader} {VALIDATION}: a request without an intent; the threshold is found on it")
        return examples

    def tables(self, figures: Figures) -> list[Table]:
        return intent_tables(figures)

    def headlines(self, figures: Figures) -> list[Headline]:
        found = figures["intents"]
        return [
            {"name": name, "value": f"{100 * found[key]['value']:.1f}%", "note": f"of {found[key]['count']:,} requests"}
            for key, name in (("in_scope", "In scope"), ("recall", "Out of scope: recall"))
        ]

    def merge(self, arms: Mapping[str, Sequence[Figures]]) -> Figures:
        """The first arm's figures, with those of all arms over their seeds as `arms`."""
        over_seeds = {name: _over_seeds([seed["intents"] for seed in seeds]) for name, seeds in arms.items()}
        first = next(iter(arms.values()))[0]["intents"]
        return {"rows": accuracy_rows(arms), "intents": {**first, "arms": over_seeds}}

    def reward(self, example: Example, answer: Answer) -> float | None:
        """1 for the right intent, or for rejecting what has none; None where it is not known."""
        question = example.question
        return None if question is None or question.answer is None else float(answer.choice == question.answer)


def _has_intent(example: Example) -> bool:
    question = example.question
    return question is not None and question.answer is not None and {"intent", "irrelevant"} <= example.metadata.keys()


def _text(example: Example) -> str:
    assert example.question is not None
    return example.question.text


def _outside(examples: Sequence[Example]) -> str:
    """The choice that stands for no intent: what requests out of scope are labelled by."""
    names = {str(e.metadata["intent"]) for e in examples if e.metadata["irrelevant"]}
    if len(names) != 1:
        raise DataError(
            f"requests out of scope are labelled by {', '.join(sorted(names)) or 'nothing, for there are none'}; "
            "intents are measured on requests in scope and out of it, and those have one label"
        )
    return names.pop()


def _sureness(answer: Answer, choices: Sequence[str], outside: str) -> Sureness:
    """The likeliest intent, and the log of the sum of the exponentials of all intents' logits."""
    assert answer.probabilities is not None and answer.evidence is not None
    shares = {c: p for c, p in zip(choices, answer.probabilities, strict=True) if c != outside}
    total = sum(shares.values())
    score = answer.evidence + math.log(total) if total > 0 else -math.inf
    return max(shares, key=shares.__getitem__), score


def _decided(answer: Answer, choices: Sequence[str], sure: Sureness, outside: str, threshold: float) -> Answer:
    """The answer at the threshold: the likeliest intent, or that there is none."""
    intent, score = sure
    chosen = intent if score >= threshold else outside
    return dataclasses.replace(answer, output=chosen, choice=choices.index(chosen))


def _measured(
    sets: Mapping[str, Sequence[Example]], sure: Mapping[str, Sequence[Sureness]], seed: int
) -> tuple[Figures, float]:
    """The figures at the threshold of the validation split, with that split's own beside them, and the threshold."""
    rows = {
        name: Sorted.of(
            [
                (score, not e.metadata["irrelevant"], intent == e.metadata["intent"])
                for e, (intent, score) in zip(sets[name], sure[name], strict=True)
            ]
        )
        for name in sets
    }
    threshold = threshold_of(rows[VALIDATION])
    figures, validation = (intent_figures(rows[name], threshold, seed=seed) for name in ("asked", VALIDATION))
    return {**figures, "threshold": threshold, "validation": validation}, threshold


def _over_seeds(seeds: Sequence[Figures]) -> Figures:
    """Each figure's mean over the seeds, with its interval and each seed's own."""
    merged: Figures = {}
    for key in FIGURES:
        values = [seed[key]["value"] for seed in seeds if seed[key]["value"] is not None]
        mean = sum(values) / len(values) if values else None
        interval = interval_over_seeds(values, seeds[0][key]["interval"], 1.0) if values else None
        merged[key] = {"value": mean, "interval": interval, "count": seeds[0][key]["count"], "seeds": values}
    return merged


BENCHMARK = Intents()
