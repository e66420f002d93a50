"""Specs of training: data, stage, strategy and recipe.

A stage is data × objective × which parts learn × schedule. A recipe is a model, its ordered stages, and the strategy by
which the trained model answers.
"""

from __future__ import annotations

import sys
from typing import Any, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from sepiola.specs.base import Spec, nearest
from sepiola.specs.bridge import DualSpec, QFormerSpec
from sepiola.specs.model import TASKS, ModelSpec, Part, TaskKind

LM_WEIGHT = 0.5  # GPT-1's


class DataSpec(Spec):
    """Examples of one dataset. `options` go to the reader; environment variables in `root` are expanded."""

    reader: str
    root: str | None = None
    split: str = "train"
    count: PositiveInt | None = None
    options: dict[str, Any] = Field(default_factory=dict)


class TokenizerSpec(Spec):
    """Where the tokenizer comes from: a `tokenizer.json`, or one of a `kind` trained on the recipe's training text."""

    path: str | None = None
    kind: Literal["bpe", "unigram"] = "bpe"
    vocabulary: PositiveInt | None = None

    @model_validator(mode="after")
    def _one(self) -> TokenizerSpec:
        if (self.path is None) == (self.vocabulary is None):
            raise ValueError("give either 'path' (a tokenizer.json) or 'vocabulary' (a size to train)")
        return self


class LoraSpec(Spec):
    """An adapter of low rank (LoRA, arXiv 2106.09685): each linear `W` becomes `W + alpha / rank · B A`; A and B learn.

    `targets` name linears as they end (`qkv`, or `attention.qkv`); absent, every linear that can bear an adapter does.
    """

    rank: PositiveInt = 8
    alpha: PositiveFloat = 16.0
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    targets: tuple[str, ...] | None = Field(default=None, min_length=1)


Objective = Literal[
    "language-modelling",
    "masked",
    "span-corruption",
    "denoising",
    "detection",
    "contrastive",
    "image-text-alignment",
    TaskKind,
]
# What a stage may teach: a part, or of a Q-Former the linear layer to the language model alone (MiniGPT-4).
Learner = Literal[Part, "projection"]
Layout = Literal["minigpt-4", "minigpt-4-llama-2"]
# What an objective asks of the language model; the others take any but an encoder.
READS = {"masked": "encoder", "span-corruption": "encoder-decoder", "denoising": "encoder-decoder"}


class StageSpec(Spec):
    """One stage of training.

    `start` names the earlier stage whose weights this one begins with; absent, it begins with the recipe's fresh (or
    loaded) model. With `lora` an adapter learns in the parts of `learn`, which are frozen. `format` lays questions
    out (`QCM-LE`); absent, examples are used as they are, and plain text is cut into windows of `target_tokens`, which
    `packed` fills to the last token. `layout` names the words around images and requests (MiniGPT-4's). `images: false`
    leaves pictures out, for a language model that learns to speak before it sees. `rationales` says whether a format
    that reads a rationale gets the dataset's (`gold`) or the one that the strategy's rationale model writes
    (`generated`). Length: `steps` or `epochs`, one of the two. The optimizer `muon` is Muon for the matrices of the
    layers and AdamW for the rest.

    Objectives of pretraining: `language-modelling` (GPT), `masked` (BERT), `span-corruption` (T5), `denoising` (BART).
    With `shots` a row of training holds so many examples of one episode before one more (`metadata["episode"]`, or one
    family and language), so that the model learns to read demonstrations; a decoder learns all of them.

    `detection` teaches the vision encoder alone to tell what is in a picture: the examples' `objects`, or the answers
    to questions that recur. `contrastive` teaches a dual encoder which caption goes with which image; a pair's
    negatives are the other pairs of its batch, so `batch` matters and `accumulate` adds none. `image-text-alignment`
    teaches a Q-Former, by each example's picture and target, before it meets a language model; `negatives` are the
    wrong pairs that it must tell from right ones: drawn by how alike picture and text seem to it (`hard`), or all alike
    (`uniform`). The objectives of `TASKS` put a task's head on the language model; `lm_weight` is the weight of
    language modelling beside it.
    """

    name: str
    data: DataSpec
    validation: DataSpec | None = None
    objective: Objective = "language-modelling"
    lm_weight: NonNegativeFloat = LM_WEIGHT
    negatives: Literal["hard", "uniform"] = "hard"
    format: str | None = None
    layout: Layout | None = None
    images: bool = True
    start: str | None = None
    learn: tuple[Learner, ...] = ("language", "vision", "bridge")
    lora: LoraSpec | None = None
    rationales: Literal["gold", "generated"] = "gold"
    steps: PositiveInt | None = None
    epochs: PositiveFloat | None = None
    batch: PositiveInt = 16
    accumulate: PositiveInt = 1
    packed: bool = False
    shots: NonNegativeInt = 0
    source_tokens: PositiveInt = 512
    target_tokens: PositiveInt = 512
    learning_rate: PositiveFloat = 5e-5
    final_learning_rate: NonNegativeFloat = 0.0
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    optimizer: Literal["adamw", "muon"] = "adamw"
    warmup: NonNegativeInt = 0
    weight_decay: NonNegativeFloat = 0.01
    betas: tuple[float, float] = (0.9, 0.999)
    clip: PositiveFloat | None = 1.0
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    validate_every: PositiveInt | None = None
    save_every: PositiveInt | None = None

    @model_validator(mode="after")
    def _length(self) -> StageSpec:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("give either 'steps' or 'epochs'")
        if not self.learn:
            raise ValueError("learn: no part would learn; name language, vision or bridge")
        if self.objective == "detection" and (self.format is not None or self.learn != ("vision",)):
            raise ValueError("detection teaches the vision encoder alone: set learn: [vision] and no format")
        if self.objective == "contrastive" and (self.format is not None or self.packed):
            raise ValueError("contrastive reads each image with its caption as it is: set no format and not packed")
        if self.aligns and (self.format is not None or self.packed or not set(self.learn) <= {"vision", "bridge"}):
            raise ValueError(
                f"{self.objective} reads pictures and targets without a language model: set learn: [bridge] (or "
                "[vision, bridge]), no format and packed: false"
            )
        if not self.images and (self.aligns or self.objective == "detection"):
            raise ValueError(f"{self.objective} reads pictures: set no eyes")
        if self.layout is not None and self.objective != "language-modelling":
            raise ValueError(f"layout is for language-modelling; the objective is {self.objective}")
        if not self.aligns and self.negatives != "hard":
            raise ValueError(f"negatives are for image-text-alignment; the objective is {self.objective}")
        if self.task is not None and self.format is not None:
            raise ValueError(f"{self.task} lays questions out by its own rule: set no format")
        if self.task is None and self.lm_weight != LM_WEIGHT:
            raise ValueError(f"lm_weight is for a task ({', '.join(TASKS)}); the objective is {self.objective}")
        return self

    @property
    def task(self) -> TaskKind | None:
        """The task whose head the stage trains, if it does."""
        return next((kind for kind in TASKS if kind == self.objective), None)

    @property
    def aligns(self) -> bool:
        """Whether the stage teaches a Q-Former by pictures and texts alone."""
        return self.objective == "image-text-alignment"

    @property
    def room(self) -> tuple[int, int]:
        """Tokens at most of a source and of a target; detection's targets are classes, and none may be lost."""
        return self.source_tokens, self.target_tokens if self.objective != "detection" else sys.maxsize


