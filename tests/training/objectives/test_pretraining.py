"""The objectives of pretraining: the tokens that each needs, and what it hides."""

from __future__ import annotations

import pytest

from sepiola.data.example import Example
from sepiola.errors import DataError
from sepiola.specs.model import ModelSpec
from sepiola.text.pretraining import SENTINELS
from sepiola.text.tokenizer import Tokenizer
from sepiola.training.objectives import OBJECTIVES
from sepiola.training.objectives.writing import Writing
from tests import tiny
from tests.trainers import ExampleSetting, stage_of

TEXTS = [
    "春眠不觉晓。处处闻啼鸟！",
    "The squid hides. It waits; then it moves.",
    "He wrote </s> and <unk> on the wall.",
]
EXAMPLES = [Example(f"d{i}", (), text * 3) for i, text in enumerate(TEXTS)]
HIDING = ["masked", "span-corruption", "denoising"]
LANGUAGE = tiny.decoder(380, 8, positions={"kind": "none"})


def tokenizer(*objectives: str) -> Tokenizer:
    tokens = [token for kind in objectives for token in OBJECTIVES[kind].spec(kind=kind).tokens()]
    return Tokenizer.train(TEXTS * 20, 380, extra=list(dict.fromkeys(tokens)))


def objective(kind: str, made: Tokenizer) -> Writing:
    setting = ExampleSetting(ModelSpec.parse({"language": LANGUAGE}), made, EXAMPLES)
    learned = OBJECTIVES[kind](stage_of(steps=1, objective=kind), setting)
    assert isinstance(learned, Writing)
    return learned


def test_a_tokenizer_gets_the_tokens_that_objectives_need() -> None:
    assert OBJECTIVES["language-modelling"].spec(kind="language-modelling").tokens() == []
    made = tokenizer(*HIDING)
    assert made.vocabulary == 380
    assert made.id_of("<mask>") == 279
    assert [made.id_of(name) for name in SENTINELS] == list(range(379, 279, -1))  # as T5's, the last one first
    for kind in HIDING:
        assert objective(kind, made).noise() is not None
        with pytest.raises(DataError, match=f"the objective {kind} needs"):
            objective(kind, tokenizer()).noise()
    assert objective("language-modelling", tokenizer()).noise() is None


def test_sentences_end_in_both_languages() -> None:
    made = tokenizer("denoising")
    noise = objective("denoising", made).noise()
    assert noise is not None
    closing = noise.closing  # type: ignore[attr-defined]
    for mark in "。！.;":
        assert closing[made.encode(mark)[-1]] == (mark != ";")
