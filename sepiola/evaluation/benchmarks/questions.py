"""Questions with one right answer: accuracy beside baselines, by bucket, and what applies of open answers and
rationales. `Questions` serves as it is; a benchmark with rules of its own overrides a method.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sepiola.data.example import Example
from sepiola.data.sampler import spread
from sepiola.errors import DataError
from sepiola.evaluation.baselines.questions import chance, majority_answers, nearest_neighbour_answers
from sepiola.evaluation.benchmarks.answering import answer_all, few_shot
from sepiola.evaluation.benchmarks.contract import Measurement
from sepiola.evaluation.benchmarks.retrieval import compares
from sepiola.evaluation.benchmarks.settings import MeasuredModel, Settings
from sepiola.evaluation.figures import Figures, Headline, Table
from sepiola.evaluation.metrics.accuracy import accuracy, verdicts
from sepiola.evaluation.metrics.chains import chain_figures, chain_tables
from sepiola.evaluation.metrics.confidence import confidence_figures, confidence_headlines
from sepiola.evaluation.metrics.rationales import rationale_metrics
from sepiola.evaluation.metrics.scienceqa import buckets_by, members_by
from sepiola.evaluation.metrics.seeds import accuracy_rows
from sepiola.evaluation.metrics.vqa import vqa_figures, vqa_tables
from sepiola.evaluation.report.buckets import bucket_tables
from sepiola.reasoning.answer import Answer
from sepiola.reasoning.chains import SelfConsistency

LEARNED = "those that learn from training questions (majority, the text's; chance at open questions)"


class Questions:
    """`buckets` are the metadata keys by which the figures are cut."""

    split = "test"
    takes: Sequence[str] = ("shots", "rices", "option", "strategy")

    def __init__(self, buckets: tuple[str, ...] = ()) -> None:
        self.buckets = buckets

    def measures(self, model: MeasuredModel, settings: Settings) -> bool:
        return not compares(model, settings) and any(e.question is not None for e in settings.examples)

    def run(self, model: MeasuredModel, settings: Settings) -> Measurement:
        curve: Figures = {}
        if settings.few_shot is None:
            examples, answers = settings.examples, answer_all(model, settings.examples, settings)
        else:
            curve["few_shot"], examples, answers = few_shot(model, settings)
        known, missing = settings.learnable(settings.data.reader)
        train = [e for e in known if e.question is not None]
        figures = self.figures(examples, answers, spread(train, settings.baseline_questions or len(train)))
        if missing:
            figures["baselines_left_out"] = {"baselines": LEARNED, "reason": missing}
        strategy = model.strategy() if any(answer.chains for answer in answers) else None
        if isinstance(strategy, SelfConsistency):
            figures["chains"] = chain_figures(examples, answers, strategy.spec)
        return Measurement({**figures, **curve}, list(zip(examples, answers, strict=True)))

    def figures(self, examples: Sequence[Example], answers: Sequence[Answer], train: Sequence[Example] = ()) -> Figures:
        """Accuracy, interval, count, unparsed, buckets, baselines, and what applies of rationales and open answers.

        `train` are the questions that the majority and text baselines learn from. Raises DataError when ids do not
        match.
        """
        figures = accuracy(examples, answers).to_dict()
        figures["prompts_cut"] = sum(answer.prompt_cut for answer in answers)
        figures["buckets"] = self.bucket_figures(examples, answers)
        figures["baselines"] = self._baselines(examples, train)
        if opened := vqa_figures(examples, answers):
            figures["vqa"] = opened
        if sure := confidence_figures(examples, answers):
            figures["confidence"] = sure
        if any(a.rationale is not None for a in answers):
            figures["rationales"] = rationale_metrics(examples, answers)
        return figures

    def bucket_figures(self, examples: Sequence[Example], answers: Sequence[Answer]) -> Figures:
        """The accuracy in each bucket: a table by metadata key."""
        keys = [key for key in self.buckets if any(e.metadata.get(key) is not None for e in examples)]
        return {key: buckets_by(key, examples, answers) for key in keys}

    def bucket_chances(self, examples: Sequence[Example], train: Sequence[Example]) -> Figures:
        """What guessing earns in each bucket, laid out as `bucket_figures` does."""
        tables = {key: members_by(key, examples) for key in self.buckets}
        return {
            key: {value: chance(members, train).to_dict() for value, members in table.items()}
            for key, table in tables.items()
            if table
        }

    def text_baseline(self, train: Sequence[Example], examples: Sequence[Example]) -> tuple[str, list[Answer]]:
        """What a system answers that reads the questions and sees nothing, after its name."""
        return "nearest_neighbour", nearest_neighbour_answers(train, examples)

    def _baselines(self, examples: Sequence[Example], train: Sequence[Example]) -> Figures:
        if not train and any(e.question is not None and not e.question.choices for e in examples):
            return {}  # an open question is guessed among the answers of training
        baselines: Figures = {
            "chance": {**chance(examples, train).to_dict(), "buckets": self.bucket_chances(examples, train)}
        }
        if not train:
            return baselines
        for name, answers in (("majority", majority_answers(train, examples)), self.text_baseline(train, examples)):
            baselines[name] = {
                **accuracy(examples, answers).to_dict(),
                "buckets": self.bucket_figures(examples, answers),
            }
            if opened := vqa_figures(examples, answers):
                baselines[name]["vqa"] = opened
        return baselines

    def tables(self, figures: Figures) -> list[Table]:
        return [*chain_tables(figures), *vqa_tables(figures), *bucket_tables(figures)]

    def headlines(self, figures: Figures) -> list[Headline]:
        headlines = confidence_headlines(figures)
        rationales, claims = figures.get("rationales") or {}, figures.get("hallucination") or {}
        if rationales.get("rougeL") is not None:
            note = f"of {rationales['count']:,} rationales"
            headlines.append({"name": "ROUGE-L", "value": f"{rationales['rougeL']:.1f}", "note": note})
        if claims.get("rate") is not None:
            note = f"of {claims['claims']:,} claims in rationales"
            headlines.append({"name": "False claims", "value": f"{100 * claims['rate']:.1f}%", "note": note})
        return headlines

    def merge(self, arms: Mapping[str, Sequence[Figures]]) -> Figures:
        return {"rows": accuracy_rows(arms)}

    def reward(self, example: Example, answer: Answer) -> float | None:
        """1 for the right choice, or the right text of an open question; None where it is not known."""
        try:
            return float(verdicts([example], [answer])[0].correct)
        except DataError:
            return None
