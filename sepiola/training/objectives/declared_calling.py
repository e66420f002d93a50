"""Declared calling: a request with the functions that may be called, and the call by number that answers it.

An example's functions are those that it declares (`metadata["tools"]`); where it declares none, those of `functions`,
or else what its calls are named. Functions of other examples stand beside them, in any order. The names of some are
random words, and some requests declare none of their own functions and call nothing (Hammer, arXiv 2410.04587).
"""

from __future__ import annotations

import dataclasses
import logging
import random
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import ClassVar, Literal

from pydantic import Field, PositiveInt

from sepiola.acting.declaring import NUMBERS, Distractors, declaration, masked, tool_of_name
from sepiola.acting.sets import functions_named
from sepiola.calling.calls import tokens_of, write
from sepiola.calling.functions import Call, Function, declared
from sepiola.data.example import Example, Message
from sepiola.errors import CallError, SpecError, TrainingError
from sepiola.specs.base import Plain
from sepiola.specs.bricks import Probability
from sepiola.specs.data import DataSpec
from sepiola.specs.stage import StageSpec
from sepiola.text.processor import Processor
from sepiola.training.objectives.language_modelling import LanguageModelling, PromptsSpec

log = logging.getLogger(__name__)

Tools = Sequence[Plain]


class DeclaredCallingSpec(PromptsSpec):
    """At most `declared` functions stand in a prompt. `masked` is the share of functions under random names, and
    `irrelevant` the share of requests whose own functions are not declared. `functions` are those of data that declare
    none: a set's name or a Python file. With `prompts` the data are used again, with other functions beside the right
    ones, until there are so many.
    """

    kind: Literal["declared-calling"]
    functions: str | None = None
    declared: int = Field(default=8, ge=1, le=NUMBERS)
    masked: Probability = 0.5
    irrelevant: Probability = 0.1
    prompts: PositiveInt | None = None

    def tokens(self) -> list[str]:
        """One a number, and those that calls share."""
        return tokens_of(NUMBERS)

    def reads(self) -> str:
        """Declared functions, with calls of them."""
        return f"declared calls of {self.functions or 'their own functions'}"


class DeclaredCalling(LanguageModelling):
    """The cross-entropy of the tokens of calls by number."""

    spec: ClassVar[type[DeclaredCallingSpec]] = DeclaredCallingSpec

    @classmethod
    def texts(cls, stage: StageSpec, example: Example) -> Iterable[str]:
        """What is declared, the request, and the values of its calls."""
        assert isinstance(stage.objective, DeclaredCallingSpec)
        functions = declared(tools_of(example, stage.objective.functions))
        try:
            target = write(calls_of(example), functions, example.today, example.days, example.prompt)
        except CallError:  # it is not learnt from, and `laid_out` says so
            target = ""
        return declaration(functions), example.prompt, re.sub(r"<fn_\w+>", "\n", target)

    @property
    def asked(self) -> DeclaredCallingSpec:
        """The spec of this objective's fields."""
        assert isinstance(self.stage.objective, DeclaredCallingSpec)
        return self.stage.objective

    def processor(self, processor: Processor) -> Processor:
        """Of a model that was taught no functions, and calls those that are declared by number."""
        return dataclasses.replace(processor, functions=())

    def laid_out(self, data: DataSpec) -> list[Example]:
        """The examples behind their declarations, with calls by number as targets.

        Examples whose calls do not fit their functions are left out, which is logged. Raises TrainingError for an
        example without calls, and where none is left.
        """
        examples = self.setting.read(data)
        tools = [tools_of(example, self.asked.functions) for example in examples]
        others = Distractors([tool for some in tools for tool in some])
        laid_out, faults = list[Example](), list[str]()
        usable = list[tuple[Example, Tools]]()
        for example, some in zip(examples, tools, strict=True):
            try:
                write(calls_of(example), declared(some))
                usable.append((example, some))
            except (CallError, SpecError) as error:
                faults.append(f"{example.id}: {error}")
        if faults:
            log.warning("%d examples are left out: their calls do not fit (%s)", len(faults), faults[0])
        if not usable:
            raise TrainingError(f"stage '{self.stage.name}': no example of {data.reader} has calls that fit")
        for number in range(self.asked.prompts or len(usable)):
            example, some = usable[number % len(usable)]
            rng = random.Random(f"declared {self.setting.seed} {number} {example.id}")
            laid_out.append(self._laid_out(example, some, others, rng))
        return laid_out

    def _laid_out(self, example: Example, tools: Tools, others: Distractors, rng: random.Random) -> Example:
        calls = calls_of(example)
        called = {call.name for call in calls}
        right = [tool for tool in tools if tool["function"]["name"] in called]
        beside = others.draw(tools, rng.randint(1, self.asked.declared), rng)
        if beside and rng.random() < self.asked.irrelevant:
            shown, calls = beside, []
        else:
            own = [tool for tool in tools if tool["function"]["name"] not in called]
            shown = [*right, *[*own, *beside][: max(0, self.asked.declared - len(right))]]
        functions = declared(rng.sample(shown, len(shown)))
        target = write(calls, functions, example.today, example.days, example.prompt)
        renamed = [masked(f, rng) if rng.random() < self.asked.masked else f for f in functions]
        return dataclasses.replace(declaring(example, renamed), target=target)


def declaring(example: Example, functions: Sequence[Function]) -> Example:
    """The example with the lines of its functions before its messages."""
    first, *following = example.messages
    opening = Message(first.role, (f"{declaration(functions)}\n", *first.content))
    return dataclasses.replace(example, messages=(opening, *following))


def tools_of(example: Example, functions: str | None) -> Tools:
    """What an example declares, or else the functions of a set or a file, or else what its calls are named."""
    if (tools := example.metadata.get("tools")) is not None:
        return list(tools)
    if functions is not None:
        return _tools_named(functions)
    return [tool_of_name(name) for name in dict.fromkeys(call["name"] for call in example.metadata.get("calls", ()))]


@lru_cache
def _tools_named(functions: str) -> Tools:
    return [function.tool for function in functions_named(functions)]


def calls_of(example: Example) -> list[Call]:
    """An example's calls. Raises TrainingError where it has none, and CallError where their arguments are unknown."""
    said = example.metadata.get("calls")
    if said is None:
        raise TrainingError(f"{example.id}: no calls (metadata 'calls'); declared-calling learns requests with calls")
    if any(call["arguments"] is None for call in said):
        raise CallError("its arguments are not known")
    return [Call(call["name"], call["arguments"]) for call in said]
