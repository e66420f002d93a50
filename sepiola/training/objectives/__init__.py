"""What a stage may learn by: a model and a batch in, a loss out. `OBJECTIVES` lists them by name.

The objectives of pretraining differ in what they hide (`sepiola.data.noise`), not in their loss.
"""

from collections.abc import Callable

from torch import nn

from sepiola.data.batching import Batch
from sepiola.training.objectives.contrastive import contrastive
from sepiola.training.objectives.detection import detection
from sepiola.training.objectives.language_modelling import language_modelling
from sepiola.training.objectives.outcome import Outcome

OBJECTIVES: dict[str, Callable[[nn.Module, Batch], Outcome]] = {
    "language-modelling": language_modelling,
    "masked": language_modelling,
    "span-corruption": language_modelling,
    "denoising": language_modelling,
    "detection": detection,
    "contrastive": contrastive,
}
