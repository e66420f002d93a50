"""Specs of a recipe: tokenizer, few-shot measurement, how a saved model answers, and the recipe itself.

A recipe is a model, its ordered stages, and the strategy by which the trained model answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, model_validator

from sepiola.errors import SpecError, shown
from sepiola.specs.base import Spec, nearest
from sepiola.specs.bridge import DualSpec
from sepiola.specs.data import DataSpec
from sepiola.specs.ensemble import EnsembleSpec
from sepiola.specs.model import ModelSpec, Part
from sepiola.specs.stage import StageSpec
from sepiola.specs.strategy import AnyStrategySpec, DirectSpec, StrategySpec, TwoStageSpec
from sepiola.specs.values import Name, Seed, Tokens, Vocabulary

Layout = Literal["minigpt-4", "minigpt-4-llama-2"]


class TokenizerSpec(Spec):
    """Where the tokenizer comes from: a `tokenizer.json`, or one of a `kind` trained on the recipe's training text."""

    path: str | None = None
    kind: Literal["bpe", "unigram"] = "bpe"
    vocabulary: Vocabulary | None = None

    @model_validator(mode="after")
    def _one(self) -> TokenizerSpec:
        if (self.path is None) == (self.vocabulary is None):
            raise ValueError("give either 'path' (a tokenizer.json) or 'vocabulary' (a size to train)")
        return self


class FewShotSpec(Spec):
    """Accuracy over the number of demonstrations before each question, without a step of training.

    They come of the question's own episode (the last example of an episode is its question), or else of `data`: at
    `random`, those of fewer shots among those of more, or the nearest by the frozen vision encoder's features, most
    similar last (`rices`, Flamingo's retrieval). With `shuffled` the curve is measured again with their answers
    exchanged.
    """

    shots: tuple[Annotated[int, Field(ge=0, le=1024)], ...] = Field(default=(0, 4, 8), min_length=1)
    choose: Literal["random", "rices"] = "random"
    shuffled: bool = True
    data: DataSpec | None = None

    @model_validator(mode="after")
    def _once(self) -> FewShotSpec:
        if len(set(self.shots)) != len(self.shots):
            raise ValueError(f"shots: expected each number once, got {list(self.shots)}")
        return self


class AnsweringSpec(Spec):
    """How a saved model answers questions: kept beside its weights as `strategy.yaml`.

    `layout` is how messages become a prompt: one line after the other without special tokens (None, as recipes train
    it), a named layout, the checkpoint's own chat template (`chat`), or as plain text with the start token that its
    tokenizer puts before every text (`text`). `source_tokens` is what a recipe was trained to read; by default the
    model's context, less the reply.
    """

    strategy: AnyStrategySpec = DirectSpec()
    answer_format: str = "QCM-A"
    rationale_format: str | None = None
    layout: Layout | Literal["chat", "text"] | None = None
    images: bool = True
    source_tokens: Tokens | None = None
    answer_tokens: Tokens = 64
    rationale_tokens: Tokens = 512

    @model_validator(mode="before")
    @classmethod
    def _earlier(cls, raw: object) -> object:
        """What was saved before strategies had specs of their own has a strategy's keys beside the others."""
        if not isinstance(raw, Mapping) or "strategy" in raw:
            return raw
        flat = {key: raw[key] for key in ("kind", "by", "candidates") if key in raw}
        if flat.get("kind") != "sample-and-rank":
            flat.pop("candidates", None)
        return {
            **{key: value for key, value in raw.items() if key not in ("kind", "by", "candidates")},
            "strategy": flat,
        }

    @property
    def kind(self) -> str:
        """The strategy's kind."""
        return self.strategy.kind

    def by(
        self, strategy: StrategySpec | Mapping[str, object] | str, choosing: Literal["generate", "score"] | None = None
    ) -> AnsweringSpec:
        """The same with another strategy. Where it does not say how answers are chosen, that is by `choosing`, or as
        the own one does; a name is short for its kind. Raises SpecError for one that is none.
        """
        raw = strategy.model_dump(exclude_unset=True) if isinstance(strategy, StrategySpec) else strategy
        raw = {"kind": raw} if isinstance(raw, str) else raw
        if not isinstance(raw, Mapping):
            raise SpecError(f"strategy: expected keys and values, such as kind and chains; got {shown(raw)}")
        return AnsweringSpec.parse(
            {**self.model_dump(), "strategy": {"by": choosing or self.strategy.by, **raw}}, "answering"
        )


