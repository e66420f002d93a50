"""What GRPO, PPO and RLOO have in common: prompts, a policy that answers them, a reward, and a reference to stay near.

The reference is the stage's beginning: its weights as they are before the first step; where an adapter learns, the
weights under it, without a second copy. `kl` is estimated token by token
(Schulman, "Approximating KL divergence", 2020): k1 is log π − log π_ref, k3 is π_ref / π − 1 − log(π_ref / π).
"""

from __future__ import annotations

import copy
import dataclasses
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import torch
from pydantic import Field, PositiveInt, SerializeAsAny, field_validator
from torch import Tensor, nn

from sepiola.acting.constraint import grammar_of
from sepiola.acting.functions import functions_of
from sepiola.acting.sets import taught
from sepiola.calling.constraints import ConstraintVocabulary, Grammar
from sepiola.data.batching import Batch, Collator
from sepiola.data.example import Example
from sepiola.data.features import encoder_key
from sepiola.errors import TrainingError
from sepiola.generation.sampling import LEAST_TEMPERATURE
from sepiola.nn.precision import autocast, resolve
from sepiola.reasoning.reward import words_of
from sepiola.specs.data import DataSpec
from sepiola.specs.model import ModelSpec
from sepiola.specs.stage import StageSpec
from sepiola.text.pretraining import is_plain
from sepiola.text.processor import Processor
from sepiola.training.batches import ImageInputs, SampleBatches
from sepiola.training.collate import text_collator
from sepiola.training.lora import without_adapter
from sepiola.training.loss import Loss
from sepiola.training.objectives.language_modelling import LanguageModelling, LanguageModellingSpec, PromptsSpec
from sepiola.training.objectives.ptx import PtxBatch, PtxBatches, PtxSpec, ptx_loss
from sepiola.training.policy import Measured, RolloutBatch, chosen_states, log_probabilities
from sepiola.training.rewards import RewardSpec, reward_of, reward_spec
from sepiola.training.rollouts import Rollouts, Step
from sepiola.training.sampler import PolicySampler

ROWS = 128
"""Completions that are written at a time, or as many as a batch has."""


class ReinforcementSpec(PromptsSpec):
    """A rollout has `samples` completions of each prompt, drawn at `temperature`; it serves `minibatches` steps, all of
    them `iterations` times. `constrained`: under the grammar of the reward's functions. `ptx`: text that each step
    learns beside them.
    """

    reward: SerializeAsAny[RewardSpec]
    samples: Annotated[int, Field(ge=1, le=1 << 16)] = 8
    temperature: Annotated[float, Field(ge=LEAST_TEMPERATURE, le=1e9)] = 1.0
    iterations: PositiveInt = 1
    minibatches: PositiveInt = 1
    constrained: bool = False
    ptx: PtxSpec | None = None

    @property
    def reads_beside(self) -> Mapping[str, DataSpec]:
        """The text of `ptx`."""
        sources = () if self.ptx is None else self.ptx.data
        return {f"ptx.data[{n}]": data for n, data in enumerate(sources)}

    @field_validator("reward", mode="before")
    @classmethod
    def _reward(cls, raw: object) -> RewardSpec:
        return reward_spec(raw)

    def tokens(self) -> list[str]:
        """Those of the reward."""
        return self.reward.tokens()

    def check(self, model: ModelSpec, stage: StageSpec) -> None:
        """Raises ValueError for what has no completions of its own: shots, packed rows, other rationales; for a rollout
        that is not whole prompts; and for a grammar that no function gives.
        """
        super().check(model, stage)
        where = f"'{stage.name}': {self.kind}"
        if self.shots or stage.packed or self.rationales == "generated":
            raise ValueError(f"{where} asks one prompt a row; unset shots, packed and rationales: generated")
        completions = stage.batch * stage.accumulate * self.minibatches
        if completions % self.samples:
            raise ValueError(
                f"{where}: batch × accumulate × minibatches ({completions}) are the completions of a rollout, and must "
                f"be whole prompts of samples ({self.samples}) each"
            )
        if self.constrained and not self.reward.callables():
            raise ValueError(f"{where}: constrained needs a reward of calls; '{self.reward.kind}' names no functions")


