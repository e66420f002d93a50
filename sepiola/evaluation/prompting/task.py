"""A prompting benchmark: how its rows are laid out as text, where its shots come from, and how an answer is scored.

The setting is GPT-3's (Brown et al., 2020, arXiv 2005.14165): the model is shown K solved questions (zero, one or a
few shots) and the tested one, and no weight changes. It then chooses among options by their likelihood, or is scored
on the very answer, or writes one that is read and compared.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from sepiola.data.example import Example, Message, Question
from sepiola.errors import DataError
from sepiola.generation.text_scorer import OnDone, TextScorer
from sepiola.reasoning.answer import Answer

Label = TypeVar("Label", int, str)

SEPARATOR = "\n\n"
"""What stands after each shot."""


@dataclass(frozen=True)
class PromptItem:
    """One question as text: `prompt` is all up to the answer, and `answer` is what a shot shows after it.

    `options` are the texts to choose among, `answer` one of them; `references` are the answers that count as right
    when one is written. `head` opens the whole prompt, before any shot. Shots come from the same `group` (a subject, a
    task).
    """

    id: str
    prompt: str
    answer: str
    options: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    head: str = ""
    group: str = ""

    def to_example(self) -> Example:
        """The item without shots as an example: what is asked, what is right, and the rest in its metadata."""
        answer = self.options.index(self.answer) if self.options else None
        question = Question(self.prompt, self.options, answer, self.answer)
        known = {"references": list(self.references), "head": self.head, "group": self.group}
        return Example(self.id, (Message("user", (self.head + self.prompt,)),), self.answer, question, known)

    @classmethod
    def of(cls, example: Example) -> PromptItem:
        """The item that `to_example` made an example of."""
        question, known = example.question, example.metadata
        if question is None or "references" not in known:
            raise DataError(f"example '{example.id}': expected an item of a prompting benchmark")
        references, head, group = tuple(known["references"]), known["head"], known["group"]
        return cls(example.id, question.text, example.target, question.choices, references, head, group)


@dataclass(frozen=True)
class PromptSet:
    """The items to be tested, and those that shots are taken from."""

    tested: tuple[PromptItem, ...]
    shots: tuple[PromptItem, ...]


@dataclass(frozen=True)
class PromptOutcome:
    """What a model did with an item.

    `output` is the option that it chose or the text that it wrote, `answer` what was read from that (None: nothing
    could be), `scores` those of the options, or the log-likelihood of the answer.
    """

    metrics: Mapping[str, float]
    output: str
    answer: str | None
    scores: tuple[float, ...] = ()


class Scoring(Protocol):
    """How a benchmark is scored. The first of an outcome's metrics is the one that tables show."""

    def ask(
        self, text_scorer: TextScorer, prompts: Sequence[str], items: Sequence[PromptItem], on_done: OnDone = None
    ) -> list[PromptOutcome]:
        """What the model does with each item after its prompt."""
        ...

    def room(self, text_scorer: TextScorer, item: PromptItem) -> int:
        """How many tokens the model may have to read after the prompt."""
        ...

    def guess(self, items: Sequence[PromptItem]) -> Callable[[PromptItem], dict[str, float]]:
        """The metrics of guessing the commonest answer of these items, of the item given."""
        ...

    def reward(self, item: PromptItem, answer: Answer) -> float:
        """The first metric of an answer without shots: of its text, or of its choice among options."""
        ...


