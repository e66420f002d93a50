"""Nothing but what the grammar allows is written, by random weights, in every budget, batched or alone."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import torch

import sepiola
from sepiola.api import Model
from sepiola.calling.constraints import ConstraintVocabulary, Grammar
from sepiola.errors import SepiolaError, SpecError
from sepiola.generation import constrained_decoding
from sepiola.generation.constrained_decoding import ConstrainedDecoding
from sepiola.generation.sampling import Sampling
from sepiola.text.tokenizer import Tokenizer
from tests.tiny import byte_model, decoder, encoder_decoder, llama

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "minLength": 1, "maxLength": 12},
        "days": {"type": "integer", "minimum": 1, "maximum": 14},
        "kind": {"enum": ["晴", "雨", "sun"]},
    },
    "required": ["city", "days", "kind"],
    "additionalProperties": False,
}
LARK = 'start: <fn_0> TEXT <fn_sep> ("是" | "no") <fn_end>\nTEXT: /[^\\x00-\\x1f]{0,8}/'


def fits(text: str) -> bool:
    value = json.loads(text)
    return (
        set(value) == {"city", "days", "kind"}
        and 1 <= len(value["city"]) <= 12
        and value["days"] in range(1, 15)
        and value["kind"] in ("晴", "雨", "sun")
    )


@pytest.fixture(scope="module")
def models() -> list[Model]:
    return [byte_model(spec) for spec in (decoder(), llama(), encoder_decoder())]


def test_random_weights_write_nothing_else_in_any_budget(models: list[Model]) -> None:
    for model in models:
        least = len(model.grammar(SCHEMA).shortest)
        for budget in (least, least + 1, least + 7, 90):
            for seed in range(6):
                sampling = Sampling(temperature=1.5, seed=seed)
                text = model.generate("天气 in Paris?", constraint=SCHEMA, max_tokens=budget, sampling=sampling)
                assert fits(text), text
                assert len(model.require_tokenizer().encode(text)) <= budget


def test_a_batch_writes_what_each_row_writes_alone(models: list[Model]) -> None:
    for model in models:
        grammar = model.grammar(SCHEMA)
        prompts = [model._prompts.prompt(text) for text in ("a", "天气 in Paris?", "bcd e")]
        together = model.engine.generate(prompts, max_tokens=70, grammar=grammar)
        assert together == [model.engine.generate([p], max_tokens=70, grammar=grammar)[0] for p in prompts]
        fanned = model.engine.generate(
            prompts, max_tokens=70, grammar=grammar, samples=3, sampling=Sampling(temperature=1.0)
        )
        assert all(fits(grammar.text(row)) for rows in fanned for row in rows)


def test_greedy_takes_the_likeliest_token_that_is_allowed(models: list[Model]) -> None:
    model = models[1]
    grammar = model.grammar({"type": "string", "maxLength": 6})
    (written,) = model.engine.generate([model._prompts.prompt("abc")], max_tokens=40, grammar=grammar)[0]
    row, read = grammar.begin(40), model._prompts.prompt("abc").tokens
    forced = row.forced()
    for place in range(len(forced), len(written)):
        logits = model(torch.tensor([[*read, *written[:place]]]))[0, -1]
        allowed = logits.masked_fill(torch.from_numpy(~row.mask()), -torch.inf)
        assert int(allowed.argmax()) == written[place]
        row.accept(written[place])


def test_forced_tokens_need_no_pass_of_their_own(models: list[Model], monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[ConstrainedDecoding] = []

    class Kept(ConstrainedDecoding):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            made.append(self)

    monkeypatch.setattr("sepiola.generation.engine.ConstrainedDecoding", Kept)
    text = models[1].generate("a", constraint=SCHEMA, max_tokens=90)
    assert made[0].passes <= 0.6 * len(models[1].require_tokenizer().encode(text))


def test_few_rows_of_the_head_give_the_logits_of_all(models: list[Model], monkeypatch: pytest.MonkeyPatch) -> None:
    expected = [model.generate("a", constraint=SCHEMA, max_tokens=70) for model in models]
    monkeypatch.setattr(constrained_decoding, "SPARSE", 10**9)
    assert [model.generate("a", constraint=SCHEMA, max_tokens=70) for model in models] == expected


def test_prepacked_weights_write_what_plain_ones_do(models: list[Model]) -> None:
    packed = byte_model(llama())
    assert packed.prepack().generate("天", constraint=SCHEMA) == models[1].generate("天", constraint=SCHEMA)


def test_penalties_count_among_what_is_allowed(models: list[Model]) -> None:
    digits = {"type": "integer", "minimum": 111111, "maximum": 999999}
    plain = models[0].generate("a", constraint=digits)
    other = models[0].generate("a", constraint=digits, sampling=Sampling(no_repeat_ngram_size=1, suppress_tokens=(9,)))
    assert re.fullmatch("[0-9]{6}", plain) and len(set(other)) == 6


def test_special_tokens_stand_in_grammars_and_never_in_texts() -> None:
    tokenizer = Tokenizer.train(["send 发送"], 270, extra=["<fn_0>", "<fn_sep>", "<fn_end>"])
    vocabulary = ConstraintVocabulary(tokenizer, tokenizer.vocabulary + 5, [1])
    grammar = Grammar.lark(vocabulary, LARK)
    built = sepiola.build({"name": "x", "language": {**llama(), "vocabulary": tokenizer.vocabulary + 5}}, seed=1)
    model = Model(built.network, built.spec, tokenizer)
    for seed in range(20):
        sampling = Sampling(temperature=2.0, seed=seed)
        prompt = [model._prompts.prompt("x")]
        ((row,),) = model.engine.generate(prompt, max_tokens=16, grammar=grammar, sampling=sampling)
        assert re.fullmatch(r"<fn_0>.{0,8}<fn_sep>(是|no)<fn_end>", grammar.text(row))
        assert max(row) < tokenizer.vocabulary


def test_ids_are_constrained_too(models: list[Model]) -> None:
    written = models[0].generate(torch.tensor([[5, 6], [7, 8]]), constraint={"enum": ["ab", "cd"]})
    texts = [models[0].require_tokenizer().decode([t for t in row.tolist() if t > 2]) for row in written]
    assert set(texts) <= {'"ab"', '"cd"'}


def test_what_cannot_be_kept_is_refused_before_anything_is_written(models: list[Model]) -> None:
    with pytest.raises(SpecError, match="#/properties/a/not"):
        models[0].generate("a", constraint={"properties": {"a": {"not": {}}}})
    with pytest.raises(SepiolaError, match=r"the shortest text .* has \d+ tokens, and 5 may be written"):
        models[0].generate("a", constraint=SCHEMA, max_tokens=5)
    with pytest.raises(SepiolaError, match="does not compile"):
        models[0].generate("a", constraint={"type": "string", "pattern": "(?=a)b"})
    with pytest.raises(SpecError, match="a JSON Schema or a list of functions"):
        models[0].generate("a", constraint="string")  # type: ignore[arg-type]


@pytest.mark.parametrize("pattern", ["红", "红+", "ab+", "a$", "^红", "a|b", "第\\d+章", "红a{3}", "^.*红.*$"])
def test_a_pattern_may_stand_anywhere_in_a_text(pattern: str) -> None:
    """It is not written out by a search for its letters, which would go on without end."""
    model, schema = byte_model(llama()), {"type": "object", "properties": {"a": {"type": "string", "pattern": pattern}}}
    schema |= {"required": ["a"], "additionalProperties": False}
    written = set()
    for seed in range(3):
        sampling = Sampling(temperature=1.0, seed=seed)
        text = model.generate("a", constraint=schema, max_tokens=40, sampling=sampling)
        assert re.search(pattern, json.loads(str(text))["a"])
        written.add(text)
    assert len(written) > 1 or pattern == "^红"


@pytest.mark.parametrize("pattern", ["ab", "foo", r"\.png$", r"\d{3}", "红色"])
@pytest.mark.parametrize("budget", [32, 128, 200])
def test_a_word_that_a_long_text_waits_for_is_written_at_last(pattern: str, budget: int) -> None:
    text = byte_model(llama()).generate("Hello", constraint={"type": "string", "pattern": pattern}, max_tokens=budget)
    assert re.search(pattern, json.loads(str(text)))


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"type": "string", "pattern": "^[^x]*红[^x]*$"}, "#/pattern: no text was found that fits"),
        ({"type": "string", "pattern": "红", "minLength": 30}, "#/pattern: no text was found that fits"),
        ({"type": "number", "minimum": float("nan")}, "#: is no JSON"),
        ({"enum": [1, float("inf")]}, "#: is no JSON"),
        ({"const": {1, 2}}, "#: is no JSON"),
        (
            {"oneOf": [{"type": "integer", "maximum": 5}, {"type": "integer", "minimum": 3}]},
            "two of its schemas: write",
        ),
        ({"type": "integer", "minimum": 10**30, "maximum": 10**31}, "#/minimum: got 10"),
        ({"type": "integer", "maximum": -(2**64)}, "#/maximum: got -18446744073709551616"),
    ],
)
def test_what_would_not_end_or_fit_is_refused(schema: dict[str, Any], message: str) -> None:
    with pytest.raises(SepiolaError, match=message):
        byte_model(llama()).generate("a", constraint=schema, max_tokens=40)
