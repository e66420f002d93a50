"""An agent on the device: a request in, calls of the functions that the model was taught out, and nothing else.

The grammar of calls is sepiola's own (`calling`), with the words of the request where arguments are copied.
"""

from __future__ import annotations

import dataclasses
import datetime
import inspect
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from sepiola_edge.calling import calls
from sepiola_edge.calling.days import date_line
from sepiola_edge.calling.errors import SepiolaError, brief, nearest
from sepiola_edge.calling.functions import Call, Function, as_taught
from sepiola_edge.calling.policy import WAITS, Acted, Policy, Runner, as_read, waits
from sepiola_edge.errors import EdgeError
from sepiola_edge.pictures import AnyPicture, open_pictures
from sepiola_edge.questions import Question

if TYPE_CHECKING:
    from sepiola_edge.calling.constraints import ConstraintVocabulary
    from sepiola_edge.model import Model
    from sepiola_edge.prompt import Prompt

TOKENS = 160
"""Tokens of a reply at most."""


class Agent:
    """`model` calls `functions`: plain callables by the names that it was taught, and no others.

    They are called with arguments as JSON has them: days and times are texts. `policy` says what may run; what it
    names in `confirm` runs when `confirm` says yes. Raises EdgeError for a name that the model was not taught, and for
    a callable that does not take a function's arguments.
    """

    def __init__(
        self,
        model: Model,
        functions: Mapping[str, Callable[..., object]],
        policy: Policy | None = None,
        *,
        confirm: Callable[[Call], bool] | None = None,
    ) -> None:
        self.model = model
        taught = {function.name: function for function in model.functions}
        for name, call in functions.items():
            if name not in taught:
                raise EdgeError(f"the model was not taught '{brief(name)}'; {nearest(name, taught)}")
            _check_takes(call, taught[name])
        bound = {name: dataclasses.replace(taught[name], call=call) for name, call in functions.items()}
        self.policy = policy or Policy()
        with refusals():
            allowed = self.policy.allowed([*bound.values()])
        self.allowed = [function.name for function in model.functions if function.name in allowed]
        self._runner = Runner(self.policy, bound, confirm or (lambda call: False))

    def run(
        self,
        text: str,
        image: AnyPicture | Sequence[AnyPicture] | None = None,
        today: datetime.date | str | None = None,
    ) -> Acted:
        """Acts on a request, in English or Chinese, with a picture or without; `today` is by default the device's day.

        Raises EdgeError as `Model.act` does.
        """
        request = Request.of(self.model, text, image, today)
        acted = Acted([], [], [{"request": text, "today": request.today.isoformat()}])
        self._runner.run(
            acted,
            lambda results: request.reply(as_read(request.said, results), self.allowed),
            lambda written: request.read(written, self.allowed),
        )
        return acted


@dataclasses.dataclass(frozen=True)
class Request:
    """What is `said` to a model, with the day before it."""

    model: Model
    said: str
    pictures: tuple[Image.Image, ...]
    today: datetime.date

    @classmethod
    def of(
        cls,
        model: Model,
        text: str,
        image: AnyPicture | Sequence[AnyPicture] | None,
        today: datetime.date | str | None,
    ) -> Request:
        """Raises EdgeError for a model that cannot act, an empty request, a day that is none, and for pictures."""
        if not model.functions or model.asking is None:
            raise EdgeError("this model was exported without functions that it could call")
        if not isinstance(text, str) or not text.strip() or any("\ud800" <= letter <= "\udfff" for letter in text):
            raise EdgeError(f"the request is empty, or holds half a character pair: got {text!r:.200}")
        pictures = tuple(open_pictures(image))
        if pictures and not model.asking.images:
            raise EdgeError("this agent was taught from texts alone, and sees no pictures; leave them out")
        day = _day(today)
        language = "zh" if Question(text).language == "zh" else "en"
        return cls(model, f"{date_line(language, day)}\n{text}", pictures, day)

    def reply(self, said: str, allowed: Sequence[str]) -> str:
        """What the model writes: calls of functions that are `allowed`. Another one may be named alone, so that none is
        called in its place. Raises EdgeError for what is longer than it reads.
        """
        model = self.model
        assert model.asking is not None
        asking = dataclasses.replace(model.asking, pictures_last=False)
        prompt, _ = asking.prompt(model, said, self.pictures, TOKENS, whole=True)
        room = asking.room(model, prompt, TOKENS)
        vocabulary = model.constraints
        from sepiola_edge.calling.functional import functional

        copied = None if self.pictures else said  # a picture may say something else
        denied = [function.name for function in model.functions if function.name not in allowed]
        with refusals():
            grammar = functional(model.functions, vocabulary, allowed, copied, denied=denied)
            written = model.constrained(prompt, grammar.begin(room, prompt.ids))
            kept = model.kept
            if kept is not None and not _calls_added(model, prompt, written, kept.vocabulary):
                written = kept.constrained(prompt, grammar.begin(room, prompt.ids))
            return grammar.text(written)

    def read(self, written: str, allowed: Sequence[str]) -> list[Call]:
        """The calls of a reply. Raises CallError for what is none, and for a function that is not `allowed`."""
        return calls.read(written, self.model.functions, self.today, allowed)


