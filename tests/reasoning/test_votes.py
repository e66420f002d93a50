"""Votes equal those of counting by hand, on many random sets; leads equal those of an urn."""

from __future__ import annotations

import itertools
import math
import random

import pytest

from sepiola.errors import DataError
from sepiola.reasoning.answer import Chain
from sepiola.reasoning.chains import confidence_of, vote
from sepiola.reasoning.votes import calibrated, lead, tally
from sepiola.specs.strategy import SelfConsistencySpec

SPECS = {
    "plain": SelfConsistencySpec(kind="self-consistency"),
    "weighted": SelfConsistencySpec(kind="self-consistency", vote="weighted", vote_temperature=0.3),
    "verifier": SelfConsistencySpec(kind="self-consistency", vote="verifier", verifier="judge", vote_temperature=2.0),
}


def chain(choice: int | None, log_probability: float = -1.0, tokens: int = 4, score: float | None = None) -> Chain:
    return Chain("", choice, log_probability, tokens, score=score)


def drawn(rng: random.Random) -> list[Chain]:
    """Chains whose figures are coarse, so that ties are common."""
    return [
        chain(rng.choice([None, 0, 1, 2, 3]), -float(rng.randint(1, 6)), rng.choice([2, 4]), float(rng.randint(-2, 2)))
        for _ in range(rng.randint(1, 9))
    ]


def by_hand(chains: list[Chain], kind: str, order: list[int]) -> int | None:
    """The winner, found by trying every answer against every other."""
    voting = [c for c in chains if c.choice is not None]
    if not voting:
        return None
    exponents = {
        "plain": [0.0 for _ in voting],
        "weighted": [c.log_probability / c.tokens / 0.3 for c in voting],
        "verifier": [(c.score or 0.0) / 2.0 for c in voting],
    }[kind]
    whole = math.fsum(math.exp(e) for e in exponents)

    def beats(a: int, b: int) -> bool:
        mine, other = (
            math.fsum(math.exp(e) for e, c in zip(exponents, voting, strict=True) if c.choice == one) / whole
            for one in (a, b)
        )
        if abs(mine - other) > 1e-9:
            return mine > other
        mine, other = (sum(c.log_probability for c in voting if c.choice == one) for one in (a, b))
        return mine > other if mine != other else order.index(a) < order.index(b)

    answers = sorted({c.choice for c in voting if c.choice is not None})
    (winner,) = [a for a in answers if all(a == b or beats(a, b) for b in answers)]
    return winner


@pytest.mark.parametrize("kind", SPECS)
def test_votes_equal_brute_force_on_ten_thousand_random_sets(kind: str) -> None:
    rng = random.Random(5)
    for _ in range(10_000):
        chains, order = drawn(rng), rng.sample(range(4), 4)
        assert vote(chains, SPECS[kind], order).winner == by_hand(chains, kind, order)


def test_unparsed_chains_do_not_vote_and_lower_the_confidence() -> None:
    chains = [chain(None)] * 5 + [chain(2), chain(2), chain(1)]
    found = vote(chains, SPECS["plain"])
    assert found.winner == 2 and set(found.weights) == {1, 2}
    probabilities, confidence = confidence_of(found, chains, None, choices=4)
    assert confidence == pytest.approx(2 / 8) and probabilities == pytest.approx((0, 1 / 8, 2 / 8, 0))
    nobody = [chain(None)] * 3
    assert vote(nobody, SPECS["plain"]).winner is None
    assert confidence_of(vote(nobody, SPECS["plain"]), nobody, None, choices=4) == (None, 0.0)


def test_ties_go_to_the_likelier_answer_and_then_by_the_drawn_order() -> None:
    likelier = [chain(0, -3.0), chain(1, -1.0), chain(1, -1.5), chain(0, -0.5)]
    assert vote(likelier, SPECS["plain"], [0, 1]).winner == 1
    equal = [chain(0, -2.0), chain(1, -2.0)]
    assert [vote(equal, SPECS["plain"], order).winner for order in ([0, 1], [1, 0])] == [0, 1]


def test_the_winner_is_spoken_for_by_its_likeliest_chain_a_token() -> None:
    chains = [chain(1, -4.0, 8), chain(0, -0.1, 2), chain(1, -3.0, 2)]
    assert tally(chains, [1.0, 1.0, 1.0]).speaker == 0


def test_open_answers_vote_by_what_they_say() -> None:
    chains = [Chain("It is 4.", None, -1.0, 3, said=said) for said in ("4", "5", "4")] + [chain(None)]
    found = vote(chains, SPECS["plain"])
    assert found.winner == "4"
    assert confidence_of(found, chains, None, choices=0) == (None, pytest.approx(0.5))


def test_a_verifier_must_have_scored_the_chains() -> None:
    with pytest.raises(DataError, match="a verifier has scored"):
        vote([chain(1)], SPECS["verifier"])


def test_the_lead_is_that_of_an_urn_that_is_drawn_from_to_the_end() -> None:
    def urn(first: int, second: int, others: int, more: int) -> float:
        """One ball after the other; each adds one of its colour."""
        if not more:
            return float(first > second) + 0.5 * float(first == second)
        balls = first + second + others + 3
        rest = more - 1
        return (
            (first + 1) * urn(first + 1, second, others, rest)
            + (second + 1) * urn(first, second + 1, others, rest)
            + (others + 1) * urn(first, second, others + 1, rest)
        ) / balls

    for first, second, others, more in itertools.product(range(4), range(4), range(3), range(6)):
        if first >= second >= min(others, 1):
            chains = [chain(0)] * first + [chain(1)] * second + [chain(2 + n) for n in range(others)] + [chain(None)]
            assert lead(chains, more) == pytest.approx(urn(first, second, others, more))


def test_a_temperature_makes_shares_more_or_less_sure_and_keeps_their_order() -> None:
    shares = [0.5, 0.25, 0.25, 0.0]
    sharp, even = (calibrated(shares, 8, temperature) for temperature in (0.25, 1e6))
    assert sum(sharp) == pytest.approx(1) and sharp[0] > 0.8 and sharp[1] == sharp[2] > sharp[3] > 0
    assert even == pytest.approx([0.25] * 4, abs=1e-4)
    assert sum(calibrated([0.5, 0.5], 8, 1.0, other=0.0)) == pytest.approx(1 - 0.5 / 9.5)
