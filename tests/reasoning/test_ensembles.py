"""How members' answers become one: against sums by hand; what cannot be joined is refused."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from sepiola.checkpoints.store import ENSEMBLE
from sepiola.data.example import Example
from sepiola.errors import CheckpointError, SepiolaError, SpecError
from sepiola.reasoning.answer import Answer
from sepiola.reasoning.ensembles import Ensemble, StrategyScorer, read_ensemble
from sepiola.reasoning.stacking import LEAST
from sepiola.specs.base import Plain, write_yaml
from sepiola.specs.ensemble import CombiningSpec
from tests.tiny import question_example


class Says:
    """A member that answers each example with given probabilities, and the likeliest option's number."""

    def __init__(self, *likely: Sequence[float] | None) -> None:
        self.likely = likely
        self.evidence: float | None = None

    def answer(self, examples: Sequence[Example], on_done: object = None) -> list[Answer]:
        return [
            Answer(e.id, "?", None)
            if own is None
            else Answer(e.id, str(np.argmax(own)), int(np.argmax(own)), None, tuple(own), self.evidence)
            for e, own in zip(examples, self.likely, strict=True)
        ]


def joined(by: Plain, *members: Sequence[float]) -> Answer:
    strategies = [Says(own) for own in members]
    spec = CombiningSpec.parse({"members": len(members), "by": by})
    (answer,) = Ensemble(strategies, spec).answer([question_example("e", "q", ("a",) * len(members[0]))])
    return answer


def test_a_mean_may_choose_what_no_majority_does() -> None:
    answer = joined({"kind": "mean"}, (0.6, 0.4), (0.55, 0.45), (0.05, 0.95))
    assert answer.choice == 1 and answer.output == "1"
    assert answer.probabilities == pytest.approx((0.4, 0.6))


def test_the_evidence_is_the_mean_where_every_member_has_some() -> None:
    def evident(*all_evidence: float | None) -> Answer:
        members = [Says((0.6, 0.4)) for _ in all_evidence]
        for member, own in zip(members, all_evidence, strict=True):
            member.evidence = own
        spec = CombiningSpec.parse({"members": len(members), "by": {"kind": "mean"}})
        (answer,) = Ensemble(members, spec).answer([question_example("e", "q", ("a", "b"))])
        return answer

    assert evident(2.0, -1.0).evidence == pytest.approx(0.5)
    assert evident(2.0, None).evidence is None and evident(None, None).evidence is None


def test_votes_weigh_by_alphas_of_the_questions_number_of_options() -> None:
    alphas = [{2: 1.0, 3: 0.2}, {2: 0.6}, {2: 0.5, 3: 0.1}]
    two = joined({"kind": "votes", "alphas": alphas}, (0.9, 0.1), (0.1, 0.9), (0.4, 0.6))
    assert two.choice == 1 and two.probabilities == pytest.approx((1 / 2.1, 1.1 / 2.1))
    three = joined({"kind": "votes", "alphas": alphas}, (0, 0, 1), (1, 0, 0), (0, 1, 0))
    assert three.choice == 2 and three.probabilities == pytest.approx((0, 1 / 3, 2 / 3))
    unknown = joined({"kind": "votes", "alphas": alphas}, (0.4, 0.3, 0.2, 0.1), (0, 1, 0, 0), (0, 1, 0, 0))
    assert unknown.choice == 1, "where nobody has a vote, all have one"


def test_votes_that_are_even_go_by_probability() -> None:
    answer = joined({"kind": "votes", "alphas": [{2: 1.0}, {2: 1.0}]}, (0.6, 0.4), (0.1, 0.9))
    assert answer.choice == 1 and answer.probabilities == (0.5, 0.5)


def test_stacked_weights_are_of_log_probabilities() -> None:
    answer = joined({"kind": "stacked", "weights": [2.0, -0.5]}, (0.5, 0.25, 0.25), (0.1, 0.9, 0.0))
    raw = [
        2 * math.log(p) - 0.5 * (math.log(q) if q else LEAST)
        for p, q in zip((0.5, 0.25, 0.25), (0.1, 0.9, 0.0), strict=True)
    ]
    assert answer.probabilities == pytest.approx(tuple(np.exp(raw) / np.exp(raw).sum()))


def test_members_without_probabilities_or_with_other_options_are_refused() -> None:
    examples = [question_example("e", "q", ("a", "b"))]
    spec = CombiningSpec.parse({"members": 2, "by": {"kind": "mean"}})
    with pytest.raises(SepiolaError, match="e: answered without a probability"):
        Ensemble([Says((0.5, 0.5)), Says(None)], spec).answer(examples)
    with pytest.raises(SepiolaError, match=r"know \[2, 3\] options"):
        Ensemble([Says((0.5, 0.5)), Says((0.5, 0.3, 0.2))], spec).answer(examples)
    with pytest.raises(SepiolaError, match="without a probability"):
        StrategyScorer(Says(None)).scores(examples)
    assert StrategyScorer(Says((1.0, 0.0))).scores(examples) == [(0.0, LEAST)]


def test_a_folder_that_lacks_members_or_votes_is_refused(tmp_path: Path) -> None:
    assert read_ensemble(tmp_path) is None
    (tmp_path / ENSEMBLE).write_text(write_yaml({"members": 2, "by": {"kind": "mean"}}))
    (tmp_path / "members" / "0").mkdir(parents=True)
    with pytest.raises(CheckpointError, match=r"lacks .*members/1"):
        read_ensemble(tmp_path)
    (tmp_path / ENSEMBLE).write_text(write_yaml({"members": 2, "by": {"kind": "stacked", "weights": [1.0]}}))
    with pytest.raises(SpecError, match="1 entries for 2 members"):
        read_ensemble(tmp_path)