def _calls_added(model: Model, prompt: Prompt, written: Sequence[int], kept: int) -> bool:
    """Whether a function is called that was added to what is kept, which knows so many tokens, and surely enough."""
    if max(prompt.ids, default=0) >= kept:
        return True
    at = next((place for place, token in enumerate(written) if token >= kept), None)
    if at is None:
        return False
    *before, score = model.score(prompt, [written[:end] for end in (at, at + 1) if end])
    return math.exp(score - sum(before)) >= calls.SURE


def act(model: Model, request: Request, allow: Sequence[str] | None) -> list[Call]:
    """The calls of a request. Raises EdgeError where one is of a function that is not allowed."""
    with refusals():
        allowed = Policy(allow=None if allow is None else tuple(allow)).allowed(model.functions)
        return request.read(request.reply(request.said, allowed), allowed)


def read_functions(path: Path) -> list[Function]:
    """What a model was taught to call, in the order of its tokens. Raises EdgeError for a damaged file."""
    try:
        with refusals():
            return as_taught(json.loads(path.read_text(encoding="utf-8")))
    except EdgeError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise EdgeError(f"{path} is damaged ({brief(str(error))}); export the model anew") from None


class Spelled:
    """A model's tokenizer as constraints see it."""

    def __init__(self, model: Model) -> None:
        self._tokenizer = model.tokenizer

    def to_json(self) -> str:
        return str(self._tokenizer.to_str())

    def special_ids(self) -> set[int]:
        return {token for token, entry in self._tokenizer.get_added_tokens_decoder().items() if entry.special}

    def decode(self, ids: Sequence[int], *, special_tokens: bool = False) -> str:
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=not special_tokens))


def vocabulary_of(model: Model) -> ConstraintVocabulary:
    """The model's tokens as constraints see them. Raises EdgeError where the library for grammars is not installed."""
    try:
        from sepiola_edge.calling.constraints import ConstraintVocabulary
    except ImportError:
        raise EdgeError("acting needs llguidance: pip install 'sepiola-edge[act]'") from None
    with refusals():
        return ConstraintVocabulary(Spelled(model), model.vocabulary, [*model.ends])


@contextmanager
def refusals() -> Iterator[None]:
    """Errors of what both runtimes share, as this one's."""
    try:
        yield
    except SepiolaError as error:
        raise EdgeError(str(error)) from None


def _check_takes(call: Callable[..., object], function: Function) -> None:
    if waits(call):
        raise EdgeError(f"{function.name}: what is bound to it {WAITS}")
    names = [parameter.name for parameter in function.parameters]
    needed = [parameter.name for parameter in function.parameters if parameter.required]
    try:
        signature = inspect.signature(call)
        signature.bind(**dict.fromkeys(names))
        signature.bind(**dict.fromkeys(needed))
    except (TypeError, ValueError) as error:
        optional = [name for name in names if name not in needed]
        raise EdgeError(
            f"{function.name}: what is bound to it must take {', '.join(needed) or 'no argument'}"
            + (f", and without need {', '.join(optional)}" if optional else "")
            + f" ({error})"
        ) from None


def _day(today: datetime.date | str | None) -> datetime.date:
    if today is None:
        return datetime.date.today()
    if isinstance(today, datetime.date):
        return today.date() if isinstance(today, datetime.datetime) else today
    try:
        return datetime.date.fromisoformat(today)
    except (TypeError, ValueError):
        raise EdgeError(f"today: got {today!r:.200}, expected a day such as 2024-05-01") from None
