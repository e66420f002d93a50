"""Calibration: a model is measured on some data of its own kind, and rounded to 4 bits by what its matrices multiply
meanwhile (`sepiola.runtime.calibration`).

Each dataset is read as its benchmark asks, so that questions, conversations, calls and plain text all serve.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console
from torch import nn

from sepiola.data.sampler import spread
from sepiola.datasets import read_spec
from sepiola.evaluation.benchmarks import measure
from sepiola.evaluation.benchmarks.settings import MeasuredModel, Settings
from sepiola.runtime.calibration import round_matrices, watching
from sepiola.specs.data import DataSpec

EXAMPLES = 64
"""Examples that are read where the data name no `count`, spread evenly over all."""


def round_by(data: Mapping[str, object], model: MeasuredModel, networks: Sequence[nn.Module]) -> None:
    """Rounds the matrices of the `networks` that `model` runs to 4 bits, in place: what is then saved, exported or run
    holds these weights. `data` are in a recipe's words, `{"reader": "tidepool", "count": 128}`.

    Raises SpecError and DataError for data that do not fit the model.
    """
    spec = DataSpec.parse(data, "calibrate")
    examples = read_spec(spec)
    if spec.count is None:
        examples = spread(examples, EXAMPLES)
    with watching(networks) as moments:
        measure(model, Settings(spec, Console(stderr=True), read=lambda _: examples))
    round_matrices(networks, moments)