class StrategySpec(Spec):
    """How the trained model answers. `rationale` and `answer` name the stages whose models write them.

    `by`: answers are generated and parsed, or chosen by the likelihood of each option (`score`). Where `answer` is a
    stage that trains a task, its head answers, and neither `kind` nor `by` is of use.
    """

    kind: Literal["direct", "one-stage", "two-stage"] = "direct"
    answer: str
    rationale: str | None = None
    by: Literal["generate", "score"] = "generate"

    @model_validator(mode="after")
    def _stages(self) -> StrategySpec:
        if (self.kind == "two-stage") != (self.rationale is not None):
            raise ValueError("'rationale' names the rationale stage of a two-stage strategy, and of no other")
        return self


class FewShotSpec(Spec):
    """Accuracy over the number of demonstrations before each question, without a step of training.

    They come of the question's own episode (the last example of an episode is its question), or else of `data`: at
    `random`, those of fewer shots among those of more, or the nearest by the frozen vision encoder's features, most
    similar last (`rices`, Flamingo's retrieval). With `shuffled` the curve is measured again with their answers
    exchanged.
    """

    shots: tuple[NonNegativeInt, ...] = Field(default=(0, 4, 8), min_length=1)
    choose: Literal["random", "rices"] = "random"
    shuffled: bool = True
    data: DataSpec | None = None


class AnsweringSpec(Spec):
    """How a saved model answers questions: kept beside its weights as `strategy.yaml`."""

    kind: Literal["direct", "one-stage", "two-stage"] = "direct"
    answer_format: str = "QCM-A"
    rationale_format: str | None = None
    by: Literal["generate", "score"] = "generate"
    layout: Layout | None = None
    images: bool = True
    source_tokens: PositiveInt = 512
    answer_tokens: PositiveInt = 64
    rationale_tokens: PositiveInt = 512


