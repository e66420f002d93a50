"""Strategies: how an answer is reached. Each takes examples with questions and returns Answers with the same ids.

Direct asks for the answer; one-stage for rationale and answer in one output; two-stage (Multimodal-CoT,
arXiv 2302.00923) lets one model write the rationale and another answer from it, the two joined by id. A classifier
answers by its labels. Where no question is asked, a model replies to the messages as they are, or by the best of
several replies (`sepiola.reasoning.sample_and_rank`).
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import torch
from torch import nn

from sepiola.data.example import Example, Question
from sepiola.errors import CheckpointError, DataError
from sepiola.generation.engine import Engine
from sepiola.generation.example_generator import ExampleGenerator
from sepiola.models.classifier import Classifier
from sepiola.reasoning.answer import Answer
from sepiola.reasoning.sample_and_rank import SampleAndRank
from sepiola.specs.model import ModelSpec
from sepiola.specs.recipe import AnsweringSpec
from sepiola.text.chat_questions import ChatQuestions, format_of
from sepiola.text.classification import ClassificationCollator, classification_samples
from sepiola.text.processor import Processor
from sepiola.text.prompts import PromptFormat, split_rationale
from sepiola.text.tokenizer import Tokenizer

CLASSIFIER_ROWS = 64  # sequences that a classifier reads at once
OnDone = Callable[[int], None] | None


class Direct:
    """Asks for the answer. With `score`, the choice is the most likely option; otherwise the text is parsed."""

    def __init__(self, generator: ExampleGenerator, prompt_format: str, *, score: bool = False) -> None:
        self.generator = generator
        self.format = format_of(prompt_format)
        self.score = score

    def answer(self, examples: Sequence[Example], on_done: OnDone = None) -> list[Answer]:
        return self.answer_from(examples, {}, on_done)

    def answer_from(
        self, examples: Sequence[Example], rationales: Mapping[str, str], on_done: OnDone = None
    ) -> list[Answer]:
        """Answers that read a rationale, by the example's id; the format says whether it shows one."""
        asked = [self.format.apply(e, rationales.get(e.id)) for e in examples]
        if self.score:
            return self._scored(asked, rationales)
        texts = self.generator.write(asked, on_done=on_done)
        return [
            Answer(
                e.id,
                text,
                self.format.parse_answer(text, _question(e)),
                rationales.get(e.id),
                prompt_cut=e.id in self.generator.cut,
            )
            for e, (text,) in zip(asked, texts, strict=True)
        ]

    def _scored(self, asked: Sequence[Example], rationales: Mapping[str, str]) -> list[Answer]:
        options = [_options(e, self.format) for e in asked]
        answers = []
        for example, texts, probabilities in zip(
            asked, options, self.generator.probabilities(asked, options), strict=True
        ):
            best = max(range(len(texts)), key=probabilities.__getitem__)
            cut = example.id in self.generator.cut
            answers.append(
                Answer(example.id, texts[best], best, rationales.get(example.id), probabilities, prompt_cut=cut)
            )
        return answers


class OneStage:
    """Asks for rationale and answer in one output (`QCM-LEA`, `QCM-ALE`).

    With `score`, the choice is the most likely ending after the rationale that was written.
    """

    def __init__(self, generator: ExampleGenerator, prompt_format: str, *, score: bool = False) -> None:
        self.generator = generator
        self.format = PromptFormat.parse(prompt_format)
        self.score = score

    def answer(self, examples: Sequence[Example], on_done: OnDone = None) -> list[Answer]:
        asked = [self.format.apply(e) for e in examples]
        texts = [text for (text,) in self.generator.write(asked, on_done=on_done)]
        answers = [
            Answer(
                e.id,
                text,
                self.format.parse_answer(text, _question(e)),
                split_rationale(text)[0],
                prompt_cut=e.id in self.generator.cut,
            )
            for e, text in zip(asked, texts, strict=True)
        ]
        return [self._scored(e, a) for e, a in zip(asked, answers, strict=True)] if self.score else answers

    def _scored(self, example: Example, answer: Answer) -> Answer:
        question = dataclasses.replace(_question(example), lecture="", solution=answer.rationale or "")
        options = _options(dataclasses.replace(example, question=question), self.format)
        (probabilities,) = self.generator.probabilities([example], [options])
        best = max(range(len(options)), key=probabilities.__getitem__)
        return dataclasses.replace(answer, choice=best, probabilities=probabilities)


class TwoStage:
    """A rationale model, then an answer model that reads what the first wrote."""

    def __init__(self, rationale: ExampleGenerator, rationale_format: str, answer: Direct) -> None:
        self.rationale = rationale
        self.rationale_format = PromptFormat.parse(rationale_format)
        self.second = answer

    def answer(self, examples: Sequence[Example], on_done: OnDone = None) -> list[Answer]:
        return self.second.answer_from(examples, self.rationales(examples, on_done))

    def rationales(self, examples: Sequence[Example], on_done: OnDone = None) -> dict[str, str]:
        """What the first model writes for each example, by id. Raises DataError when two examples share one."""
        ids = {e.id for e in examples}
        if len(ids) != len(examples):
            raise DataError(f"{len(examples) - len(ids)} examples share an id with another; ids join the two stages")
        texts = self.rationale.write([self.rationale_format.apply(e) for e in examples], on_done=on_done)
        return {e.id: split_rationale(text)[0] for e, (text,) in zip(examples, texts, strict=True)}


class Replies:
    """Writes what the messages of examples without a question ask for: captions."""

    def __init__(self, generator: ExampleGenerator) -> None:
        self.generator = generator

    def answer(self, examples: Sequence[Example], on_done: OnDone = None) -> list[Answer]:
        texts = self.generator.write_or_cut(examples, on_done=on_done)
        lost = self.generator.cut
        return [
            Answer(e.id, text, cut=cut, prompt_cut=e.id in lost) for e, (text, cut) in zip(examples, texts, strict=True)
        ]


