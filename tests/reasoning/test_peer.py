"""The score of a chain by a peer is how likely that model finds it after the prompt, token by token."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from sepiola.api import Model
from sepiola.data.example import Example, Message
from sepiola.reasoning.peer import PeerModel
from sepiola.specs.recipe import AnsweringSpec
from tests.tiny import Raw, byte_model, encoder_decoder, llama


@pytest.mark.parametrize("language", [llama(), encoder_decoder()], ids=["decoder", "encoder-decoder"])
def test_scores_are_log_likelihoods_of_replies(language: Raw) -> None:
    bare = byte_model(language)
    model = Model(bare.network, bare.spec, bare.tokenizer, AnsweringSpec(answer_format="Q-A"))
    prompts = [Example(f"q{n}", (Message("user", (text,)),), "") for n, text in enumerate(("2 + 2?", "谁?", "2 + 2?"))]
    replies = ["It is 4.", "鱼", "It is 5."]
    found = PeerModel(model).replies(prompts, [(text, True) for text in replies])
    tokens, end = model.spec.language.tokens, model.spec.language.tokens.end
    for prompt, reply, score in zip(prompts, replies, found, strict=True):
        source, target = model.tokenizer.encode(prompt.prompt), [*model.tokenizer.encode(reply), end]
        with torch.no_grad():
            if model.spec.language.kind == "decoder":
                logits = model(torch.tensor([[*source, *target[:-1]]]))[0, len(source) - 1 :]
            else:
                logits = model(torch.tensor([[*source, end]]), torch.tensor([[tokens.start, *target[:-1]]]))[0]
        expected = logits.log_softmax(-1)[range(len(target)), target].sum()
        assert score == pytest.approx(float(expected), abs=1e-3)
    twice = [dataclasses.replace(prompts[0], id=f"{n}") for n in range(2)]
    first, second = PeerModel(model).replies(twice, [("It is 4.", True), ("It is 5.", True)])
    assert (first, second) == pytest.approx((found[0], found[2]), abs=1e-3), "alone and together"