@dataclass(frozen=True)
class Choose:
    """The likeliest option counts: the sum of its tokens' log-probabilities, or that by byte of its text."""

    per_byte: bool = False

    def ask(
        self, text_scorer: TextScorer, prompts: Sequence[str], items: Sequence[PromptItem], on_done: OnDone = None
    ) -> list[PromptOutcome]:
        pairs = [(prompt, option) for prompt, item in zip(prompts, items, strict=True) for option in item.options]
        scored = iter(text_scorer.score(pairs, on_done))
        outcomes = []
        for item in items:
            scores = tuple(next(scored).log_likelihood / self._size(option) for option in item.options)
            best = max(range(len(scores)), key=scores.__getitem__)
            chosen = item.options[best].strip()
            outcomes.append(PromptOutcome(self.judge(item, best), chosen, chosen, scores))
        return outcomes

    def room(self, text_scorer: TextScorer, item: PromptItem) -> int:
        return max(len(text_scorer.tokenizer.encode(option)) for option in item.options) - 1

    def guess(self, items: Sequence[PromptItem]) -> Callable[[PromptItem], dict[str, float]]:
        commonest = _commonest(item.options.index(item.answer) for item in items)
        return lambda item: self.judge(item, commonest)

    def reward(self, item: PromptItem, answer: Answer) -> float:
        return float(answer.choice == item.options.index(item.answer))

    def judge(self, item: PromptItem, choice: int) -> dict[str, float]:
        """The metrics of the option that was chosen."""
        return {"accuracy": float(choice == item.options.index(item.answer))}

    def _size(self, option: str) -> int:
        return len(option.strip().encode()) if self.per_byte else 1


@dataclass(frozen=True)
class Predict:
    """The very answer counts: whether greedy decoding writes it, and its log-likelihood (for the perplexity)."""

    def ask(
        self, text_scorer: TextScorer, prompts: Sequence[str], items: Sequence[PromptItem], on_done: OnDone = None
    ) -> list[PromptOutcome]:
        scored = text_scorer.score([(p, i.answer) for p, i in zip(prompts, items, strict=True)], on_done)
        outcomes = []
        for item, (likely, greedy) in zip(items, scored, strict=True):
            written = item.answer.strip() if greedy else ""
            metrics = {"accuracy": float(greedy), "log_likelihood": likely}
            outcomes.append(PromptOutcome(metrics, written, written, (likely,)))
        return outcomes

    def room(self, text_scorer: TextScorer, item: PromptItem) -> int:
        return len(text_scorer.tokenizer.encode(item.answer)) - 1

    def guess(self, items: Sequence[PromptItem]) -> Callable[[PromptItem], dict[str, float]]:
        commonest = _commonest(item.answer for item in items)
        return lambda item: {"accuracy": float(commonest == item.answer)}

    def reward(self, item: PromptItem, answer: Answer) -> float:
        return float(answer.output.strip() == item.answer.strip())


@dataclass(frozen=True)
class Generate:
    """What the model writes counts, decoded greedily up to a stop string or `tokens` tokens.

    A model with few positions writes half of them at most. `read` finds the answer in it (None when there is none),
    `compare` gives the metrics of an answer beside the references.
    """

    stops: tuple[str, ...]
    tokens: int
    read: Callable[[str], str | None]
    compare: Callable[[str, Sequence[str]], dict[str, float]]

    def ask(
        self, text_scorer: TextScorer, prompts: Sequence[str], items: Sequence[PromptItem], on_done: OnDone = None
    ) -> list[PromptOutcome]:
        tokens = self._most(text_scorer)
        outputs = text_scorer.generate(prompts, max_tokens=tokens, stops=self.stops, on_done=on_done)
        answers = [self.read(output) for output in outputs]
        return [
            PromptOutcome(self.compare(answer or "", item.references), output, answer)
            for item, output, answer in zip(items, outputs, answers, strict=True)
        ]

    def room(self, text_scorer: TextScorer, item: PromptItem) -> int:
        return self._most(text_scorer)

    def guess(self, items: Sequence[PromptItem]) -> Callable[[PromptItem], dict[str, float]]:
        commonest = _commonest(item.references[0] for item in items)
        return lambda item: self.compare(commonest, item.references)

    def reward(self, item: PromptItem, answer: Answer) -> float:
        return next(iter(self.compare(self.read(answer.output) or "", item.references).values()))

    def _most(self, text_scorer: TextScorer) -> int:
        return min(self.tokens, text_scorer.length // 2)


def _commonest(answers: Iterable[Label]) -> Label:
    return Counter(answers).most_common(1)[0][0]


@dataclass(frozen=True)
class Task:
    """One benchmark. `split` is the set that is tested; `read` takes the folder of its files.

    `fixed` shots are the first of their group, in their order, as the benchmark's authors have them; otherwise each
    item draws its own, as in GPT-3. `buckets` names what a group is.
    """

    split: str
    read: Callable[[Path], PromptSet]
    scoring: Scoring
    fixed: bool = False
    buckets: str = ""
