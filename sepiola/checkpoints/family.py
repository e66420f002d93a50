"""What a family of checkpoints is: how its configs and its tensors' names become ours, and ours its own.

A family is a module of `sepiola.checkpoints.families`, or an object, that satisfies `Family`; `FAMILIES` of
`sepiola.checkpoints.registry` lists them by the `model_type` of their configs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from torch import Tensor

from sepiola.checkpoints.config import JSON, Config
from sepiola.checkpoints.lazy import LazyTensors
from sepiola.specs.model import ModelSpec


class Family(Protocol):
    """One layout at the Hub. Every method raises CheckpointError for what the layout or our specs have no place for."""

    HOLDS_VISION: bool
    """Whether a whole model's files hold its vision encoder; where not, that goes to a folder of its own."""

    def spec_from_config(
        self, config: Config, state: Mapping[str, Tensor], *, preprocessor: Config | None = None
    ) -> ModelSpec:
        """The spec of `config.json`; the tensors of `state`, under the Hub's names, say what a config leaves open.

        `preprocessor` is `preprocessor_config.json`, where there is one.
        """

    def config_from_spec(self, spec: ModelSpec) -> JSON:
        """The `config.json` that `transformers` reads."""

    def processor_from_spec(self, spec: ModelSpec) -> JSON | None:
        """The `processor_config.json` that `transformers` reads; None where it needs none."""

    def to_ours(self, state: Mapping[str, Tensor], spec: ModelSpec) -> LazyTensors:
        """Our state dict from a Hub one. Names that the family does not know pass through: loading lists them."""

    def to_hub(self, state: Mapping[str, Tensor], spec: ModelSpec) -> dict[str, Tensor]:
        """The Hub's state dict from ours."""


def no_processor(spec: ModelSpec) -> JSON | None:
    """The `processor_config.json` of a family that needs none."""
    return None
