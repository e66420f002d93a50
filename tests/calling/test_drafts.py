"""Guessed tokens change how many passes a text takes, and nothing of the text."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sepiola.acting.phone import functions
from sepiola.api import Model
from sepiola.calling import constrained_row
from sepiola.calling.calls import lark, tokens_of, write
from sepiola.calling.constraints import ConstraintVocabulary
from sepiola.calling.drafts import Allowed, PromptLookup, draft
from sepiola.calling.functions import Call
from sepiola.generation.constrained_decoding import ConstrainedDecoding
from sepiola.generation.sampling import Sampling
from sepiola.text.tokenizer import Tokenizer
from tests.tiny import byte_model, decoder, encoder_decoder, llama

ASKED = "Text Shiira that I left your hearing aid at the gym. 给王芳发短信说我会晚到"
CALLS = (
    Call("send_text_message", {"to": "Shiira", "message": "I left your hearing aid at the gym"}),
    Call("send_text_message", {"to": "王芳", "message": "我会晚到"}),
)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    """English words, and of Chinese the bytes."""
    words = [ASKED[:50], *(function.description for function in functions())] * 4
    return Tokenizer.train(words, 700, extra=tokens_of(10))


@pytest.fixture(scope="module")
def vocabulary(tokenizer: Tokenizer) -> ConstraintVocabulary:
    return ConstraintVocabulary(tokenizer, tokenizer.vocabulary, [1])


class Scripted:
    """An executor and its batch, whose likeliest next token is a script's."""

    def __init__(self, script: list[int], vocabulary: int) -> None:
        self.script, self.place, self.read = script, 0, 0
        self.device, self.spec = torch.device("cpu"), type("Spec", (), {"vocabulary": vocabulary})

    @property
    def length(self) -> int:
        return self.place

    def extend(self, tokens: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        begin, self.place = self.place, self.place + tokens.shape[1]
        self.read += tokens.shape[1]
        ahead = [*self.script, *[1] * tokens.shape[1]]
        return torch.tensor(ahead[begin : self.place])[None, :, None]

    def rewind(self, tokens: int) -> None:
        self.place -= tokens

    def select(self, rows: Tensor) -> None:
        raise AssertionError("there is one row")

    def logits(self, states: Tensor, tokens: Tensor | None = None) -> Tensor:
        logits = torch.zeros(len(states), self.spec.vocabulary).scatter_(1, states, 1.0)
        return logits if tokens is None else logits[:, tokens]


@pytest.mark.parametrize("call", CALLS, ids=["en", "zh"])
def test_a_call_whose_words_stand_in_the_request_takes_few_passes(
    call: Call, tokenizer: Tokenizer, vocabulary: ConstraintVocabulary
) -> None:
    written = tokenizer.backend.encode(write([call], functions()), add_special_tokens=False).ids
    row = vocabulary.compiled("lark", lark(functions())).begin(80, tokenizer.encode(ASKED))
    model = Scripted(written, vocabulary.size)
    decoding = ConstrainedDecoding(
        model,  # type: ignore[arg-type]
        [row],
        Sampling(),
        torch.empty(1, 0, dtype=torch.long),
        torch.tensor([1]),
    )
    assert decoding.run(model, torch.tensor([[0]]), torch.Generator()) == [written]
    assert decoding.passes <= 0.6 * len(written)


def test_guesses_pause_where_none_comes_true(
    tokenizer: Tokenizer, vocabulary: ConstraintVocabulary, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = tokenizer.encode('"' + "Zebras of the quiet plain never hurry; why would they? " * 3 + '"')
    grammar = vocabulary.compiled("json", {"type": "string", "maxLength": 400})

    def read() -> int:
        model, nothing = Scripted(text, vocabulary.size), torch.empty(1, 0, dtype=torch.long)
        row = grammar.begin(400, tokenizer.encode(ASKED))
        decoding = ConstrainedDecoding(model, [row], Sampling(), nothing, torch.tensor([1]))  # type: ignore[arg-type]
        assert decoding.run(model, torch.tensor([[0]]), torch.Generator()) == [text]
        return model.read - len(text)

    some = read()
    monkeypatch.setattr(constrained_row, "MISSES", 10**9)
    assert some < read() / 2


def test_letters_of_a_text_need_no_ending_to_be_sought(
    tokenizer: Tokenizer, vocabulary: ConstraintVocabulary, monkeypatch: pytest.MonkeyPatch
) -> None:
    sought: list[int] = []
    ending = constrained_row.ending
    monkeypatch.setattr(constrained_row, "ending", lambda *given: (sought.append(1), ending(*given))[1])
    text = tokenizer.encode('"Zebras hurry"')
    row = vocabulary.compiled("json", {"type": "string", "maxLength": 40}).begin(len(text))
    assert all(row.accept(token) for token in text)
    assert row.written == text and len(sought) <= 1


def test_nothing_that_is_written_depends_on_guesses(monkeypatch: pytest.MonkeyPatch) -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"type": "string", "maxLength": 9}, "b": {"enum": ["晴", "雨"]}, "c": {"type": "integer"}},
        "required": ["a", "b", "c"],
    }

    def texts(model: Model) -> list[object]:
        prompt = [model._prompts.prompt('天气 "a" in Paris? {"a":"Paris","b":"雨"')]
        grammar = model.grammar(schema)
        drawn = [Sampling(), Sampling(no_repeat_ngram_size=3), *(Sampling(temperature=t, seed=5) for t in (0.3, 1.0))]
        return [
            model.engine.generate(prompt, max_tokens=most, sampling=sampling, grammar=grammar)
            for most in (40, 90)
            for sampling in drawn
        ]

    models = [byte_model(spec) for spec in (decoder(), llama(), encoder_decoder())]
    guessed = [texts(model) for model in models]
    monkeypatch.setattr(constrained_row, "DRAFT", 0)
    assert [texts(model) for model in models] == guessed