class Reinforcement(LanguageModelling):
    """Learns from what the policy writes. A kind says what completions are worth (`credited`) and its `loss`."""

    policy: nn.Module | None = None
    reference: nn.Module | None = None

    @classmethod
    def texts(cls, stage: StageSpec, example: Example) -> Iterable[str]:
        """Nothing after another stage, whose texts made the tokenizer: what is asked there is what that stage knows."""
        return super().texts(stage, example) if stage.start is None else ()

    @property
    def rl(self) -> Any:
        """The spec of this objective's fields."""
        return self.stage.objective

    @property
    def keeps_reference(self) -> bool:
        """Whether the stage's first weights are needed later."""
        return False

    @property
    def merges(self) -> bool:
        """Whether completions of one prompt that are alike, and paid alike, are read once and count as many."""
        return False

    def prepare(self, network: nn.Module) -> nn.Module:
        """The network, which is the policy from now on; where one is needed, a copy is the reference, but for an
        adapter, under which it lies.
        """
        self.policy = network
        if self.keeps_reference and self.stage.lora is None:
            self.reference = copy.deepcopy(network).requires_grad_(False).eval()
        return network

    def batches(self, data: DataSpec, images: ImageInputs) -> Rollouts | PtxBatches:  # type: ignore[override]
        """Rollouts over the data's prompts, and the text of `ptx`. Raises TrainingError for data without prompts."""
        rollouts = self.rollouts(data, images)
        return rollouts if self.rl.ptx is None else PtxBatches(rollouts, self.text(images))

    def text(self, images: ImageInputs) -> SampleBatches:
        """The text of `ptx`, laid out as the policy's own stage lays texts out."""
        beside: PtxSpec = self.rl.ptx
        own = {name: getattr(self.own, name) for name in PromptsSpec.model_fields if name != "kind"}
        changes = {
            "objective": LanguageModellingSpec(kind="language-modelling", **own),
            "batch": beside.batch or self.stage.batch,
            "target_tokens": beside.target_tokens or self.stage.target_tokens,
        }
        stage = self.stage.model_copy(update=changes)
        laid_out = LanguageModelling(stage, self.setting)
        samples = [sample for data in beside.data for sample in laid_out.samples(data)]
        collate = text_collator(self.network, self.language, stage, images)
        return SampleBatches(samples, stage, self.language, collate, seed=self.setting.seed)

    def rollouts(self, data: DataSpec, images: ImageInputs) -> Rollouts:
        """Rollouts over the data's prompts."""
        chats = self.own.layout == "chat"
        self.rl.reward.check_words(words_of(self.template if chats else None, self.own.layout))
        examples = self.laid_out(data)
        if examples and is_plain(examples):
            raise TrainingError(f"stage '{self.stage.name}': {data.reader} is plain text; {self.rl.kind} needs prompts")
        if chats:
            samples = [self.conversing.reply(example) for example in examples]
        else:
            samples = [part for sample in self.samples(data) for part in sample.parts]
        collate = text_collator(self.network, self.language, self.stage, images)
        return Rollouts(
            samples,
            examples,
            self.stage,
            self.setting.tokenizer,
            reward_of(self.rl.reward),
            collate,
            fan=self.rl.samples,
            iterations=self.rl.iterations,
            minibatches=self.rl.minibatches,
            sampler=lambda: self.sampler(collate, images),
            measure=self.measured,
            credit=self.credited,
            choose=self.teaching,
            merge=self.merges,
            seed=self.setting.seed,
            marks=self.marks,
        )

    def processor(self, processor: Processor) -> Processor:
        """With the functions that the reward is for, where the tokenizer has a token for each."""
        processor = super().processor(processor)
        return dataclasses.replace(processor, functions=self.known) if self.known else processor

    @property
    def known(self) -> tuple[Mapping[str, object], ...] | None:
        """The functions that the reward is for, where the tokenizer has a token for each."""
        functions = functions_of(self.rl.reward.callables())
        with_tokens = all(self.setting.tokenizer.id_of(token) is not None for token in self.rl.tokens())
        return taught(functions, self.setting.read(self.stage.data)) if functions and with_tokens else None

    def marks(self) -> str:
        """What tells this objective, and its reference, from others."""
        return encoder_key(self.rl, self.reference.state_dict() if self.reference is not None else {})

    def reference_of(self, batch: RolloutBatch) -> Tensor | None:
        """The log-probability of each label under the reference; None where none is kept."""
        if not self.keeps_reference:
            return None
        assert self.policy is not None
        if self.reference is not None:
            return self.log_probabilities_of(self.reference, batch)
        with without_adapter(self.policy):
            return self.log_probabilities_of(self.policy, batch)

    def sampler(self, collate: Collator, images: ImageInputs) -> PolicySampler:
        """What writes, with the policy's weights of the moment."""
        assert self.policy is not None, "prepare comes before the first rollout"
        return PolicySampler(
            self.policy,
            collate,
            images,
            max_tokens=self.stage.target_tokens,
            temperature=self.rl.temperature,
            grammar=self.grammar() if self.rl.constrained else None,
            batch=max(ROWS, self.stage.batch),
        )

    def grammar(self) -> Grammar:
        """What the reward's functions allow to be written."""
        ends = [self.language.tokens.end]
        vocabulary = ConstraintVocabulary(self.setting.tokenizer, self.language.vocabulary, ends)
        return grammar_of(self.rl.reward.callables(), vocabulary, self.known)

    @torch.no_grad()
    def log_probabilities_of(self, network: nn.Module, batch: RolloutBatch) -> Tensor:
        """The log-probability of each label under a network, in the stage's precision."""
        device = next(network.parameters()).device
        on_device = batch.to(device)
        with autocast(device, resolve(self.stage.precision, device)):
            states = chosen_states(network, on_device)
            return log_probabilities(network, states, on_device, self.rl.temperature)[0].cpu()

    def teaching(self, rewards: Tensor) -> Tensor:
        """Which completions teach anything, by their rewards `(prompts, samples)`: all."""
        return torch.ones_like(rewards)

    def measured(self, batch: RolloutBatch) -> Measured:
        """The log-probabilities of a batch's labels under the policy that drew them, and under the reference."""
        assert self.policy is not None
        return {"old": self.log_probabilities_of(self.policy, batch), "reference": self.reference_of(batch)}

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        """That of a rollout's batch, or of text beside it."""
        if isinstance(batch, PtxBatch):
            return ptx_loss(model, batch, self.rl.ptx.weight)
        assert isinstance(batch, RolloutBatch)
        return self.rollout_loss(model, batch)

    @abstractmethod
    def rollout_loss(self, model: nn.Module, batch: RolloutBatch) -> Loss:
        """The loss of completions."""

    @abstractmethod
    def credited(self, steps: list[Step], rewards: Tensor) -> list[Step]:
        """The steps of a rollout, measured, with what each token is worth; rewards `(prompts, samples)`."""


