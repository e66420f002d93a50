"""Predictable scaling, as GPT-4's report describes it (arXiv 2303.08774, section 3): a ladder of small models of one
recipe, a power law through their held-out losses, and the next model's loss predicted before it is trained.

Every rung is a run of its own, in a folder of its own: the recipe's model at another width, with the same text,
tokenizer, batch and learning rate, and as many tokens for each parameter. The forecast is on the disk, in
`prediction.json`, before the last rung begins, and stays as it was written.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import nn

from sepiola.checkpoints import store
from sepiola.data.batching import Row, Sample
from sepiola.data.metrics_log import read_metrics
from sepiola.data.sampler import BatchSampler
from sepiola.errors import SpecError, TrainingError, brief, shown
from sepiola.evaluation.figures import Figures
from sepiola.evaluation.report.page import write_report
from sepiola.evaluation.report.scaling import checked, forecast, load_scipy
from sepiola.experiments.recipe_files import ComparisonSpec
from sepiola.experiments.run import Run, claimed
from sepiola.models.build import assemble, count
from sepiola.specs.base import write_yaml
from sepiola.specs.data import DataSpec
from sepiola.specs.model import TransformerSpec
from sepiola.specs.recipe import RecipeSpec
from sepiola.specs.stage import StageSpec
from sepiola.training.objectives import Objective, Setting
from sepiola.training.objectives.language_modelling import LanguageModelling
from sepiola.training.progress import say
from sepiola.training.schedules import total_steps

FEWEST = 4  # sizes: three to fit a law of three parameters, and one to predict
HELD_OUT = 20_000  # tokens; with fewer, the losses of neighbours may differ by less than the text's own scatter
PREDICTION = "prediction.json"
WIDEST = 1 << 16
MOST_TOKENS = 1_000_000  # for each parameter

Texts = Sequence[Sample | Row]


def ladder(
    recipe: RecipeSpec | ComparisonSpec,
    sizes: Sequence[int],
    folder: Path,
    *,
    tokens_per_parameter: float,
    console: Console,
    device: str = "cpu",
    resume: bool = False,
) -> Figures:
    """Trains the recipe at each width but the last, predicts the last one's loss, trains it, and returns the report.

    `folder` then holds `prediction.json`, `scaling.json`, `scaling.svg`, `report.html` and a run for each width; the
    report's figures lie under `scaling`. Raises SpecError for a recipe or widths that make no ladder, TrainingError
    when the losses do not fall or the folder holds another ladder, SepiolaError without SciPy.
    """
    recipe, stage = _laddered(recipe)
    assert recipe.model.language is not None
    _check_sizes(sizes, recipe.model.language, tokens_per_parameter)
    load_scipy()
    plan = {"recipe": recipe.to_dict(), "sizes": list(sizes), "tokens_per_parameter": tokens_per_parameter}
    whole = Run(recipe, folder, console=console, device=device)
    with claimed(folder, plan, resume, console):
        return _climb(whole, stage, sizes, tokens_per_parameter, plan)


def _climb(whole: Run, stage: StageSpec, sizes: Sequence[int], tokens_per_parameter: float, plan: Figures) -> Figures:
    """Trains the rungs in their order, the forecast before the last one, and returns the report."""
    recipe, folder, console = whole.recipe, whole.folder, whole.console
    rungs = _rungs(whole, stage, sizes, tokens_per_parameter)
    *fitted, last = rungs
    prediction = _predict(folder, [rung.trained_figures() for rung in fitted], last, console)
    measured = last.trained_figures()
    scaling = {**checked(prediction, measured["loss"]), "rungs": [*prediction["rungs"], measured]}
    report = {
        "title": f"{recipe.name}: predictable scaling",
        "description": recipe.description,
        "scaling": scaling,
        "recipe": write_yaml(plan),
    }
    store.write_text(folder / "scaling.json", json.dumps(scaling, ensure_ascii=False, indent=2) + "\n")
    write_report(folder, report, curves=[line for rung in rungs for line in rung.curve()])
    return report


def parse_sizes(text: str) -> list[int]:
    """Widths as the command line gives them: `64,96,128`. Raises SpecError."""
    try:
        return [int(size) for size in text.split(",")]
    except ValueError:
        raise SpecError(f"--sizes {brief(text)}: expected widths parted by commas, for example 64,96,128,192") from None


def at_width(spec: TransformerSpec, width: int) -> TransformerSpec:
    """The model at another width: layers, heads and feed-forward width in proportion, heads as wide as before.

    Scales that follow the width's root (Gemma's embedding, T5's head) follow the new one's. Raises SpecError when
    `width` is no whole number of heads, or of groups of heads that share keys and values.
    """
    attention = spec.attention
    unit = spec.width // math.gcd(spec.width, attention.kv_heads or attention.heads)
    if width > WIDEST:
        raise SpecError(f"--sizes: {shown(width)} is above {WIDEST:,}, the widest model there is")
    if width < 1 or width % unit:
        raise SpecError(
            f"--sizes: {width} is no multiple of {unit}, the width of a head or of a group of heads that share keys; "
            f"the nearest that is: {max(1, (2 * width + unit) // (2 * unit)) * unit}"
        )
    growth = width / spec.width
    heads = {name: n * width // spec.width for name in ("heads", "kv_heads") if (n := getattr(attention, name))}
    feed_forward = 8 * max(1, math.floor(spec.feed_forward.width * growth / 8 + 0.5))
    return spec.model_copy(
        update={
            "width": width,
            "layers": max(1, math.floor(spec.layers * growth + 0.5)),
            "attention": attention.model_copy(update=heads),
            "feed_forward": spec.feed_forward.model_copy(update={"width": feed_forward}),
            "embedding_scale": spec.embedding_scale and spec.embedding_scale * growth**0.5,
            "head_scale": spec.head_scale and spec.head_scale * growth**-0.5,
        }
    )


def multiplied(model: nn.Module) -> int:
    """Parameters that every token is multiplied by: all matrices, tables that are looked up left out.

    A table that is tied counts once, as the head.
    """
    tables = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    matrices = sum(p.numel() for p in model.parameters() if p.dim() > 1 and id(p) not in tables)
    head: Any = model.head
    return matrices + (head.weight.numel() if id(head.weight) in tables else 0)


class _Encoded(LanguageModelling):
    """Language modelling of texts that are encoded already."""

    def __init__(self, stage: StageSpec, setting: Setting, train: Texts, validation: Texts) -> None:
        super().__init__(stage, setting)
        self.texts_of = {True: validation, False: train}

    def samples(self, data: DataSpec) -> Texts:
        return self.texts_of[data == self.stage.validation]


class _Rung(Run):
    """A run of the ladder. Its tokenizer and its samples are those of the whole ladder, encoded once."""

    def __init__(self, whole: Run, recipe: RecipeSpec, train: Texts, validation: Texts, figures: Figures) -> None:
        super().__init__(
            recipe,
            whole.folder / recipe.name,
            console=whole.console,
            shared=whole.folder,
            data=whole.data,
            device=whole.device,
            resume=True,
        )
        self.tokenizer = whole.tokenizer
        self.texts = train, validation
        self.figures = figures

    def objective(self, stage: StageSpec) -> Objective:
        return _Encoded(stage, self, *self.texts)

    def trained_figures(self) -> Figures:
        """Trains what is not trained, and returns the rung's figures with its final held-out loss."""
        f = self.figures
        self.console.print(
            f"width {f['width']}: {f['layers']} layers, {f['parameters']:,} parameters that multiply, "
            f"{f['steps']:,} steps, {f['tokens']:,} tokens ({f['epochs']:.2f} epochs), {f['compute']:.3g} FLOPs"
        )
        self.go()
        last = [line for line in self.curve() if "validation_loss" in line][-1]
        return {**f, "loss": last["validation_loss"], "seconds": last["seconds"]}

    def curve(self) -> list[Figures]:
        """The lines of its metrics, under its own name."""
        return [{**line, "stage": self.recipe.name} for line in read_metrics(self.folder / "metrics.jsonl")]


