"""Replies and ratings from one cache are those of every text read afresh, whatever waits as padding beside it."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from sepiola.errors import DataError, SepiolaError
from sepiola.generation.candidates import Candidates
from sepiola.generation.engine import Prompt
from sepiola.generation.sampling import Sampling
from tests.tiny import GROUPED_QUERY, byte_model, decoder, encoder_decoder, llama

CONTEXT = [*range(40, 60)]
REPLIES = [[70, 71, 72], [80], [], [90, 91, 92, 93, 94, 95, 96], [97, 98]]
ATTRIBUTES, RATINGS = (200, 201, 202), (51, 52)
SPECS: dict[str, dict[str, Any]] = {
    "rotary": decoder(),
    "relative": decoder(positions={"kind": "relative"}, layers=2, feed_forward={"width": 24, "gated": True}),
    "learned": decoder(positions={"kind": "learned", "length": 60}),
    "window": llama(attention={"heads": 2, "window": 5}),
    "grouped": GROUPED_QUERY,
}


def fresh(model: Any, reply: list[int], attribute: int) -> float:
    """The rating of one text that is read whole, without a cache."""
    with torch.no_grad():
        logits = model(torch.tensor([[*CONTEXT, *reply, attribute]]))[0, -1, list(RATINGS)]
    return float(logits.double().softmax(-1)[1])


@pytest.mark.parametrize("kind", SPECS)
def test_given_replies_are_rated_as_when_read_afresh(kind: str) -> None:
    model = byte_model(SPECS[kind])
    candidates = Candidates(model.engine, CONTEXT, len(REPLIES), room=8)
    candidates.take(REPLIES)
    for attribute in (*ATTRIBUTES, ATTRIBUTES[0]):  # and a rating leaves nothing behind
        expected = [fresh(model, reply, attribute) for reply in REPLIES]
        assert candidates.rate(attribute, RATINGS) == pytest.approx(expected, abs=1e-5)
        assert max(expected) - min(expected) > 0.01


@pytest.mark.parametrize("kind", SPECS)
def test_sampled_replies_are_rated_as_when_read_afresh(kind: str) -> None:
    model = byte_model(SPECS[kind])
    ends = frozenset(range(60, 100))  # rows end here and there, some at once and some at the limit
    candidates = Candidates(model.engine, CONTEXT, 16, room=9)
    replies = candidates.sample(Sampling(temperature=1.0, seed=4), ends)
    assert len({len(reply) for reply in replies}) > 3 and not ends & {token for reply in replies for token in reply}
    for attribute in ATTRIBUTES:
        expected = [fresh(model, reply, attribute) for reply in replies]
        assert candidates.rate(attribute, RATINGS) == pytest.approx(expected, abs=1e-5)


def test_one_greedy_row_writes_what_the_engine_writes() -> None:
    model = byte_model(SPECS["relative"])
    sampling = Sampling(repetition_penalty=1.3)
    rows = Candidates(model.engine, CONTEXT, 3, room=12).sample(sampling, model.engine.ends)
    (written,) = model.engine.generate([Prompt(CONTEXT)], max_tokens=12, sampling=sampling)[0]
    assert rows == [written] * 3


def test_rating_costs_one_token_a_reply_and_attribute() -> None:
    model = byte_model(SPECS["relative"])
    candidates = Candidates(model.engine, CONTEXT, 16, room=30)
    candidates.sample(Sampling(temperature=1.0), frozenset())
    for attribute in ATTRIBUTES:
        candidates.rate(attribute, RATINGS)
    assert candidates.tokens == {"context": 19, "replies": 16 * 31, "ratings": 16 * 3}
    assert candidates.passes == {"context": 1, "replies": 31, "ratings": 3}
    generated = candidates.tokens["context"] + candidates.tokens["replies"]
    assert candidates.tokens["ratings"] / generated <= 0.15 and candidates.passes["ratings"] / 32 <= 0.15


def test_what_cannot_share_a_cache_is_refused() -> None:
    with pytest.raises(SepiolaError, match="by decoders alone"):
        Candidates(byte_model(encoder_decoder()).engine, CONTEXT, 2, 3)
    with pytest.raises(SepiolaError, match="depend neither on padding"):
        Candidates(byte_model(decoder(positions={"kind": "transformer-xl"})).engine, CONTEXT, 2, 3)
    with pytest.raises(DataError, match="need 62 positions; the model has 60"):
        Candidates(byte_model(SPECS["learned"]).engine, CONTEXT, 2, 41)
