"""Names of control tokens in users' texts: they stay text, so that no text closes its turn or opens another.

A template's text and a user's look alike once they are one text. So the names in the messages are rendered in marks
(private characters, one for each letter), which the template carries along; then the names that are left are the
template's own. A copy of the tokenizer knows the control tokens by other names, which nobody can write, and
reads the rest as letters: one encoding of one text, without seams.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, filterfalse, pairwise

from sepiola.calling.control_tokens import ControlTokens
from sepiola.data.example import Message
from sepiola.errors import DataError, shown
from sepiola.text.backend import reading
from sepiola.text.tokenizer import Tokenizer

PRIVATE = range(0x100000, 0x10FFFE)
Tools = Sequence[Mapping[str, object]]


@dataclass(frozen=True)
class Letters:
    """The names in one conversation's texts: `marks` gives the letter that each mark stands for."""

    guard: Guard
    marks: Mapping[int, str]

    def restore(self, text: str) -> str:
        """The text with its letters in place of the marks."""
        return text.translate(self.marks)

    def encode(self, text: str, *, framed: bool = False, after: str = "") -> list[int]:
        """Token ids of a marked text: marked names are letters, others control tokens.

        `after` is a text that follows it, in which all names are letters.
        """
        if not self.marks and self.guard.pattern.search(after) is None:
            return self.guard.tokenizer.encode(text + after, framed=framed)
        hidden = self.restore(self.guard.tokens.hidden(text)) + after
        with reading(hidden):
            ids: list[int] = self.guard.tokens.renamed.encode(hidden, add_special_tokens=framed).ids
        return ids

    def encode_spans(
        self, text: str, spans: Sequence[tuple[int, int]], *, framed: bool = False
    ) -> tuple[list[int], list[bool]]:
        """Token ids of a marked text, and which of them hold letters of `spans` of it, in their order."""
        bounds = [0, *(bound for span in spans for bound in span), len(text)]
        pieces = [self._hidden(text[begin:end]) for begin, end in pairwise(bounds)]
        places = list(accumulate(map(len, pieces)))
        hidden = "".join(pieces)
        backend = self.guard.tokens.renamed if self.marks else self.guard.tokenizer.backend
        with reading(hidden):
            encoding = backend.encode(hidden, add_special_tokens=framed)
        learned = [False] * len(encoding.ids)
        for begin, end in zip(places[:-1:2], places[1::2], strict=True):
            inside = [at for at, (first, last) in enumerate(encoding.offsets) if first < end and last > begin]
            if inside:
                learned[inside[0] : inside[-1] + 1] = [True] * (inside[-1] + 1 - inside[0])
        return encoding.ids, learned

    def _hidden(self, text: str) -> str:
        """The text with the template's control tokens under their secret names, and the marked ones as letters."""
        if not self.marks:
            return text
        return self.restore(self.guard.tokens.hidden(text))


@dataclass(frozen=True)
class GuardedText:
    """A conversation laid out as text in which only the template's control tokens are such; `marked` is how."""

    marked: str
    letters: Letters

    def __str__(self) -> str:
        return self.letters.restore(self.marked)

    def encode(self, after: str = "") -> list[int]:
        """Token ids of it and of what a user or the model writes after it."""
        return self.letters.encode(self.marked, after=after)

    def rstrip(self) -> GuardedText:
        """It without the spaces at its end."""
        return GuardedText(self.marked.rstrip(), self.letters)

    def __len__(self) -> int:
        return len(self.marked)

    def ending(self, length: int) -> str:
        """What stands after so many letters."""
        return self.letters.restore(self.marked[length:])


class Guard:
    """Keeps the `names` of a tokenizer's control tokens in messages from being read as these tokens."""

    def __init__(self, tokenizer: Tokenizer, names: Collection[str]) -> None:
        self.tokenizer = tokenizer
        self.tokens = ControlTokens(tokenizer.backend, names)
        self.names, self.pattern = self.tokens.names, self.tokens.pattern

    def mark(self, messages: Sequence[Message], tools: Tools | None = None) -> tuple[list[Message], Tools, Letters]:
        """The messages, and the tools shown with them, with the names in their texts marked, also names that lie across
        two parts of a message.

        Raises DataError for a role that names a control token: a template writes it as its own.
        """
        for message in messages:
            if self.pattern.search(message.role):
                raise DataError(
                    f"a message's role is {shown(message.role)}, which names a control token; expected a word"
                )
        texts, read = [message.text for message in messages], texts_of(messages, tools)
        letters = sorted({letter for text in read for name in self.pattern.findall(text) for letter in name})
        used = set(map(ord, "".join(read)))
        marks = dict(zip(filterfalse(used.__contains__, PRIVATE), letters, strict=False))
        to_mark = {ord(letter): chr(mark) for mark, letter in marks.items()}
        marked = []

        def mark(text: str) -> str:
            return self.pattern.sub(lambda name: name.group().translate(to_mark), text)

        for message, text in zip(messages, texts, strict=True):
            rest = mark(text)
            content = []
            for part in message.content:
                if isinstance(part, str):
                    part, rest = rest[: len(part)], rest[len(part) :]
                content.append(part)
            calls = tuple({key: _changed(part, mark) for key, part in call.items()} for call in message.calls)
            about = tuple((key, mark(value)) for key, value in message.about)
            marked.append(replace(message, content=tuple(content), calls=calls, about=about))
        named = [{key: _changed(part, mark) for key, part in tool.items()} for tool in tools or ()]
        return marked, named, Letters(self, marks)


def texts_of(messages: Sequence[Message], tools: Tools | None = None) -> list[str]:
    """All that is said in a conversation, by its messages, calls and tools."""
    said = [text for message in messages for text in (message.text, *_texts([*message.calls, message.about]))]
    return [*said, *_texts(tools or ())]


def _texts(value: object) -> Iterator[str]:
    """All texts in plain data, keys too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list | tuple):
        for part in value.items() if isinstance(value, Mapping) else value:
            yield from _texts(part)


def _changed(value: object, change: Callable[[str], str]) -> object:
    """Plain data with all texts in it changed, keys too."""
    match value:
        case str():
            return change(value)
        case Mapping():
            return {_changed(key, change): _changed(part, change) for key, part in value.items()}
        case list() | tuple():
            return [_changed(part, change) for part in value]
    return value