def _rungs(whole: Run, stage: StageSpec, sizes: Sequence[int], tokens_per_parameter: float) -> list[_Rung]:
    """A rung for each width, with the steps that its parameters ask for and its figures so far."""
    assert stage.validation is not None
    objective = whole.objective(stage)
    if not isinstance(objective, LanguageModelling) or stage.objective.kind != "language-modelling":
        raise SpecError(f"stages[0].objective: got {stage.objective.kind}; a ladder is of language-modelling")
    train, validation = (objective.samples(data) for data in (stage.data, stage.validation))
    held_out, epoch_tokens = _tokens(validation), _tokens(train)
    if held_out < HELD_OUT:
        raise SpecError(
            f"stages[0].validation: {held_out:,} tokens, too few to tell neighbours apart; a ladder needs at least "
            f"{HELD_OUT:,}: hold out more (options: {{held_out: …}} for plain text), or give more text"
        )
    lengths = [sample.length for sample in train]
    epoch_steps = BatchSampler(lengths, stage.batch, accumulate=stage.accumulate).steps_per_epoch
    warm = stage.optimizer.warmup / total_steps(stage, epoch_steps)
    assert whole.spec.language is not None
    rungs = []
    for width in sizes:
        language = at_width(whole.spec.language, width)
        spec = whole.spec.model_copy(update={"language": language})
        with torch.device("meta"):
            model = assemble(spec)
        parameters = multiplied(model)
        steps = max(1, round(tokens_per_parameter * parameters * epoch_steps / epoch_tokens))
        tokens = round(steps * epoch_tokens / epoch_steps)
        optimizer = stage.optimizer.model_copy(update={"warmup": round(warm * steps)})
        rung_stage = stage.model_copy(
            update={"steps": steps, "epochs": None, "optimizer": optimizer, "validate_every": steps}
        )
        recipe = whole.recipe.model_copy(
            update={"name": f"width-{width}", "model": spec, "stages": (rung_stage,), "evaluation": ()}
        )
        figures = {
            "width": width,
            "layers": language.layers,
            "heads": language.attention.heads,
            "feed_forward": language.feed_forward.width,
            "all_parameters": count(model),
            "parameters": parameters,
            "steps": steps,
            "tokens": tokens,
            "epochs": steps / epoch_steps,
            "held_out_tokens": held_out,
            "compute": 6.0 * parameters * tokens,
        }
        rungs.append(_Rung(whole, recipe, train, validation, figures))
    return rungs


