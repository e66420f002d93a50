"""Specs of one stage of training: data × objective × which parts learn × optimizer.

An objective's own spec lies in the objective's file (`sepiola.training.objectives`), where its fields are used. Whoever
reads a stage from plain data gives the specs that `objective` may be, by their kind: `StageSpec.parse(raw, kinds=…)`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    SerializeAsAny,
    ValidationInfo,
    field_validator,
    model_validator,
)

from sepiola.errors import SpecError, shown
from sepiola.specs.base import Spec, nearest
from sepiola.specs.bricks import Probability
from sepiola.specs.bridge import DualSpec, QFormerSpec
from sepiola.specs.data import DataSpec
from sepiola.specs.model import ModelSpec, Part
from sepiola.specs.values import Name, Tokens

# What a stage may teach: a part, or of a Q-Former the linear layer to the language model alone (MiniGPT-4).
Learner = Literal[Part, "projection"]
DEFAULT_OBJECTIVE = "language-modelling"


class LoraSpec(Spec):
    """An adapter of low rank (LoRA, arXiv 2106.09685): each linear `W` becomes `W + alpha / rank · B A`; A and B learn.

    `targets` name linears, or blocks of their rows, as they end: ours (`qkv`, `attention.qkv.q`) or the Hub's
    (`q_proj`). Absent, every linear that can bear an adapter does. The rows of some `tokens`, by their ids, learn
    beside it in the language model's embeddings and head (peft's `trainable_token_indices`).
    """

    rank: int = Field(default=8, ge=1, le=4096)
    alpha: PositiveFloat = 16.0
    dropout: Probability = 0.0
    targets: tuple[str, ...] | None = Field(default=None, min_length=1)
    tokens: tuple[NonNegativeInt, ...] = ()


class OptimizerSpec(Spec):
    """How weights move: AdamW, or Muon for the matrices of the layers and AdamW for the rest, or Adagrad, which suits a
    table of which each step reads few rows, or L-BFGS, for few weights or a convex loss, of all data at each step.

    The learning rate rises over `warmup` steps and falls by `schedule` to `final_learning_rate`. A gradient whose norm
    is above `clip` is scaled down to it.
    """

    kind: Literal["adamw", "muon", "adagrad", "lbfgs"] = "adamw"
    learning_rate: float = Field(default=5e-5, gt=0.0, le=10.0)
    final_learning_rate: NonNegativeFloat = 0.0
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    warmup: int = Field(default=0, ge=0, le=1 << 40)
    weight_decay: NonNegativeFloat = 0.01
    betas: tuple[Probability, Probability] = (0.9, 0.999)
    clip: PositiveFloat | None = 1.0

    @model_validator(mode="after")
    def _stays_finite(self) -> OptimizerSpec:
        if self.learning_rate * self.weight_decay >= 1.0:
            raise ValueError(
                f"learning_rate ({self.learning_rate:g}) times weight_decay ({self.weight_decay:g}) is the share that "
                "a weight loses in each step: give less than 1"
            )
        if self.kind == "adagrad" and self.weight_decay:
            raise ValueError("adagrad does not decay weights; set weight_decay: 0")
        if self.kind == "lbfgs" and (self.weight_decay or self.clip or self.warmup or self.schedule != "constant"):
            raise ValueError(
                "lbfgs goes by the loss's own gradient and steps of one size: set weight_decay: 0, clip: null, "
                "warmup: 0, schedule: constant and learning_rate: 1, which is Newton's step"
            )
        if self.final_learning_rate > self.learning_rate:
            raise ValueError(
                f"final_learning_rate ({self.final_learning_rate:g}) is above learning_rate ({self.learning_rate:g}), "
                "from which it falls"
            )
        return self


class ObjectiveSpec(Spec):
    """What a stage learns by: the base of every objective's own spec, which `kind` names."""

    ends: ClassVar[bool] = False
    """Whether no later stage can begin with what it leaves."""

    compares: ClassVar[bool] = False
    """Whether what it leaves compares pictures with texts, and writes none: it is measured by retrieval."""

    scores: ClassVar[str | None] = None
    """The vote of a strategy whose chains it can score by what it leaves: `verifier` of a reward model."""

    encodes: ClassVar[bool] = False
    """Whether what it leaves is a vision encoder alone."""

    teaches: ClassVar[str | None] = None
    """Which key of a model without a language model it teaches (`ModelSpec.alone`); None where it teaches one with."""

    kind: str

    @property
    def answers(self) -> bool:
        """Whether what it leaves answers questions, so that a strategy may ask it."""
        return False

    @property
    def asks(self) -> tuple[str, ...]:
        """The earlier stages whose models it asks."""
        return ()

    @property
    def reads_beside(self) -> Mapping[str, DataSpec]:
        """The data that it reads beside the stage's own, by what they are to it."""
        return {}

    @property
    def rates(self) -> bool:
        """Whether what it leaves rates replies."""
        return False

    @property
    def predicts(self) -> bool:
        """Whether it predicts tokens, so that the language model needs its head."""
        return True

    def check(self, model: ModelSpec, stage: StageSpec) -> None:
        """Raises ValueError when the objective does not fit the model or the stage.

        Here: a dual encoder learns by an objective of its own.
        """
        if isinstance(model.bridge, DualSpec):
            raise ValueError(
                f"'{stage.name}' has the objective {self.kind}; a dual encoder (model.bridge.kind: dual) learns by "
                "contrastive, and by no other"
            )

    def tokens(self) -> list[str]:
        """The special tokens that a tokenizer must have for it, beside the usual ones."""
        return []

    def reads(self) -> str:
        """What tells the texts that it makes of an example from those of other objectives; most read all of it."""
        return ""

    def needs_images(self, model: ModelSpec, stage: StageSpec) -> bool:
        """Whether the stage is of use only to a model that sees: it teaches nothing but how images enter the text."""
        return model.interleaved and "language" not in stage.learn


