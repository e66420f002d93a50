"""A verifier of chains of thought (Cobbe et al., arXiv 2110.14168): an earlier stage's model answers the stage's
questions several times, and this one learns which of its chains come to the right answer.

As in the paper the questions should be others than the writer learned from, whose chains are all right; and every token
of a chain predicts whether the chain ends right, so that what is wrong is learned where it is written. Of each question
as many right chains as wrong ones are learned, so that how hard a question is says nothing.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterable, Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from sepiola.data.batching import IGNORED, Batch, Collator, Sample
from sepiola.data.example import Example
from sepiola.errors import TrainingError
from sepiola.models.reward import add_reward, token_scores, with_reward
from sepiola.models.states import target_states
from sepiola.reasoning.answer import Answer, Chain
from sepiola.reasoning.verdicts import is_right
from sepiola.specs.data import DataSpec
from sepiola.specs.model import ModelSpec
from sepiola.specs.stage import ObjectiveSpec, StageSpec
from sepiola.text.prompts import PromptFormat
from sepiola.training.batches import ImageInputs
from sepiola.training.collate import text_collator
from sepiola.training.loss import Loss
from sepiola.training.objectives.chains import ChainsSpec, LearnsFromChains
from sepiola.training.rankings import Ranking, RankingBatches, RankingCollator, ranked


class VerifierSpec(ChainsSpec):
    """The writer's model answers the questions of `data`; `format` is the one that it answers in."""

    ends: ClassVar[bool] = True
    scores: ClassVar[str | None] = "verifier"

    kind: Literal["verifier"]
    chains: Annotated[int, Field(ge=2, le=1024)] = 8

    @property
    def answers(self) -> bool:
        """It scores what others answer."""
        return False

    @property
    def predicts(self) -> bool:
        """No token."""
        return False

    def check(self, model: ModelSpec, stage: StageSpec) -> None:
        """Raises ValueError for a format without an answer, and for what has no place beside chains."""
        super().check(model, stage)
        layout = PromptFormat.parse(self.format) if self.format is not None else None
        if layout is None or not layout.gives_answer or layout.takes_rationale:
            raise ValueError(f"'{stage.name}': verifier scores whole answers; give the format of '{self.writer}'")
        if self.shots or stage.packed:
            raise ValueError(f"'{stage.name}': verifier reads each chain in a row of its own; unset shots, packed")


class VerifiedCollator(Collator):
    """Lays prompts and chains out whole; every token of a chain is labelled, the end token among them."""

    def _written(self, sample: Sample) -> tuple[list[int], list[int]]:
        source = [self.special.start] if self.kind == "encoder-decoder" else list(sample.source)
        return [*source, *sample.target], [*[IGNORED] * len(source), *sample.target]


class Verifying(LearnsFromChains):
    """The cross-entropy of whether a chain ends right, at each of its tokens."""

    spec: ClassVar[type[ObjectiveSpec]] = VerifierSpec

    @classmethod
    def texts(cls, stage: StageSpec, example: Example) -> Iterable[str]:
        """Nothing after another stage, whose texts made the tokenizer."""
        return () if stage.start is not None else super().texts(stage, example)

    def model(self) -> ModelSpec:
        """The model under a layer that scores."""
        return with_reward(self.setting.spec)

    def prepare(self, network: nn.Module) -> nn.Module:
        """The model under a layer that is initialised from the run's seed."""
        return add_reward(network, self.model(), self.setting.seed)

    def batches(self, data: DataSpec, images: ImageInputs) -> RankingBatches:
        """The chains of each question, in balance. Raises TrainingError where no question has right and wrong ones."""
        examples = [example for example in self.setting.read(data) if example.question is not None]
        answers = self.drawn(examples, top_k=0)
        chosen = [balanced(e, answer, self.setting.seed) for e, answer in zip(examples, answers, strict=True)]
        mixed = [(example, chains) for example, chains in zip(examples, chosen, strict=True) if chains]
        if not mixed:
            raise TrainingError(
                f"stage '{self.stage.name}': of {len(examples)} questions '{self.own.writer}' answers none both right "
                "and wrong; give questions that it has not learned, more of them, or more chains"
            )
        return RankingBatches(
            self._rankings(mixed),
            self.stage,
            self.language,
            RankingCollator(text_collator(self.network, self.language, self.stage, images, layout=VerifiedCollator)),
            seed=self.setting.seed,
            known={"questions_of_one_kind": len(examples) - len(mixed)},
        )

    def _rankings(self, mixed: Sequence[tuple[Example, list[tuple[Chain, bool]]]]) -> list[Ranking]:
        """Each question with its chains, which score 1 or 0."""
        layout = self.format
        assert layout is not None
        each = [
            dataclasses.replace(layout.apply(example), id=f"{example.id}#{number}", target=chain.whole)
            for example, chains in mixed
            for number, (chain, _) in enumerate(chains)
        ]
        samples = iter(self.encoded(each, **self.encoding))
        return [
            Ranking(example.id, tuple(next(samples) for _ in chains), tuple(float(right) for _, right in chains))
            for example, chains in mixed
        ]

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        """See `verifying_loss`. Dropout is off: scores are compared as they will be read."""
        model.eval()
        return verifying_loss(token_scores(model, target_states(model, batch)), batch)


def verifying_loss(scored: Tensor, batch: Batch) -> Loss:
    """The loss of scores `(rows, target tokens)`: over each row the mean of its labelled tokens, over each question the
    mean of its rows, summed over questions. `accuracy` is that of the last token, by which chains are scored.
    """
    batch = ranked(batch)
    labelled = batch.labels != IGNORED
    right = batch.rewards.to(scored)[:, None]
    losses = binary_cross_entropy_with_logits(scored, right.expand_as(scored), reduction="none")
    rows = (losses * labelled).sum(1) / labelled.sum(1)
    among = batch.prompts.bincount()[batch.prompts]
    last = scored.detach()[range(len(scored)), labelled.cumsum(1).argmax(1)]
    judged = ((last > 0) == (right[:, 0] > 0)).to(scored)
    return Loss((rows / among).sum(), batch.labelled, parts={"accuracy": (judged / among).sum()})


def balanced(example: Example, answer: Answer, seed: int = 0) -> list[tuple[Chain, bool]]:
    """As many right chains of an answer as wrong ones, each text once; none where all are of one kind."""
    texts = {chain.whole: (chain, is_right(example, chain)) for chain in answer.chains if chain.vote is not None}
    kinds = [[pair for pair in texts.values() if pair[1] == kind] for kind in (True, False)]
    count, rng = min(map(len, kinds)), random.Random(f"balanced {seed} {example.id}")
    return [pair for kind in kinds for pair in rng.sample(kind, count)]
