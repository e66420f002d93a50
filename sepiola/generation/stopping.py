"""Where a row of generated tokens ends: at an end token or at a stop string; and its text, decoded as it is written.

Each step decodes the last few tokens alone. What comes before them is settled once no later token can change it: at a
token that ends a character (in byte-level vocabularies, and in byte tokens such as `<0xE4>`, one may take several).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sepiola.errors import SepiolaError, shown
from sepiola.text.tokenizer import Tokenizer

UNFINISHED = "\ufffd"  # what a decoder gives for bytes that are no character, or not one yet
BYTE = re.compile(r"<0x[0-9A-Fa-f]{2}>")
PENDING = 16  # tokens that end no character, after which the text is settled at any border between characters
CHARACTER = 4  # tokens of a character at most


class TextStream:
    """The text of one row's tokens, which come one at a time: at each, `settled + pending` is all of it so far.

    One wrong byte spoils the whole run of byte tokens in which it stands where a decoder reads them at once (LLaMA's);
    here the characters before it stay.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.special = tokenizer.special_ids()
        self.settled = ""
        self.pending = ""
        self._ids: list[int] = []  # after those that are settled
        self._anchor: list[int] = []  # the token before, without which decoders drop a leading space
        self._anchor_text = ""

    def push(self, token: int) -> str:
        """Takes the next token; returns the text that it settles, which may be empty."""
        if token in self.special:
            return ""
        self._ids.append(token)
        self.pending = self._text(self._ids)
        settles = len(self._ids)
        if self.pending.endswith(UNFINISHED):
            if len(self._ids) <= PENDING:
                return ""
            settles = self._border()
        text = self.pending if settles == len(self._ids) else self._text(self._ids[:settles])
        self._settle(settles, text)
        return text

    def close(self) -> str:
        """The text that is still pending, when no more tokens come."""
        text, self.pending, self._ids = self.pending, "", []
        self.settled += text
        return text

    def _text(self, ids: Sequence[int]) -> str:
        return self.tokenizer.decode([*self._anchor, *ids])[len(self._anchor_text) :]

    def _settle(self, count: int, text: str) -> None:
        self.settled += text
        last, self._ids = self._ids[count - 1], self._ids[count:]
        if BYTE.fullmatch(self.tokenizer.name_of(last) or "") is None:
            self._anchor = [last]
        elif not self._anchor:  # a wrong byte spoils the characters that stand with it in a run: none is an anchor
            self._anchor = self.tokenizer.encode("a")[-1:]
        self._anchor_text = self.tokenizer.decode(self._anchor)
        self.pending = self._text(self._ids) if self._ids else ""

    def _border(self) -> int:
        """The last of the pending tokens after which a new character begins; all of them where none is found."""
        count, whole = len(self._ids), self.pending
        for cut in range(count - 1, count - CHARACTER - 1, -1):
            if self._text(self._ids[:cut]) + self.tokenizer.decode(self._ids[cut:]) == whole:
                return cut
        return count


def stop_strings(given: str | Sequence[str] | None) -> tuple[str, ...]:
    """The stop strings that somebody gives: one, several or none. Raises SepiolaError for what is no text, or empty."""
    strings = () if given is None else tuple(given) if isinstance(given, list | tuple) else (given,)
    for string in strings:
        if not isinstance(string, str) or not string:
            raise SepiolaError(f"stop: got {shown(string)}; expected texts, none of them empty")
    return strings


@dataclass(frozen=True)
class Ending:
    """What somebody asks of a text beside its prompt: stop strings, and what is given it piece by piece."""

    strings: tuple[str, ...] = ()
    on_text: Callable[[str], None] | None = None

    @classmethod
    def asked(cls, stop: str | Sequence[str] | None, on_text: Callable[[str], None] | None) -> Ending:
        """Raises as `stop_strings`, and for pieces that nothing takes."""
        if on_text is not None and not callable(on_text):
            raise SepiolaError(f"on_text: got {shown(on_text)}; expected what is called with each piece of text")
        return cls(stop_strings(stop), on_text)

    def check_free(self, grammar: object) -> None:
        """Raises SepiolaError where a grammar says what is written, and stop strings or pieces are asked."""
        if grammar is not None and (self.strings or self.on_text is not None):
            raise SepiolaError(
                "a constraint ends a text by itself, and gives it whole: leave out the constraint, or stop and on_text"
            )


class Stop:
    """How rows of generated tokens end: each at the first of the token ids `ends`, or where its text holds one of
    `strings`.

    A string may be the name of a special token, or have it in it; the text that is given has none. Called, it gives
    what watches one row (`sepiola.generation.engine.Engine.generate` asks for one a row). `on_text` is given the text
    piece by piece, in whole characters, and none of a stop string or of what follows it: for one row, the latest, whose
    end `close` tells. With `whole` it is given all at its end, for an engine that may write a row anew (`rewrites`).
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        strings: Sequence[str] = (),
        ends: frozenset[int] = frozenset(),
        on_text: Callable[[str], None] | None = None,
        whole: bool = False,
    ) -> None:
        self.tokenizer = tokenizer
        self.marks = _marks(tokenizer, strings)
        self.strings = tuple(_marked(string, tokenizer, self.marks) for string in strings if string)
        self.ends = ends
        self.on_text = on_text
        self.whole = whole
        self._row = StopRow(self)
        self._pieces: list[str] = []

    def __call__(self) -> StopRow:
        self._pieces = []
        self._row = StopRow(self, self._pieces.append if self.whole and self.on_text is not None else self.on_text)
        return self._row

    def close(self) -> None:
        """Gives `on_text` what is left of the latest row's text."""
        self._row.close()
        if self._pieces and self.on_text is not None:
            self.on_text("".join(self._pieces))

    def text(self, ids: Sequence[int]) -> str:
        """The text of a row's tokens, cut before the first stop string; end tokens are left out."""
        if not self.marks.keys().isdisjoint(ids):
            pieces: list[str] = []
            row = StopRow(self, pieces.append)
            if not any(row(token) for token in ids if token not in self.ends):
                row.close()
            return "".join(pieces)
        return self.before(self.tokenizer.decode([token for token in ids if token not in self.ends]))

    def before(self, text: str) -> str:
        """The text before the first stop string."""
        return text[: min((at for string in self.strings if (at := text.find(string)) >= 0), default=len(text))]


class StopRow:
    """One row on its way to its end."""

    def __init__(self, stop: Stop, on_text: Callable[[str], None] | None = None) -> None:
        self.stop = stop
        self.on_text = on_text
        self.reads = bool(stop.strings) or self.on_text is not None
        self.stream = TextStream(stop.tokenizer)
        self.held = ""  # settled text that may be the beginning of a stop string

    def __call__(self, token: int) -> bool:
        """Takes the next token; whether the row is over with it."""
        over = token in self.stop.ends
        if not self.reads or over:
            return over
        text = self.held + self.stream.push(token) + self.stop.marks.get(token, "")
        latest = text + self.stream.pending
        if (before := self.stop.before(latest)) != latest:
            self._give(before)
            self.held = self.stream.pending = ""
            return True
        begun = self._begun(text)
        self.held = text[len(text) - begun :]
        self._give(text[: len(text) - begun])
        return False

    def close(self) -> None:
        """Gives what is left of the text, when the row has ended without a stop string."""
        text, self.held = self.held + self.stream.close(), ""
        self._give(text)

    def _begun(self, text: str) -> int:
        """How many of the text's last letters are the beginning of a stop string."""
        longest = max(map(len, self.stop.strings), default=1) - 1
        sizes = range(min(longest, len(text)), 0, -1)
        return next((n for n in sizes if any(s.startswith(text[-n:]) for s in self.stop.strings)), 0)

    def _give(self, text: str) -> None:
        text = text.translate(_UNMARKED)
        if text and self.on_text is not None:
            self.on_text(text)


_FIRST_MARK = 0xD800
_UNMARKED = dict.fromkeys(range(_FIRST_MARK, 0xE000))


def _marks(tokenizer: Tokenizer, strings: Sequence[str]) -> dict[int, str]:
    """The special tokens whose names are in the strings, each with a letter that no decoded text can have (a lone
    surrogate).
    """
    names = {token: tokenizer.name_of(token) or "" for token in sorted(tokenizer.special_ids())} if strings else {}
    there = [token for token, name in names.items() if name and any(name in string for string in strings)]
    return {token: chr(_FIRST_MARK + number) for number, token in enumerate(there)}


def _marked(string: str, tokenizer: Tokenizer, marks: dict[int, str]) -> str:
    """The string with each special token's letter in the place of its name, the longest names first."""
    names = {tokenizer.name_of(token) or "": mark for token, mark in marks.items()}
    for name in sorted(names, key=len, reverse=True):
        string = string.replace(name, names[name])
    return string
