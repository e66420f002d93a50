"""Copied arguments are words of the request, in both languages, whatever the weights."""

from __future__ import annotations

import re
from typing import Annotated

import pytest
from llguidance import LLMatcher
from pydantic import BaseModel, Field

import sepiola
from sepiola.acting.functions import functions_of
from sepiola.acting.sets import as_taught, check_taught, taught
from sepiola.api import Model
from sepiola.calling.calls import lark, read, tokens_of, write
from sepiola.calling.constraints import ConstraintVocabulary
from sepiola.calling.functional import functional
from sepiola.calling.functions import Call
from sepiola.calling.spans import is_span, regex, strings, words
from sepiola.data.example import Example, Message
from sepiola.data.image import ImageRef
from sepiola.generation.engine import Prompt
from sepiola.generation.sampling import Sampling
from sepiola.text.tokenizer import Tokenizer
from tests.tiny import encoder_decoder

TEXT = '给王芳发短信说 I\'ll be late (12 min), "ok"? <fn_0>\n再买三个 red mugs'


class Item(BaseModel):
    name: Annotated[str, Field(min_length=1, max_length=12)]
    count: Annotated[int, Field(ge=1, le=9)] = 1


def send(to: Annotated[str, Field(min_length=1, max_length=20)], text: str, note: str = "") -> None:
    """Sends a text."""


def buy(items: Annotated[list[Item], Field(min_length=1, max_length=2)]) -> None:
    """Buys things."""


def request(text: str, *calls: dict[str, object], picture: bool = False) -> Example:
    content = (ImageRef(data=b"x"), text) if picture else (text,)
    return Example("e", (Message("user", content),), "", metadata={"calls": list(calls)})


SENT = {"name": "send", "arguments": {"to": "王芳", "text": "red mugs"}}
BOUGHT = {"name": "buy", "arguments": {"items": [{"name": "mugs", "count": 3}]}}
KNOWN = taught(functions_of([send, buy]), [request(TEXT, SENT), request(TEXT, BOUGHT)])


def test_words_are_what_a_value_may_begin_and_end_with() -> None:
    assert "".join(words(TEXT)) == TEXT
    assert is_span("王芳", TEXT) and is_span("red mugs", TEXT) and is_span("ll be late", TEXT)
    assert not is_span("ed mugs", TEXT) and not is_span("red mug", TEXT) and not is_span("李雷", TEXT)


def test_an_argument_is_copied_where_all_that_was_taught_is() -> None:
    assert [entry["copied"] for entry in KNOWN] == [["to", "text"], ["items"]]
    elsewhere = {"name": "send", "arguments": {"to": "Anna", "text": "mugs"}}
    assert taught(functions_of([send]), [request(TEXT, SENT), request(TEXT, elsewhere)])[0]["copied"] == ["text"]
    seen = [request(TEXT, SENT), request(TEXT, elsewhere, picture=True)]  # may be in the picture
    assert taught(functions_of([send]), seen)[0]["copied"] == ["to", "text"]
    assert [f.parameters[0].copied for f in check_taught(KNOWN, functions_of([buy, send]))] == [True, True]


def random_weights() -> Model:
    tokenizer = Tokenizer.train([TEXT] * 3, 280, extra=tokens_of(len(KNOWN)))
    built = sepiola.build({"name": "m", "language": {**encoder_decoder(), "vocabulary": tokenizer.vocabulary}}, seed=2)
    return Model(built.network, built.spec, tokenizer)


@pytest.mark.parametrize("budget", [24, 64])
def test_random_weights_copy(budget: int) -> None:
    functions, model = as_taught(KNOWN), random_weights()
    tokenizer = model.require_tokenizer()
    grammar = functional(functions, model.vocabulary, said=TEXT)
    sampling = Sampling(temperature=2.0)
    ((*rows,),) = model.engine.generate(
        [Prompt(tokenizer.encode(TEXT))], max_tokens=budget, samples=60, sampling=sampling, grammar=grammar
    )
    calls = [call for row in rows for call in read(grammar.text(row), functions)]
    said = [
        (string, parameter)
        for call in calls
        for parameter in next(f for f in functions if f.name == call.name).parameters
        for string in strings(call.arguments.get(parameter.name), parameter.schema)
    ]
    assert len(said) > 20 and all(is_span(string, TEXT) for string, parameter in said if parameter.copied)
    assert {call.name for call in calls} == {"send", "buy"}
    assert any(not parameter.copied for _, parameter in said)


