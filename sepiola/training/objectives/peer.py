"""A peer: a second writer, taught as another stage's model is, from other initial weights and in another order of the
same data. The two make different faults, so how likely the peer finds a chain of thought verifies it (`vote: peer`,
`sepiola.reasoning.peer`).
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import nn

from sepiola.models.build import build
from sepiola.specs.data import DataSpec
from sepiola.specs.model import ModelSpec
from sepiola.specs.stage import ObjectiveSpec, StageSpec
from sepiola.specs.values import Seed
from sepiola.text.prompts import PromptFormat
from sepiola.training.batches import ImageInputs, SampleBatches
from sepiola.training.objectives.language_modelling import LanguageModelling, PromptsSpec


class PeerSpec(PromptsSpec):
    """`format` is the one in which the chains are written that it shall verify; `seed` decides its initial weights and
    the order of its data, in place of the run's.
    """

    scores: ClassVar[str | None] = "peer"

    kind: Literal["peer"]
    seed: Seed = 1

    def check(self, model: ModelSpec, stage: StageSpec) -> None:
        """Raises ValueError for a format without an answer, and for a stage that begins with another's weights."""
        super().check(model, stage)
        layout = PromptFormat.parse(self.format) if self.format is not None else None
        if layout is None or not layout.gives_answer or layout.takes_rationale:
            raise ValueError(f"'{stage.name}': peer reads whole answers; give the format that they are written in")
        if stage.start is not None or stage.lora is not None:
            raise ValueError(f"'{stage.name}': a peer begins with weights of its own; unset start, lora")


class Peer(LanguageModelling):
    """The cross-entropy of the targets, under a model that is initialised anew."""

    spec: ClassVar[type[ObjectiveSpec]] = PeerSpec

    @property
    def own(self) -> PeerSpec:
        """The spec of this objective's fields."""
        assert isinstance(self.stage.objective, PeerSpec)
        return self.stage.objective

    def prepare(self, network: nn.Module) -> nn.Module:
        """The network, whose weights the peer's own seed initialises; those that the recipe gives stay."""
        state = network.state_dict()
        if not any(value.is_meta for value in state.values()):
            fresh, other = (build(self.setting.spec, seed=n).state_dict() for n in (self.setting.seed, self.own.seed))
            given = {name for name, value in state.items() if not torch.equal(value.cpu(), fresh[name])}
            network.load_state_dict({name: state[name] if name in given else other[name] for name in state})
        return network

    def batches(self, data: DataSpec, images: ImageInputs) -> SampleBatches:
        """The samples of some data, in batches whose order the peer's seed decides."""
        return self.batched(data, images, self.own.seed)