class RecipeSpec(Spec):
    """A model, its stages in order, and how it answers; without a `strategy` it answers no questions.

    The last stage's model is the recipe's, unless the strategy names another. Without a strategy, a reply has room for
    `reply_tokens`, or for as many as the last stage's targets. `images: false` trains and runs the same
    model blind. `weights` are a checkpoint to begin with, or one for each part; what they lack is drawn.
    """

    name: str
    description: str = ""
    seed: int = 0
    images: bool = True
    model: ModelSpec
    weights: str | dict[Part, str] | None = None
    tokenizer: TokenizerSpec
    stages: tuple[StageSpec, ...] = Field(min_length=1)
    strategy: StrategySpec | None = None
    reply_tokens: PositiveInt | None = None
    few_shot: FewShotSpec | None = None
    evaluation: tuple[DataSpec, ...] = ()

    @property
    def replying(self) -> AnsweringSpec | None:
        """How a model without a strategy replies to messages (captions a picture); None for a model of text alone."""
        last = self.stages[-1]
        if self.model.bridge is None:
            return None
        room: dict[str, Any] = {
            "source_tokens": last.source_tokens,
            "answer_tokens": self.reply_tokens or last.target_tokens,
        }
        return AnsweringSpec(images=self.images, layout=last.layout, **room)

    @model_validator(mode="after")
    def _names(self) -> RecipeSpec:
        seen: set[str] = set()
        for stage in self.stages:
            if stage.name in seen:
                raise ValueError(f"stages: two stages are named '{stage.name}'")
            if stage.start is not None and stage.start not in seen:
                raise ValueError(
                    f"stages: '{stage.name}' starts from '{stage.start}', which is no earlier stage; "
                    + nearest(stage.start, seen)
                )
            seen.add(stage.name)
        for role in ("answer", "rationale"):
            name = getattr(self.strategy, role, None)
            if name is not None and name not in seen:
                raise ValueError(f"strategy.{role}: no stage is named '{name}'; {nearest(name, seen)}")
        if self.model.language is None:
            raise ValueError("model: a recipe trains a language model; model.language is absent")
        if self.model.language.head.kind == "none" and not isinstance(self.model.bridge, DualSpec):
            raise ValueError("model.language.head: a model without a head predicts no tokens; set kind: token")
        kind = self.model.language.kind
        for stage in self.stages:
            if stage.objective != "detection" and READS.get(stage.objective, kind) != kind:
                raise ValueError(
                    f"stages: '{stage.name}' has the objective {stage.objective}, which is for an "
                    f"{READS[stage.objective]}; model.language.kind is '{kind}'"
                )
            if stage.shots and (kind != "decoder" or stage.objective != "language-modelling"):
                raise ValueError(f"stages: '{stage.name}': shots are for language-modelling with a decoder")
            if stage.objective == "language-modelling" and kind == "encoder":
                raise ValueError(f"stages: '{stage.name}': an encoder sees both ways; its objective is 'masked'")
        if self.few_shot is not None and (self.strategy is None or self.strategy.kind != "direct"):
            raise ValueError("few_shot: demonstrations stand before the questions of a 'direct' strategy")
        if kind != "decoder" and any(data.reader == "text" for data in self.evaluation):
            raise ValueError(f"evaluation: bits per byte of a text are for a decoder; model.language.kind is '{kind}'")
        return self

    @model_validator(mode="after")
    def _pairs(self) -> RecipeSpec:
        dual = isinstance(self.model.bridge, DualSpec)
        for stage in self.stages:
            if stage.objective != "detection" and (stage.objective == "contrastive") != dual:
                raise ValueError(
                    f"stages: '{stage.name}' has the objective {stage.objective}; a dual encoder (model.bridge.kind: "
                    "dual) learns by contrastive, and no other model does"
                )
        if dual and (self.strategy is not None or not self.images):
            raise ValueError("a dual encoder compares images with texts: it needs 'images', and has no 'strategy'")
        return self

    @model_validator(mode="after")
    def _queries(self) -> RecipeSpec:
        bridge = self.model.bridge if isinstance(self.model.bridge, QFormerSpec) else None
        for stage in self.stages:
            if "projection" in stage.learn and bridge is None:
                raise ValueError(f"stages: '{stage.name}': learn: projection is a Q-Former's; model.bridge is none")
            if not stage.aligns:
                continue
            if bridge is None or bridge.text is None or bridge.heads is None or not bridge.heads.writes:
                raise ValueError(
                    f"stages: '{stage.name}': {stage.objective} teaches a Q-Former with text and heads (model.bridge: "
                    "{kind: q-former, text: {}, heads: {}})"
                )
            if stage.target_tokens >= bridge.text.length:
                raise ValueError(
                    f"stages: '{stage.name}': target_tokens {stage.target_tokens} and a start token do not fit the "
                    f"Q-Former's model.bridge.text.length of {bridge.text.length}"
                )
        return self

    @model_validator(mode="after")
    def _tasks(self) -> RecipeSpec:
        stages = {stage.name: stage for stage in self.stages}
        if self.model.task is not None:
            raise ValueError("model.task: a stage makes it of its data; name the task as the stage's objective")
        for stage in self.stages:
            if stage.start is not None and stages[stage.start].task is not None:
                raise ValueError(f"stages: '{stage.name}' starts from '{stage.start}', which ends under a task's head")
            if stage.task is None:
                continue
            kind = self.model.language.kind if self.model.language and not self.model.bridge else None
            if kind not in ("decoder", "encoder"):
                raise ValueError(f"stages: '{stage.name}': {stage.task} needs a decoder or an encoder alone")
            if kind == "encoder" and stage.lm_weight:
                raise ValueError(f"stages: '{stage.name}': an encoder sees the tokens to come; set lm_weight: 0")
        return self
