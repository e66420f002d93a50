"""A round of learning from what one's own chains of thought say: an earlier stage's model answers questions several
times, some of these questions are picked, and what is learned of them is learned beside the stage's own data.

What is learned: the writer's right `chains`, of questions whose answers are known and whose chains nobody wrote (STaR,
arXiv 2203.14465), or the questions' own `solutions`, as a person or a teacher would write them for those alone that are
picked (active prompting, arXiv 2302.12246, in training). Which questions: `disagreement` takes those whose chains
contradict each other most, by the entropy of their votes, for of what all chains agree on there is nothing to learn;
`random` is its control. As in STaR a round begins anew from where the stage starts, not from the writer's weights, so
that nothing is learned on top of its own faults. The gate: a round whose model answers no more of the validation
questions than the writer is refused, and the writer's weights stay.
"""

from __future__ import annotations

import dataclasses
import math
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Annotated, ClassVar, Literal

from pydantic import Field, PositiveInt
from torch import nn

from sepiola.data.example import Example
from sepiola.errors import TrainingError
from sepiola.generation.sampling import LEAST_TEMPERATURE
from sepiola.reasoning.answer import Answer, Chain
from sepiola.reasoning.verdicts import is_right
from sepiola.reasoning.votes import mean_log_probability
from sepiola.specs.base import Plain
from sepiola.specs.data import DataSpec
from sepiola.specs.model import ModelSpec
from sepiola.specs.stage import ObjectiveSpec, StageSpec
from sepiola.specs.strategy import SelfConsistencySpec
from sepiola.text.prompts import PromptFormat
from sepiola.training.objectives.chains import ChainsSpec, LearnsFromChains
from sepiola.training.objectives.contract import Setting


class SelfTaughtSpec(ChainsSpec):
    """The writer's model answers `questions`, and at most `picks` of them are learned: `chains`, of those that it
    sometimes answers right, each with its likeliest right chain; `solutions`, of those that have one. `gate: false`
    keeps what was learned whatever it is worth.
    """

    kind: Literal["self-taught"]
    questions: DataSpec
    temperature: Annotated[float, Field(ge=LEAST_TEMPERATURE, le=1e6)] = 0.7
    learn: Literal["chains", "solutions"] = "chains"
    pick: Literal["disagreement", "random"] = "disagreement"
    picks: PositiveInt = 1000
    gate: bool = True

    @property
    def reads_beside(self) -> Mapping[str, DataSpec]:
        return {"questions": self.questions}

    def check(self, model: ModelSpec, stage: StageSpec) -> None:
        """Raises ValueError for a format without chains, and for a gate without validation questions."""
        super().check(model, stage)
        layout = PromptFormat.parse(self.format) if self.format is not None else None
        if layout is None or not (layout.gives_rationale and layout.gives_answer):
            raise ValueError(f"'{stage.name}': self-taught learns chains; give a format that writes them, such as Q-EA")
        if self.gate and stage.validation is None:
            raise ValueError(f"'{stage.name}': the gate of self-taught asks 'validation' questions; name some")
        if self.gate and stage.lora is not None:
            raise ValueError(f"'{stage.name}': a round that is refused leaves no adapter; unset lora, or the gate")


