"""What further chains gain: accuracy over their number by each way to vote, beside an oracle that is right where any
chain is; what stopping early saves; and the temperature that makes a probability of their agreement.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import asdict

from sepiola.data.example import Example
from sepiola.evaluation.figures import Cell, Column, Figures, Line, Table
from sepiola.evaluation.metrics.accuracy import Accuracy, difference_of, join_by_id, verdicts
from sepiola.evaluation.metrics.confidence import fitted_temperature
from sepiola.reasoning.answer import Answer, Chain
from sepiola.reasoning.chains import confidence_of, vote
from sepiola.reasoning.votes import lead
from sepiola.specs.strategy import SelfConsistencySpec

STOP = 0.95
"""The probability of the lead at which early stopping is measured where the strategy names none."""

Asked = tuple[Example, Sequence[Chain], Sequence[bool]]
"""A question, its chains, and which of them are right."""


def chain_figures(examples: Sequence[Example], answers: Sequence[Answer], spec: SelfConsistencySpec) -> Figures:
    """`votes`: by name, points of `chains`, accuracy and interval, of the first chains of each question; `tokens`: the
    mean that those chains wrote; `gain` of all over one, paired; `closed`: the share of the way from the plain vote to
    the oracle that the verifier goes; `adaptive`: accuracy and tokens where chains stop at a lead; `temperature`: the
    one that suits these answers.
    """
    asked = [_asked(example, answer) for example, answer in join_by_id(examples, answers)]
    most = max(len(chains) for _, chains, _ in asked)
    numbers = [n for n in (1, 2, 4, 8, 16, 32, 64, 128, 256, 512) if n < most] + [most]
    ways = {"plain": _voting(spec, "plain"), "weighted": _voting(spec, "weighted")}
    if all(chain.score is not None for _, chains, _ in asked for chain in chains):
        ways["verifier"] = _voting(spec, "verifier")
    right = {name: {n: [_right(one, way, n) for one in asked] for n in numbers} for name, way in ways.items()}
    right["oracle"] = {n: [any(flags[:n]) for _, _, flags in asked] for n in numbers}
    figures: Figures = {
        "votes": {name: [_point(n, flags) for n, flags in found.items()] for name, found in right.items()},
        "tokens": {str(n): _tokens(asked, [n] * len(asked)) for n in numbers},
        "unparsed": sum(chain.vote is None for _, chains, _ in asked for chain in chains)
        / sum(len(chains) for _, chains, _ in asked),
        "gain": asdict(difference_of(list(zip(right["plain"][most], right["plain"][1], strict=True)))),
        "adaptive": _adaptive(asked, ways["plain"], right["plain"][most]),
        "temperature": agreement_temperature(examples, answers, spec),
    }
    gap = sum(right["oracle"][most]) - sum(right["plain"][most])
    if "verifier" in right and gap:
        figures["closed"] = (sum(right["verifier"][most]) - sum(right["plain"][most])) / gap
    return figures


def agreement_temperature(
    examples: Sequence[Example], answers: Sequence[Answer], spec: SelfConsistencySpec
) -> float | None:
    """The `calibration` under which right answers are likeliest by the votes of their chains; fit it on questions that
    nothing is measured on. None where no chain names an answer.
    """
    asked = [_asked(example, answer) for example, answer in join_by_id(examples, answers)]
    counted = [(one, vote(one[1], spec)) for one in asked]
    counted = [(one, tally) for one, tally in counted if tally.winner is not None]
    if not counted:
        return None

    def loss(temperature: float) -> float:
        total = 0.0
        for (example, chains, flags), tally in counted:
            choices = len(example.question.choices) if example.question is not None else 0
            probabilities, sure = confidence_of(tally, chains, temperature, choices)
            if probabilities is not None and example.question is not None:
                likely = probabilities[example.question.answer or 0]
            else:  # of an open question, the winner is right or another answer is
                likely = sure if flags[tally.speaker or 0] else 1 - sure
            total -= math.log(max(likely, 1e-12))
        return total / len(counted)

    return fitted_temperature(loss)


def chain_tables(figures: Figures) -> list[Table]:
    """Accuracy over the number of chains, a line for each vote."""
    found = figures.get("chains")
    if not found:
        return []
    columns: list[Column] = [
        {"name": str(point["chains"]), "notes": [f"{found['tokens'][str(point['chains'])]:.0f} tokens"]}
        for point in found["votes"]["plain"]
    ]
    lines: list[Line] = [
        {"name": name, "own": name == "plain", "published": False, "cells": [_cell(point) for point in points]}
        for name, points in found["votes"].items()
    ]
    gain, adaptive = found["gain"], found["adaptive"]
    caption = (
        f"All chains over one: {100 * gain['difference']:+.1f} points "
        f"({100 * gain['interval'][0]:+.1f} to {100 * gain['interval'][1]:+.1f}). Stopped at a lead of "
        f"{adaptive['stop']:g}: {100 * adaptive['accuracy']:.1f}% with {100 * adaptive['share_of_tokens']:.0f}% of the "
        "tokens."
    )
    note = "Percent, by the number of chains that vote; below each figure its 95% interval."
    return [{"title": "Chains", "columns": columns, "lines": lines, "note": note, "caption": caption}]


def _asked(example: Example, answer: Answer) -> Asked:
    as_answers = [Answer(example.id, chain.text, chain.choice) for chain in answer.chains]
    return example, answer.chains, [verdicts([example], [one])[0].correct for one in as_answers]


def _voting(spec: SelfConsistencySpec, way: str) -> SelfConsistencySpec:
    return spec.model_copy(update={"vote": way})


def _right(one: Asked, spec: SelfConsistencySpec, number: int) -> bool:
    """Whether the first chains vote for what is right. A tie goes by the likelier answer, and then by the first."""
    _, chains, flags = one
    speaker = vote(chains[:number], spec, _named(chains)).speaker
    return speaker is not None and flags[speaker]


def _named(chains: Sequence[Chain]) -> list[Hashable]:
    return [*dict.fromkeys(chain.vote for chain in chains)]


def _tokens(asked: Sequence[Asked], numbers: Sequence[int]) -> float:
    """The mean number of tokens that the first chains of a question wrote."""
    return sum(
        sum(chain.tokens for chain in chains[:n]) for (_, chains, _), n in zip(asked, numbers, strict=True)
    ) / len(asked)


def _adaptive(asked: Sequence[Asked], spec: SelfConsistencySpec, every: Sequence[bool]) -> Figures:
    """What chains that stop would have come to: further chains change nothing about the first ones."""
    stop = spec.stop or STOP
    numbers = []
    for _, chains, _ in asked:
        ends = [*range(spec.round, len(chains), spec.round), len(chains)]
        numbers.append(next((n for n in ends if lead(chains[:n], len(chains) - n) >= stop), len(chains)))
    right = [_right(one, spec, n) for one, n in zip(asked, numbers, strict=True)]
    whole = _tokens(asked, [len(chains) for _, chains, _ in asked])
    tokens = _tokens(asked, numbers)
    return {
        "stop": stop,
        "round": spec.round,
        **_point(sum(numbers) / len(numbers), right),
        "tokens": tokens,
        "share_of_tokens": tokens / whole if whole else 1.0,
        "difference": asdict(difference_of(list(zip(right, every, strict=True)))),
    }


def _point(chains: float, flags: Sequence[bool]) -> Figures:
    counted = Accuracy(sum(flags), len(flags))
    return {"chains": chains, "accuracy": counted.accuracy, "interval": counted.interval, "count": len(flags)}


def _cell(point: Figures) -> Cell:
    low, high = point["interval"]
    return {"value": f"{100 * point['accuracy']:.1f}", "note": f"{100 * low:.1f} to {100 * high:.1f}"}
