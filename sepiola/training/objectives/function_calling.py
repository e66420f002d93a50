"""Function calling: a request in words, and the call that answers it in functional tokens (Octopus v2, 2404.01744).

Examples hold their calls as data (`metadata["calls"]`). They are written for the stage's functions, by the order of
their tokens, so that nothing of a dataset depends on which token a function has.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import ClassVar, Literal

from sepiola.acting.sets import functions_named, taught
from sepiola.calling.calls import tokens_of, write
from sepiola.calling.functions import Call, Function
from sepiola.data.example import Example
from sepiola.errors import CallError, TrainingError
from sepiola.specs.data import DataSpec
from sepiola.specs.stage import StageSpec
from sepiola.text.processor import Processor
from sepiola.training.objectives.language_modelling import LanguageModelling, PromptsSpec


class FunctionCallingSpec(PromptsSpec):
    """`functions` is a set's name (`phone`, `android`) or a Python file."""

    kind: Literal["function-calling"]
    functions: str = "phone"

    def tokens(self) -> list[str]:
        """One a function, and those that they share."""
        return tokens_of(len(functions_named(self.functions)))

    def reads(self) -> str:
        """Calls, as the functions' tokens."""
        return f"calls of {self.functions}"


class FunctionCalling(LanguageModelling):
    """The cross-entropy of the tokens of calls."""

    spec: ClassVar[type[FunctionCallingSpec]] = FunctionCallingSpec

    @classmethod
    def texts(cls, stage: StageSpec, example: Example) -> Iterable[str]:
        """The request, and the values of its calls."""
        assert isinstance(stage.objective, FunctionCallingSpec)
        written = called(example, functions_named(stage.objective.functions))
        return example.prompt, re.sub(r"<fn_\w+>", "\n", written.target)

    @cached_property
    def functions(self) -> list[Function]:
        """What is taught, by the order of the tokens."""
        assert isinstance(self.stage.objective, FunctionCallingSpec)
        return functions_named(self.stage.objective.functions)

    def identity(self) -> list[object]:
        """With the functions: one whose signature has changed is another token's meaning."""
        return [*super().identity(), [function.signature for function in self.functions]]

    def processor(self, processor: Processor) -> Processor:
        """With the functions, so that an agent knows what each token calls."""
        return dataclasses.replace(processor, functions=taught(self.functions, self.setting.read(self.stage.data)))

    def laid_out(self, data: DataSpec) -> list[Example]:
        """The examples with their calls as targets. Raises TrainingError for an example without, or with others."""
        return [called(example, self.functions) for example in self.setting.read(data)]


def called(example: Example, functions: Sequence[Function]) -> Example:
    """The example with its calls as its target. Raises TrainingError where it has none, or they do not fit."""
    said = example.metadata.get("calls")
    if said is None:
        raise TrainingError(f"{example.id}: no calls (metadata 'calls'); function-calling learns requests with calls")
    try:
        calls = [Call(c["name"], c["arguments"]) for c in said]
        target = write(calls, functions, example.today, example.days, example.prompt)
    except CallError as error:
        raise TrainingError(f"{example.id}: {error}") from None
    return dataclasses.replace(example, target=target)
