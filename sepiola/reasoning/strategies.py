"""Strategies: how an answer is reached. Each takes examples with questions and returns Answers with the same ids.

Direct asks for the answer; one-stage for rationale and answer in one output; two-stage (Multimodal-CoT,
arXiv 2302.00923) lets one model write the rationale and another answer from it, the two joined by id. Any of the three
can be sampled, as self-consistency does (`sepiola.reasoning.chains`). A classifier answers by its labels
(`sepiola.reasoning.classifying`). Where no question is asked, a model replies to the messages as they are, or by the
best of several replies (`sepiola.reasoning.sample_and_rank`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from torch import nn

from sepiola.data.example import Example, Question
from sepiola.errors import CheckpointError, DataError, SepiolaError
from sepiola.generation.engine import Engine
from sepiola.generation.example_generator import ExampleGenerator, Sampled
from sepiola.models.classifier import Classifier
from sepiola.models.conditional_logit import ConditionalLogit
from sepiola.models.text_states import TextStates
from sepiola.models.transformer import LanguageModel
from sepiola.reasoning.answer import Answer, Chain
from sepiola.reasoning.chains import SelfConsistency, Verifier
from sepiola.reasoning.choosing import OptionsStrategy
from sepiola.reasoning.classifying import ClassifierStrategy, OnDone
from sepiola.reasoning.ensembles import Ensemble
from sepiola.reasoning.least_to_most import LeastToMost
from sepiola.reasoning.replies import Replies
from sepiola.reasoning.sample_and_rank import CANDIDATES, SampleAndRank
from sepiola.reasoning.universal import CHOICE_TOKENS, Chooser
from sepiola.specs.model import ModelSpec
from sepiola.specs.recipe import AnsweringSpec
from sepiola.specs.strategy import LeastToMostSpec, SampleAndRankSpec, SelfConsistencySpec
from sepiola.text.answers import normalised, read_open
from sepiola.text.chat_questions import ChatQuestions, format_of
from sepiola.text.processor import Processor
from sepiola.text.prompts import PromptFormat, split_rationale
from sepiola.text.tokenizer import Tokenizer


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
            answer = Answer.scored(example.id, texts[best], best, probabilities)
            cut = example.id in self.generator.cut
            answers.append(replace(answer, rationale=rationales.get(example.id), prompt_cut=cut))
        return answers

    def prompts(self, example: Example) -> tuple[Example, ...]:
        """The example as it is asked."""
        return (self.format.apply(example),)

    def sample(
        self, examples: Sequence[Example], seeds: Sequence[Sequence[int]], *, temperature: float, top_k: int
    ) -> list[list[Chain]]:
        """For each example an answer by each of its seeds: written, never scored, for scores are always the same."""
        asked = [self.format.apply(e) for e in examples]
        return self.chains(asked, seeds, temperature=temperature, top_k=top_k)

    def chains(
        self, asked: Sequence[Example], seeds: Sequence[Sequence[int]], *, temperature: float, top_k: int
    ) -> list[list[Chain]]:
        """As `sample`, of examples that are laid out."""
        rows = self.generator.sample(asked, seeds, temperature=temperature, top_k=top_k)
        return [[_chain(text, self.format, e) for text in row] for e, row in zip(asked, rows, strict=True)]


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
        question = replace(_question(example), lecture="", solution=answer.rationale or "")
        options = _options(replace(example, question=question), self.format)
        (probabilities,) = self.generator.probabilities([example], [options])
        best = max(range(len(options)), key=probabilities.__getitem__)
        return replace(answer, choice=best, probabilities=probabilities, confidence=probabilities[best])

    def prompts(self, example: Example) -> tuple[Example, ...]:
        """The example as it is asked."""
        return (self.format.apply(example),)

    def sample(
        self, examples: Sequence[Example], seeds: Sequence[Sequence[int]], *, temperature: float, top_k: int
    ) -> list[list[Chain]]:
        """For each example a rationale by each of its seeds, with the answer that it comes to or that is likeliest
        after it.
        """
        asked = [self.format.apply(e) for e in examples]
        rows = self.generator.sample(asked, seeds, temperature=temperature, top_k=top_k)
        chains = [[_chain(text, self.format, e) for text in row] for e, row in zip(asked, rows, strict=True)]
        if not self.score or not all(_question(e).choices for e in asked):
            return chains
        endings = {(i, chain.rationale or ""): e for i, e in enumerate(asked) for chain in chains[i]}
        reasoned = [
            replace(e, question=replace(_question(e), lecture="", solution=rationale))
            for (_, rationale), e in endings.items()
        ]
        options = [_options(e, self.format) for e in reasoned]
        likely = dict(zip(endings, self.generator.probabilities([*endings.values()], options), strict=True))
        best = {key: max(range(len(chances)), key=chances.__getitem__) for key, chances in likely.items()}
        return [[replace(c, choice=best[i, c.rationale or ""]) for c in row] for i, row in enumerate(chains)]


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

    def prompts(self, example: Example) -> tuple[Example, ...]:
        """The example as the first model is asked, and as the second is but for the rationale."""
        second = self.second.format
        return self.rationale_format.apply(example), second.apply(example, "" if second.takes_rationale else None)

    def sample(
        self, examples: Sequence[Example], seeds: Sequence[Sequence[int]], *, temperature: float, top_k: int
    ) -> list[list[Chain]]:
        """For each example a rationale by each of its seeds, and an answer from it: written, or the likeliest option.

        A prompt of the first model is read once, in however many orders the second is shown the options.
        """
        asked = [self.rationale_format.apply(e) for e in examples]
        firsts: dict[tuple[object, ...], list[int]] = {}
        for i, e in enumerate(asked):
            firsts.setdefault((e.id, e.messages), []).append(i)
        merged = [asked[places[0]] for places in firsts.values()]
        drawn = [[seed for i in places for seed in seeds[i]] for places in firsts.values()]
        texts = self.rationale.sample(merged, drawn, temperature=temperature, top_k=top_k)
        written: dict[tuple[int, int], Sampled] = {}
        for places, row in zip(firsts.values(), texts, strict=True):
            written |= dict(zip([(i, seed) for i in places for seed in seeds[i]], row, strict=True))
        answered: dict[tuple[int, str], list[int]] = {}  # the seeds of each rationale, which is read once
        for (i, seed), text in written.items():
            answered.setdefault((i, split_rationale(text.text)[0]), []).append(seed)
        second = self.second
        prompts = [second.format.apply(examples[i], rationale) for i, rationale in answered]
        found: dict[tuple[int, int], Chain] = {}
        if second.score and all(_question(e).choices for e in prompts):
            options = [_options(e, second.format) for e in prompts]
            likely = second.generator.probabilities(prompts, options)
            for ((i, _), numbers), spoken, chances in zip(answered.items(), options, likely, strict=True):
                best = max(range(len(spoken)), key=chances.__getitem__)
                found |= {
                    (i, seed): Chain(spoken[best], best, math.log(max(chances[best], 1e-30)), 0) for seed in numbers
                }
        else:
            chains = second.chains(prompts, [*answered.values()], temperature=temperature, top_k=top_k)
            for ((i, _), numbers), drawn_chains in zip(answered.items(), chains, strict=True):
                found |= {(i, seed): chain for seed, chain in zip(numbers, drawn_chains, strict=True)}
        return [[_after(written[i, seed], found[i, seed]) for seed in row] for i, row in enumerate(seeds)]


Strategy = (
    Direct
    | OneStage
    | TwoStage
    | ClassifierStrategy
    | OptionsStrategy
    | SampleAndRank
    | SelfConsistency
    | LeastToMost
    | Ensemble
)


class Joins(Protocol):
    """The members of an ensemble."""

    def strategy(self, answering: AnsweringSpec) -> Ensemble: ...


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
    @property
    def ensemble(self) -> Joins | None: ...
    def require_tokenizer(self) -> Tokenizer: ...
    def example_generator(self, target_tokens: int, answering: AnsweringSpec | None = None) -> ExampleGenerator: ...
    def verifier(self, folder: str, vote: str) -> Verifier: ...


def _direct(model: Answers, answering: AnsweringSpec) -> Direct:
    generator = model.example_generator(answering.answer_tokens, answering)
    return Direct(generator, answering.answer_format, score=answering.strategy.by == "score")


def _one_stage(model: Answers, answering: AnsweringSpec) -> OneStage:
    if not format_of(answering.answer_format).gives_rationale:
        asked = f"'{model.spec.name}' is asked by the format {answering.answer_format}"
        raise SepiolaError(f"strategy one-stage: {asked}, which gives no rationale; use direct")
    generator = model.example_generator(answering.rationale_tokens + answering.answer_tokens, answering)
    return OneStage(generator, answering.answer_format, score=answering.strategy.by == "score")


def _two_stage(model: Answers, answering: AnsweringSpec) -> TwoStage:
    if model.rationale is None or answering.rationale_format is None:
        raise CheckpointError(f"'{model.spec.name}' answers in two stages, but its rationale model is not there")
    writer = model.rationale.example_generator(answering.rationale_tokens, answering)
    return TwoStage(writer, answering.rationale_format, _direct(model, answering))


def _sample_and_rank(model: Answers, answering: AnsweringSpec) -> SampleAndRank:
    spec = answering.strategy
    candidates = spec.candidates if isinstance(spec, SampleAndRankSpec) else CANDIDATES
    return SampleAndRank(model, candidates=candidates, max_tokens=answering.answer_tokens)


def _self_consistency(model: Answers, answering: AnsweringSpec) -> SelfConsistency:
    """Over two stages where a rationale model is there."""
    spec = answering.strategy
    assert isinstance(spec, SelfConsistencySpec)
    make = _two_stage if answering.rationale_format is not None else _one_output
    verifier = None if spec.verifier is None else model.verifier(spec.verifier, spec.vote)
    chooser = Chooser(model.example_generator(CHOICE_TOKENS, answering)) if spec.vote == "universal" else None
    return SelfConsistency(make(model, answering), spec, verifier, chooser)


def _least_to_most(model: Answers, answering: AnsweringSpec) -> LeastToMost:
    spec = answering.strategy
    assert isinstance(spec, LeastToMostSpec)
    base = _one_output(model, answering)
    return LeastToMost(base, model.example_generator(answering.answer_tokens, answering), spec.steps)


def _one_output(model: Answers, answering: AnsweringSpec) -> Direct | OneStage:
    """Rationale and answer where the format gives both, else the answer."""
    reasons = format_of(answering.answer_format).gives_rationale
    return (_one_stage if reasons else _direct)(model, answering)


def _replies(model: Answers, answering: AnsweringSpec) -> Replies:
    return Replies(model.example_generator(answering.answer_tokens, answering))


STRATEGIES: dict[str, Callable[[Answers, AnsweringSpec], Strategy]] = {
    "direct": _direct,
    "one-stage": _one_stage,
    "two-stage": _two_stage,
    "sample-and-rank": _sample_and_rank,
    "self-consistency": _self_consistency,
    "least-to-most": _least_to_most,
}
"""How the strategy of each kind is made for a model."""

REPLYING: dict[str, Callable[[Answers, AnsweringSpec], Replies | SampleAndRank]] = {
    **dict.fromkeys(("direct", "one-stage", "two-stage"), _replies),
    "sample-and-rank": _sample_and_rank,
}
"""The same where no question is asked."""


def replying_of(model: Answers, answering: AnsweringSpec) -> Replies | SampleAndRank:
    """How a model replies where no question is asked. Raises SepiolaError for a strategy that is for questions."""
    if answering.kind not in REPLYING:
        raise SepiolaError(f"strategy {answering.kind}: it is for questions, and none is asked here; use direct")
    return REPLYING[answering.kind](model, answering)


def strategy_of(model: Answers, answering: AnsweringSpec) -> Strategy:
    """How a model answers: a classifier by its labels, an ensemble by its members, another as `answering` says.

    Raises CheckpointError when what the strategy needs is not there, and SepiolaError for one that a classifier cannot
    follow.
    """
    if model.ensemble is not None:
        return model.ensemble.strategy(answering)
    no = f"no {answering.kind} over it"
    if model.spec.classifier is not None and isinstance(model.network, Classifier):
        if answering.strategy.writes:
            raise SepiolaError(f"'{model.spec.name}' is a classifier, which writes nothing: {no}")
        return ClassifierStrategy(model.network, model.require_tokenizer(), source_tokens=answering.source_tokens)
    if model.spec.options is not None and isinstance(model.network, ConditionalLogit):
        if answering.strategy.writes:
            raise SepiolaError(f"'{model.spec.name}' chooses among options, and writes nothing: {no}")
        reader = model.network.language
        encode = TextStates(reader, model.require_tokenizer()) if isinstance(reader, LanguageModel) else None
        return OptionsStrategy(model.network, images=answering.images, encode=encode)
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
    variants = (replace(question, answer=i) for i in range(len(question.choices)))
    return [prompt_format.target(replace(example, question=v)) for v in variants]


def _chain(written: Sampled, prompt_format: PromptFormat | ChatQuestions, example: Example) -> Chain:
    """A text as a chain. Of one with a rationale only the sentence that announces an answer counts."""
    question, (text, log_probability, tokens) = _question(example), written
    rationale, said = None, text
    if prompt_format.gives_rationale:
        rationale, said = split_rationale(text)
    choice = prompt_format.parse_answer(text, question)
    said_open = None if question.choices else normalised(read_open(said)) or None
    return Chain(text, choice, log_probability, tokens, rationale, said_open)


def _after(written: Sampled, answer: Chain) -> Chain:
    """A second stage's chain with the rationale that it read."""
    return replace(
        answer,
        log_probability=written.log_probability + answer.log_probability,
        tokens=written.tokens + answer.tokens,
        rationale=split_rationale(written.text)[0],
    )
