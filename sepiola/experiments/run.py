"""Running a recipe from start to end: tokenizer, stages, checkpoint, evaluation, report.

A run's folder holds `recipe.yaml`, `data.json` (digests of what its stages read), `metrics.jsonl`, `report.json`,
`report.html`, `checkpoint/`, and `stages/`, one folder a stage, named by what went into it: arms of a comparison that
share a stage train it once, and a stage that is done is not done again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from filelock import Timeout
from rich.console import Console
from torch import nn

from sepiola.api import Model
from sepiola.checkpoints import adapters, store
from sepiola.checkpoints.updates import LowRank
from sepiola.data.files import locked, make_folder, write_text
from sepiola.datasets import DATASETS, DataCache
from sepiola.errors import TrainingError
from sepiola.evaluation.figures import Figures
from sepiola.experiments.evaluate import evaluate
from sepiola.experiments.stages import Stages
from sepiola.models.multimodal.vision_language import VisionLanguageModel, vision_of
from sepiola.specs.base import read_yaml
from sepiola.specs.model import ModelSpec
from sepiola.specs.recipe import RecipeSpec
from sepiola.specs.stage import StageSpec
from sepiola.training.batches import ImageInputs
from sepiola.training.collate import pixel_inputs
from sepiola.training.lora import Adapter, begin_learning
from sepiola.training.objectives import Objective
from sepiola.training.progress import say
from sepiola.training.ranks import Ranks
from sepiola.training.trainer import Trainer

DATA = "data.json"
_ANEW = "begin anew: under another name (--set name=…), in another folder (--runs), or with this one removed"


class Run(Stages):
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
        ranks: Ranks | None = None,
    ) -> None:
        super().__init__(recipe, shared or folder, data or DataCache(), device)
        self.ranks = ranks or Ranks()
        self.folder = folder
        self.console = console
        self.resume = resume

    def go(self) -> Figures:
        """Trains what is not trained, saves the checkpoint, evaluates, writes the report and returns it: nothing on
        other ranks than the first, which train with it and leave it alone then.
        """
        if not self.ranks.first:
            self.ranks.by_first(_nothing)
            for stage in filter(self.runs, self.recipe.stages):
                self.train(stage)
            return {}
        with claimed(self.folder, self.recipe.to_dict(), self.resume, self.console):
            self.check_data()
            self.ranks.by_first(_nothing)
            model, metrics = self.learn()
            write_text(self.folder / "metrics.jsonl", "".join(metrics))
            model.save(self.folder / "checkpoint")
            return evaluate(self.recipe, model, self.data, self.folder, self.console, self.about)

    def learn(self) -> tuple[Model, list[str]]:
        """Trains what is not trained. The model, and the metrics of its stages as JSON lines."""
        stages = list(filter(self.runs, self.recipe.stages))
        for stage in stages:
            self.train(stage)
        files = [self.stage_folder(stage) / "metrics.jsonl" for stage in stages]
        return self.model(), [file.read_text(encoding="utf-8") for file in files if file.is_file()]

    def about(self, model: Model) -> Figures:
        """What the report says beside the evaluation's figures."""
        return {}

    def check_data(self) -> None:
        """Notes in the run's folder what its stages read. Raises TrainingError when that is not what was noted there
        before: a part of the run was trained on other data. Raises DataError, before anything is trained, for sets that
        it is measured on and that cannot be read.
        """
        self.check_evaluation()
        path, now = self.folder / DATA, self.digests()
        try:
            before = json.loads(path.read_text(encoding="utf-8"))
            changed = [name for name in now if before[name] != now[name]]
        except FileNotFoundError:
            make_folder(self.folder)
            write_text(path, json.dumps(now, indent=1, ensure_ascii=False) + "\n")
            return
        except (OSError, ValueError, KeyError, TypeError):
            raise TrainingError(f"{path}: damaged, so that nobody knows what the run has read; {_ANEW}") from None
        if changed:
            digests = ", ".join(f"{name} ({before[name][:8]}… then, {now[name][:8]}… now)" for name in changed)
            raise TrainingError(
                f"{self.folder}: what the run reads has changed since it began: {digests}; "
                f"give it as it was, or {_ANEW}"
            )

    def check_evaluation(self) -> None:
        """Raises DataError for a set that cannot be read, but for its pictures, which a blind run needs none of."""
        for spec in self.recipe.evaluation:
            if spec.reader in DATASETS:
                self.data.read(spec, look=False)

    def train(self, stage: StageSpec) -> None:
        """Trains one stage unless its weights are there; a half-done one is resumed."""
        folder = self.stage_folder(stage)
        with held(folder, self.console) if self.ranks.first else nullcontext():
            if self.ranks.by_first((folder / "checkpoint" / store.SPEC).is_file):
                say(self.console, f"stage {stage.name}: done before, {folder}")
            else:
                self._train(stage, folder)

    def _train(self, stage: StageSpec, folder: Path) -> None:
        objective = self.objective(stage)
        learner = objective.prepare(self.begun(stage))
        images = self._images(stage, learner)
        validation = objective.batches(stage.validation, images) if stage.validation else None
        adapter = begin_learning(learner, stage, self.seed)
        trainer = Trainer(
            learner,
            stage,
            objective.loss,
            objective.batches(stage.data, images),
            folder=folder,
            validation=validation,
            seed=self.seed,
            device=self.device,
            console=self.console,
            tensorboard=True,
            ranks=self.ranks,
        )
        trainer.run(resume=True)
        self.ranks.by_first(lambda: self._keep(stage, folder, trainer, objective, adapter))

    def _keep(
        self, stage: StageSpec, folder: Path, trainer: Trainer, objective: Objective, adapter: Adapter | None
    ) -> None:
        """Saves what a stage leaves: its best weights, where it has validation data, or else its last."""
        learner = trainer.model
        if trainer.validation is not None:
            trainer.load_best()
        kept, kept_spec = objective.kept(learner)
        if outcome := objective.outcome():
            write_text(folder / "outcome.json", json.dumps(outcome, ensure_ascii=False, indent=1) + "\n")
            say(self.console, f"stage {stage.name}: " + ", ".join(f"{k} {v}" for k, v in outcome.items()))
        if adapter is not None:
            spec = kept_spec if kept is learner else self.spec
            base, before = self._under(stage, spec)
            adapter.save(folder / "adapter", spec, base, before=before)
            if beside := adapter.beside():
                self.console.print(
                    f"stage {stage.name}: adapter/ lacks {', '.join(beside)}, which learned beside it; checkpoint/ has "
                    "all: load that"
                )
            adapter.merge()
        store.save(folder / "checkpoint", kept, kept_spec)

    def _under(self, stage: StageSpec, spec: ModelSpec) -> tuple[str | None, list[LowRank]]:
        """What the stage's adapter lies on, and what it holds beside what the stage taught: the adapter that the stage
        went on from, if that is matrices of low rank alone.
        """
        sources = [(part, source) for part, source in self._sources(stage) if part in (None, "language")]
        if not sources:
            return None, []
        part, source = sources[-1]
        if part is not None or not adapters.is_alone(Path(source)):
            return source, []
        made, updates = adapters.read(Path(source), spec, source)
        before = adapters.low_rank_alone(updates, spec) if made == spec else None
        if before is None:
            self.console.print(
                f"stage {stage.name}: its adapter lies on {source} merged into its base, as that holds more than low "
                "rank; export the merged model for it (sepiola.load(…).save_hub(FOLDER))"
            )
            return source, []
        return adapters.base_of(Path(source)), before

    def encode_images(self, first: StageSpec) -> None:
        """Computes the features of all pictures of the stages that begin with `first` and leave its encoder frozen."""
        features = self.features(vision_of(self.trained(first.name)[0]))
        for stage in self.recipe.stages:
            if stage.start == first.name and "vision" not in stage.learn:
                features.rows([example.images for example in self.read(stage.data)])

    def _images(self, stage: StageSpec, learner: nn.Module) -> ImageInputs:
        """How the stage's images reach the model."""
        if not self.images or not isinstance(learner, VisionLanguageModel) or learner.vision is None:
            return ImageInputs()
        assert self.spec.vision is not None
        if "vision" in stage.learn:
            return pixel_inputs(learner, self.spec.vision)
        return ImageInputs(features=self.features(learner.vision).rows)