class ClassifierStrategy:
    """Reads a question's sequences once; the likeliest label or option is the answer.

    Sequences longer than `source_tokens`, or than its model reads, are cut as in training.
    """

    def __init__(self, network: Classifier, tokenizer: Tokenizer, *, source_tokens: int | None = None) -> None:
        self.network = network
        self.tokenizer = tokenizer
        spec = network.spec
        self.source_tokens = min(source_tokens or sys.maxsize, spec.positions.length or sys.maxsize)
        self.collate = ClassificationCollator(
            spec.tokens, network.classifier_spec.tokens, causal=spec.kind == "decoder"
        )

    @torch.inference_mode()
    def answer(self, examples: Sequence[Example], on_done: OnDone = None) -> list[Answer]:
        """Raises DataError when an example lacks what the classifier reads."""
        classifier, device = self.network.classifier_spec, self.network.classifier.weight.device
        whole = classification_samples(examples, self.tokenizer, classifier)
        samples = [sample.cut(self.source_tokens, 1) for sample in whole]
        answers: dict[int, Answer] = {}
        order = sorted(range(len(samples)), key=lambda i: samples[i].length)
        for start in range(0, len(order), CLASSIFIER_ROWS):
            chosen = order[start : start + CLASSIFIER_ROWS]
            batch = self.collate([samples[i] for i in chosen]).to(device)
            states = self.network.states(batch.target, attention_mask=batch.target_mask)
            logits = self.network.read(states, batch.ends, batch.lengths).float()
            shares, evidence = logits.softmax(dim=-1).tolist(), logits.logsumexp(dim=-1).tolist()
            for i, row, sure in zip(chosen, shares, evidence, strict=True):
                question = examples[i].question
                options = classifier.labels or (question.choices if question else ())
                best = max(range(len(options)), key=row.__getitem__)
                probabilities = tuple(row[: len(options)])
                cut = samples[i] is not whole[i]
                answers[i] = Answer(
                    examples[i].id, options[best], best, probabilities=probabilities, evidence=sure, prompt_cut=cut
                )
            if on_done is not None:
                on_done(len(chosen))
        return [answers[i] for i in range(len(examples))]


Strategy = Direct | OneStage | TwoStage | ClassifierStrategy | SampleAndRank


class Answers(Protocol):
    """What a strategy asks of a model."""

    @property
    def spec(self) -> ModelSpec: ...
    @property
    def network(self) -> nn.Module: ...
    @property
    def engine(self) -> Engine: ...
    @property
    def processor(self) -> Processor: ...
    @property
    def rationale(self) -> Answers | None: ...
    def require_tokenizer(self) -> Tokenizer: ...
    def example_generator(self, target_tokens: int, answering: AnsweringSpec | None = None) -> ExampleGenerator: ...


def _direct(model: Answers, answering: AnsweringSpec) -> Direct:
    generator = model.example_generator(answering.answer_tokens, answering)
    return Direct(generator, answering.answer_format, score=answering.by == "score")


def _one_stage(model: Answers, answering: AnsweringSpec) -> OneStage:
    generator = model.example_generator(answering.rationale_tokens + answering.answer_tokens, answering)
    return OneStage(generator, answering.answer_format, score=answering.by == "score")


def _two_stage(model: Answers, answering: AnsweringSpec) -> TwoStage:
    if model.rationale is None or answering.rationale_format is None:
        raise CheckpointError(f"'{model.spec.name}' answers in two stages, but its rationale model is not there")
    writer = model.rationale.example_generator(answering.rationale_tokens, answering)
    return TwoStage(writer, answering.rationale_format, _direct(model, answering))


def _sample_and_rank(model: Answers, answering: AnsweringSpec) -> SampleAndRank:
    return SampleAndRank(model, candidates=answering.candidates, max_tokens=answering.answer_tokens)


def _replies(model: Answers, answering: AnsweringSpec) -> Replies:
    return Replies(model.example_generator(answering.answer_tokens, answering))


STRATEGIES: dict[str, Callable[[Answers, AnsweringSpec], Strategy]] = {
    "direct": _direct,
    "one-stage": _one_stage,
    "two-stage": _two_stage,
    "sample-and-rank": _sample_and_rank,
}
"""How the strategy of each kind is made for a model."""

REPLYING: dict[str, Callable[[Answers, AnsweringSpec], Replies | SampleAndRank]] = {
    **dict.fromkeys(STRATEGIES, _replies),
    "sample-and-rank": _sample_and_rank,
}
"""The same where no question is asked."""


def strategy_of(model: Answers, answering: AnsweringSpec) -> Strategy:
    """How a model answers: a classifier by its labels, another as `answering` says.

    Raises CheckpointError when what the strategy needs is not there.
    """
    if model.spec.classifier is not None and isinstance(model.network, Classifier):
        return ClassifierStrategy(model.network, model.require_tokenizer(), source_tokens=answering.source_tokens)
    return STRATEGIES[answering.kind](model, answering)


def _question(example: Example) -> Question:
    if example.question is None:
        raise DataError(f"{example.id}: strategies answer questions; this example holds messages only")
    return example.question


def _options(example: Example, prompt_format: PromptFormat | ChatQuestions) -> list[str]:
    """The target text of each choice."""
    question = _question(example)
    if not question.choices:
        raise DataError(f"{example.id}: scoring needs choices; answer an open question by generation")
    variants = (dataclasses.replace(question, answer=i) for i in range(len(question.choices)))
    return [prompt_format.target(dataclasses.replace(example, question=v)) for v in variants]