class StageSpec(Spec):
    """One stage of training.

    `start` names the earlier stage whose weights this one begins with; absent, it begins with the recipe's fresh (or
    loaded) model. With `lora` an adapter learns in the parts of `learn`, which are frozen. Length: `steps` or `epochs`,
    one of the two. A step is `accumulate` batches of `batch` samples. Longer samples are cut to `source_tokens` and
    `target_tokens`; plain text is cut into windows of `target_tokens`, which `packed` fills to the last token.
    """

    name: Name
    data: DataSpec
    validation: DataSpec | None = None
    objective: SerializeAsAny[ObjectiveSpec]
    start: str | None = None
    learn: tuple[Learner, ...] = ("language", "vision", "bridge")
    lora: LoraSpec | None = None
    steps: Annotated[int, Field(ge=1, le=1 << 40)] | None = None
    epochs: Annotated[float, Field(gt=0.0, le=1e6)] | None = None
    batch: int = Field(default=16, ge=1, le=1 << 20)
    accumulate: int = Field(default=1, ge=1, le=1 << 20)
    packed: bool = False
    source_tokens: Tokens = 512
    target_tokens: Tokens = 512
    optimizer: OptimizerSpec = OptimizerSpec()
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    validate_every: PositiveInt | None = None
    save_every: PositiveInt | None = None

    @model_validator(mode="before")
    @classmethod
    def _default_objective(cls, raw: object) -> object:
        return {"objective": DEFAULT_OBJECTIVE, **raw} if isinstance(raw, Mapping) else raw

    @field_validator("objective", mode="before")
    @classmethod
    def _objective(cls, raw: object, info: ValidationInfo) -> object:
        """A bare name is short for its `kind`; keys without a kind are language modelling's."""
        if isinstance(raw, ObjectiveSpec):
            return raw
        named = {"kind": raw} if isinstance(raw, str) else raw
        if not isinstance(named, Mapping):
            raise ValueError(f"expected an objective's name, or its keys and values; got {shown(raw)}")
        kinds: Mapping[str, type[ObjectiveSpec]] = (info.context or {}).get("kinds", {})
        kind = named.get("kind", DEFAULT_OBJECTIVE)
        if not isinstance(kind, str) or kind not in kinds:
            raise ValueError(f"no objective is named {shown(kind)}; {nearest(str(kind), kinds)}")
        return kinds[kind].model_validate({**named, "kind": kind})

    @model_validator(mode="after")
    def _length(self) -> StageSpec:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("give either 'steps' or 'epochs'")
        if not self.learn:
            raise ValueError("learn: no part would learn; name language, vision or bridge")
        if self.lora is not None and self.lora.tokens and "language" not in self.learn:
            raise ValueError("lora.tokens: rows of the language model, which is not in 'learn'; name it there")
        return self

    def check(self, model: ModelSpec) -> None:
        """Raises ValueError when the stage does not fit the model."""
        if "projection" in self.learn and not isinstance(model.bridge, QFormerSpec):
            raise ValueError(f"'{self.name}': learn: projection is a Q-Former's; model.bridge is none")
        if model.alone != self.objective.teaches:
            raise ValueError(
                f"'{self.name}' has the objective {self.objective.kind}; conditional-logit teaches a model with "
                "'options', linear-reward one with 'linear_reward', and nothing else does"
            )
        try:
            self.objective.check(model, self)
        except SpecError as error:  # of a format, which knows no stage
            raise ValueError(f"'{self.name}': {error}") from None
