"""Contrastive learning: of all pictures and texts of a batch, which go together?

A softmax over the batch in both directions (InfoNCE as in CLIP, arXiv 2103.00020), or a sigmoid of every picture with
every text (SigLIP, 2303.15343), as the model's bridge says. The temperature learns, and so does the sigmoid's bias. A
pair's negatives are the other pairs of its batch, so `batch` matters and `accumulate` adds none.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import nn

from sepiola.data.batching import Batch
from sepiola.data.pairs import PairBatch, PairCollator
from sepiola.models.build import outline
from sepiola.models.multimodal.dual import DualEncoder
from sepiola.specs.bridge import DualSpec
from sepiola.specs.data import DataSpec
from sepiola.specs.model import ModelSpec
from sepiola.specs.stage import ObjectiveSpec, StageSpec
from sepiola.text.encoding import encode_pairs
from sepiola.training.batches import ImageInputs, SampleBatches
from sepiola.training.loss import Loss
from sepiola.training.objectives.contract import Objective


class ContrastiveSpec(ObjectiveSpec):
    """Teaches a dual encoder which caption goes with which image."""

    kind: Literal["contrastive"]

    @property
    def predicts(self) -> bool:
        """It compares, and predicts no tokens."""
        return False

    def check(self, model: ModelSpec, stage: StageSpec) -> None:
        """Raises ValueError for another model, and for packed rows."""
        if not isinstance(model.bridge, DualSpec):
            raise ValueError(
                f"'{stage.name}' has the objective contrastive; a dual encoder (model.bridge.kind: dual) learns by "
                "contrastive, and no other model does"
            )
        if stage.packed:
            raise ValueError(f"'{stage.name}': contrastive reads each image with its caption: set packed: false")

    def needs_images(self, model: ModelSpec, stage: StageSpec) -> bool:
        """Always."""
        return True


class Contrastive(Objective):
    """The loss of telling the pairs of a batch apart."""

    spec: ClassVar[type[ObjectiveSpec]] = ContrastiveSpec
    methods: ClassVar[tuple[str, ...]] = ("forward",)

    def batches(self, data: DataSpec, images: ImageInputs) -> SampleBatches:
        """Each example's image with its target for a caption."""
        model = outline(self.setting.spec)
        assert isinstance(model, DualEncoder)
        pairs = encode_pairs(self.setting.read(data), self.setting.tokenizer, model.spec)
        collate = PairCollator(
            model.spec.tokens, length=model.text_length, features=images.features, pixels=images.pixels
        )
        return SampleBatches(pairs, self.stage, model.spec, collate, seed=self.setting.seed, whole=True)

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        """See `contrastive`."""
        return contrastive(model, batch)


def contrastive(model: Any, batch: Batch) -> Loss:
    """The loss summed over the batch's pairs (nats).

    A pair's negatives are the other pairs of its own batch, less those with the same text or the same picture; batches
    that a step accumulates do not see each other.
    """
    assert isinstance(batch, PairBatch)
    logits = model(batch.target, images=batch.images, attention_mask=batch.target_mask)
    matching = torch.eye(len(logits), dtype=torch.bool, device=logits.device)
    neither = batch.together & ~matching
    if model.bridge.spec.loss == "sigmoid":
        losses = F.softplus(torch.where(matching, -logits, logits))
        return Loss(losses.masked_fill(neither, 0.0).sum(), batch.labelled)
    logits = logits.masked_fill(neither, -torch.inf)
    places = torch.arange(len(logits), device=logits.device)
    sums = [F.cross_entropy(each, places, reduction="sum") for each in (logits, logits.t())]
    return Loss((sums[0] + sums[1]) / 2, batch.labelled)