def _nothing() -> None:
    """What the others wait for is done before."""


@contextmanager
def claimed(folder: Path, recipe: object, resume: bool, console: Console) -> Iterator[None]:
    """Takes a folder for a recipe, and for this process alone.

    Raises TrainingError when it holds another run, or this one without `resume`, or another process is at it; with
    `resume` this one waits, and goes on where the other has ended.
    """
    _check(folder, recipe, resume)
    with held(folder, console if resume else None):
        _check(folder, recipe, resume)
        if not _begun(folder):
            (folder / DATA).unlink(missing_ok=True)
        store.write_yaml_file(folder / "recipe.yaml", recipe)
        yield


def _check(folder: Path, recipe: object, resume: bool) -> None:
    """Raises TrainingError when the folder holds another run, or this one without `resume`."""
    path = folder / "recipe.yaml"
    if path.is_file() and _begun(folder):
        if read_yaml(path) != recipe:
            raise TrainingError(
                f"{folder} holds a run of another recipe; choose another name (--set name=…), or remove the folder"
            )
        if not resume:
            raise TrainingError(f"{folder} holds this run already; go on with --resume, or remove the folder")


def _begun(folder: Path) -> bool:
    """Whether anything was trained; a run that failed before its first step may be mended and begun anew."""
    return (folder / "checkpoint").exists() or any(folder.rglob("metrics.jsonl"))


@contextmanager
def held(folder: Path, console: Console | None) -> Iterator[None]:
    """Keeps other processes from what lies in a folder. With a console this one waits, and says so, while another is at
    it; without, that is a TrainingError.
    """
    lock = locked(folder)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if console is None:
            raise TrainingError(f"{folder}: another process is at this run; wait for it, or stop it") from None
        say(console, f"{folder}: another process is at it; waiting until it has ended")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
