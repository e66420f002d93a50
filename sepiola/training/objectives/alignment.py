"""A Q-Former's first stage: images and texts compared, matched and written, without a language model.

BLIP-2 (arXiv 2301.12597, section 3.2) sums three losses. *Contrast*: a text lies closest to its own image among the
batch's, by the one query that is most like it. *Matching*: pairs that belong together are separated from wrong ones, of
which each image and each text gets one, drawn by how alike the contrast finds them. *Writing*: a text follows from the
queries.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sepiola.data.batching import IGNORED, Batch, Sample
from sepiola.data.example import Example
from sepiola.errors import DataError
from sepiola.models.build import outline
from sepiola.nn.loss import linear_cross_entropy
from sepiola.specs.bridge import QFormerSpec, QueryTextSpec
from sepiola.specs.data import DataSpec
from sepiola.specs.model import ModelSpec
from sepiola.specs.stage import ObjectiveSpec, StageSpec
from sepiola.text.tokenizer import Tokenizer
from sepiola.training.batches import ImageInputs, SampleBatches
from sepiola.training.collate import text_collator
from sepiola.training.loss import Loss
from sepiola.training.objectives.contract import Objective

SMOOTHING = 0.1


class AlignmentSpec(ObjectiveSpec):
    """Teaches a Q-Former by each example's picture and target, before it meets a language model.

    `negatives` are the wrong pairs to separate from right ones: drawn by how alike picture and text seem to it
    (`hard`), or all alike (`uniform`).
    """

    compares: ClassVar[bool] = True

    kind: Literal["image-text-alignment"]
    negatives: Literal["hard", "uniform"] = "hard"

    def check(self, model: ModelSpec, stage: StageSpec) -> None:
        """Raises ValueError for a bridge that cannot compare, match and write, and for a stage that teaches more."""
        super().check(model, stage)
        bridge = model.bridge
        if stage.packed or not set(stage.learn) <= {"vision", "bridge"}:
            raise ValueError(
                f"'{stage.name}': {self.kind} reads pictures and targets without a language model: set learn: [bridge] "
                "(or [vision, bridge]) and packed: false"
            )
        if not isinstance(bridge, QFormerSpec) or bridge.text is None or not (bridge.heads and bridge.heads.writes):
            raise ValueError(
                f"'{stage.name}': {self.kind} teaches a Q-Former with text and heads (model.bridge: {{kind: q-former, "
                "text: {}, heads: {}})"
            )
        if stage.target_tokens >= bridge.text.length:
            raise ValueError(
                f"'{stage.name}': target_tokens {stage.target_tokens} and a start token do not fit the Q-Former's "
                f"model.bridge.text.length of {bridge.text.length}"
            )


class Alignment(Objective):
    """Contrast, matching and writing, summed."""

    spec: ClassVar[type[ObjectiveSpec]] = AlignmentSpec
    methods: ClassVar[tuple[str, ...]] = ("features",)

    def batches(self, data: DataSpec, images: ImageInputs) -> SampleBatches:
        """Each example's image and target."""
        language = self.setting.spec.language
        assert language is not None
        samples = pairs(self.setting.read(data), self.setting.tokenizer, language.tokens.end)
        collate = text_collator(outline(self.setting.spec), language, self.stage, images)
        return SampleBatches(samples, self.stage, language, collate, seed=self.setting.seed, whole=True)

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        """See `image_text_alignment`."""
        assert isinstance(self.stage.objective, AlignmentSpec)
        return image_text_alignment(model, batch, negatives=self.stage.objective.negatives)


def pairs(examples: list[Example], tokenizer: Tokenizer, end: int) -> list[Sample]:
    """Each example's image and target, which ends with `end`. Raises DataError for one without an image, or several."""
    for example in examples:
        if len(example.images) != 1:
            raise DataError(f"{example.id}: image-text-alignment reads one image a text; it has {len(example.images)}")
    ids = tokenizer.encode_batch([example.target for example in examples], plain=True)
    return [Sample(e.id, (), (*target, end), e.images) for e, target in zip(examples, ids, strict=True)]


