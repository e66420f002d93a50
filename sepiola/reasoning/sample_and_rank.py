"""Sample and rank (LaMDA, arXiv 2201.08239): several replies are sampled from one prefill, the model rates each of them
from the same cache, those below an attribute's threshold are dropped, and the best of the others is said.

LaMDA's own choice is 16 candidates by top-k 40, SAFE above a threshold, and the rest ranked by 3 · SENSIBLE + SPECIFIC
+ INTERESTING; here attributes, weights and thresholds are what the model was trained with (`attributes.json`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from sepiola.data.example import Example
from sepiola.data.language import language_of
from sepiola.errors import DataError, SepiolaError, shown
from sepiola.generation.candidates import Candidates
from sepiola.generation.engine import Engine
from sepiola.generation.sampling import Sampling
from sepiola.models.classifier import Classifier
from sepiola.reasoning.answer import Answer
from sepiola.reasoning.rating import Candidate, Judge, Rater, Rates, Turn, attributes_of, judged, turns
from sepiola.specs.rating import AttributeSpec
from sepiola.text.processor import Processor
from sepiola.text.rated_dialogue import RatedDialogue
from sepiola.text.tokenizer import Tokenizer

CANDIDATES = 16
REPLY = 64
"""Tokens of a candidate at most, where nobody says it."""
SAMPLING = Sampling(temperature=1.0, top_k=40)
NOTHING = {"en": "I would rather not answer that.", "zh": "这个我不方便回答。"}
"""What is said where every candidate was dropped, by the dialogue's language."""


@dataclass(frozen=True)
class RankedReply:
    """What is said, and the candidates: those that may be said, best first, then those that were dropped.

    `note` is there where no candidate was left, so that a fixed text is said. `tokens` are what went through the model.
    """

    text: str
    candidates: tuple[Candidate, ...]
    note: str | None
    tokens: Mapping[str, int]


class Converses(Protocol):
    """What sampling and ranking ask of a model."""

    @property
    def engine(self) -> Engine: ...
    @property
    def processor(self) -> Processor: ...
    def require_tokenizer(self) -> Tokenizer: ...


class RatesOrConverses(Rates, Converses, Protocol):
    """What rating asks of a model that may write too."""


class SampleAndRank:
    """One model that generates and rates. Raises SepiolaError for a model that was not taught to rate."""

    def __init__(self, model: Converses, *, candidates: int = CANDIDATES, max_tokens: int = REPLY) -> None:
        attributes = attributes_of(model.processor)
        if candidates < 1:
            raise SepiolaError(f"candidates: got {shown(candidates)}, expected at least 1")
        self.engine = model.engine
        self.attributes: Sequence[AttributeSpec] = attributes
        self.layout = RatedDialogue.of(model.require_tokenizer(), attributes, self.engine.tokens.end)
        self.candidates = candidates
        self.max_tokens = max_tokens

    def rate(self, context: str | Sequence[Turn], replies: Sequence[str]) -> list[dict[str, float]]:
        """The probability of a 1 against a 0 of every attribute, for each reply to a context: its turns, or one text.

        The context is read once. Raises DataError for a context without a turn, and without replies.
        """
        if isinstance(replies, str) or not replies:
            raise DataError(f"replies is {shown(replies)}; expected a list of texts")
        return self._rated(self._read(self.layout.context(turns(context)), replies))

    def reply(self, context: str | Sequence[Turn], sampling: Sampling | None = None) -> RankedReply:
        """Samples, rates, drops and ranks. Without a `sampling`, by temperature 1 and top-k 40."""
        said = turns(context)
        read = self.layout.context(said)
        rows = Candidates(self.engine, read, self.candidates, self.max_tokens)
        written = rows.sample(sampling or SAMPLING, self.engine.ends | {self.layout.response})
        texts = [self.layout.tokenizer.decode(ids).strip() for ids in written]
        rated, spent = self._rated(rows), rows.tokens
        # What is rated is the text that is said: a row that spells it in other tokens than the tokenizer is read anew.
        odd = [row for row, ids in enumerate(self.layout.texts(texts)) if ids != written[row]]
        if odd:
            anew = self._read(read, [texts[row] for row in odd])
            for row, ratings in zip(odd, self._rated(anew), strict=True):
                rated[row] = ratings
            spent = {name: count + anew.tokens[name] for name, count in spent.items()}
        first = {text: place for place, text in reversed([*enumerate(texts)])}
        every = [judged(self.attributes, text, rated[place], texts.count(text)) for text, place in first.items()]
        every.sort(key=lambda candidate: (candidate.dropped is not None, -candidate.score, first[candidate.text]))
        best, language = every[0], "zh" if language_of(said[-1].text) == "zh" else "en"
        note = f"all {len(texts)} candidates were dropped; a fixed text is said" if best.dropped is not None else None
        return RankedReply(NOTHING[language] if note else best.text, tuple(every), note, spent)

    def judge(self, context: str | Sequence[Turn], reply: str) -> Candidate:
        """One given reply, as `reply` judges those that it samples."""
        return judged(self.attributes, reply, self.rate(context, [reply])[0])

    def answer(self, examples: Sequence[Example], on_done: Callable[[int], None] | None = None) -> list[Answer]:
        """The reply to the messages of each example."""
        answers = []
        for example in examples:
            answers.append(Answer(example.id, self.reply(example.messages).text))
            if on_done is not None:
                on_done(1)
        return answers

    def _read(self, context: Sequence[int], replies: Sequence[str]) -> Candidates:
        """Given replies, read over one context."""
        read = self.layout.texts(replies)
        candidates = Candidates(self.engine, context, len(read), max(1, *map(len, read)))
        candidates.take(read)
        return candidates

    def _rated(self, candidates: Candidates) -> list[dict[str, float]]:
        columns = {name: candidates.rate(token, self.layout.ratings) for name, token in self.layout.attributes.items()}
        return [{name: column[row] for name, column in columns.items()} for row in range(len(candidates.context))]


class RatesReplies:
    """The verbs of a model that generates and rates, and of one that rates alone."""

    def rate(self: RatesOrConverses, context: str | Sequence[Turn], replies: Sequence[str]) -> list[dict[str, float]]:
        """How likely each attribute is of each reply to a dialogue: `[{"SENSIBLE": 0.93, "SAFE": 0.99}, …]`.

        The context is its turns, or one text. Raises SepiolaError for a model that was not taught to rate.
        """
        return rater_of(self).rate(context, replies)

    def sample_and_rank(
        self: Converses,
        context: str | Sequence[Turn],
        *,
        candidates: int = CANDIDATES,
        max_tokens: int = REPLY,
        sampling: Sampling | None = None,
    ) -> RankedReply:
        """The best of several sampled replies by the model's own ratings, with all of them and what was dropped."""
        return SampleAndRank(self, candidates=candidates, max_tokens=max_tokens).reply(context, sampling)


def rater_of(model: RatesOrConverses) -> Rater:
    """What rates replies of a model: its classifier, or the decoder that writes them too. Raises SepiolaError for a
    model that was not taught to.
    """
    return Judge(model) if isinstance(model.network, Classifier) else SampleAndRank(model)
