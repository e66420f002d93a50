"""Votes of several chains on one question: what each counts, which answer wins, and when it has won.

Self-consistency (arXiv 2203.11171) counts the answers. A weight from the chain's own likelihood is a softmax over the
question's chains (CISC, arXiv 2502.06233) of the mean log-probability a token: the sum would reward short chains.
Chains that name no answer do not vote.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from sepiola.reasoning.answer import Chain

PRIOR = 0.5
"""Votes that every answer has before the first chain, where the shares become probabilities."""


@dataclass(frozen=True)
class Tally:
    """The answers that chains vote for, with the weights that each got, and the chain that speaks for the winner: the
    likeliest of its own. No winner where no chain votes.
    """

    weights: Mapping[Hashable, float]
    winner: Hashable | None = None
    speaker: int | None = None


def weights_of(scores: Sequence[float], temperature: float) -> list[float]:
    """The softmax of scores over a temperature."""
    most = max(scores, default=0.0)
    powers = [math.exp((score - most) / temperature) for score in scores]
    return [power / sum(powers) for power in powers]


def mean_log_probability(chain: Chain) -> float:
    """Of a token of the chain."""
    return chain.log_probability / max(1, chain.tokens)


def tally(chains: Sequence[Chain], weights: Sequence[float], order: Sequence[Hashable] = ()) -> Tally:
    """Which answer wins by these weights, one a chain. Of equal ones that of the larger summed log-probability, then
    the one that stands first in `order`, then the one that a chain named first.
    """
    totals: dict[Hashable, float] = {}
    likely: dict[Hashable, float] = {}
    speakers: dict[Hashable, int] = {}
    for number, (chain, weight) in enumerate(zip(chains, weights, strict=True)):
        vote = chain.vote
        if vote is None:
            continue
        totals[vote] = totals.get(vote, 0.0) + weight
        likely[vote] = likely.get(vote, 0.0) + chain.log_probability
        best = speakers.setdefault(vote, number)
        if mean_log_probability(chain) > mean_log_probability(chains[best]):
            speakers[vote] = number
    if not totals:
        return Tally({})
    most = max(totals.values())
    tied = [vote for vote, total in totals.items() if math.isclose(total, most, rel_tol=1e-9, abs_tol=1e-12)]
    places = {vote: place for place, vote in reversed([*enumerate(order)])}
    winner = min(tied, key=lambda vote: (-likely[vote], places.get(vote, len(places))))
    return Tally(totals, winner, speakers[winner])


def lead(chains: Sequence[Chain], more: int) -> float:
    """How probable it is that the answer named most often wins against the second once so many `more` chains have
    voted, equal votes counting half; 0.5 where nothing is known.

    As Adaptive-Consistency (arXiv 2305.11860), from a uniform prior over how often the first, the second, and any other
    answer come; but it asks for the outcome of the vote and not of endless chains, for a close race that few chains are
    left to turn need not be run. What comes is then Dirichlet-multinomial.
    """
    counts: dict[Hashable, int] = {}
    for chain in chains:
        if chain.vote is not None:
            counts[chain.vote] = counts.get(chain.vote, 0) + 1
    first, second, *others = sorted((*counts.values(), 0, 0), reverse=True)
    return _wins(first, second, sum(others), more)


@lru_cache(maxsize=1 << 16)
def _wins(first: int, second: int, others: int, more: int) -> float:
    weights = (first + 1, second + 1, others + 1)
    ways = math.comb(sum(weights) + more - 1, more)
    total = 0.0
    for i in range(more + 1):
        for j in range(more - i + 1):
            drawn = (i, j, more - i - j)
            likely = math.prod(math.comb(w + n - 1, n) for w, n in zip(weights, drawn, strict=True)) / ways
            ahead = first + i - second - j
            total += likely * (1.0 if ahead > 0 else 0.5 if ahead == 0 else 0.0)
    return total


def shares(totals: Mapping[Hashable, float], unparsed: float, answers: Sequence[Hashable]) -> list[float]:
    """The share of all chains that each of `answers` has; `unparsed` is the share of those that did not vote."""
    voted = sum(totals.values())
    return [(1 - unparsed) * totals.get(answer, 0.0) / voted if voted else 0.0 for answer in answers]


def calibrated(shares: Sequence[float], count: int, temperature: float, *, other: float | None = None) -> list[float]:
    """Probabilities of answers from their shares of `count` chains: `PRIOR` is added to the votes of each, and the
    logarithm is divided by the temperature. Where the answers are not all that could be, `other` is the share that
    votes for none of them.
    """
    every = [*shares, *([] if other is None else [other])]
    logs = [math.log(share * count + PRIOR) / temperature for share in every]
    return weights_of(logs, 1.0)[: len(shares)]