class SelfTaught(LearnsFromChains):
    """The cross-entropy of the stage's own data, and of what is learned of the picked questions."""

    spec: ClassVar[type[ObjectiveSpec]] = SelfTaughtSpec

    def __init__(self, stage: StageSpec, setting: Setting) -> None:
        super().__init__(stage, setting)
        self._outcome: Plain = {}

    @property
    def own(self) -> SelfTaughtSpec:
        """The spec of this objective's fields."""
        assert isinstance(self.stage.objective, SelfTaughtSpec)
        return self.stage.objective

    def laid_out(self, data: DataSpec) -> list[Example]:
        """The stage's own data with the questions that were picked; other data as it is."""
        examples = super().laid_out(data)
        if data != self.stage.data:
            return examples
        layout = self.format
        assert layout is not None
        return [*examples, *(layout.apply(example) for example in self.learned)]

    @cached_property
    def learned(self) -> list[Example]:
        """The picked questions, each with what is learned of it as its solution.

        Raises TrainingError when there is none.
        """
        own = self.own
        asked = self.setting.read(own.questions)
        taught: list[Example | None]
        if own.learn == "chains":
            answers = self.drawn(asked)
            taught = [own_chain(*pair) for pair in zip(asked, answers, strict=True)]
            lacking = f"'{own.writer}' answers none right; train it longer, or draw more chains"
        else:
            known = [example for example in asked if example.question and example.question.solution]
            answers = self.drawn(known) if own.pick == "disagreement" else []
            taught = [*known]
            lacking = "none has a solution; learn: chains learns the writer's own"
        found = picked(taught, answers, own, self.setting.seed)
        if not found:
            raise TrainingError(f"stage '{self.stage.name}': of its {len(asked)} questions {lacking}")
        return found

    def kept(self, trained: nn.Module) -> tuple[nn.Module, ModelSpec]:
        """What was learned where it answers more of the validation questions right, else the writer's weights."""
        if not self._passed(trained):
            return self.setting.trained(self.own.writer)
        return super().kept(trained)

    def outcome(self) -> Plain:
        """How many chains or solutions were learned, and what the gate found."""
        return self._outcome

    def _passed(self, trained: nn.Module) -> bool:
        self._outcome = {f"{self.own.learn}_learned": len(self.learned)}
        if not self.own.gate or self.stage.validation is None:
            return True
        asked = [e for e in self.setting.read(self.stage.validation) if e.question is not None]
        greedy = SelfConsistencySpec(kind="self-consistency", chains=1, temperature=0.0, shuffle=False)
        before = _right(asked, self.setting.answers(self.own.writer, asked, greedy))
        now = _right(asked, self.setting.answers(self.stage.name, asked, greedy, trained))
        verdict = "kept" if now > before else f"refused: the weights of '{self.own.writer}' stay"
        self._outcome |= {"right_before": before, "right_now": now, "asked": len(asked), "round": verdict}
        return now > before


def picked(
    taught: Sequence[Example | None], answers: Sequence[Answer], spec: SelfTaughtSpec, seed: int = 0
) -> list[Example]:
    """Which questions are learned from, of those that have anything to learn, in their order.

    Args:
        taught: each question with what is learned of it, None where there is nothing.
        answers: the writer's answers to them; random picks need none.
    """
    able = [n for n, example in enumerate(taught) if example is not None]
    order = random.Random(f"picks {seed}").sample(able, len(able))
    if spec.pick == "disagreement":
        order.sort(key=lambda n: -disagreement(answers[n].chains))
    return [example for n in sorted(order[: spec.picks]) if (example := taught[n]) is not None]


def disagreement(chains: Sequence[Chain]) -> float:
    """The entropy of the chains' votes, in nats; chains that name no answer are one vote for none."""
    counts = Counter(chain.vote for chain in chains)
    return -sum(n / len(chains) * math.log(n / len(chains)) for n in counts.values())


def own_chain(example: Example, answer: Answer) -> Example | None:
    """The question with its likeliest right chain as its solution; None where no chain is right."""
    right = [chain for chain in answer.chains if is_right(example, chain)]
    if not right:
        return None
    chain = max(right, key=mean_log_probability)
    assert example.question is not None
    question = dataclasses.replace(example.question, lecture="", solution=chain.rationale or "")
    return dataclasses.replace(example, id=f"{example.id}#chain", question=question)


def _right(examples: Sequence[Example], answers: Sequence[Answer]) -> int:
    return sum(is_right(example, answer.chains[0]) for example, answer in zip(examples, answers, strict=True))