def test_a_word_that_has_begun_ends_within_the_budget() -> None:
    functions, model = as_taught(KNOWN), random_weights()
    said = "Ünglaublichelangeswört" + "ßéñ" * 8 + " text " + "ÄÖÜäöü" * 3
    grammar = functional(functions, model.vocabulary, said=said)
    tokens = model.require_tokenizer().encode(said)
    for budget in (48, 70, 90):
        ((*rows,),) = model.engine.generate(
            [Prompt(tokens)], max_tokens=budget, samples=60, sampling=Sampling(temperature=2.0), grammar=grammar
        )
        assert all(read(grammar.text(row), functions) is not None for row in rows)


def test_a_request_too_long_to_be_copied_from_is_answered(caplog: pytest.LogCaptureFixture) -> None:
    functions, model = as_taught(KNOWN), random_weights()
    said = "".join(chr(0x4E00 + place) for place in range(4000))
    grammar = functional(functions, model.vocabulary, said=said)
    assert "too long to hold arguments to its words" in caplog.text
    ((row,),) = model.engine.generate([Prompt([5])], max_tokens=40, grammar=grammar)
    assert read(grammar.text(row), functions)


@pytest.mark.parametrize(("least", "most"), [(0, 200), (1, 150), (3, 12)])
def test_spans_of_a_long_text(least: int, most: int) -> None:
    text = "".join(chr(0x4E00 + place) for place in range(170)) + "\n另外, call me (now)!"
    allowed = re.compile(regex(text, least, most))
    pieces = words(text)
    for start in range(0, len(pieces), 7):
        for end in range(start + 1, len(pieces) + 1, 5):
            span = "".join(pieces[start:end])
            within = "\n" not in span and least <= len(span) <= most
            assert bool(allowed.fullmatch(span)) == within, span
    assert bool(allowed.fullmatch("")) == (least == 0) and not allowed.fullmatch("cal")
    matcher = LLMatcher(vocabulary().tokens, LLMatcher.grammar_from_lark(f"start: T\nT: /{regex(text, least, most)}/"))
    assert not matcher.is_error()


def vocabulary() -> ConstraintVocabulary:
    tokenizer = Tokenizer.train([TEXT] * 3, 280)
    return ConstraintVocabulary(tokenizer, tokenizer.vocabulary, [1])


@pytest.mark.parametrize(
    ("said", "text", "written"),
    [
        ('text "duck pond" to Bob', "duck pond", "duck pond"),
        ("say (duck pond) to Bob", "duck pond", "duck pond"),
        ("duck pond: say it to Bob", "duck pond", "duck pond"),
        ("给王芳发Bob到了", "Bob", "Bob"),
        ("say duck pond to Bob", "duck pond", " duck pond"),
        ('say "duck pond", yes, duck pond', "duck pond", " duck pond"),
        ('say "a duck pond" to Bob', "duck pond", " duck pond"),
        ("say duckpond (or duck ponds) to Bob", "duck pond", " duck pond"),  # not in its words
        ("", "duck pond", " duck pond"),
        ("发“鸭子”", "鸭子", "鸭子"),
        ('say " duck" to Bob', " duck", "  duck"),  # the first space is not of the text
    ],
)
def test_a_text_is_written_in_the_tokens_that_the_request_has(said: str, text: str, written: str) -> None:
    functions = as_taught(KNOWN)
    call = Call("send", {"to": text, "text": text})
    target = write([call], functions, said=said)
    assert target == f"<fn_0>{written}<fn_sep>{written}<fn_sep><fn_none><fn_end>"
    assert read(target, functions) == [call]


@pytest.mark.parametrize("copied", [True, False])
def test_a_grammar_allows_a_text_as_its_request_has_it(copied: bool) -> None:
    functions, model = as_taught(KNOWN), random_weights()
    said = 'send "red mugs" to Bob, buy "late mugs"'
    calls = [
        Call("send", {"to": "Bob", "text": "red mugs"}),
        Call("buy", {"items": [{"name": "late mugs", "count": 2}]}),
    ]
    target = write(calls, functions, said=said)
    assert target == '<fn_0> Bob<fn_sep>red mugs<fn_sep><fn_none><fn_1>[{"name":"late mugs","count":2}]<fn_end>'
    matcher = LLMatcher(
        model.vocabulary.tokens, LLMatcher.grammar_from_lark(lark(functions, said=said if copied else None))
    )
    tokens = model.require_tokenizer().backend.encode(target, add_special_tokens=False).ids
    assert matcher.validate_tokens(tokens) == len(tokens)
    assert read(target, functions) == calls
