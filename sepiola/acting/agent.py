"""An agent: a model, the functions that it may call, and the policy of what may run.

The model writes nothing but calls of functions that the policy allows: the others are not in the grammar. What is
called runs in order on a phone of the agent's; results and exceptions are kept, and fed back where the policy gives the
model more than one step. Nothing in a request, a picture or a result can call anything: they are only ever read.
"""

from __future__ import annotations

import contextlib
import copy
import datetime
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from sepiola.acting.functions import functions_of
from sepiola.acting.modes import mode_of
from sepiola.acting.phone import Phone
from sepiola.acting.retrieval import Retrieves
from sepiola.acting.sets import check_taught
from sepiola.calling.constraints import ConstraintVocabulary, Grammar
from sepiola.calling.days import date_line
from sepiola.calling.functions import Call
from sepiola.calling.policy import Acted, Policy, Result, Runner, as_read, execute, line_of
from sepiola.data.example import Example, Message
from sepiola.data.image import AnyImage, ImageRef
from sepiola.data.language import language_of
from sepiola.errors import DataError, SpecError, shown
from sepiola.generation.example_generator import ExampleGenerator
from sepiola.specs.safe_files import check_whole_text
from sepiola.text.processor import Processor

TOKENS = 160
"""Tokens of a reply at most."""


class ActingModel(Protocol):
    """What an agent asks of its model."""

    @property
    def processor(self) -> Processor: ...
    @property
    def vocabulary(self) -> ConstraintVocabulary: ...
    def example_generator(self, target_tokens: int) -> ExampleGenerator: ...


class KeptGenerator:
    """A model with one generator for all requests: its prompts that were cut are known, and how it draws can be set."""

    def __init__(self, model: ActingModel) -> None:
        self.model = model
        self.generator = model.example_generator(TOKENS)

    @property
    def processor(self) -> Processor:
        return self.model.processor

    @property
    def vocabulary(self) -> ConstraintVocabulary:
        return self.model.vocabulary

    def example_generator(self, target_tokens: int) -> ExampleGenerator:
        return self.generator


