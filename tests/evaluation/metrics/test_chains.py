"""Curves over chains are votes over the first of them; what stops early is what would have been drawn."""

from __future__ import annotations

import random

import pytest

from sepiola.evaluation.metrics.chains import agreement_temperature, chain_figures, chain_tables
from sepiola.reasoning.answer import Answer, Chain
from sepiola.reasoning.chains import vote
from sepiola.specs.strategy import SelfConsistencySpec
from tests.tiny import question_example

SPEC = SelfConsistencySpec(kind="self-consistency", chains=16, vote_temperature=0.5)


def answered(questions: int, chains: int, skill: float, seed: int = 0, *, scores: bool = True) -> tuple[list, list]:
    """Chains that are right as often as a skill of the question's own says; a score is higher for right ones."""
    rng = random.Random(seed)
    examples, answers = [], []
    for i in range(questions):
        own = min(1.0, max(0.0, rng.gauss(skill, 0.25)))
        row = []
        for _ in range(chains):
            right = rng.random() < own
            choice = 0 if right else rng.choice([1, 2, 3, None])
            score = rng.gauss(1.5 if right else 0.0, 1.0) if scores else None
            row.append(Chain("", choice, -rng.random() * 9, 9, score=score))
        examples.append(question_example(str(i), "?", ("a", "b", "c", "d"), 0))
        answers.append(Answer(str(i), "", None, chains=tuple(row)))
    return examples, answers


def test_the_curve_is_the_vote_of_the_first_chains() -> None:
    examples, answers = answered(60, 12, 0.5)
    found = chain_figures(examples, answers, SPEC)
    assert [p["chains"] for p in found["votes"]["plain"]] == [1, 2, 4, 8, 12]
    for name in ("plain", "weighted", "verifier"):
        spec = SPEC.model_copy(update={"vote": name})
        for point in found["votes"][name]:
            right = sum(vote(a.chains[: point["chains"]], spec, range(4)).winner == 0 for a in answers)
            assert point["accuracy"] == pytest.approx(right / 60, abs=1e-9 if point["chains"] % 2 else 0.02)
            assert point["interval"][0] < point["accuracy"] < point["interval"][1] and point["count"] == 60
    oracle = {p["chains"]: p["accuracy"] for p in found["votes"]["oracle"]}
    assert oracle[12] == sum(any(c.choice == 0 for c in a.chains) for a in answers) / 60
    assert found["tokens"] == {str(n): 9.0 * n for n in oracle}
    plain, verified = (found["votes"][name][-1]["accuracy"] for name in ("plain", "verifier"))
    assert found["closed"] == pytest.approx((verified - plain) / (oracle[12] - plain))
    assert found["gain"]["difference"] == pytest.approx(plain - found["votes"]["plain"][0]["accuracy"])
    unparsed = sum(c.choice is None for a in answers for c in a.chains) / (60 * 12)
    assert found["unparsed"] == pytest.approx(unparsed)


def test_chains_without_scores_have_no_verifier() -> None:
    found = chain_figures(*answered(9, 4, 0.5, scores=False), SPEC)
    assert set(found["votes"]) == {"plain", "weighted", "oracle"} and "closed" not in found


def test_stopping_early_saves_tokens_and_costs_little() -> None:
    found = chain_figures(*answered(300, 16, 0.8), SPEC)["adaptive"]
    assert found["stop"] == 0.95 and found["round"] == 4 and 0.25 <= found["share_of_tokens"] < 0.6
    assert abs(found["difference"]["difference"]) < 0.03
    same = chain_figures(*answered(30, 4, 0.8), SPEC)["adaptive"]
    assert same["share_of_tokens"] == 1 and same["difference"]["difference"] == 0


def test_one_temperature_makes_agreement_a_probability() -> None:
    spec = SPEC
    examples, answers = answered(800, 8, 0.55, seed=1)
    temperature = agreement_temperature(examples, answers, spec)
    assert temperature is not None and 0.1 < temperature < 10

    def loss(value: float) -> float:
        from math import log

        from sepiola.reasoning.chains import confidence_of

        found = [confidence_of(vote(a.chains, spec), a.chains, value, 4)[0] for a in answers]
        return -sum(log(p[0]) for p in found if p is not None)

    assert loss(temperature) <= min(loss(temperature * 1.05), loss(temperature / 1.05))
    nobody = [Answer(a.id, "", None, chains=(Chain("", None, -1.0, 1),)) for a in answers[:5]]
    assert agreement_temperature(examples[:5], nobody, spec) is None


def test_the_table_has_a_line_for_each_vote() -> None:
    (table,) = chain_tables({"chains": chain_figures(*answered(20, 4, 0.6), SPEC)})
    assert [line["name"] for line in table["lines"]] == ["plain", "weighted", "verifier", "oracle"]
    assert [column["name"] for column in table["columns"]] == ["1", "2", "4"]
    assert "Stopped at a lead of 0.95" in table["caption"] and chain_tables({}) == []
