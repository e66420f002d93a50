"""What a stage may learn by: a model and a batch in, a loss out. `OBJECTIVES` lists by name what needs no more.

The objectives of pretraining differ in what they hide (`sepiola.data.noise`), not in their loss.
"""

from collections.abc import Callable
from functools import partial

from torch import nn

from sepiola.data.batching import Batch
from sepiola.specs.recipe import StageSpec
from sepiola.training.objectives.alignment import image_text_alignment
from sepiola.training.objectives.contrastive import contrastive
from sepiola.training.objectives.detection import detection
from sepiola.training.objectives.language_modelling import language_modelling
from sepiola.training.objectives.loss import Loss
from sepiola.training.objectives.task import task

Objective = Callable[[nn.Module, Batch], Loss]
OBJECTIVES: dict[str, Objective] = {
    "language-modelling": language_modelling,
    "masked": language_modelling,
    "span-corruption": language_modelling,
    "denoising": language_modelling,
    "detection": detection,
    "contrastive": contrastive,
}


def objective_of(stage: StageSpec) -> Objective:
    """The objective that a stage names, under the stage's settings."""
    if stage.task is not None:
        return partial(task, lm_weight=stage.lm_weight)
    if stage.aligns:
        return partial(image_text_alignment, negatives=stage.negatives)
    return OBJECTIVES[stage.objective]
