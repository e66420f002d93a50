"""Self-consistency (Wang et al., arXiv 2203.11171): several chains of thought are sampled, and their answers vote.

Chains are drawn from one reading of their prompt, each by a seed of its own, so that they are the same whatever shares
the batch. Where the prompt shows options, these stand in another order in each chain: an order is drawn for the
question and turned by one place from chain to chain, so that every option stands equally often in every place and a
prompt is read once an order, not once a chain. A chain's letter is read by its own order.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Protocol

from sepiola.data.example import Example
from sepiola.errors import DataError
from sepiola.generation.row_draws import seed_of
from sepiola.reasoning.answer import Answer, Chain
from sepiola.reasoning.peer import PeerModel, Writes
from sepiola.reasoning.reward import RewardModel, Scores
from sepiola.reasoning.universal import Chooser
from sepiola.reasoning.votes import Tally, calibrated, lead, mean_log_probability, shares, tally, weights_of
from sepiola.specs.strategy import SelfConsistencySpec

TOGETHER = 64
"""Questions that are answered at a time."""
Draw = tuple[int, Example, tuple[int, ...] | None, list[int]]
"""A question's number, the question in one order of its options, that order, and the chains that read it so."""


class Samples(Protocol):
    """A strategy whose answers can be sampled."""

    def prompts(self, example: Example) -> tuple[Example, ...]:
        """The example with the prompt that a chain begins from, and with that of each later stage."""

    def sample(
        self, examples: Sequence[Example], seeds: Sequence[Sequence[int]], *, temperature: float, top_k: int
    ) -> list[list[Chain]]:
        """For each example a chain by each of its seeds."""


class Verifier(Protocol):
    """What scores chains."""

    def replies(self, prompts: Sequence[Example], replies: Sequence[tuple[str, bool]]) -> list[float]:
        """The score of each prompt's reply, which says whether it came to its end."""


class Judge(Scores, Writes, Protocol):
    """A model that is loaded to score chains."""


VERIFIERS: dict[str, Callable[[Judge], Verifier]] = {"verifier": RewardModel.of, "peer": PeerModel}
"""What scores chains by a model, for each vote that asks one."""


class SelfConsistency:
    """Chains of `base` that vote as `spec` says, scored by a `verifier` or chosen by a `chooser` where it says so."""

    def __init__(
        self,
        base: Samples,
        spec: SelfConsistencySpec,
        verifier: Verifier | None = None,
        chooser: Chooser | None = None,
    ) -> None:
        self.base = base
        self.spec = spec
        self.verifier = verifier
        self.chooser = chooser

    def answer(self, examples: Sequence[Example], on_done: Callable[[int], None] | None = None) -> list[Answer]:
        """The winner of each vote, with all chains. Where no chain names an answer, there is no choice, and the output
        is the likeliest chain's text.
        """
        answers: list[Answer] = []
        for start in range(0, len(examples), TOGETHER):
            part = examples[start : start + TOGETHER]
            rows = self.chains(part)
            named = [None] * len(rows) if self.chooser is None else self.chooser.choose(part, rows)
            answers += [self._voted(*one) for one in zip(part, rows, named, strict=True)]
            if on_done is not None:
                on_done(len(part))
        return answers

    def chains(self, examples: Sequence[Example]) -> list[list[Chain]]:
        """The chains of each question: all, or as many as it took until the leader's lead was sure enough."""
        spec = self.spec
        found: list[list[Chain]] = [[] for _ in examples]
        waiting = [*range(len(examples))]
        while waiting:
            draws = [draw for i in waiting for draw in self._draws(i, examples[i], len(found[i]))]
            for i, chains in self._sampled(draws):
                found[i] += chains
            waiting = [
                i
                for i in waiting
                if len(found[i]) < spec.chains
                and (spec.stop is None or lead(found[i], spec.chains - len(found[i])) < spec.stop)
            ]
        return found

    def _draws(self, i: int, example: Example, begin: int) -> Iterator[Draw]:
        """What the next round of a question draws."""
        spec = self.spec
        numbers = range(begin, spec.chains if spec.stop is None else min(spec.chains, begin + spec.round))
        orders = self._orders(example)
        if len(orders) < 2:
            yield i, example, None, [*numbers]
            return
        for turn, order in enumerate(orders):
            mine = [number for number in numbers if number % len(orders) == turn]
            if mine:
                yield i, _reordered(example, order), order, mine

    def _orders(self, example: Example) -> list[tuple[int, ...]]:
        """The orders in which chains read a question's options; one where the prompt does not show them."""
        first = self._first_order(example)
        orders = [(*first[turn:], *first[:turn]) for turn in range(len(first))]
        if not self.spec.shuffle or len(first) < 2:
            return orders[:1]
        shown = {tuple(p.prompt for p in self.base.prompts(_reordered(example, order))) for order in orders[:2]}
        return orders if len(shown) > 1 else orders[:1]

    def _first_order(self, example: Example) -> tuple[int, ...]:
        count = len(example.question.choices) if example.question is not None else 0
        return tuple(random.Random(seed_of(self.spec.seed, example.id, "order")).sample(range(count), count))

    def _sampled(self, draws: Sequence[Draw]) -> Iterator[tuple[int, list[Chain]]]:
        """The chains of each question, in the order of their numbers."""
        spec = self.spec
        seeds = [[seed_of(spec.seed, example.id) + number for number in numbers] for _, example, _, numbers in draws]
        asked = [example for _, example, _, _ in draws]
        rows = self.base.sample(asked, seeds, temperature=spec.temperature, top_k=spec.top_k)
        if self.verifier is not None:
            rows = self._verified(self.verifier, asked, rows)
        found: dict[int, list[tuple[int, Chain]]] = {}
        for (i, _, order, numbers), row in zip(draws, rows, strict=True):
            found.setdefault(i, []).extend((n, _in_order(chain, order)) for n, chain in zip(numbers, row, strict=True))
        for i, numbered in found.items():
            yield i, [chain for _, chain in sorted(numbered, key=lambda pair: pair[0])]

    def _verified(
        self, verifier: Verifier, asked: Sequence[Example], rows: Sequence[Sequence[Chain]]
    ) -> list[list[Chain]]:
        prompts = [self.base.prompts(e)[0] for e, row in zip(asked, rows, strict=True) for _ in row]
        scores = iter(verifier.replies(prompts, [(chain.whole, True) for row in rows for chain in row]))
        return [[dataclasses.replace(chain, score=next(scores)) for chain in row] for row in rows]

    def _voted(self, example: Example, chains: Sequence[Chain], named: int | None) -> Answer:
        counted = vote(chains, self.spec, self._first_order(example))
        if named is not None:
            counted = dataclasses.replace(counted, winner=chains[named].vote, speaker=named)
        choices = len(example.question.choices) if example.question is not None else 0
        speaker = counted.speaker
        if speaker is None:  # nobody can say what was answered
            speaker = max(range(len(chains)), key=lambda n: mean_log_probability(chains[n]))
        said = chains[speaker]
        probabilities, confidence = confidence_of(counted, chains, self.spec.calibration, choices)
        return Answer(
            example.id,
            said.text,
            counted.winner if isinstance(counted.winner, int) else None,
            said.rationale,
            probabilities,
            confidence=confidence,
            chains=tuple(chains),
        )


