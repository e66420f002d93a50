"""A recipe explained without running it: parts, parameters, what is frozen, tokens, memory and time."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from torch import Tensor, nn

from sepiola.data.example import Example
from sepiola.data.image import ImageRef
from sepiola.datasets import DataCache
from sepiola.evaluation.report.tables import whole
from sepiola.experiments.recipe_files import ComparisonSpec
from sepiola.experiments.run import Run
from sepiola.models.build import count, outline, parameter_counts
from sepiola.models.multimodal.vision_language import VisionLanguageModel
from sepiola.models.vision.tiles import tiling
from sepiola.reasoning.answer import Answer, Chain
from sepiola.specs.base import Plain
from sepiola.specs.recipe import RecipeSpec
from sepiola.specs.stage import StageSpec
from sepiola.text.answers import normalised, read_open
from sepiola.training.batches import ImageInputs
from sepiola.training.estimate import estimate
from sepiola.training.memory import resident_memory
from sepiola.training.preparation import learning_parts
from sepiola.training.progress import say


def explain(spec: RecipeSpec | ComparisonSpec, console: Console) -> Plain:
    """What a recipe would do. Its data is read and its tokenizer trained; no weight is made and nothing is kept."""
    process = resident_memory()
    data = DataCache()
    if isinstance(spec, RecipeSpec):
        return {"name": spec.name, "runs": [_explain(spec, data, console, process)]}
    first = {arm: recipe for (arm, _), recipe in reversed(spec.recipes().items())}
    return {
        "name": spec.name,
        "seeds": list(spec.seeds),
        "jobs": spec.jobs,
        "runs": [_explain(first[arm], data, console, process) for arm in spec.arms],
    }


class _Untrained(Run):
    """A run that trains nothing: the dataset's rationales stand for those that a model would write, equal chances for
    what a teacher would think, and zeros for pictures.
    """

    def rationales(self, examples: Sequence[Example], *, generated: bool) -> Mapping[str, str]:
        return super().rationales(examples, generated=False)

    def answers(self, stage: str, examples: Sequence[Example], *_: object, **__: object) -> list[Answer]:
        """The right answers, for whoever asks however."""
        questions = [(e.id, e.question) for e in examples if e.question is not None]
        right = [
            Chain("", q.answer, 0.0, 1, q.solution, normalised(read_open(q.answer_text or "")) or None)
            for _, q in questions
        ]
        return [Answer(name, "", chains=(chain,)) for (name, _), chain in zip(questions, right, strict=True)]

    def probabilities(self, teacher: str, examples: Sequence[Example]) -> Sequence[Sequence[float]]:
        counts = [len(example.question.choices) if example.question else 1 for example in examples]
        return [[1 / count] * count for count in counts]

    def image_shapes(self, stage: StageSpec, learner: nn.Module) -> ImageInputs:
        """Zeros in the shapes in which the stage's images would reach the model; a picture of each size is opened."""
        if not self.images or not isinstance(learner, VisionLanguageModel) or learner.vision is None:
            return ImageInputs()
        assert self.spec.vision is not None
        cut, patches, width = tiling(self.spec.vision.pixels), learner.vision.patches, learner.vision.width
        known: dict[tuple[object, ...], torch.Size] = {}

        def tiles(image: ImageRef, alone: bool) -> torch.Size:
            key = (image.size, alone)
            if key not in known:
                known[key] = cut.tiles(image.open(), alone=alone).shape
            return known[key]

        def pixels(images: Sequence[ImageRef]) -> list[Tensor]:
            shapes = [tiles(image, len(images) == 1) for image in images]
            return [torch.zeros(()).expand(shape if learner.interleaved else shape[1:]) for shape in shapes]

        def features(samples: Sequence[Sequence[ImageRef]]) -> list[Tensor]:
            counts = [sum(patches * tiles(image, len(images) == 1)[0] for image in images) for images in samples]
            return [torch.zeros(()).expand(rows, width) for rows in counts]

        return ImageInputs(pixels=pixels) if "vision" in stage.learn else ImageInputs(features=features)


def _explain(recipe: RecipeSpec, data: DataCache, console: Console, process: float | None) -> Plain:
    with tempfile.TemporaryDirectory() as folder:
        run = _Untrained(recipe, Path(folder), console=console, data=data)
        run.check_evaluation()
        stages = []
        for stage in filter(run.runs, recipe.stages):
            objective = run.objective(stage)
            counts = parameter_counts(objective.model())
            network = outline(objective.model())
            learner = objective.prepare(outline(run.spec))
            batches = objective.batches(stage.data, run.image_shapes(stage, learner))
            cost = estimate(network, stage, batches, objective.loss, learner=learner, process=process)
            stages.append(
                {
                    "name": stage.name,
                    "objective": stage.objective.to_dict(),
                    "samples": batches.counts["samples"],
                    "learns": {n: counts.get(n, count(part)) for n, part in learning_parts(network, stage).items()},
                    "frozen": {part: n for part, n in counts.items() if part not in (*stage.learn, "total")},
                    **asdict(cost),
                    "memory_gb": cost.memory,
                    "memory_parts": cost.parts,
                    "seconds": cost.seconds,
                }
            )
        return {
            "name": recipe.name,
            "images": recipe.images if recipe.model.bridge is not None else None,
            "strategy": recipe.strategy.kind if recipe.strategy else None,
            "ensemble": recipe.ensemble and {"kind": recipe.ensemble.kind, "trainings": recipe.ensemble.trainings},
            "parameters": parameter_counts(run.spec),
            "stages": stages,
            "evaluation": [f"{e.reader} {e.split}" for e in recipe.evaluation],
        }


def print_explanation(explanation: Plain, console: Console) -> None:
    """The explanation as tables."""
    for run in explanation["runs"]:
        parts = ", ".join(f"{part} {n:,}" for part, n in run["parameters"].items())
        console.print(
            f"[bold]{escape(run['name'])}[/bold]: {run['strategy'] or 'no strategy'}, "
            f"{'text alone' if run['images'] is None else 'with pictures' if run['images'] else 'blind'}; "
            f"parameters: {parts}; measured on {', '.join(run['evaluation']) or 'nothing'}"
        )
        table = Table("stage", "objective", "samples", "steps", "tokens a step", "learns", "frozen", "memory", "time")
        for stage in run["stages"]:
            table.add_row(
                escape(stage["name"]),
                ", ".join(str(value) for value in stage["objective"].values() if not isinstance(value, dict)),
                str(stage["samples"]),
                str(stage["steps"]),
                str(stage["tokens_per_step"]),
                ", ".join(stage["learns"]),
                ", ".join(stage["frozen"]) or "nothing",
                f"{stage['memory_gb']:.1f} GB",
                f"{stage['seconds'] / 60:.1f} min",
            )
        console.print(whole(table))
        if run["ensemble"]:
            kind, times = run["ensemble"]["kind"], run["ensemble"]["trainings"]
            say(console, f"{kind}: stages that members do not share are trained {times} times at most, one by one")
        if run["stages"]:
            most = max(run["stages"], key=lambda stage: stage["memory_gb"])
            say(console, f"memory of {most['name']}, in GB: {most['memory_parts']}")
    if (jobs := explanation.get("jobs", 1)) > 1:
        say(console, f"{jobs} runs at a time, each in a process with this memory")
    if len(explanation.get("seeds", ())) > 1:
        console.print(
            f"each with the seeds {', '.join(map(str, explanation['seeds']))}; what arms share is trained once"
        )
