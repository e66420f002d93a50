"""A reward model, taught by which replies people prefer (InstructGPT, arXiv 2203.02155, section 3.5).

Of a prompt's K completions each is scored once; the loss is the mean of −log σ(r_better − r_worse) over all pairs of
which one is better. Ties are dropped. The prompt is one element of a batch whatever K is, or its replies would be
learned K − 1 times. Scores have no place of their own; `centring` · (r_better + r_worse)² keeps them near 0
(arXiv 2312.09244).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import NonNegativeFloat
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from sepiola.data.batching import Batch, Collator, Sample
from sepiola.data.example import Example
from sepiola.data.scored import ScoredCollator
from sepiola.models.reward import add_reward, scores, with_reward
from sepiola.specs.model import ModelSpec
from sepiola.specs.stage import ObjectiveSpec
from sepiola.training.loss import Loss
from sepiola.training.objectives.preference import Preference, PreferenceSpec
from sepiola.training.rankings import RankingBatch, mean_over_prompts, ranked


class RewardModelSpec(PreferenceSpec):
    """Puts a layer on the model that scores replies. With a `margin` the better reply must lead by so much for each
    point that the data's scores lie apart (Llama 2, arXiv 2307.09288, section 3.2.2).
    """

    ends: ClassVar[bool] = True
    scores: ClassVar[str | None] = "verifier"

    kind: Literal["reward"]
    margin: NonNegativeFloat = 0.0
    centring: NonNegativeFloat = 0.0

    @property
    def predicts(self) -> bool:
        """No token."""
        return False


class RewardModelling(Preference):
    """The loss of all pairs of each prompt."""

    spec: ClassVar[type[ObjectiveSpec]] = RewardModelSpec
    layout: type[Collator] = ScoredCollator

    @property
    def rewards(self) -> RewardModelSpec:
        """The spec of this objective's fields."""
        assert isinstance(self.stage.objective, RewardModelSpec)
        return self.stage.objective

    def model(self) -> ModelSpec:
        """The model under a layer that scores."""
        return with_reward(self.setting.spec)

    def prepare(self, network: nn.Module) -> nn.Module:
        """The model under a layer that is initialised from the run's seed."""
        return add_reward(network, self.model(), self.setting.seed)

    def replies(self, examples: Sequence[Example]) -> list[Sample]:
        """With all that a chat template sets after a reply: as reward models of the Hub read it."""
        if self.own.layout == "chat":
            return [self.conversing.scored(example) for example in examples]
        return super().replies(examples)

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        """See `ranking_loss`. Dropout is off: scores are compared as they will be read."""
        model.eval()
        batch = ranked(batch)
        return ranking_loss(scores(model, batch), batch, margin=self.rewards.margin, centring=self.rewards.centring)


def ranking_loss(scored: Tensor, batch: RankingBatch, *, margin: float = 0.0, centring: float = 0.0) -> Loss:
    """The loss of the scores `(rows,)` of a batch, summed over its prompts."""
    better, worse = scored[batch.better], scored[batch.worse]
    lead = better - worse
    losses = -logsigmoid(lead - margin * batch.gaps.to(lead))
    if centring:
        losses = losses + centring * (better + worse).square()
    figures = {"accuracy": (lead > 0).to(lead), "lead": lead, "score": (better + worse) / 2}
    parts = {name: mean_over_prompts(values.detach(), batch) for name, values in figures.items()}
    return Loss(mean_over_prompts(losses, batch), batch.labelled, parts=parts)
