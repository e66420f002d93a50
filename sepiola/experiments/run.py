"""Running a recipe from start to end: tokenizer, stages, checkpoint, evaluation, report.

A run's folder holds `recipe.yaml`, `metrics.jsonl`, `report.json`, `report.html`, `checkpoint/`, and `stages/`, one
folder a stage, named by what went into it: arms of a comparison that share a stage train it once, and a stage that is
done is not done again.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from rich.console import Console
from torch import nn

from sepiola.api import Model, load
from sepiola.checkpoints import store
from sepiola.data.batching import FeatureRows, Pixels, Row, Sample
from sepiola.data.example import Example
from sepiola.datasets import DataCache
from sepiola.errors import SpecError, TrainingError
from sepiola.experiments.evaluate import evaluate
from sepiola.experiments.recipe_text import RecipeText, digest
from sepiola.generation.image_features import ImageFeatures
from sepiola.models.build import build, outline
from sepiola.models.multimodal.vision_language import VisionLanguageModel
from sepiola.models.resize import places
from sepiola.models.vision.pixels import to_pixels
from sepiola.models.vision.tiles import to_tiles
from sepiola.specs.base import read_yaml
from sepiola.specs.model import ModelSpec, Part, TransformerSpec
from sepiola.specs.recipe import AnsweringSpec, DataSpec, RecipeSpec, StageSpec
from sepiola.text.classification import encode_task
from sepiola.text.encoding import encode, encode_pairs, in_rows, placing
from sepiola.text.layouts import LAYOUTS
from sepiola.text.pretraining import is_plain, noise_of, pretraining_samples
from sepiola.text.prompts import PromptFormat, split_rationale
from sepiola.training import lora
from sepiola.training.classifier import begin_task, under_task
from sepiola.training.load_parts import load_parts
from sepiola.training.objectives.alignment import pairs
from sepiola.training.objectives.detection import Detector, Traits, pictures
from sepiola.training.trainer import Trainer


class Run(RecipeText):
    """One recipe in one folder. `shared` is where stages lie when several runs may share them."""

    def __init__(
        self,
        recipe: RecipeSpec,
        folder: Path,
        *,
        console: Console,
        shared: Path | None = None,
        data: DataCache | None = None,
        device: str = "cpu",
        resume: bool = False,
    ) -> None:
        super().__init__(recipe, shared or folder, data or DataCache())
        self.folder = folder
        self.console = console
        self.device = device
        self.resume = resume
        self.stages = {stage.name: stage for stage in recipe.stages}

    def go(self) -> dict[str, Any]:
        """Trains what is not trained, saves the checkpoint, evaluates, writes the report and returns it."""
        mine = self.recipe.model_dump(mode="json", exclude_defaults=True)
        claim(self.folder, mine, self.resume)
        for stage in filter(self.runs, self.recipe.stages):
            self.train(stage)
        self._gather_metrics()
        model = self.model()
        model.save(self.folder / "checkpoint")
        return evaluate(self.recipe, model, self.data, self.folder, self.console)

    def spec_of(self, stage: StageSpec) -> ModelSpec:
        """The model that the stage trains: the recipe's, under a head where the stage's objective is a task."""
        return under_task(self.spec, stage.task, self.data.read(stage.data)) if stage.task else self.spec

    # ------------------------------------------------------------------------------------------------ stages

    def key(self, stage: StageSpec) -> str:
        """A digest of all that decides the stage's weights."""
        earlier = [self.key(self.stages[stage.start]) if stage.start else None, self.recipe.weights]
        if stage.objective == "detection":
            assert self.spec.vision is not None
            return digest([self.spec.vision.model_dump(mode="json"), stage.model_dump(), self.recipe.seed, *earlier])
        source = self._rationale_stage if stage.rationales == "generated" else None
        return digest(
            [
                self.spec.model_dump(mode="json"),
                self.tokenizer.to_json(),
                stage.model_dump(mode="json"),
                self.recipe.seed,
                self.recipe.images,
                earlier,
                self.key(source) if source else None,
                self._gold_format(stage),
            ]
        )

    def runs(self, stage: StageSpec) -> bool:
        """Whether the stage is of use: a blind model has no vision encoder to teach, and begins its next stage fresh.

        Nor has it a bridge, where that brings the images into the text.
        """
        teaches_seeing = stage.objective == "detection" or (places(self.recipe.model) and "language" not in stage.learn)
        return self.recipe.images or not teaches_seeing

    def stage_folder(self, stage: StageSpec) -> Path:
        return self.shared / "stages" / f"{stage.name}-{self.key(stage)}"

    def train(self, stage: StageSpec) -> None:
        """Trains one stage unless its weights are there; a half-done one is resumed."""
        folder = self.stage_folder(stage)
        with store.locked(folder):
            if (folder / "checkpoint" / store.SPEC).is_file():
                self.console.print(f"stage {stage.name}: done before, {folder}")
            else:
                self._train(stage, folder)

    def _train(self, stage: StageSpec, folder: Path) -> None:
        network = self.fresh(stage)
        learner = self._detector(stage, network) if stage.objective == "detection" else network
        samples = self.samples(stage, stage.data)
        validation = self.samples(stage, stage.validation) if stage.validation else []
        features, pixels = self._sight(stage, network)
        trainer = Trainer(
            learner,
            stage,
            samples,
            folder=folder,
            validation=validation,
            seed=self.recipe.seed,
            device=self.device,
            features=features,
            pixels=pixels,
            noise=noise_of(stage.objective, self.tokenizer, self._language.tokens),
            console=self.console,
            tensorboard=True,
        )
        trainer.run(resume=True)
        if validation:
            trainer.load_best()
        if trainer.adapter is not None:
            base = [source for only, source in self._sources(stage) if only in (None, "language")]
            lora.save(trainer.adapter, folder / "adapter", base[-1] if base else None)
            lora.merge(trainer.adapter)
        if stage.objective == "detection":  # the vision encoder alone, which models with other bridges may begin with
            eye: Any = network
            store.save(folder / "checkpoint", eye.vision, ModelSpec(name=self.spec.name, vision=self.spec.vision))
        else:
            store.save(folder / "checkpoint", network, self.spec_of(stage))

    def _detector(self, stage: StageSpec, network: nn.Module) -> Detector:
        """The network's eye under the classifiers of the stage's traits; training it trains the network's own vision
        encoder.
        """
        if not isinstance(network, VisionLanguageModel) or network.vision is None:
            raise SpecError(f"stage '{stage.name}': detection teaches a vision encoder, and model.vision is absent")
        return Detector(network.vision, self._traits(stage), network.language.spec, self.recipe.seed)

    def _traits(self, stage: StageSpec) -> Traits:
        return Traits.of(pictures(self.data.read(stage.data)))

    def fresh(self, stage: StageSpec) -> nn.Module:
        """The network as the stage finds it."""
        network = self._earlier(stage)
        return begin_task(network, self.spec_of(stage), self.recipe.seed) if stage.task else network

    def _earlier(self, stage: StageSpec) -> nn.Module:
        """The recipe's model: fresh, with the parts of the recipe's weights, and then of the stage before."""
        network = build(self.spec, seed=self.recipe.seed)
        for only, source in self._sources(stage):
            earlier = load(source)
            load_parts(network, earlier.network, earlier.spec, source, only)
        return network

    def _sources(self, stage: StageSpec) -> list[tuple[Part | None, str]]:
        """Where weights lie that the stage begins with, and of which part alone; all parts for None."""
        named = self.recipe.weights
        found: list[tuple[Part | None, str]] = [*named.items()] if isinstance(named, dict) else []
        found += [(None, named)] if isinstance(named, str) else []
        earlier = stage
        while earlier.start is not None:  # a stage that is of no use hands on what it would begin with
            earlier = self.stages[earlier.start]
            if self.runs(earlier):
                return [*found, (None, str(self.stage_folder(earlier) / "checkpoint"))]
        return found

    def trained(self, name: str) -> nn.Module:
        """The network of a stage that is done; of one that is of no use, the network that it would begin with."""
        stage = self.stages[name]
        return store.load(self.stage_folder(stage) / "checkpoint")[0] if self.runs(stage) else self._earlier(stage)

    @property
    def _rationale_stage(self) -> StageSpec | None:
        how = self.recipe.strategy
        return self.stages[how.rationale] if how is not None and how.rationale is not None else None

    def _gold_format(self, stage: StageSpec) -> str | None:
        """The format whose targets are the gold rationales that this stage reads."""
        source = self._rationale_stage
        reads = stage.format is not None and PromptFormat.parse(stage.format).takes_rationale
        return source.format if reads and source is not None else None

    def _laid_out(self, stage: StageSpec, data: DataSpec, *, gold: bool = False) -> list[Example]:
        """The stage's examples as prompt and target; records that lack what the format is made of are left out."""
        examples = self.data.read(data)
        if stage.format is None:
            return examples
        layout = PromptFormat.parse(stage.format)
        if not layout.takes_rationale:
            return [layout.apply(e) for e in examples if layout.trainable(e)]
        if stage.rationales == "generated" and not gold:
            written = self.model_for_rationales().rationales(examples)
        else:
            source = PromptFormat.parse(self._gold_format(stage) or "QCM-LE")
            written = {e.id: split_rationale(source.target(e))[0] for e in examples if source.trainable(e)}
        return [
            layout.apply(e, written[e.id]) for e in examples if e.id in written and layout.trainable(e, written[e.id])
        ]

    def samples(self, stage: StageSpec, data: DataSpec, *, gold: bool = False) -> Sequence[Sample | Row]:
        """The stage's samples of some data. With `gold`, generated rationales are stood in for by the dataset's.

        Raises TrainingError when no record holds what the format asks for.
        """
        if stage.objective == "detection":
            traits, patches = self._traits(stage), self._patches
            return [traits.sample(e, patches) for e in pictures(self.data.read(data))]
        if stage.objective == "contrastive":
            return encode_pairs(self.data.read(data), self.tokenizer, self._language)
        if stage.aligns:
            return pairs(self.data.read(data), self.tokenizer, self._language.tokens.end)
        task = self.spec_of(stage).task
        if task is not None:
            known = [e for e in self.data.read(data) if e.question is None or e.question.answer is not None]
            return encode_task(known, self.tokenizer, task)
        laid_out = self._laid_out(stage, data, gold=gold)
        if not laid_out:
            raise TrainingError(
                f"stage '{stage.name}': no example of {data.reader} ({data.split}) holds what the "
                f"format {stage.format} asks for"
            )
        if is_plain(laid_out):
            return pretraining_samples(
                laid_out,
                self.tokenizer,
                self._language.tokens,
                window=stage.target_tokens,
                packed=stage.packed,
                seed=self.recipe.seed,
            )
        close = self._language.kind == "encoder-decoder"
        how: dict[str, Any] = {**placing(outline(self.spec)), "layout": LAYOUTS[stage.layout] if stage.layout else None}
        images = self.recipe.images and stage.images
        made = encode(laid_out, self.tokenizer, self._language.tokens, close=close, images=images, **how)
        return in_rows(laid_out, made, stage.shots) if stage.shots else made

    @property
    def _language(self) -> TransformerSpec:
        assert self.spec.language is not None
        return self.spec.language

    @cached_property
    def _patches(self) -> int:
        network: Any = outline(self.spec)
        return int(network.vision.patches)

    def _sight(self, stage: StageSpec, network: nn.Module) -> tuple[FeatureRows | None, Pixels | None]:
        """How the stage's images reach the model: features of a frozen vision encoder, pixels of one that learns, or
        none.
        """
        if not self.recipe.images or not isinstance(network, VisionLanguageModel) or network.vision is None:
            return None, None
        assert self.spec.vision is not None
        if "vision" in stage.learn:
            pixels = self.spec.vision.pixels
            if network.interleaved and stage.objective != "detection":
                return None, lambda images: to_tiles(images, pixels)
            return None, lambda images: [to_pixels(image.open(), pixels) for image in images]
        return self._eye(network).rows, None

    def _eye(self, network: nn.Module) -> ImageFeatures:
        assert isinstance(network, VisionLanguageModel) and network.vision is not None and self.spec.vision is not None
        return ImageFeatures(network.vision, self.spec.vision, self.shared / "features")

    # ---------------------------------------------------------------------------------- answering, evaluation

    def model(self) -> Model:
        """The trained model with its way of answering, if it has one."""
        how = self.recipe.strategy
        if how is None:
            return self._facade(self.trained(self.recipe.stages[-1].name), self.recipe.replying)
        answer = self.stages[how.answer]
        if answer.task is not None:
            answering = AnsweringSpec(source_tokens=answer.source_tokens)
            return Model(self.trained(answer.name).to(self.device), self.spec_of(answer), self.tokenizer, answering)
        if answer.format is None:
            raise SpecError(f"strategy.answer: stage '{answer.name}' has no format, so it answers no questions")
        rationale = self._rationale_stage
        answering = AnsweringSpec(
            kind=how.kind,
            by=how.by,
            images=self.recipe.images,
            answer_format=answer.format,
            layout=answer.layout,
            rationale_format=rationale.format if rationale else None,
            source_tokens=answer.source_tokens,
            answer_tokens=answer.target_tokens,
            rationale_tokens=rationale.target_tokens if rationale else answer.target_tokens,
        )
        first = self._facade(self.trained(rationale.name)) if rationale else None
        return self._facade(self.trained(answer.name), answering, first)

    def model_for_rationales(self) -> Any:
        """The two-stage strategy over a rationale model alone: it writes rationales and answers nothing."""
        rationale = self._rationale_stage
        if rationale is None or rationale.format is None:
            raise SpecError("rationales: generated needs a two-stage strategy whose rationale stage has a format")
        how = AnsweringSpec(
            kind="two-stage",
            rationale_format=rationale.format,
            images=self.recipe.images,
            source_tokens=rationale.source_tokens,
            rationale_tokens=rationale.target_tokens,
        )
        model = self._facade(self.trained(rationale.name), how)
        model.rationale = model
        return model.strategy()

    def _facade(self, network: nn.Module, how: AnsweringSpec | None = None, first: Model | None = None) -> Model:
        image_encoder = None
        if isinstance(network, VisionLanguageModel) and network.vision is not None:
            eye = self._eye(network)
            image_encoder = eye.encode_each if network.interleaved else eye.encode
        return Model(network.to(self.device), self.spec, self.tokenizer, how, first, image_encoder)

    def _gather_metrics(self) -> None:
        """The run's `metrics.jsonl`: its stages' lines, one stage after the other."""
        lines = [
            (self.stage_folder(s) / "metrics.jsonl").read_text(encoding="utf-8")
            for s in self.recipe.stages
            if self.runs(s)
        ]
        store.write_text(self.folder / "metrics.jsonl", "".join(lines))


def claim(folder: Path, recipe: Any, resume: bool) -> None:
    """Takes a folder for a recipe. Raises TrainingError when it holds another run, or this one without `resume`."""
    store.make_folder(folder)
    path = folder / "recipe.yaml"
    if path.is_file():
        if read_yaml(path) != recipe:
            raise TrainingError(
                f"{folder} holds a run of another recipe; choose another name (--set name=…), or remove the folder"
            )
        if not resume:
            raise TrainingError(f"{folder} holds this run already; go on with --resume, or remove the folder")
    store.write_yaml_file(path, recipe)
