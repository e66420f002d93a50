"""What the objectives have in common by which a language model learns to write: the cross-entropy of its targets."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from torch import Tensor, nn

from sepiola.data.batching import Batch, Noise, Row, Sample
from sepiola.data.example import Example
from sepiola.models.build import outline
from sepiola.models.multimodal.interleaved import interleaved
from sepiola.models.states import vote_states
from sepiola.nn.loss import linear_cross_entropy
from sepiola.specs.data import DataSpec
from sepiola.specs.model import TransformerSpec
from sepiola.text.encoding import encode, placing
from sepiola.text.pretraining import pretraining_samples
from sepiola.training.batches import ImageInputs, SampleBatches
from sepiola.training.collate import text_collator
from sepiola.training.experts import routed, routing_loss
from sepiola.training.loss import Loss
from sepiola.training.objectives.contract import Objective


class Writing(Objective):
    """The cross-entropy of the targets' tokens, under any model that writes text. A kind says its `samples`."""

    @property
    def language(self) -> TransformerSpec:
        """The language model."""
        assert self.setting.spec.language is not None
        return self.setting.spec.language

    @cached_property
    def network(self) -> nn.Module:
        """The run's network without memory for its tensors: it tells what stands for images in the text."""
        return outline(self.setting.spec)

    def batches(self, data: DataSpec, images: ImageInputs) -> SampleBatches:
        """The samples of some data, in batches."""
        return self.batched(data, images, self.setting.seed)

    def batched(self, data: DataSpec, images: ImageInputs, seed: int) -> SampleBatches:
        """The same in the order that a seed decides."""
        collate = text_collator(self.network, self.language, self.stage, images, self.noise())
        return SampleBatches(self.samples(data), self.stage, self.language, collate, seed=seed)

    def noise(self) -> Noise | None:
        """What is hidden of each sample."""
        return None

    @abstractmethod
    def samples(self, data: DataSpec) -> Sequence[Sample | Row]:
        """The data as samples."""

    def encoded(self, examples: Sequence[Example], **options: Any) -> list[Sample]:
        """Prompts and targets in token ids."""
        close = self.language.kind == "encoder-decoder"
        tokenizer, tokens = self.setting.tokenizer, self.language.tokens
        options |= {**placing(interleaved(self.network)), "qformer_tokenizer": self.setting.qformer_tokenizer}
        return encode(examples, tokenizer, tokens, close=close, **options)

    def windows(self, documents: Sequence[Example]) -> Sequence[Sample | Row]:
        """Plain documents, cut."""
        return pretraining_samples(
            documents,
            self.setting.tokenizer,
            self.language.tokens,
            window=self.stage.target_tokens,
            packed=self.stage.packed,
            seed=self.setting.seed,
        )

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        """See `language_modelling`."""
        return language_modelling(model, batch)


def language_modelling(model: Any, batch: Batch, weights: Tensor | None = None, *, votes: int = 1) -> Loss:
    """The loss of a batch under an encoder-decoder, a decoder or a model that sees; `weights` `(labels,)` are what each
    label counts, row after row. Of several `votes`, passes that dropout makes differ, it is that of their mean logits.

    Beside it stand the z-loss and the losses of experts, where the model's spec asks for them.
    """
    with routed(model) as router_logits:
        passes = vote_states(model, batch, votes)
    passes, matrix = model.head.operands(passes)
    states = passes[0] if votes == 1 else passes.mean(0)
    loss, z_loss = linear_cross_entropy(states, matrix, batch.labels, weights=weights, z_loss=model.spec.head.z_loss)
    routing = routing_loss(router_logits, batch, model.spec.feed_forward)
    return Loss(loss - z_loss, batch.labelled, extra=z_loss + batch.labelled * routing)