def image_text_alignment(model: Any, batch: Batch, *, negatives: str = "hard") -> Loss:
    """The three losses, each a mean over the batch, and their sum; weighted by the batch's tokens.

    `negatives` are `hard` or, for comparison, `uniform`. Equal texts are no negatives of one another. The temperature
    learns, from 0.07, with the rest.
    """
    bridge = model.bridge
    features, text = model.features(batch.images), as_text(batch.labels, bridge.spec.text)
    images, texts = bridge.image_vectors(features), bridge.text_vectors(text)
    alike = similarity(images.float(), texts.float()) / bridge.heads.temperature
    same = (text[:, None] == text[None]).all(-1)
    wrong = draw_negatives(alike.detach() if negatives == "hard" else torch.zeros_like(alike), same)
    losses = {
        "contrast_loss": contrast(alike, same),
        "matching_loss": matching(bridge, features, text, *wrong),
        "writing_loss": writing(bridge, features, text, batch.labels),
    }
    summed = {name: batch.labelled * loss for name, loss in losses.items()}
    parts = {name: value.detach() for name, value in summed.items()}
    return Loss(torch.stack(list(summed.values())).sum(), batch.labelled, parts=parts)


def as_text(labels: Tensor, spec: QueryTextSpec) -> Tensor:
    """Token ids `(texts, tokens + 1)` of labels `(texts, tokens)`, behind the token that opens what is read."""
    return F.pad(labels.masked_fill(labels == IGNORED, spec.pad), (1, 0), value=spec.start)


def similarity(images: Tensor, texts: Tensor) -> Tensor:
    """Cosines `(images, texts)`: of each text with the query of `(images, queries, space)` that is most like it."""
    return torch.einsum("iqs,ts->iqt", images, texts).amax(1)


def contrast(alike: Tensor, same: Tensor) -> Tensor:
    """The cross-entropy of images among texts and of texts among images, half each; both `(images, texts)`."""
    wanted = same / same.sum(1, keepdim=True)
    to_text = F.cross_entropy(alike, wanted, label_smoothing=SMOOTHING)
    return (to_text + F.cross_entropy(alike.t(), wanted.t(), label_smoothing=SMOOTHING)) / 2


def draw_negatives(alike: Tensor, same: Tensor) -> tuple[Tensor, Tensor]:
    """Wrong pairs of image and text, their numbers `(pairs,)` each: a text for every image, an image for every text.

    They are drawn as a softmax over `alike` `(images, texts)` has it, never among the `same`. In a batch where an image
    or a text has no wrong partner there is none.
    """
    images, texts = [], []
    for by_text, scores in ((False, alike), (True, alike.t())):
        likely = scores.softmax(1).clamp(min=1e-6).masked_fill(same, 0.0)
        has = likely.sum(1).nonzero()[:, 0]
        if len(has):
            drawn = torch.multinomial(likely[has], 1)[:, 0]
            images.append(drawn if by_text else has)
            texts.append(has if by_text else drawn)
    none = same.new_empty(0, dtype=torch.long)
    return torch.cat((none, *images)), torch.cat((none, *texts))


def matching(bridge: Any, features: Tensor, text: Tensor, images: Tensor, texts: Tensor) -> Tensor:
    """The cross-entropy of telling right pairs from the wrong ones, `images` with `texts`."""
    logits = bridge.match(torch.cat((features, features[images])), torch.cat((text, text[texts]))).float()
    right = torch.arange(len(logits), device=logits.device) < len(text)
    return F.cross_entropy(logits, right.long())


def writing(bridge: Any, features: Tensor, text: Tensor, labels: Tensor) -> Tensor:
    """The mean loss of a text's tokens, each predicted from the queries and the tokens before it."""
    begun = torch.cat((torch.full_like(text[:, :1], bridge.spec.text.decode), text[:, 1:-1]), dim=1)
    states, words = bridge.written(features, begun)
    return linear_cross_entropy(states, words, labels)[0] / (labels != IGNORED).sum()