def vote(chains: Sequence[Chain], spec: SelfConsistencySpec, order: Sequence[Hashable] = ()) -> Tally:
    """The tally of chains as `spec` weighs them; those that a model chooses among count one each. Raises DataError
    where a verifier weighs chains that have no score.
    """
    voting = [number for number, chain in enumerate(chains) if chain.vote is not None]
    weights = [0.0] * len(chains)
    if spec.vote in ("plain", "universal"):
        found = [1.0] * len(voting)
    elif spec.vote == "weighted":
        found = weights_of([mean_log_probability(chains[n]) for n in voting], spec.vote_temperature)
    else:
        scores = [score for n in voting if (score := chains[n].score) is not None]
        if len(scores) < len(voting):
            raise DataError("vote: verifier needs chains that a verifier has scored")
        found = weights_of(scores, spec.vote_temperature)
    for number, weight in zip(voting, found, strict=True):
        weights[number] = weight
    return tally(chains, weights, order)


def confidence_of(
    counted: Tally, chains: Sequence[Chain], temperature: float | None, choices: int
) -> tuple[tuple[float, ...] | None, float]:
    """The probability of each choice of a question that has some, and of the winner: the share of all chains, or what
    a temperature makes of it. 0 where nobody won.
    """
    answers: list[Hashable] = [*range(choices)] or [*counted.weights]
    unparsed = sum(chain.vote is None for chain in chains) / max(1, len(chains))
    found = shares(counted.weights, unparsed, answers)
    if temperature is not None and answers:
        found = calibrated(found, len(chains), temperature, other=None if choices else unparsed)
    if counted.winner is None:
        return None, 0.0
    return tuple(found) if choices else None, found[answers.index(counted.winner)]


def _reordered(example: Example, order: Sequence[int]) -> Example:
    """The example with its options in this order."""
    question = example.question
    if question is None:
        raise DataError(f"{example.id}: chains vote on answers to questions; this example holds messages only")
    answer = None if question.answer is None else list(order).index(question.answer)
    choices = tuple(question.choices[i] for i in order)
    return dataclasses.replace(example, question=dataclasses.replace(question, choices=choices, answer=answer))


def _in_order(chain: Chain, order: tuple[int, ...] | None) -> Chain:
    """The chain with its choice among the question's own options."""
    if order is None:
        return chain
    return dataclasses.replace(chain, choice=None if chain.choice is None else order[chain.choice], order=order)
