"""What an agent may run, and what becomes of its calls: they run in order, and what they give or raise is kept, and fed
back where the policy gives the model more than one reply.
"""

from __future__ import annotations

import inspect
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from .errors import CallError, SepiolaError, SpecError, brief, nearest, shown
from .functions import Call, Function, Plain

WAITS = "is async or yields, and gives nothing until somebody waits for it: let a plain function do that (asyncio.run)"


@dataclass(frozen=True)
class Policy:
    """What may run. Functions outside `allow` (all, by default) or in `deny` cannot be called, and a reply that names
    one calls nothing; those in `confirm` run when `Agent.confirm` says yes. With `dry_run` nothing runs. At most
    `calls` run in at most `seconds`, in `steps` replies of the model. Raises SpecError for a name in the place of
    several, and for fewer than one of `steps` or `calls`, or no whole number of them.
    """

    allow: tuple[str, ...] | None = None
    deny: tuple[str, ...] = ()
    confirm: tuple[str, ...] = ()
    dry_run: bool = False
    calls: int = 8
    seconds: float | None = None
    steps: int = 1

    def __post_init__(self) -> None:
        for key, names in (("allow", self.allow), ("deny", self.deny), ("confirm", self.confirm)):
            if isinstance(names, str):
                raise SpecError(f"policy: {key} is {shown(names)}; expected several names: ({shown(names)},)")
        for key, number in (("steps", self.steps), ("calls", self.calls)):
            if not isinstance(number, int) or number < 1:
                raise SpecError(f"policy: {key} is {number!r}; expected at least 1, or dry_run=True to run nothing")
        if self.seconds is not None and not isinstance(self.seconds, int | float):
            raise SpecError(f"policy: seconds is {shown(self.seconds)}; expected a number")

    def allowed(self, functions: Sequence[Function]) -> list[str]:
        """The names that may be called. Raises SpecError for a name that is no function's."""
        names = [function.name for function in functions]
        for name in (*(self.allow or ()), *self.deny, *self.confirm):
            if name not in names:
                raise SpecError(f"policy: no function is named '{brief(name)}'; {nearest(name, names)}")
        return [name for name in names if (self.allow is None or name in self.allow) and name not in self.deny]


@dataclass(frozen=True)
class Result:
    """What became of a call: `status` is `done`, `failed`, `refused` (by the policy or the user) or `planned`."""

    call: Call
    status: str
    value: object = None
    error: str = ""

    def to_json(self) -> Plain:
        """As it stands in the log."""
        said = {"value": self.value} if self.status == "done" else {"error": self.error} if self.error else {}
        return {**self.call.to_json(), "status": self.status, **said}


@dataclass(frozen=True)
class Acted:
    """What the agent did for one request. `log` has a line a reply and a line a call, as JSON data."""

    calls: list[Call]
    results: list[Result]
    log: list[Plain] = field(default_factory=list)

    @property
    def fault(self) -> str:
        """What was wrong with the last reply, which called nothing then; empty where nothing was."""
        last = self.log[-1] if self.log else {}
        return "" if "name" in last else str(last.get("error", ""))


@dataclass(frozen=True)
class Runner:
    """Runs calls of `functions`, by their names, on the `state` of those that take one."""

    policy: Policy
    functions: Mapping[str, Function]
    confirm: Callable[[Call], bool]
    state: object = None

    def run(self, acted: Acted, write: Callable[[Sequence[Result]], str], read: Callable[[str], list[Call]]) -> None:
        """Adds to what was `acted` the calls of each reply, which the model `write`s after the results so far.

        `read` raises CallError for a reply that holds no calls, or others than are allowed: it calls nothing. What
        keeps the model from a further reply ends the request, and stands in the log.
        """
        began = time.monotonic()
        for _ in range(self.policy.steps):
            try:
                written = write(acted.results)
            except SepiolaError as error:
                if not acted.results:
                    raise
                acted.log.append({"error": str(error)})
                return
            try:
                made, fault = read(written), {}
            except CallError as error:
                made, fault = [], {"error": str(error)}
            acted.log.append({"written": written, **fault})
            if not made:
                return
            for call in made:
                result = self._result(call, len(acted.results), time.monotonic() - began)
                acted.calls.append(call)
                acted.results.append(result)
                acted.log.append(result.to_json())

    def _result(self, call: Call, before: int, seconds: float) -> Result:
        policy = self.policy
        if before >= policy.calls:
            return Result(call, "refused", error=f"the policy allows {policy.calls} calls a request")
        if policy.seconds is not None and seconds > policy.seconds:
            return Result(call, "refused", error=f"the policy allows {policy.seconds:g} seconds a request")
        if policy.dry_run:
            return Result(call, "planned")
        if call.name in policy.confirm and not self.confirm(call):
            return Result(call, "refused", error="not confirmed")
        return execute(call, self.functions[call.name], self.state)


def execute(call: Call, function: Function, state: object) -> Result:
    """Runs a call; an exception of the function's is its result. A value that JSON has no words for is its text."""
    try:
        value = function.act(state, call.arguments)
    except SepiolaError as error:
        return Result(call, "failed", error=str(error))
    except (Exception, SystemExit) as error:  # of a user's own function: the model reads it, and the agent goes on
        return Result(call, "failed", error=_said(error))
    if inspect.iscoroutine(value) or inspect.isasyncgen(value) or inspect.isgenerator(value):
        if not inspect.isasyncgen(value):
            value.close()
        return Result(call, "failed", error=f"nothing ran: {call.name} {WAITS}")
    try:
        return Result(call, "done", json.loads(json.dumps(value, allow_nan=False, default=str)))
    except Exception:  # a number that is none, keys that are no texts, a list that holds itself
        return Result(call, "done", shown(value))


def waits(call: Callable[..., object]) -> bool:
    """Whether a call of it runs nothing: it is an async function, or one that yields."""
    kinds = (inspect.iscoroutinefunction, inspect.isasyncgenfunction, inspect.isgeneratorfunction)
    return any(kind(call) for kind in kinds)


def _said(error: BaseException) -> str:
    """An exception in words; one that has none is its name."""
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:
        return type(error).__name__


def as_read(said: str, results: Sequence[Result]) -> str:
    """A request and what was done so far, as the model reads them."""
    return said + "".join(f"\n{line_of(result.to_json())}" for result in results)


def line_of(entry: Mapping[str, object]) -> str:
    """JSON in a line that UTF-8 can hold: half a character pair is escaped."""
    return json.dumps(entry, ensure_ascii=False).encode("utf-8", "backslashreplace").decode()