def _tokens(samples: Texts) -> int:
    """The tokens that a decoder reads of these samples, each once."""
    return sum(max(1, len(part.source)) + len(part.target) - 1 for sample in samples for part in sample.parts)


def _predict(folder: Path, fitted: list[Figures], last: _Rung, console: Console) -> Figures:
    """The forecast of the last rung, from the others alone; what was written once is not written again.

    Raises TrainingError when the file does not belong to these rungs, or comes after the last one.
    """
    path = folder / PREDICTION
    if path.is_file():
        prediction: Figures = json.loads(path.read_text(encoding="utf-8"))
        if [r["loss"] for r in prediction["rungs"]] != [r["loss"] for r in fitted]:
            raise TrainingError(f"{path}: made of other losses than the rungs beside it have; remove {folder}")
    elif (begun := last.stage_folder(last.recipe.stages[0])).exists():
        raise TrainingError(f"{path}: absent, but the last rung was begun; remove {begun} to predict and train it anew")
    else:
        points = [(rung["compute"], rung["loss"]) for rung in fitted]
        prediction = {
            "written": datetime.now(UTC).isoformat(timespec="seconds"),
            "rungs": fitted,
            **forecast(points, last.figures["compute"]),
        }
        store.write_text(path, json.dumps(prediction, ensure_ascii=False, indent=2) + "\n")
    predicted = prediction["predicted"]
    interval = predicted["interval"]
    band = "" if interval is None else " (95% band {:.4f} to {:.4f})".format(*interval)
    say(console, f"width {last.figures['width']} will reach {predicted['loss']:.4f}{band}: {path}")
    return prediction


def _laddered(recipe: RecipeSpec | ComparisonSpec) -> tuple[RecipeSpec, StageSpec]:
    """The recipe and its one stage. Raises SpecError when no ladder can be made of it."""
    if isinstance(recipe, ComparisonSpec):
        raise SpecError(f"{recipe.name}: a ladder is made of one recipe, not of a comparison; take one without 'arms'")
    language, stage = recipe.model.language, recipe.stages[0]
    faults = {
        "model.vision: a ladder is of language models; leave the vision encoder out": recipe.model.vision is not None,
        "model.language.kind: a ladder is of decoders": language is None or language.kind != "decoder",
        "model.language.feed_forward.experts: compute is counted for models without experts": (
            language is not None and language.feed_forward.experts is not None
        ),
        "weights: a ladder trains from scratch; leave them out": recipe.weights is not None,
        "stages: a ladder has one stage": len(recipe.stages) != 1,
        "stages[0].validation: the losses of a ladder are held out; name the split": (
            stage.validation in (None, stage.data)
        ),
    }
    for fault, holds in faults.items():
        if holds:
            raise SpecError(f"{recipe.name}: {fault}")
    return recipe, stage


def _check_sizes(sizes: Sequence[int], spec: TransformerSpec, tokens_per_parameter: float) -> None:
    if len(sizes) < FEWEST:
        raise SpecError(
            f"--sizes: {len(sizes)} widths; expected at least {FEWEST}: three to fit a law of three parameters, and "
            "the one that is predicted"
        )
    if list(sizes) != sorted(set(sizes)):
        raise SpecError(f"--sizes: {','.join(map(str, sizes))}; expected each width once, from the smallest up")
    for width in sizes:
        at_width(spec, width)
    if not 0 < tokens_per_parameter <= MOST_TOKENS:
        raise SpecError(
            f"--tokens-per-parameter: expected more than 0, up to {MOST_TOKENS:,}, got {tokens_per_parameter:g}"
        )