def test_a_guess_follows_the_request_and_the_grammar(tokenizer: Tokenizer, vocabulary: ConstraintVocabulary) -> None:
    row = vocabulary.compiled("lark", lark(functions())).begin(80, tokenizer.encode(ASKED))
    for token in tokenizer.backend.encode("<fn_1>I left your", add_special_tokens=False).ids:
        assert row.accept(token)
    guess = row.draft()
    assert tokenizer.decode(guess.tokens).startswith(" hearing aid")
    for place, token in enumerate(guess.tokens):
        assert (row.allowed() == guess.allowed[place]).all()
        assert row.accept(token)
    assert len(draft(row._matcher, vocabulary, row._lookup, row.written, row.allowed(), 2).tokens) <= 2


def test_words_are_found_as_text_and_only_where_a_token_ends(
    tokenizer: Tokenizer, vocabulary: ConstraintVocabulary
) -> None:
    read = tokenizer.encode(ASKED)
    lookup = PromptLookup(read, vocabulary)
    left = tokenizer.encode("left your hearing")
    found = lookup.place(left)
    assert found is not None and tokenizer.decode(read[found.place :]).startswith(" aid at the gym")
    assert 0 < found.matched <= len(left)
    assert lookup.place(tokenizer.encode("zebra"[:1])) is None
    assert lookup.place([]) is None


def test_a_function_that_was_added_is_not_guessed_where_an_ending_may_stand(tokenizer: Tokenizer) -> None:
    """Its token stands behind all others, and what closes comes first all the same."""
    grown = Tokenizer(type(tokenizer.backend).from_str(tokenizer.to_json())).with_token("<fn_10>")
    vocabulary = ConstraintVocabulary(grown, grown.vocabulary, [1])
    names = [grown.name_of(token) or "" for token in vocabulary.stops]
    shared = ("<fn_end>", "<fn_sep>", "<fn_none>")
    assert {*names[:3]} >= {*shared[:2]} and names.index("<fn_0>") < names.index("<fn_10>")
    assert max(names.index(name) for name in shared) < names.index("<fn_0>")


def test_within_a_text_a_token_may_follow_where_all_that_may_are_asked_for(
    tokenizer: Tokenizer, vocabulary: ConstraintVocabulary
) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string", "maxLength": 9}}, "required": ["a"]}
    row = vocabulary.compiled("json", schema).begin(40)
    row.forced()
    asked = 0
    for token in tokenizer.backend.encode("Zebras run", add_special_tokens=False).ids:
        asked += row.following() is None
        each = [row.may(token) for token in range(vocabulary.size)]
        assert each == row.mask().tolist()
        if not each[token]:
            break
        row.accept(token)
    assert asked and tokenizer.decode(row.forced()) == '"'


def test_greedy_texts_are_those_of_all_that_may_follow(monkeypatch: pytest.MonkeyPatch) -> None:
    def texts(model: Model) -> list[object]:
        prompt = model._prompts.prompt('天气 "a" in Paris?')
        grammar = model.grammar({"type": "array", "items": {"type": "string", "maxLength": 12}, "minItems": 2})
        return [
            model.engine.generate([prompt] * rows, max_tokens=60, sampling=sampling, grammar=grammar)
            for rows in (1, 3)
            for sampling in (Sampling(), Sampling(repetition_penalty=1.5), Sampling(no_repeat_ngram_size=2))
        ]

    models = [byte_model(spec) for spec in (decoder(), llama())]
    asked: list[int] = []
    following = constrained_row.ConstrainedRow.following

    def counted(row: constrained_row.ConstrainedRow) -> Allowed | None:
        asked.append(following(row) is None)
        return following(row)

    monkeypatch.setattr(constrained_row.ConstrainedRow, "following", counted)
    written = [texts(model) for model in models]
    assert any(asked)
    monkeypatch.setattr(constrained_row.ConstrainedRow, "following", constrained_row.ConstrainedRow.allowed)
    assert [texts(model) for model in models] == written