class Agent:
    """`model` calls `functions`, on `phone` where they ask for one.

    A model that was taught the functions calls them by their tokens; any other has them described in its prompt, and
    calls them by number if it was taught to, or writes JSON. Raises SpecError for functions whose signatures are not
    those that the model was taught, and for a policy that names others. A `retriever` chooses the functions that each
    request may call, among those that the policy allows. With `one_call` each reply is one call (OpenAI's
    `tool_choice: required` without parallel calls).
    """

    def __init__(
        self,
        model: ActingModel,
        functions: Sequence[Callable[..., object]],
        policy: Policy | None = None,
        phone: Phone | None = None,
        *,
        confirm: Callable[[Call], bool] | None = None,
        log: str | Path | None = None,
        retriever: Retrieves | None = None,
        one_call: bool = False,
    ) -> None:
        self.model = model
        given = functions_of(functions)
        known = model.processor.functions
        self.mode = mode_of(known)
        self.functions = check_taught(known, given) if known else given
        self.policy = Policy() if policy is None else policy
        if not isinstance(self.policy, Policy):
            raise SpecError(f"policy: got {shown(policy)}; expected sepiola.Policy(deny=('name',), …)")
        self.phone = phone if phone is not None else Phone.start()
        self._by_clock = phone is None and not any(function.takes_state for function in self.functions)
        self.confirm = confirm or (lambda call: False)
        self.log = Path(log) if log is not None else None
        self.retriever = retriever
        self.one_call = one_call
        self._named = {function.name: function for function in self.functions}
        self._allowed = self.policy.allowed(self.functions)
        denied = [name for name in self._named if name not in self._allowed]
        self._denied = () if self.mode.declares else tuple(denied)
        self.cuts = False

    def run(
        self,
        text: str,
        image: AnyImage | Sequence[AnyImage] | None = None,
        today: datetime.date | str | None = None,
        *,
        measured: bool = False,
    ) -> Acted:
        """Acts on a request, in English or Chinese, with a picture or without.

        `today` is the day that «tomorrow» comes after, and becomes the phone's; by default it is the phone's, or this
        machine's where no phone was given and no function takes one. As it is `measured` by benchmarks, a model that
        reads text alone acts without the pictures, and a request that is too long is cut. What was done stands in the
        log even where a call is interrupted. Raises DataError for a request that is empty, holds half a character
        pair or is longer than the model reads, for a day that is none, for pictures that the model does not see, and as
        the model does for pictures; for a log that cannot be written, before anything is done.
        """
        if not isinstance(text, str) or not text.strip():
            raise DataError("the request is empty; say what is to be done")
        check_whole_text(text, "the request", DataError)
        if today is not None or self._by_clock:
            self.phone.today = datetime.date.today() if today is None else _day(today)
        day = self.phone.today
        pictures = ImageRef.each_of(image)
        if pictures and not measured and self.model.example_generator(TOKENS).image_encoder is None:
            raise DataError("the request shows pictures, and this agent reads text alone; leave them out")
        acted = Acted([], [], [{"request": text, "today": day.isoformat(), "pictures": [p.digest for p in pictures]}])
        offering = copy.copy(self.offering(text))
        offering.cuts = measured
        if self.retriever is not None:
            acted.log[0]["offered"] = offering.offered
        with self._noting(acted):
            Runner(self.policy, self._named, self.confirm, self.phone).run(
                acted,
                lambda results: offering.write(offering.prompt(text, pictures, day, results)),
                lambda written: offering.read(written, day),
            )
        return acted

    @property
    def offered(self) -> list[str]:
        """The names of what may be called."""
        return self._allowed

    def offering(self, text: str) -> Agent:
        """The agent as it is for one request: with the functions that its retriever chooses alone."""
        if self.retriever is None:
            return self
        narrowed = copy.copy(self)
        narrowed._allowed = self.retriever.choose(text, [self._named[name] for name in self._allowed])
        return narrowed

    # ------------------------------------------------------------------------------------------------ the model

    def prompt(
        self, text: str, pictures: Sequence[ImageRef], today: datetime.date, results: Sequence[Result] = ()
    ) -> Example:
        """The request as the model reads it: the day, the request, what was done so far."""
        said = f"{date_line('zh' if language_of(text) == 'zh' else 'en', today)}\n{text}"
        said = self.mode.declaration(self.functions, self._allowed) + said
        return Example("request", (Message("user", (*pictures, as_read(said, results))),), "")

    def grammar(self, example: Example) -> Grammar:
        """All that the model may write: what is copied is copied from the example's text, unless it has pictures.

        A model that was taught its functions may name one that the policy denies, without arguments, and such a reply
        calls nothing: were the name left out, the next likely function would be called in its place.
        """
        said = None if example.images else example.prompt
        return self.mode.grammar(
            self.model.vocabulary, self.functions, self._allowed, said, one_call=self.one_call, denied=self._denied
        )

    def write(self, example: Example) -> str:
        """The model's reply."""
        generator = self.model.example_generator(TOKENS)
        generator = generator if self.cuts else generator.whole()
        return generator.write([example], grammar=self.grammar(example))[0][0]

    def read(self, written: str, today: datetime.date) -> list[Call]:
        """The calls of a reply. Raises CallError for one that holds others than the policy allows."""
        return self.mode.read(written, self.functions, self._allowed, today)

    @contextlib.contextmanager
    def _noting(self, acted: Acted) -> Iterator[None]:
        """Adds what was acted to the log, which is there before anything is done."""
        if self.log is None:
            yield
            return
        with self._writing():
            file = self.log.open("a", encoding="utf-8")
        try:
            yield
        finally:
            with self._writing(), file:
                file.writelines(f"{line_of(line)}\n" for line in acted.log)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise DataError(f"{self.log}: the log cannot be written ({error.strerror})") from None


def replay(log: Iterator[str] | Sequence[str], functions: Sequence[Callable[..., object]], phone: Phone) -> Phone:
    """The phone after all calls of a log that were done. Raises DataError for a line that is no entry of a log, and for
    a call of a function that is not given.
    """
    named = {function.name: function for function in functions_of(functions)}
    for number, line in enumerate(log, start=1):
        try:
            entry = json.loads(line)
            if "request" in entry:
                phone.today = _day(entry["today"])
            elif entry.get("status") in ("done", "failed"):
                if entry["name"] not in named:
                    raise SpecError(f"line {number} of the log calls {shown(entry['name'])}, which is not given")
                execute(Call(entry["name"], {**entry["arguments"]}), named[entry["name"]], phone)
        except (ValueError, KeyError, AttributeError, TypeError, RecursionError, DataError):
            raise DataError(f"line {number} of the log is no entry of an agent's log") from None
    return phone


def _day(today: datetime.date | str) -> datetime.date:
    if isinstance(today, datetime.date):
        return today.date() if isinstance(today, datetime.datetime) else today
    try:
        return datetime.date.fromisoformat(today)
    except (TypeError, ValueError):
        raise DataError(f"today: got {today!r}, expected a day such as 2024-05-01") from None
