"""The door of the `tokenizers` library, to which a `tokenizer.json` is a program: patterns, replacements, tables.

What would end the process is refused before the library sees it: ids that it would count up to, replacements of
replacements, a table of characters that says a wrong size. What the library raises, Rust's panics among it, is one
message.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
from collections.abc import Iterator, Mapping

import tokenizers

from sepiola.errors import DataError, SepiolaError, brief, shown
from sepiola.specs.safe_files import check_whole_text, parse_json

LARGEST = 1 << 24  # of an id
GROWTH = 10_000  # letters that normalising may make of one
VARIANTS = 64  # texts that are followed through it


def read_backend(text: str, where: str) -> tokenizers.Tokenizer:
    """The tokenizer of a `tokenizer.json`'s text. Raises DataError, which begins with `where`, when it is none."""
    content = parse_json(text, where, DataError)
    if not isinstance(content, Mapping):
        raise DataError(f"{where}: not a tokenizer.json that can be read: expected keys and values")
    _check_words(content, where)
    for key in ("normalizer", "decoder"):
        _check_steps(content.get(key), f"{where}: {key}")
    with library_errors(f"{where}: not a tokenizer.json that can be read"):
        return tokenizers.Tokenizer.from_str(text)


@contextlib.contextmanager
def library_errors(what: str, kind: type[SepiolaError] = DataError) -> Iterator[None]:
    """Raises `kind`, with `what` and the reason, for any failure of the library."""
    try:
        yield
    except SepiolaError:
        raise
    except Exception as error:  # the library raises bare Exception
        raise kind(f"{what} ({brief(str(error))})") from None
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # Rust's, which is no Exception
            raise
        raise kind(f"{what} ({brief(str(error))})") from None


@contextlib.contextmanager
def reading(*texts: str) -> Iterator[None]:
    """Raises DataError where the library cannot read a text: it holds half a character pair, say, or is none."""
    try:
        with library_errors("the tokenizer cannot read this text"):
            yield
    except DataError:
        for text in texts:
            if not isinstance(text, str):
                raise DataError(f"a text is expected; got {shown(text)}") from None
            check_whole_text(text, f"the text {shown(text)}", DataError)
        raise


def check_ids(ids: Mapping[str, object], where: str) -> None:
    """Raises DataError for an id that is absurdly large: the library counts up to it."""
    for name, index in ids.items():
        if isinstance(index, int) and index >= LARGEST:
            raise DataError(f"{where}: {shown(name)} has the id {shown(index)}; expected ids below {LARGEST:,}")


def _check_words(content: Mapping[str, object], where: str) -> None:
    model, added = content.get("model"), content.get("added_tokens")
    words = model.get("vocab") if isinstance(model, Mapping) else None
    ids: dict[str, object] = dict(words) if isinstance(words, Mapping) else {}
    for token in added if isinstance(added, list) else ():
        if isinstance(token, Mapping):
            ids[str(token.get("content"))] = token.get("id")
    check_ids(ids, where)


def _check_steps(part: object, where: str) -> None:
    """Refuses what multiplies a text, and a table of characters that says a wrong size."""
    steps = _flat(part)
    for step in steps:
        if step.get("type") == "Precompiled":
            _check_table(step.get("precompiled_charsmap"), where)
    replacements = [(step.get("pattern"), step.get("content")) for step in steps if step.get("type") == "Replace"]
    for number, (_, first) in enumerate(replacements):
        texts = {str(first)}
        if len(str(first)) > GROWTH:
            raise DataError(f"{where}: a replacement of {len(str(first)):,} letters; it is not read")
        for pattern, content in replacements[number + 1 :]:
            texts = _replaced(texts, pattern, str(content))
            if max(map(len, texts)) > GROWTH:
                raise DataError(f"{where}: its replacements make more than {GROWTH:,} letters of one; it is not read")


def _replaced(texts: set[str], pattern: object, content: str) -> set[str]:
    """What a replacement may make of texts, the longest of them; an expression may fit each letter, or none."""
    exact = pattern.get("String") if isinstance(pattern, Mapping) else None
    long = "x" * (GROWTH + 1)
    if isinstance(exact, str) and exact:
        made = {text.replace(exact, content) if text.count(exact) * len(content) <= GROWTH else long for text in texts}
    else:
        made = texts | {content * len(text) if len(content) * len(text) <= GROWTH else long for text in texts}
    return set(sorted(made, key=len)[-VARIANTS:])


def _flat(part: object) -> list[Mapping[str, object]]:
    """The steps of a normalizer or a decoder, those of sequences in their order."""
    left, steps = [part], []
    while left:
        here = left.pop()
        if isinstance(here, Mapping):
            inner = here.get("normalizers", here.get("decoders"))
            left += reversed(inner) if isinstance(inner, list) else []
            steps.append(here)
    return steps


def _check_table(table: object, where: str) -> None:
    """The bytes of SentencePiece's character map begin with the size of what follows, in words of four bytes."""
    try:
        data = base64.b64decode(table if isinstance(table, str) else "", validate=True)
    except (binascii.Error, ValueError):
        data = b""
    size = int.from_bytes(data[:4], "little")
    if not 4 <= size <= len(data) - 4 or size % 4:
        raise DataError(f"{where}: its precompiled_charsmap is damaged; fetch it again")
