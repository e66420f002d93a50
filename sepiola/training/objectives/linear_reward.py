"""A linear reward model, taught by which replies people prefer (`sepiola.models.linear_reward`).

Of a prompt's completions the best is chosen among all, the next among the rest, and so on: the rank-ordered logit
(Beggs, Cardell and Hausman, 1981), of two completions −log σ(r_better − r_worse). Equal ones are not compared. `ridge`
/ 2 times the squared weights is added, so that there is one best table, which long training comes to.
"""

from __future__ import annotations

from functools import cached_property
from typing import ClassVar, Literal

import numpy as np
import torch.nn.functional as F
from pydantic import NonNegativeFloat
from torch import nn

from sepiola.data.batching import Batch
from sepiola.data.example import Example
from sepiola.data.preferences import completions_of
from sepiola.errors import DataError, TrainingError
from sepiola.models.hashed_linear import Features, padded
from sepiola.models.linear_reward import LinearReward
from sepiola.specs.data import DataSpec
from sepiola.specs.stage import ObjectiveSpec
from sepiola.text.reply_features import reply_features
from sepiola.training.batches import ImageInputs
from sepiola.training.loss import Loss
from sepiola.training.objectives.conditional_logit import OptionsBatch, OptionsBatches
from sepiola.training.objectives.contract import Objective


class LinearRewardObjectiveSpec(ObjectiveSpec):
    """`ridge` keeps weights small: the fewer pairs there are, the more of it is needed."""

    ends: ClassVar[bool] = True
    teaches: ClassVar[str | None] = "linear_reward"

    kind: Literal["linear-reward"]
    ridge: NonNegativeFloat = 3e-5

    @property
    def predicts(self) -> bool:
        """No token."""
        return False


class LinearRewardObjective(Objective):
    """The likelihood of what people prefer, less the ridge."""

    spec: ClassVar[type[ObjectiveSpec]] = LinearRewardObjectiveSpec
    methods: ClassVar[tuple[str, ...]] = ("forward",)

    network: LinearReward

    def identity(self) -> list[object]:
        """The model."""
        return [self.setting.spec.model_dump(mode="json")]

    def prepare(self, network: nn.Module) -> nn.Module:
        """The network, which knows how rare features are in the stage's completions."""
        assert isinstance(network, LinearReward)
        if network.weight.device.type != "meta":
            network.remember(one.text for example in self._examples for one in completions_of(example))
        self.network = network
        return network

    @cached_property
    def _examples(self) -> list[Example]:
        return self.setting.read(self.stage.data)

    def batches(self, data: DataSpec, images: ImageInputs) -> OptionsBatches:
        """Choices of completions, as features. Raises TrainingError where no completion is better than another, and
        DataError for a prompt with one alone.
        """
        examples = self._examples if data == self.stage.data else self.setting.read(data)
        spec, dry = self.network.spec, self.network.weight.device.type == "meta"  # a dry run has no table
        rare = np.ones(spec.buckets, np.float32) if dry else self.network.rare.float().cpu().numpy()
        choices = [choice for example in examples for choice in chosen(example)]
        if not choices:
            raise TrainingError(
                f"stage '{self.stage.name}': none of the {len(examples)} prompts of {data.reader} ({data.split}) has a "
                "completion that is better than another"
            )
        known: dict[tuple[str, str], Features] = {}
        features = []
        for _, prompt, texts in choices:
            for text in texts:
                if (prompt, text) not in known:
                    known[prompt, text] = reply_features(prompt, text, spec.families, rare)
            features.append([known[prompt, text] for text in texts])
        ids, answers = [name for name, _, _ in choices], [0] * len(choices)
        batches = OptionsBatches(ids, features, answers, self.stage, self.setting.seed)
        batches.counts |= {"tied_prompts": len(examples) - len({name.rpartition("#")[0] for name in ids})}
        return batches

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        """The cross-entropy of the better completions, summed over choices (nats), and the ridge as often."""
        assert isinstance(batch, OptionsBatch) and isinstance(self.stage.objective, LinearRewardObjectiveSpec)
        scores = padded(model(batch.target.long(), batch.values, batch.starts), batch.sizes)
        weight = model.get_parameter("weight")
        ridge = self.stage.objective.ridge / 2 * weight.square().sum()
        right = (scores.argmax(1) == batch.labels).float().sum()
        loss = F.cross_entropy(scores, batch.labels, reduction="sum")
        return Loss(loss, batch.labelled, extra=batch.labelled * ridge, parts={"accuracy": right.detach()})


def chosen(example: Example) -> list[tuple[str, str, list[str]]]:
    """Each choice that a ranking says: its name, the prompt, and completions, of which the first is better than all
    others. Raises DataError for a prompt with one completion alone.
    """
    row = sorted(completions_of(example), key=lambda one: -one.score)
    if len(row) < 2:
        raise DataError(f"{example.id}: one completion alone is compared with none; linear-reward needs two or more")
    found = []
    for place, best in enumerate(row):
        worse = [other.text for other in row[place + 1 :] if other.score < best.score]
        if worse:
            found.append((f"{example.id}#{place}", example.prompt, [best.text, *worse]))
    return found
