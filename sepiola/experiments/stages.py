"""The stages of a recipe: where their weights lie, what each begins with, and the models that they leave.

Nothing trains here (`sepiola.experiments.run` does).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from torch import nn

from sepiola.api import Model, load
from sepiola.checkpoints import store
from sepiola.data.example import Example
from sepiola.data.example import digest as examples_digest
from sepiola.data.files import locked
from sepiola.data.journal import Journal
from sepiola.datasets import DataCache
from sepiola.errors import SpecError
from sepiola.experiments.recipe_text import RecipeText, digest
from sepiola.generation.image_features import ImageFeatures
from sepiola.models.build import build
from sepiola.models.multimodal.vision_language import VisionLanguageModel
from sepiola.models.vision.vision_encoder import VisionEncoder
from sepiola.nn.device import find_device
from sepiola.reasoning.answer import Answer
from sepiola.reasoning.ensembles import probabilities_of
from sepiola.reasoning.strategies import TwoStage
from sepiola.specs.model import ModelSpec, Part
from sepiola.specs.recipe import AnsweringSpec, RecipeSpec
from sepiola.specs.stage import StageSpec
from sepiola.specs.strategy import StrategySpec, TwoStageSpec
from sepiola.text.prompts import PromptFormat, split_rationale
from sepiola.training.load_parts import load_parts
from sepiola.training.objectives import Objective, objective_of

log = logging.getLogger(__name__)
TOGETHER = 256
"""Questions whose answers are kept at once: what a kill can cost."""


class Stages(RecipeText):
    """The stages of one recipe, in `shared`. It is the setting of their objectives (`training.objectives.Setting`)."""

    def __init__(self, recipe: RecipeSpec, shared: Path, data: DataCache, device: str) -> None:
        super().__init__(recipe, shared, data)
        self.device = str(find_device(device))
        self.seed = recipe.seed
        self.images = recipe.images
        self.stages = {stage.name: stage for stage in recipe.stages}

    def objective(self, stage: StageSpec) -> Objective:
        """What the stage learns by, in this run."""
        return objective_of(stage, self)

    def key(self, stage: StageSpec) -> str:
        """A digest of all that decides the stage's weights."""
        start = self.key(self.stages[stage.start]) if stage.start else None
        about = [stage.model_dump(mode="json"), self.seed, start, self.recipe.weights]
        return digest([*self.objective(stage).identity(), *about])

    def runs(self, stage: StageSpec) -> bool:
        """Whether the stage is of use: a blind model skips one that only teaches how to see."""
        return self.images or not stage.objective.needs_images(self.recipe.model, stage)

    def digests(self) -> dict[str, str]:
        """What tells all that the stages read from disk, by what it is to the run."""
        trained = self.recipe.trains_tokenizer  # on the data of every stage, of use or not
        found = (
            {} if trained or self.recipe.tokenizer is None else {"the tokenizer": digest([self.tokenizer.to_json()])}
        )
        for stage in self.recipe.stages:
            if trained or self.runs(stage):
                found[f"stage {stage.name}: data"] = self.data.digest(stage.data)
            if stage.validation is not None and self.runs(stage):
                found[f"stage {stage.name}: validation"] = self.data.digest(stage.validation)
            for name, data in stage.objective.reads_beside.items() if self.runs(stage) else ():
                found[f"stage {stage.name}: {name}"] = self.data.digest(data)
        return found

    def stage_folder(self, stage: StageSpec) -> Path:
        return self.shared / "stages" / f"{stage.name}-{self.key(stage)}"

    def begun(self, stage: StageSpec) -> nn.Module:
        """The network as the stage finds it: fresh, with parts of the recipe's weights, then of the stage before."""
        network = build(self.spec, seed=self.seed)
        for part, source in self._sources(stage):
            earlier = load(source)
            if earlier.ensemble is not None:
                raise SpecError(f"weights: {source} is an ensemble of several models; name one of its members")
            if earlier.kept is not None:
                log.warning(
                    "%s keeps what it was before functions were added; what is trained from it is one model, which "
                    "answers all requests itself",
                    source,
                )
            load_parts(network, earlier.network, earlier.spec, source, part)
        return network

    def _sources(self, stage: StageSpec) -> list[tuple[Part | None, str]]:
        """Where weights lie that the stage begins with, and of which part alone; all parts for None."""
        weights = self.recipe.weights
        sources: list[tuple[Part | None, str]] = [*weights.items()] if isinstance(weights, dict) else []
        sources += [(None, weights)] if isinstance(weights, str) else []
        earlier = stage
        while earlier.start is not None:  # a stage that is of no use hands on what it would begin with
            earlier = self.stages[earlier.start]
            if self.runs(earlier):
                return [*sources, (None, str(self.stage_folder(earlier) / "checkpoint"))]
        return sources

    def trained(self, name: str) -> tuple[nn.Module, ModelSpec]:
        """What a stage that is done has left, and its spec; of one that is of no use, what it would begin with."""
        stage = self.stages[name]
        if self.runs(stage):
            return store.load(self.stage_folder(stage) / "checkpoint")
        return self.begun(stage), self.spec

    def features(self, vision: VisionEncoder) -> ImageFeatures:
        """The features of images under a vision encoder, computed once."""
        assert self.spec.vision is not None
        return ImageFeatures(vision, self.spec.vision, self.shared / "features")

    # -------------------------------------------------------------------------------- rationales and answers

    def rationales(self, examples: Sequence[Example], *, generated: bool) -> Mapping[str, str]:
        """The rationales that a stage reads, by example: written by the strategy's rationale model, or gold."""
        if generated:
            return self._rationale_writer().rationales(examples)
        gold = PromptFormat.parse(self._rationale_format() or "QCM-LE")
        return {e.id: split_rationale(gold.target(e))[0] for e in examples if gold.trainable(e)}

    def rationales_key(self, *, generated: bool) -> str:
        """What tells these rationales from others."""
        stage = self._rationale_stage()
        return self.key(stage) if generated and stage is not None else str(self._rationale_format())

    def answers(
        self,
        stage: str,
        examples: Sequence[Example],
        strategy: StrategySpec,
        network: nn.Module | None = None,
        runtime: str = "torch",
        bits: int | None = None,
    ) -> list[Answer]:
        """What the model of a stage answers by a strategy; with a `network`, what it would by these weights. Run as
        `Model.run` says.

        The answers of a stage that is done are kept beside it as they come, so that a run that was stopped goes on.
        """
        own = self.stages[stage]
        change = {"strategy": strategy, "rationale_tokens": own.target_tokens}
        model = self._model(own, self.objective(own).answering().model_copy(update=change), network=network)
        if runtime != "torch":
            model.run(runtime, bits=bits)
        if network is not None:
            return model.answer(examples)
        key = digest([self.key(own), strategy.to_dict(), examples_digest(examples), runtime, bits])
        folder = self.shared / "stages" / f"answers-{key}"
        with locked(folder):
            journal = Journal(folder / "answers.jsonl", {"stage": stage})
            left = [example for example in examples if example.id not in journal.records]
            for start in range(0, len(left), TOGETHER):
                journal.add([asdict(answer) for answer in model.answer(left[start : start + TOGETHER])])
            return [Answer.of(journal.records[example.id]) for example in examples]

    def answers_key(self, stage: str) -> str:
        """What tells these answers from others."""
        return self.key(self.stages[stage])

    def probabilities(self, teacher: str, examples: Sequence[Example]) -> Sequence[Sequence[float]]:
        """How likely a teacher, a run or a checkpoint, thinks each option of each example's question."""
        answers = load(teacher, device=self.device).strategy(score=True).answer(examples)
        return [probabilities_of(answer) for answer in answers]

    def _rationale_stage(self) -> StageSpec | None:
        strategy = self.recipe.strategy
        name = getattr(strategy, "rationale", None)
        return self.stages[name] if name is not None else None

    def _rationale_format(self) -> str | None:
        stage = self._rationale_stage()
        return self.objective(stage).answering().answer_format if stage is not None else None

    def _rationale_writer(self) -> TwoStage:
        """The rationale model in a strategy that answers nothing."""
        stage = self._rationale_stage()
        if stage is None:
            raise SpecError("rationales: generated needs a two-stage strategy whose rationale stage has a format")
        answering = self.objective(stage).answering()
        two_stage = {"strategy": TwoStageSpec(kind="two-stage"), "rationale_format": answering.answer_format}
        model = self._model(stage, answering.model_copy(update={**two_stage, "rationale_tokens": stage.target_tokens}))
        model.rationale = model
        strategy = model.strategy()
        assert isinstance(strategy, TwoStage)
        return strategy

    def model(self) -> Model:
        """The trained model with its way of answering; without a strategy it replies, if it sees or chats."""
        strategy = self.recipe.strategy
        if strategy is None:
            last = self.recipe.stages[-1]
            reply: AnsweringSpec | None = self.objective(last).replying()
            if self.recipe.model.bridge is None and reply is not None and reply.layout != "chat":
                reply = None
            if reply is not None and self.recipe.reply_tokens:
                reply = reply.model_copy(update={"answer_tokens": self.recipe.reply_tokens})
            return self._model(last, reply)
        answer, rationale = self.stages[str(strategy.answer)], self._rationale_stage()
        change: dict[str, object] = {"rationale_tokens": (rationale or answer).target_tokens}
        change["strategy"] = strategy.model_copy(update={**dict.fromkeys(strategy.stages), **self._verifier()})
        first = None
        if rationale is not None:
            change["rationale_format"] = self._rationale_format()
            first = self._model(rationale)
        return self._model(answer, self.objective(answer).answering().model_copy(update=change), first)

    def _verifier(self) -> dict[str, str]:
        """Where the stage lies, as a whole model, that scores the strategy's chains, if a stage does."""
        stage = self.stages.get(getattr(self.recipe.strategy, "verifier", None) or "")
        if stage is None:
            return {}
        folder = self.stage_folder(stage) / "model"
        self._model(stage, self.objective(stage).answering() if stage.objective.answers else None).save(folder)
        return {"verifier": str(folder)}

    def _model(
        self,
        stage: StageSpec,
        answering: AnsweringSpec | None = None,
        first: Model | None = None,
        network: nn.Module | None = None,
    ) -> Model:
        spec = self.objective(stage).model()
        if network is None:
            network, spec = self.trained(stage.name)
        encode = None
        if isinstance(network, VisionLanguageModel) and network.vision is not None:
            features = self.features(network.vision)
            encode = features.encode_each if network.interleaved else features.encode
        processor = self.processor(spec, self.objective(stage))
        return Model(network.to(self.device), spec, processor, answering, first, encode)