class RecipeSpec(Spec):
    """A model, its stages in order, and how it answers; without a `strategy` it answers no questions.

    The last stage's model is the recipe's, unless the strategy names another. Without a strategy, a reply has room
    for `reply_tokens`, or for as many as the last stage's targets. `images: false` trains and runs the same model
    blind. With `ensemble` several members answer in the model's place. `weights` are a checkpoint to begin with, or
    one for each part; what they lack is initialised.
    """

    name: Name
    description: str = ""
    seed: Seed = 0
    images: bool = True
    model: ModelSpec
    weights: str | dict[Part, str] | None = None
    tokenizer: TokenizerSpec | None = None
    stages: tuple[StageSpec, ...] = Field(min_length=1)
    strategy: AnyStrategySpec | None = None
    ensemble: EnsembleSpec | None = None
    reply_tokens: Tokens | None = None
    few_shot: FewShotSpec | None = None
    evaluation: tuple[DataSpec, ...] = ()

    @property
    def trains_tokenizer(self) -> bool:
        """Whether the tokenizer is trained on the recipe's own text."""
        return self.tokenizer is not None and self.tokenizer.path is None

    @model_validator(mode="after")
    def _names(self) -> RecipeSpec:
        earlier: set[str] = set()
        for stage in self.stages:
            if stage.name in earlier:
                raise ValueError(f"stages: two stages are named '{stage.name}'")
            if stage.start is not None and stage.start not in earlier:
                raise ValueError(
                    f"stages: '{stage.name}' starts from '{stage.start}', which is no earlier stage; "
                    + nearest(stage.start, earlier)
                )
            for name in stage.objective.asks:
                if name not in earlier:
                    raise ValueError(
                        f"stages: '{stage.name}' asks '{name}', which is no earlier stage; {nearest(name, earlier)}"
                    )
            earlier.add(stage.name)
        if self.strategy is not None and self.strategy.answer is None:
            raise ValueError("strategy.answer: name the stage whose model answers")
        if isinstance(self.strategy, TwoStageSpec) and self.strategy.rationale is None:
            raise ValueError(
                "strategy.rationale: name the stage whose model writes the rationales of a two-stage strategy"
            )
        for role in self.strategy.stages if self.strategy is not None else ():
            name = getattr(self.strategy, role)
            if name is not None and name not in earlier:
                raise ValueError(f"strategy.{role}: no stage is named '{name}'; {nearest(name, earlier)}")
            if any(stage.name == name and not stage.objective.answers for stage in self.stages):
                raise ValueError(
                    f"strategy.{role}: stage '{name}' answers no questions; give its objective a format, such as QCM-A"
                )
        verifier = getattr(self.strategy, "verifier", None)
        vote = getattr(self.strategy, "vote", None)
        if any(stage.name == verifier and stage.objective.scores != vote for stage in self.stages):
            raise ValueError(f"strategy.verifier: stage '{verifier}' scores no chains; its objective must be {vote}")
        ranks = self.strategy.answer if self.strategy and self.strategy.kind == "sample-and-rank" else None
        if any(stage.name == ranks and not stage.objective.rates for stage in self.stages):
            raise ValueError("strategy.kind: sample-and-rank needs a stage that teaches ratings (generate-and-rate)")
        if self.model.language is None and self.model.alone is None:
            raise ValueError("model: a recipe trains a language model; model.language is absent")
        if (self.tokenizer is None) != (self.model.language is None):
            raise ValueError("tokenizer: a language model reads by one, and nothing else does; give both or neither")
        if self.model.classifier is not None:
            raise ValueError("model.classifier: a stage makes it of its data; name its kind as the stage's objective")
        heads = {stage.name for stage in self.stages if stage.objective.ends}
        for stage in self.stages:
            if stage.start in heads:
                raise ValueError(f"stages: '{stage.name}' starts from '{stage.start}', which ends as a classifier")
            try:
                stage.check(self.model)
            except ValueError as error:
                raise ValueError(f"stages: {error}") from None
            if self.model.language and self.model.language.head.kind == "none" and stage.objective.predicts:
                raise ValueError(
                    f"model.language.head: a model without a head predicts no tokens, and stage '{stage.name}' "
                    f"({stage.objective.kind}) does; set kind: token"
                )
        self._check_ensemble()
        if self.few_shot is not None and (self.strategy is None or self.strategy.kind != "direct"):
            raise ValueError("few_shot: demonstrations stand before the questions of a 'direct' strategy")
        if (
            self.model.language
            and self.model.language.kind != "decoder"
            and any(data.reader == "text" for data in self.evaluation)
        ):
            raise ValueError(
                f"evaluation: bits per byte of a text are for a decoder; model.language.kind is "
                f"'{self.model.language.kind}'"
            )
        if isinstance(self.model.bridge, DualSpec) and (self.strategy is not None or not self.images):
            raise ValueError("a dual encoder compares images with texts: it needs 'images', and has no 'strategy'")
        return self

    def _check_ensemble(self) -> None:
        """Raises ValueError for members that would not answer with probabilities, and for stages that they cannot
        share.
        """
        ensemble, strategy = self.ensemble, self.strategy
        if ensemble is None:
            return
        answers = next((stage for stage in self.stages if strategy and stage.name == strategy.answer), None)
        if strategy is None or answers is None:
            raise ValueError("ensemble: its members answer questions; give the recipe a 'strategy'")
        if getattr(strategy, "by", None) != "score" and not answers.objective.ends:
            raise ValueError("ensemble: its members answer with a probability for each option; set strategy.by: score")
        if self.few_shot is not None:
            raise ValueError("few_shot: demonstrations stand before the questions of one model, and of no ensemble")
        if ensemble.distilled and answers.objective.kind != "language-modelling":
            raise ValueError(
                f"ensemble.distilled: stage '{answers.name}' learns by {answers.objective.kind}; a model is distilled "
                "by language-modelling alone"
            )
        names = [stage.name for stage in self.stages]
        for name in ensemble.shared:
            if name not in names:
                raise ValueError(f"ensemble.shared: no stage is named '{name}'; {nearest(name, names)}")
            start = self.stages[names.index(name)].start
            if name == answers.name:
                raise ValueError(f"ensemble.shared: '{name}' is what the members answer by, and each has its own")
            if start is not None and start not in ensemble.shared:
                raise ValueError(f"ensemble.shared: '{name}' starts from '{start}', which is not shared; name it too")
