"""Bits per byte of held-out text: the model's own log-likelihoods, each token once, from half a window at least."""

from __future__ import annotations

import math

import pytest
import torch

import sepiola
from sepiola.api import Model
from sepiola.data.example import Example
from sepiola.evaluation.metrics.text import CONTINUED, PROMPT_CHARACTERS, nats, text_figures
from sepiola.generation.text_scorer import TextScorer
from sepiola.text.tokenizer import Tokenizer
from tests import tiny

ENGLISH = ["The sea is wide and the sea is deep.", "A squid is small.", "Deep is the night; the squid wakes."]
CHINESE = ["海很宽，海很深。", "乌贼很小。", "夜很深，乌贼醒了。", "月亮照着海。"]


@pytest.fixture(scope="module")
def text_scorer() -> TextScorer:
    tokenizer = Tokenizer.train([*ENGLISH, *CHINESE], 300)
    ids = {"pad": 0, "end": 1, "start": 2}
    rotary = {"kind": "rotary", "length": 8}
    language = tiny.decoder(tokenizer.vocabulary, 24, hidden=32, positions=rotary, tokens=ids)
    built = sepiola.build({"language": language}, seed=3)
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.normal_(0, 0.5)
    return Model(built.network, built.spec, tokenizer).text_scorer()


def documents(texts: list[str], language: str) -> list[Example]:
    return [Example(f"{language}{i}", (), text, metadata={"language": language}) for i, text in enumerate(texts)]


def by_hand(text_scorer: TextScorer, ids: list[int], window: int = 8) -> float:
    """Each token from one pass over what its window holds before it: windows end at every half window."""
    model, whole, total = text_scorer.engine.executor.network, [text_scorer.engine.tokens.start, *ids], 0.0
    for at in range(1, len(whole)):
        end = min(len(whole), 1 + math.ceil(at / (window // 2)) * (window // 2))  # where the token's window ends
        with torch.no_grad():
            logits = model(torch.tensor([whole[max(0, end - window - 1) : at]]))[0, -1]
        total -= float(logits.log_softmax(-1)[whole[at]])
    return total


@pytest.mark.parametrize("tokens", [1, 4, 5, 8, 9, 13, 30])
def test_nats_are_the_models(text_scorer: TextScorer, tokens: int) -> None:
    ids = torch.randint(3, text_scorer.tokenizer.vocabulary, (tokens,)).tolist()
    assert nats(text_scorer, [ids]) == pytest.approx(by_hand(text_scorer, ids), rel=1e-5)


def test_documents_add_up(text_scorer: TextScorer) -> None:
    some = [torch.randint(3, text_scorer.tokenizer.vocabulary, (n,)).tolist() for n in (5, 20, 11)]
    assert nats(text_scorer, some) == pytest.approx(sum(nats(text_scorer, [ids]) for ids in some), rel=1e-6)


def test_figures_of_each_language(text_scorer: TextScorer) -> None:
    held_out = documents(ENGLISH, "en") + documents(CHINESE, "zh")
    figures = text_figures(text_scorer, held_out, documents(ENGLISH * 3, "en") + documents(CHINESE * 3, "zh"))
    assert list(figures["bits_per_byte"]) == ["en", "zh"]
    for language, texts in (("en", ENGLISH), ("zh", CHINESE)):
        found = figures["bits_per_byte"][language]
        ids = [[*ids, 1] for ids in text_scorer.tokenizer.encode_batch(texts, plain=True)]
        size = sum(len(text.encode()) for text in texts)
        assert (found["documents"], found["bytes"], found["tokens"]) == (len(texts), size, sum(map(len, ids)))
        assert found["model"] == pytest.approx(nats(text_scorer, ids) / math.log(2) / size)
        assert found["baselines"]["5-gram"] < found["model"], "it has read the very text; the model has not learned"
    shown = figures["continuations"]
    assert [c["language"] for c in shown] == ["en"] * CONTINUED + ["zh"] * CONTINUED
    for c in shown:
        assert 0 < len(c["prompt"]) <= PROMPT_CHARACTERS[c["language"]]
        assert any(text.startswith(c["prompt"] + c["text"]) for text in ENGLISH + CHINESE)
