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
from typing import ClassVar, Protocol, TypeVar

from sepiola.evaluation.prompting.asking import Asking
from sepiola.evaluation.prompting.item import PromptItem, PromptSet
from sepiola.generation.text_scorer import Context, OnDone
from sepiola.reasoning.answer import Answer

Label = TypeVar("Label", int, str)


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
    """How a benchmark is scored. The first of an outcome's metrics is the one that tables show.

    `asks` says that a question is asked, which a chat model gets in its template; a text that goes on is none.
    """

    @property
    def asks(self) -> bool: ...

    def ask(
        self, asking: Asking, prompts: Sequence[Context], items: Sequence[PromptItem], on_done: OnDone = None
    ) -> list[PromptOutcome]:
        """What the model does with each item after its prompt."""
        ...

    def room(self, asking: Asking, item: PromptItem) -> int:
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
    asks: ClassVar[bool] = True

    def ask(
        self, asking: Asking, prompts: Sequence[Context], items: Sequence[PromptItem], on_done: OnDone = None
    ) -> list[PromptOutcome]:
        pairs = [(prompt, option) for prompt, item in zip(prompts, items, strict=True) for option in item.options]
        scored = iter(asking.score(pairs, on_done))
        outcomes = []
        for item in items:
            scores = tuple(next(scored).log_likelihood / self._size(option) for option in item.options)
            best = max(range(len(scores)), key=scores.__getitem__)
            chosen = item.options[best].strip()
            outcomes.append(PromptOutcome(self.judge(item, best), chosen, chosen, scores))
        return outcomes

    def room(self, asking: Asking, item: PromptItem) -> int:
        return max(asking.tokens(option) for option in item.options) - 1

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

    asks: ClassVar[bool] = False

    def ask(
        self, asking: Asking, prompts: Sequence[Context], items: Sequence[PromptItem], on_done: OnDone = None
    ) -> list[PromptOutcome]:
        scored = asking.score([(p, i.answer) for p, i in zip(prompts, items, strict=True)], on_done)
        outcomes = []
        for item, (likely, greedy) in zip(items, scored, strict=True):
            written = item.answer.strip() if greedy else ""
            metrics = {"accuracy": float(greedy), "log_likelihood": likely}
            outcomes.append(PromptOutcome(metrics, written, written, (likely,)))
        return outcomes

    def room(self, asking: Asking, item: PromptItem) -> int:
        return asking.tokens(item.answer) - 1

    def guess(self, items: Sequence[PromptItem]) -> Callable[[PromptItem], dict[str, float]]:
        commonest = _commonest(item.answer for item in items)
        return lambda item: {"accuracy": float(commonest == item.answer)}

    def reward(self, item: PromptItem, answer: Answer) -> float:
        return float(answer.output.strip() == item.answer.strip())


@dataclass(frozen=True)
class Generate:
    """What the model writes counts, decoded greedily up to a stop string or `tokens` tokens.

    A model with few positions writes half of them at most. A chat model's turn ends by itself, at no stop string.
    `read` finds the answer to an item in it (None when there is none), `compare` gives the metrics of an answer beside
    the references.
    """

    stops: tuple[str, ...]
    tokens: int
    read: Callable[[str, PromptItem], str | None]
    compare: Callable[[str, Sequence[str]], dict[str, float]]
    asks: ClassVar[bool] = True

    def ask(
        self, asking: Asking, prompts: Sequence[Context], items: Sequence[PromptItem], on_done: OnDone = None
    ) -> list[PromptOutcome]:
        tokens = self._most(asking)
        outputs = asking.generate(prompts, max_tokens=tokens, stops=self.stops, on_done=on_done)
        answers = [self.read(output, item) for output, item in zip(outputs, items, strict=True)]
        return [
            PromptOutcome(self.compare(answer or "", item.references), output, answer)
            for item, output, answer in zip(items, outputs, answers, strict=True)
        ]

    def room(self, asking: Asking, item: PromptItem) -> int:
        return self._most(asking)

    def guess(self, items: Sequence[PromptItem]) -> Callable[[PromptItem], dict[str, float]]:
        commonest = _commonest(item.references[0] for item in items)
        return lambda item: self.compare(commonest, item.references)

    def reward(self, item: PromptItem, answer: Answer) -> float:
        return next(iter(self.compare(self.read(answer.output, item) or "", item.references).values()))

    def _most(self, asking: Asking) -> int:
        return min(self.tokens, asking.text_scorer.length // 2)


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
