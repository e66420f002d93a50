"""What objectives over preferences have in common: prompts with completions that others wrote, laid out once.

A prompt is made into the same tokens for all its completions, and a completion by itself, so that no token reaches over
their border; completions end with the end token. The losses of `dpo`, `ipo` and `kto` need how much more likely the
policy finds a completion than a reference does, which is the network at the stage's beginning.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Annotated, ClassVar

import torch
from pydantic import Field, PositiveFloat
from torch import Tensor, nn

from sepiola.data.batching import Collator, Sample
from sepiola.data.example import Example
from sepiola.data.preferences import Completion, completions_of
from sepiola.errors import DataError, TrainingError
from sepiola.generation.sampling import LEAST_TEMPERATURE
from sepiola.nn.precision import autocast, resolve
from sepiola.specs.data import DataSpec
from sepiola.specs.model import ModelSpec
from sepiola.specs.stage import StageSpec
from sepiola.training.batches import ImageInputs
from sepiola.training.collate import text_collator
from sepiola.training.objectives.language_modelling import LanguageModelling, PromptsSpec
from sepiola.training.policy import chosen_states, log_probabilities, row_sums
from sepiola.training.rankings import Ranking, RankingBatch, RankingBatches, RankingCollator, Reference


class PreferenceSpec(PromptsSpec):
    """Over examples with completions (`sepiola.data.preferences`); a batch has so many prompts, with all that they
    have.
    """

    def check(self, model: ModelSpec, stage: StageSpec) -> None:
        """Raises ValueError also for what has no place beside completions of a prompt each."""
        super().check(model, stage)
        given = {"format": self.format is not None, "shots": self.shots, "packed": stage.packed}
        if unfit := [name for name, value in given.items() if value]:
            raise ValueError(
                f"'{stage.name}': {self.kind} reads prompts and completions as the data have them, each in a row of "
                f"its own; unset {', '.join(unfit)}"
            )


class Preference(LanguageModelling):
    """Learns from which completion of a prompt is the better one. A kind says its `loss`, over `RankingBatch`es."""

    layout: type[Collator] = Collator
    """How completions are laid out."""
    whole: ClassVar[bool] = False
    """Whether the loss compares the prompts of a batch with one another."""

    @classmethod
    def texts(cls, stage: StageSpec, example: Example) -> Iterable[str]:
        """The prompt and all completions; nothing after another stage, whose texts made the tokenizer."""
        if stage.start is not None:
            return ()
        return example.prompt, *(completion.text for completion in completions_of(example))

    @property
    def reference(self) -> Reference | None:
        """What the policy is compared with; None where it is with nothing."""
        return None

    def batches(self, data: DataSpec, images: ImageInputs) -> RankingBatches:
        """The data's prompts. Raises TrainingError where none of them says that one completion beats another."""
        examples = self.setting.read(data)
        rankings = self.rankings(examples)
        if not rankings:
            raise TrainingError(
                f"stage '{self.stage.name}': none of the {len(examples)} prompts of {data.reader} ({data.split}) has a "
                "completion that is better than another"
            )
        collate = text_collator(self.network, self.language, self.stage, images, layout=self.layout)
        return RankingBatches(
            rankings,
            self.stage,
            self.language,
            RankingCollator(collate),
            seed=self.setting.seed,
            known=self.left_out(examples, rankings),
            reference=self.reference,
            whole=self.whole,
        )

    def rankings(self, examples: Sequence[Example]) -> list[Ranking]:
        """The prompts of which some completion beats another. Raises DataError for one with fewer than two."""
        for example in examples:
            if len(completions_of(example)) < 2:
                raise DataError(
                    f"{example.id}: one completion alone is compared with none; {self.own.kind} needs two or more "
                    "(kto learns from single ones)"
                )
        return [ranking for ranking in self.laid_out_whole(examples) if ranking.pairs]

    def left_out(self, examples: Sequence[Example], rankings: Sequence[Ranking]) -> dict[str, int]:
        """How much of the data says nothing, by why."""
        return {"tied_prompts": len(examples) - len(rankings)}

    def laid_out_whole(self, examples: Sequence[Example]) -> list[Ranking]:
        """Each prompt with all its completions as samples; the prompt's tokens are the same in all of them."""
        replies = [completions_of(example) for example in examples]
        each = [
            dataclasses.replace(e, target=one.text) for e, row in zip(examples, replies, strict=True) for one in row
        ]
        samples = iter(self.replies(each))
        return [self._ranking(example, row, samples) for example, row in zip(examples, replies, strict=True)]

    def replies(self, examples: Sequence[Example]) -> list[Sample]:
        """Each example's prompt and target as a sample."""
        if self.own.layout == "chat":
            return [self.conversing.reply(example) for example in examples]
        return self.encoded(examples, **self.encoding)

    def _ranking(self, example: Example, completions: Sequence[Completion], samples: Iterable[Sample]) -> Ranking:
        rows = [sample for _, sample in zip(completions, samples, strict=False)]
        parts = [dataclasses.replace(row, id=f"{example.id}#{place}") for place, row in enumerate(rows, start=1)]
        counts = self.token_counts(completions, parts)
        return Ranking(example.id, tuple(parts), tuple(one.score for one in completions), counts)

    def token_counts(
        self, completions: Sequence[Completion], parts: Sequence[Sample]
    ) -> tuple[tuple[float, ...], ...] | None:
        """What each token of each completion counts; None where all count alike."""
        return None


class DirectSpec(PreferenceSpec):
    """`beta` weighs how far the policy may go from the reference; `temperature` divides the logits of both."""

    beta: PositiveFloat = 0.1
    temperature: Annotated[float, Field(ge=LEAST_TEMPERATURE, le=1e9)] = 1.0


class Direct(Preference):
    """Learns from completions directly, without a reward model: policy and reference find them more or less likely."""

    policy: nn.Module | None = None

    @property
    def direct(self) -> DirectSpec:
        """The spec of this objective's fields."""
        assert isinstance(self.stage.objective, DirectSpec)
        return self.stage.objective

    def prepare(self, network: nn.Module) -> nn.Module:
        """The network, which is the policy from now on, and was the reference."""
        self.policy = network
        return network

    @cached_property
    def reference(self) -> Reference:
        """The network at the stage's beginning."""
        return Reference(self._before)

    @torch.no_grad()
    def _before(self, batch: RankingBatch) -> Tensor:
        assert self.policy is not None, "prepare comes before the first batch"
        device = next(self.policy.parameters()).device
        with autocast(device, resolve(self.stage.precision, device)):
            return self.likelihoods(self.policy, batch.to(device)).cpu()

    def likelihoods(self, model: nn.Module, batch: RankingBatch) -> Tensor:
        """How likely a model finds each completion of a batch: log-probabilities `(rows,)`."""
        log_probs, _ = log_probabilities(model, chosen_states(model, batch), batch, self.direct.temperature)
        return summed(log_probs, batch)


def summed(log_probs: Tensor, batch: RankingBatch) -> Tensor:
    """The log-probabilities of whole completions: sums over their labels, the end token among them. Where labels do not
    count alike, their weighted mean (RLHF-V, arXiv 2312.00849, section 3.2).
    """
    if batch.weights is None:
        return row_sums(log_probs, batch)
    weights = batch.weights.to(log_probs)
    return row_sums(weights * log_probs, batch) / row_sums(weights, batch)
