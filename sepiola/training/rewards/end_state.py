"""1 where the simulated phone ends as it should, whatever the calls that led there (`sepiola.acting.phone.tasks`).

Each completion acts on a phone of its own, in the state that the request presupposes. A call that cannot be read or
done is worth 0, and so is a reply that is none, even where nothing was to happen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, Literal

from sepiola.acting.phone import functions
from sepiola.acting.phone.tasks import Task, perform, task_of
from sepiola.calling.calls import tokens_of
from sepiola.data.example import Example
from sepiola.errors import ActionError, CallError, DataError
from sepiola.training.rewards.calls import calls_in, wanted
from sepiola.training.rewards.contract import RewardSpec, Written


class EndStateSpec(RewardSpec):
    """For Tidepool's phone requests: `{reader: tidepool, options: {task: phone}}`."""

    kind: Literal["end-state"]

    def tokens(self) -> list[str]:
        """Those of the phone's ten functions."""
        return tokens_of(len(functions()))

    def callables(self) -> Sequence[Callable[..., object]]:
        """The phone's ten."""
        return functions()


class EndState:
    """Whether the phone's state is the right one."""

    spec: ClassVar[type[RewardSpec]] = EndStateSpec

    def __init__(self, spec: RewardSpec) -> None:
        self._tasks: dict[str, Task] = {}

    def score(self, examples: Sequence[Example], written: Sequence[Written]) -> list[float]:
        return [float(self._reached(example, one)) for example, one in zip(examples, written, strict=True)]

    def _reached(self, example: Example, one: Written) -> bool:
        if example.id not in self._tasks:
            wanted(example)
            if "today" not in example.metadata:
                raise DataError(f"{example.id}: no day (metadata 'today'), on which the phone's state depends")
            self._tasks[example.id] = task_of(example)
        task, calls = self._tasks[example.id], calls_in(one, functions(), example.today)
        if calls is None:
            return False
        phone = task.phone()
        try:
            perform(phone, calls)
        except (CallError, ActionError):
            return False
        return task.reached(phone)
