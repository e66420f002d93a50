"""A prompting benchmark: how its rows are laid out as text, where its shots come from, and how an answer is scored.

The setting is GPT-3's (Brown et al., 2020, arXiv 2005.14165): the model is shown K solved questions (zero, one or a
few shots) and the tested one, and no weight changes. It then chooses among options by their likelihood, or is scored
on the very answer, or writes one that is read and compared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from sepiola.generation.text_scorer import OnDone, TextScorer

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


@dataclass(frozen=True)
class Rows:
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

    def label(self, item: PromptItem) -> Any:
        """The right answer as a guesser would name it."""
        ...

    def judge(self, item: PromptItem, label: Any) -> dict[str, float]:
        """The metrics of such a guess."""
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

    def label(self, item: PromptItem) -> int:
        return item.options.index(item.answer)

    def judge(self, item: PromptItem, label: int) -> dict[str, float]:
        return {"accuracy": float(label == self.label(item))}

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

    def label(self, item: PromptItem) -> str:
        return item.answer

    def judge(self, item: PromptItem, label: str) -> dict[str, float]:
        return {"accuracy": float(label == item.answer)}


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
            PromptOutcome(self.judge(item, answer or ""), output, answer)
            for item, output, answer in zip(items, outputs, answers, strict=True)
        ]

    def room(self, text_scorer: TextScorer, item: PromptItem) -> int:
        return self._most(text_scorer)

    def label(self, item: PromptItem) -> str:
        return item.references[0]

    def judge(self, item: PromptItem, label: str) -> dict[str, float]:
        return self.compare(label, item.references)

    def _most(self, text_scorer: TextScorer) -> int:
        return min(self.tokens, text_scorer.length // 2)


@dataclass(frozen=True)
class Task:
    """One benchmark. `split` is the set that is tested; `read` takes the folder of its files.

    `fixed` shots are the first of their group, in their order, as the benchmark's authors have them; otherwise each
    item draws its own, as in GPT-3. `buckets` names what a group is.
    """

    split: str
    read: Callable[[Path], Rows]
    scoring: Scoring
    fixed: bool = False
    buckets: str = ""
