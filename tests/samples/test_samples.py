"""Some samples of every kind, and the faults that must be seen."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sepiola.acting.phone import functions
from sepiola.calling.calls import END, NONE
from sepiola.calling.constraints import Grammar
from sepiola.calling.endings import shortest_text
from tests.samples.kinds import KINDS
from tests.samples.sampling import BUDGETS, sample, totals
from tests.samples.validity import fault_of_calls, fault_of_json
from tests.tiny import byte_model, llama

TEN = functions()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "schemas"])
def test_every_sample_is_valid(kind: str) -> None:
    rows = sample(40, 1, [kind], None)
    total = totals(rows)
    assert total["faults"] == 0, [row.faults for row in rows]
    assert total["samples"] == total["valid"] == 40
    assert {row.budget for row in rows if row.samples} >= {16, 32}


def test_every_sample_of_a_declared_schema_is_valid(data_root: Path) -> None:
    rows = sample(40, 1, ["schemas"], data_root)
    total = totals(rows)
    assert total["faults"] == 0, [row.faults for row in rows]
    assert total["samples"] == total["valid"] == 40
    assert all(row.refused for row in rows if row.budget == BUDGETS[0])


def test_a_text_that_is_cut_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Grammar.text
    monkeypatch.setattr(Grammar, "text", lambda grammar, tokens: whole(grammar, tokens[:-1]))
    total = totals(sample(8, 1, ["functional"], None))
    assert total["samples"] == total["faults"] == 8


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (NONE + END, ""),
        ("<fn_2>squid<fn_sep><fn_none><fn_sep><fn_none><fn_end>", ""),
        ("<fn_2>squid<fn_sep><fn_none><fn_sep>21<fn_end>", "CallError"),
        ("<fn_2>squid<fn_sep><fn_none><fn_sep>2", "CallError"),
        ("<fn_2>squid<fn_end>" * 2, "CallError"),
    ],
)
def test_faults_of_calls(text: str, fault: str) -> None:
    said = fault_of_calls(text, TEN, True)
    assert said.startswith(fault) and bool(said) == bool(fault)


def test_faults_of_json() -> None:
    part = {"type": "string", "pattern": "^[\u4e00-\u9fa5]{2}$"}
    schema = {"type": "object", "properties": {"城": part}, "required": ["城"], "additionalProperties": False}
    assert fault_of_json('{"城":"北京"}', schema) == ""
    for text in (
        '{"城":"北"}',
        '{"城":"北京","区":1}',
        "{}",
        '{"城":"北京","城":"上海"}',
        '{"城":NaN}',
        '{"城":"北',
        "[]",
    ):
        assert fault_of_json(text, schema), text


@pytest.mark.parametrize(
    "schema",
    [
        {"enum": ["晴", "ab", 12345]},
        {"type": "array", "items": {"enum": ["$", "$$"]}, "minItems": 2, "maxItems": 4},
        {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"enum": ["x", "yy"]}}, "required": ["b"]},
        {"type": "string", "minLength": 3, "maxLength": 4},
        {"anyOf": [{"const": "long text"}, {"type": "integer", "minimum": 10, "maximum": 99}]},
    ],
    ids=json.dumps,
)
def test_no_text_is_shorter_than_the_shortest(schema: dict[str, object]) -> None:
    """Every text of one token fewer is tried."""
    model = byte_model(llama())
    grammar = model.grammar(schema)
    states = [grammar._matcher.deep_copy()]
    for _ in range(len(grammar.shortest) - 1):
        following = []
        for state in states:
            assert not state.is_accepting()
            for token in range(3, 259):
                if state.validate_tokens([token]):
                    again = state.deep_copy()
                    again.consume_token(token)
                    following.append(again)
        states = following[:200] if schema.get("type") == "string" else following
    assert not any(state.is_accepting() for state in states)


def test_a_token_that_goes_on_is_not_taken_for_one_that_ends() -> None:
    """A merged token such as `$",` opens the next member of a list, for ever."""
    from sepiola.calling.constraints import ConstraintVocabulary
    from sepiola.text.tokenizer import Tokenizer

    tokenizer = Tokenizer.train(['a$",', 'b$",'] * 9, 262)
    vocabulary = ConstraintVocabulary(tokenizer, tokenizer.vocabulary, [1])
    assert any(said.endswith(b'$",') for said in vocabulary._bytes)
    parts = {"a": {"type": "array", "items": {"enum": ["$", "$$", "$$$$"]}}, "b": {"type": "string"}}
    schema = {"type": "object", "properties": parts, "required": ["b"], "additionalProperties": False}
    grammar = vocabulary.compiled("json", schema)
    assert json.loads(grammar.text(grammar.shortest)) == {"b": ""}
    assert shortest_text(grammar._matcher, vocabulary, len(grammar.shortest) - 1) is None
