"""Stopping: a row's text, decoded a few tokens at a time, is that of all its tokens at once, and ends where it must."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models

from sepiola.errors import SepiolaError
from sepiola.generation.stopping import PENDING, Ending, Stop, TextStream, stop_strings
from sepiola.text.tokenizer import Tokenizer

TEXTS = ["What is on the left? A squid 🦑!\n\n", "左边是什么？红色的鱿鱼，两米长。\n"]
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


def pieces(*names: str, decoder: object) -> Tokenizer:
    """A tokenizer of these tokens, after a special one."""
    backend = Backend(models.WordLevel({name: i + 1 for i, name in enumerate(names)} | {"</s>": 0}, "</s>"))
    backend.decoder = decoder
    backend.add_special_tokens(["</s>"])
    return Tokenizer(backend)


def sentencepiece() -> Tokenizer:
    """Decodes as LLaMA does: bytes of characters that have no token, and no space before the first word."""
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    return pieces("▁the", "▁", "squid", "▁鱿", "鱼", "。", "a", *BYTES, decoder=decoders.Sequence(steps))


TOKENIZERS = {
    "bpe": Tokenizer.train(TEXTS, 300),
    "unigram": Tokenizer.train(TEXTS, 300, "unigram", extra=["<image>"]),
    "metaspace": pieces("▁the", "▁", "▁▁", "squid", "▁鱿", "鱼", "。", decoder=decoders.Metaspace()),
    "wordpiece": pieces("the", "squid", "##s", ".", "n't", "鱿", "##鱼", decoder=decoders.WordPiece()),
    "suffix": pieces("the</w>", "squ", "id</w>", "鱿", "鱼</w>", decoder=decoders.BPEDecoder()),
}


def streamed(tokenizer: Tokenizer, ids: Sequence[int]) -> str:
    """The text through a stream, which at each token is that of all tokens so far."""
    stream, given = TextStream(tokenizer), ""
    for count, token in enumerate(ids, 1):
        given += stream.push(token)
        assert given == stream.settled
        assert given + stream.pending == tokenizer.decode(ids[:count])
    return given + stream.close()


@pytest.mark.parametrize("name", TOKENIZERS)
@given(data=st.data())
@settings(max_examples=150)
def test_a_stream_is_the_text_of_all_tokens_at_once(name: str, data: st.DataObject) -> None:
    tokenizer = TOKENIZERS[name]
    ids = data.draw(st.lists(st.integers(0, tokenizer.vocabulary - 1), max_size=60))
    assert streamed(tokenizer, ids) == tokenizer.decode(ids)


@given(st.lists(st.one_of(st.integers(0, 7), st.characters(codec="utf-8")), max_size=30))
@example([*"鱿鱼🦑\n", 0, 1, "é", 5])
def test_byte_tokens_make_characters(items: list[int | str]) -> None:
    tokenizer = sentencepiece()
    ids: list[int] = []
    for item in items:
        ids += [item] if isinstance(item, int) else [tokenizer.id_of(f"<0x{b:02X}>") or 0 for b in item.encode()]
    stream = TextStream(tokenizer)  # unlike the decoder, it keeps whole characters before one that is not yet whole
    assert "".join(stream.push(token) for token in ids) + stream.close() == tokenizer.decode(ids)


def test_bytes_that_are_no_character_do_not_pile_up() -> None:
    tokenizer = TOKENIZERS["bpe"]
    first, next_one = (tokenizer.encode("鱿")[i] for i in (0, -1))
    lone = [tokenizer.id_of(tokenizer.backend.model.id_to_token(i)) for i in (first, next_one)]
    assert all(token is not None for token in lone)
    for ids in ([next_one] * 200, [first] * 200, [first, first, next_one] * 70):
        stream = TextStream(tokenizer)
        given = "".join(stream.push(token) for token in ids)
        assert given + stream.close() == tokenizer.decode(ids)
        assert len(given) > 100


class Counting(Tokenizer):
    """Counts the tokens that it decodes."""

    decoded = 0

    def decode(self, ids: Sequence[int]) -> str:
        self.decoded += len(ids)
        return super().decode(ids)


@pytest.mark.parametrize("name", ["bpe", "garbage"])
def test_each_token_is_decoded_a_few_times_however_long_the_text(name: str) -> None:
    tokenizer = Counting(TOKENIZERS["bpe"].backend)
    ids = tokenizer.encode(" ".join(TEXTS)) if name == "bpe" else tokenizer.encode("鱿")[-1:]

    def decoded(tokens: list[int]) -> float:
        tokenizer.decoded, row = 0, Stop(tokenizer, strings=["never there", "从未"])()
        assert not any(row(token) for token in tokens)
        return tokenizer.decoded / len(tokens)

    few, many = decoded(ids * (200 // len(ids))), decoded(ids * (4000 // len(ids)))
    assert many == pytest.approx(few, rel=0.1)
    assert many < (6 if name == "bpe" else 2 * PENDING)


@pytest.mark.parametrize("name", TOKENIZERS)
@given(data=st.data())
@settings(max_examples=100)
def test_a_row_ends_with_the_token_that_completes_a_stop_string(name: str, data: st.DataObject) -> None:
    tokenizer = TOKENIZERS[name]
    ids = data.draw(st.lists(st.integers(0, tokenizer.vocabulary - 1), min_size=1, max_size=40))
    whole = tokenizer.decode(ids)
    begin = data.draw(st.integers(0, max(0, len(whole) - 1)))
    strings = [whole[begin : begin + data.draw(st.integers(1, 6))], data.draw(st.text(min_size=1, max_size=2)), ""]
    given: list[str] = []
    stop = Stop(tokenizer, strings=strings, on_text=given.append)
    row = stop()
    ends = next((i for i, token in enumerate(ids) if row(token)), None)
    row.close()
    texts = [tokenizer.decode(ids[: i + 1]) for i in range(len(ids))]
    assert ends == next((i for i, text in enumerate(texts) if any(s in text for s in strings if s)), None)
    assert "".join(given) == stop.text(ids if ends is None else ids[: ends + 1])


def test_an_end_token_ends_a_row_and_is_no_text() -> None:
    tokenizer = TOKENIZERS["bpe"]
    (full_stop,) = tokenizer.encode("!")
    stop = Stop(tokenizer, ends=frozenset({full_stop}))
    row = stop()
    assert [row(token) for token in [*tokenizer.encode("鱿鱼"), full_stop]][-2:] == [False, True]
    assert stop.text([*tokenizer.encode("鱿鱼"), full_stop]) == "鱿鱼"


def test_a_stop_string_over_several_tokens_is_never_given_in_part() -> None:
    tokenizer, pieces_given = TOKENIZERS["bpe"], list[str]()
    stop = Stop(tokenizer, strings=["\n\nQ：什么", "</a>"], on_text=pieces_given.append)
    row = stop()
    ids = tokenizer.encode("红\n\nQ：鱿鱼 <a>\n\nQ：什么是")
    for token in ids:
        if row(token):
            break
        assert "红\n\nQ：鱿鱼 <a>".startswith("".join(pieces_given))
    assert "".join(pieces_given) == "红\n\nQ：鱿鱼 <a>" == stop.text(ids)


def special_tokens() -> tuple[Tokenizer, int, int]:
    """A tokenizer of bytes with two special tokens of a chat."""
    tokenizer = Tokenizer.train(TEXTS, 300, extra=["<|im_start|>", "<|im_end|>"])
    return tokenizer, tokenizer.id_of("<|im_start|>") or 0, tokenizer.id_of("<|im_end|>") or 0


@pytest.mark.parametrize(
    ("strings", "expected"),
    [
        (["<|im_end|>"], "红色的鱿鱼"),
        (["Question:", "</s>", "<|im_end|>"], "红色的鱿鱼"),
        (["鱼<|im_end|>"], "红色的鱿"),
        (["<|im_end|>\n<|im_start|>user"], "红色的鱿鱼"),
        (["<|im_end|>\n<|im_start|>assistant", "us"], "红色的鱿鱼\n"),
        (["<|im_end|>system"], "红色的鱿鱼\nuser 对"),
        (["never", "色的"], "红"),
    ],
)
def test_a_special_token_in_a_stop_string_stops_and_is_no_text(strings: list[str], expected: str) -> None:
    tokenizer, start, end = special_tokens()
    ids = [*tokenizer.encode("红色的鱿鱼"), end, *tokenizer.encode("\n"), start, *tokenizer.encode("user 对")]
    given: list[str] = []
    stop = Stop(tokenizer, strings=strings, on_text=given.append)
    row, written = stop(), list[int]()
    for token in ids:
        written.append(token)
        if row(token):
            break
    else:
        row.close()
    assert "".join(given) == expected == stop.text(written)
    assert (written == ids) == (strings == ["<|im_end|>system"])


def test_one_stop_string_or_several_or_none() -> None:
    assert stop_strings("abc") == ("abc",) and stop_strings(["a", "b"]) == ("a", "b") and stop_strings(None) == ()
    for wrong in ("", [""], [3], 3):
        with pytest.raises(SepiolaError, match=r"stop: got .*; expected texts, none of them empty"):
            stop_strings(wrong)  # type: ignore[arg-type]
    with pytest.raises(SepiolaError, match="on_text: got 3; expected what is called"):
        Ending.asked((), 3)  # type: ignore[arg-type]
