"""Batches that are sampled from the policy itself: prompts, completions, rewards, advantages.

A rollout asks some prompts several times each. It serves `minibatches` steps, and all of them `iterations` times; then
the next one is sampled, by the weights of that moment. Which prompts it asks depends on its number alone, and what is
drawn on torch's generator, so that a run that goes on from a state meets the same completions.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sepiola.data.batching import Batch, Collator, Sample
from sepiola.data.example import Example, digest
from sepiola.errors import TrainingError
from sepiola.specs.stage import StageSpec
from sepiola.text.tokenizer import Tokenizer
from sepiola.training.policy import Measured, RolloutBatch
from sepiola.training.ranks import Ranks, cut
from sepiola.training.rewards import Reward, Written
from sepiola.training.sampler import Completion, PolicySampler

Step = list[RolloutBatch]
Credit = Callable[[list[Step], Tensor], list[Step]]
"""Given a rollout's steps, measured, and its rewards `(prompts, samples)`, says what each token is worth."""
Choose = Callable[[Tensor], Tensor]
"""Given the rewards of a rollout, says which of its completions teach anything: booleans, as many."""


class Rollouts:
    """Rollouts over prompts: `samples` are what is read, `examples` what rewards know of them.

    A step is `accumulate` batches of `batch` completions, shorter ones first, so that little is padding; those that
    teach nothing (`choose`) are not laid out, and with `merge` those of one prompt that are alike, and paid alike, are
    laid out once. Of several ranks each writes, judges and measures its share; then all have all of the rollout.
    Without a sampler nothing can be drawn (a dry run), and without `credit` completions are worth their rewards
    (validation).
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        examples: Sequence[Example],
        stage: StageSpec,
        tokenizer: Tokenizer,
        reward: Reward,
        collate: Collator,
        *,
        fan: int,
        iterations: int = 1,
        minibatches: int = 1,
        sampler: Callable[[], PolicySampler],
        measure: Callable[[RolloutBatch], Measured] | None = None,
        credit: Credit | None = None,
        choose: Choose = torch.ones_like,
        merge: bool = False,
        seed: int = 0,
        marks: Callable[[], str] = str,
    ) -> None:
        if not samples:
            raise TrainingError(f"stage '{stage.name}': there are no prompts to train on")
        room = (stage.source_tokens, stage.target_tokens)
        self.samples = [sample.cut(*room).compact() for sample in samples]
        self.examples = examples
        self.tokenizer = tokenizer
        self.reward = reward
        self.collate = collate
        self.fan = fan
        self.batch = stage.batch
        self.minibatches = minibatches
        self.uses = iterations * minibatches
        self.prompts = stage.batch * stage.accumulate * minibatches // fan
        self.longest = stage.target_tokens
        self.seed = seed
        self.marks = marks
        self._make_sampler = sampler
        self._sampler: PolicySampler | None = None
        self._measure = measure
        self._credit = credit
        self._choose = choose
        self._merge = merge
        self.ranks = Ranks()
        self.whole = False
        self.rollouts = 0
        self.used = self.uses
        self.held: list[Step] = []
        self.steps_per_epoch = -(-len(samples) // self.prompts) * self.uses
        cut = sum(len(after.source) < len(whole.source) for after, whole in zip(self.samples, samples, strict=True))
        self.counts = {"samples": len(samples), "truncated_sources": cut, "truncated_targets": 0}

    @property
    def sampler(self) -> PolicySampler:
        """What writes; made when it is first needed."""
        if self._sampler is None:
            self._sampler = self._make_sampler()
        return self._sampler

    @property
    def epoch(self) -> float:
        """Epochs so far: every prompt asked once."""
        return ((self.rollouts - 1) * self.uses + self.used) / self.steps_per_epoch

    def next(self) -> list[Batch]:
        """The rank's batches of the next step; samples a rollout where the last one is used up."""
        if self.used == self.uses:
            self.held = self._rollout(self.asked(self.rollouts))
            self.rollouts, self.used = self.rollouts + 1, 0
        step = self.held[self.used % self.minibatches]
        self.used += 1
        if self.used == self.uses:
            self.held = []
        return [*self.ranks.share(step)]

    def asked(self, rollout: int) -> list[int]:
        """The numbers of the prompts of a rollout: those of one epoch after another, each in an order of its own."""
        places = range(rollout * self.prompts, (rollout + 1) * self.prompts)
        orders = {
            epoch: np.random.default_rng([self.seed, epoch]).permutation(len(self.samples))
            for epoch in {place // len(self.samples) for place in places}
        }
        return [int(orders[place // len(self.samples)][place % len(self.samples)]) for place in places]

    def once(self) -> Iterator[Batch]:
        """A completion of each prompt, with its reward and nothing to learn."""
        for start in range(0, len(self.samples), self.batch):
            numbers = [*range(start, min(start + self.batch, len(self.samples)))]
            completions = [row[0] for row in self.sampler.write([self.samples[i] for i in numbers], 1)]
            rewards = torch.tensor(self._rewards(numbers, completions))
            yield self.sampler.lay_out([self.samples[i] for i in numbers], completions, rewards)

    def peek(self, steps: int) -> list[list[Batch]]:
        """The prompts of some steps with completions as long as may be; nothing is drawn."""
        collate = self.collate
        numbers = [i for rollout in range(steps) for i in self.asked(rollout) for _ in range(self.fan)]
        rows = [self._filled(self.samples[i]) for i in numbers]
        size = len(rows) // (steps * self.minibatches)
        whole = [rows[at : at + size] for at in range(0, len(rows), size)][:steps]
        return [[collate(step[at : at + self.batch]) for at in range(0, len(step), self.batch)] for step in whole]

    def largest(self) -> RolloutBatch:
        """The longest prompts with completions as long as may be; nothing is drawn, and what is known is 0."""
        longest = sorted(self.samples, key=lambda sample: len(sample.source))[-1:] * self.batch
        batch = self.collate([self._filled(sample) for sample in longest])
        zeros = torch.zeros(batch.labelled)
        known: dict[str, Any] = dict.fromkeys(("old", "reference", "values", "advantages", "returns", "weights"), zeros)
        known |= {"rewards": torch.zeros(self.batch), "forbidden": torch.zeros(0, dtype=torch.long)}
        return RolloutBatch(**vars(batch), **known)

    def _filled(self, sample: Sample) -> Sample:
        return replace(sample, target=(self.collate.special.end,) * self.longest)

    def state(self) -> dict[str, object]:
        """Which rollout, how often it was used, and, while it is still of use, all of it."""
        held = [[dict(vars(batch)) for batch in step] for step in self.held]
        return {"rollouts": self.rollouts, "used": self.used, "held": held}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes on where `state` stood. Raises ValueError for a place that is none."""
        held = [[RolloutBatch(**batch) for batch in step] for step in state["held"]]
        if not 0 <= state["used"] <= self.uses or (state["used"] < self.uses and len(held) != self.minibatches):
            raise ValueError(f"use {state['used']} of a rollout is not among the stage's")
        self.rollouts, self.used, self.held = state["rollouts"], state["used"], held

    def fingerprint(self) -> str:
        """A digest of all that is asked, of what rewards know of it, and of the reference."""
        hashed = hashlib.sha256(digest(self.examples).encode() + self.marks().encode())
        for sample in self.samples:
            hashed.update(np.asarray(sample.source, dtype=np.int64).tobytes())
        return hashed.hexdigest()[:16]

    def _rollout(self, numbers: Sequence[int]) -> list[Step]:
        every = [i for i in numbers for _ in range(self.fan)]
        completions, rewards = self.drawn(numbers)
        groups = rewards.view(-1, self.fan)
        teaches = self._choose(groups).bool().flatten().numpy()
        lengths = np.array([len(completion.ids) for completion in completions])
        steps: list[Step] = []
        for part in np.array_split(np.arange(len(every)), self.minibatches):
            kept = part[teaches[part]] if teaches[part].any() else part[:1]
            kept = kept[np.argsort(lengths[kept], kind="stable")]
            counts = self._merged(kept.tolist(), every, completions, rewards)
            read = [*counts]
            size = len(part), sum(completions[i].labelled for i in part)
            step: Step = []
            batches = [read[at : at + self.batch] for at in range(0, len(read), self.batch)]
            for whole in batches:
                part_of = len(batches), sum(completions[i].labelled for i in whole)
                for some in cut(whole, self.ranks.pieces(len(batches))):
                    asked, written = [self.samples[every[i]] for i in some], [completions[i] for i in some]
                    batch = self.sampler.lay_out(asked, written, rewards[some])
                    alike = torch.tensor([counts[i] for i in some])
                    step.append(replace(batch, numbers=torch.tensor(some), step=size, part_of=part_of, counts=alike))
            steps.append(step)
        assert self._credit is not None
        figures = {**self._figures(completions), **figures_of(groups)}
        credited = self._credit(self._measured(steps), groups)
        return [[replace(batch, figures=figures) for batch in step] for step in credited]

    def _merged(
        self, kept: Sequence[int], every: Sequence[int], completions: Sequence[Completion], rewards: Tensor
    ) -> Counter[int]:
        """Of completions that are alike the first, in their order, and how many each stands for."""
        first: dict[object, int] = {}
        counts: Counter[int] = Counter()
        for i in kept:
            one = completions[i]
            alike = (every[i], one.ids, one.ended, float(rewards[i])) if self._merge else i
            counts[first.setdefault(alike, i)] += 1
        return counts

    def drawn(self, numbers: Sequence[int]) -> tuple[list[Completion], Tensor]:
        """Completions of these prompts and their rewards, those of one prompt side by side."""
        places = self.ranks.share(range(len(numbers)))
        rows = self.sampler.write([self.samples[i] for i in numbers], self.fan, places)
        asked = [numbers[place] for place in places for _ in range(self.fan)]
        judged = self._rewards(asked, [one for row in rows for one in row]) if asked else []
        rewards = [judged[at : at + self.fan] for at in range(0, len(judged), self.fan)]
        groups = self.ranks.joined([*zip(rows, rewards, strict=True)])
        completions = [one for row, _ in groups for one in row]
        return completions, torch.tensor([value for _, own in groups for value in own])

    def _measured(self, steps: list[Step]) -> list[Step]:
        assert self._measure is not None
        batches = [batch for step in steps for batch in step]
        fields = iter(self.ranks.joined([self._measure(batch) for batch in self.ranks.share(batches)]))
        return [[replace(batch, **next(fields)) for batch in step] for step in steps]

    def _rewards(self, numbers: Sequence[int], completions: Sequence[Completion]) -> list[float]:
        written = [self.as_written(completion) for completion in completions]
        rewards = self.reward.score([self.examples[i] for i in numbers], written)
        for number, value in zip(numbers, rewards, strict=True):
            if not abs(value) < float("inf"):
                raise TrainingError(f"{self.examples[number].id}: its reward is {value}; expected a finite number")
        return [float(value) for value in rewards]

    def as_written(self, completion: Completion) -> Written:
        """What rewards read of a completion."""
        ids = list(completion.ids)
        marked = self.tokenizer.backend.decode(ids, skip_special_tokens=False)
        return Written(self.tokenizer.decode(ids), marked, completion.whole)

    def _figures(self, completions: Sequence[Completion]) -> dict[str, float]:
        lengths = [len(completion.ids) + completion.ended for completion in completions]
        return {"completion_tokens": fmean(lengths), "ended": fmean(completion.whole for completion in completions)}


def figures_of(rewards: Tensor) -> dict[str, float]:
    """What rewards `(prompts, samples)` are like. Groups whose rewards are all alike teach GRPO nothing."""
    spread = rewards.std(1) if rewards.shape[1] > 1 else torch.zeros(len(rewards))
    return {
        "reward": float(rewards.mean()),
        "reward_std": float(rewards.std()) if rewards.numel() > 1 else 0.0,
        "equal_groups": float((spread < 1e-8).float().mean()),
    }