def validation_loss(batch: RolloutBatch) -> Loss:
    """The mean reward, negated: the best weights are those that are paid most."""
    return Loss(-batch.rewards.sum(), len(batch.rewards))


def described(batch: RolloutBatch, **summed: Tensor) -> Mapping[str, Tensor]:
    """Parts of a loss: sums over labels, and the rollout's figures, so that their means come out."""
    figures = {name: torch.tensor(value * batch.labelled) for name, value in (batch.figures or {}).items()}
    return {**figures, **{name: value.detach() for name, value in summed.items()}}


def clipped(ratio: Tensor, worth: Tensor, low: float, high: float) -> tuple[Tensor, Tensor]:
    """The clipped loss of ratios to the policy that drew, which count from 1 − `low` to 1 + `high`; and which of them
    are clipped, so that no gradient flows.
    """
    inside = ratio.clamp(1 - low, 1 + high)
    return -torch.minimum(ratio * worth, inside * worth), inside * worth < ratio * worth


def k1(log_probs: Tensor, reference: Tensor) -> Tensor:
    """log π − log π_ref: unbiased, and below 0 half of the time."""
    return log_probs - reference


def k3(log_probs: Tensor, reference: Tensor) -> Tensor:
    """π_ref / π − 1 − log(π_ref / π): unbiased too, and never below 0."""
    log_ratio = reference - log_probs
    return (log_ratio.expm1() - log_ratio).clamp(min=0.0)
