"""Scores of texts and conversations by a reward model; and what else such a model is asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import sepiola
from sepiola.errors import DataError, SepiolaError
from sepiola.models.build import build
from sepiola.specs.model import ModelSpec
from sepiola.text.chat import DEFAULT, ChatTemplate
from sepiola.text.processor import Processor
from sepiola.text.tokenizer import Tokenizer
from tests import tiny

TEXTS = ["A sunny day.", "今天下雨了，我们在家。", "No", "好", "Please explain how magnets work in a few words."]
REPLY = {"role": "assistant", "content": "It pulls iron."}
TEMPLATE = (
    "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}>{% endif %}"
)


@pytest.fixture(scope="module")
def model() -> sepiola.Model:
    language = tiny.decoder(300, layers=2, positions={"kind": "learned", "length": 64})
    spec = ModelSpec.parse({"family": "gpt2", "language": language, "classifier": {"kind": "reward"}})
    network = build(spec, seed=3)
    torch.nn.init.normal_(network.get_parameter("classifier.weight"))
    return sepiola.Model(
        network, spec, Processor.of(spec, Tokenizer.train(TEXTS, 300), ChatTemplate({DEFAULT: TEMPLATE}))
    )


def test_a_score_each_and_as_one_alone(model: sepiola.Model) -> None:
    scores = model.score(TEXTS)
    assert len(set(scores)) == len(TEXTS)
    assert scores == pytest.approx([model.score([text])[0] for text in TEXTS], abs=1e-5)
    tokens = torch.tensor([model.require_tokenizer().encode(TEXTS[1])])
    with torch.no_grad():
        assert scores[1] == pytest.approx(float(model(tokens)), abs=1e-5)
    many = TEXTS * 8
    assert model.score(many) == pytest.approx(scores * 8, abs=1e-5), "in several batches"


def test_conversations_go_through_the_template(model: sepiola.Model) -> None:
    talk = [{"role": "user", "content": "磁铁？"}, {"role": "assistant", "content": "It pulls iron."}]
    assert model.score([talk]) == pytest.approx(model.score(["user: 磁铁？\nassistant: It pulls iron.\n"]), abs=1e-6)


def test_saved_and_loaded_it_scores_alike(model: sepiola.Model, tmp_path: Path) -> None:
    model.save(tmp_path)
    assert sepiola.load(tmp_path).score(TEXTS) == pytest.approx(model.score(TEXTS), abs=1e-6)


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda m: m.ask("好吗？"), "answers no questions: it scores texts"),
        (lambda m: m.chat([{"role": "user", "content": "hi"}]), "scores texts, and writes no text"),
        (lambda m: m.generate("今天"), "scores texts, and writes no text"),
        (lambda m: m.score("one text"), "put this one into a list"),
        (lambda m: m.score([{"role": "user", "content": "hi"}]), "put this one into a list"),
        (lambda m: m.score([""]), "a text of 0 tokens"),
        (lambda m: m.score(["好" * 100]), "the model reads 1 to 64"),
    ],
)
def test_what_it_cannot_do_is_said(use: Callable[[sepiola.Model], object], message: str, model: sepiola.Model) -> None:
    with pytest.raises(SepiolaError, match=message):
        use(model)


def test_a_conversation_without_a_reply_and_another_model_are_refused(model: sepiola.Model) -> None:
    bare = sepiola.Model(model.network, model.spec, model.tokenizer)
    with pytest.raises(DataError, match="by its last turn, which is the assistant's"):
        bare.score([[{"role": "user", "content": "hi"}]])
    with pytest.raises(DataError, match="shows pictures, and this reward model reads text alone"):
        bare.reward([{"role": "user", "content": [{"type": "image", "image": np.zeros((8, 8, 3), np.uint8)}]}, REPLY])
    with pytest.raises(DataError, match="reward takes a conversation"):
        bare.reward("hi")
    language = sepiola.Model(
        model.network.language, model.spec.model_copy(update={"classifier": None}), model.tokenizer
    )
    with pytest.raises(SepiolaError, match="only a reward model scores texts"):
        language.score(["hi"])
