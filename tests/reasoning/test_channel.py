"""The score of a chain by a channel model is how likely the question is after it, token by token."""

from __future__ import annotations

import pytest
import torch

from sepiola.data.example import Example, Message
from sepiola.reasoning.channel import ChannelModel
from tests.tiny import Raw, byte_model, encoder_decoder, llama


@pytest.mark.parametrize("language", [llama(), encoder_decoder()], ids=["decoder", "encoder-decoder"])
def test_scores_are_log_likelihoods_of_questions(language: Raw) -> None:
    model = byte_model(language)
    prompts = [Example(f"q{n}", (Message("user", (text,)),), "") for n, text in enumerate(("2 + 2?", "谁?", "2 + 2?"))]
    replies = ["It is 4.", "鱼", "It is 5."]
    found = ChannelModel(model).replies(prompts, [(text, True) for text in replies])
    tokens, end = model.spec.language.tokens, model.spec.language.tokens.end
    for prompt, reply, score in zip(prompts, replies, found, strict=True):
        source, target = model.tokenizer.encode(reply), [*model.tokenizer.encode(prompt.prompt), end]
        with torch.no_grad():
            if model.spec.language.kind == "decoder":
                logits = model(torch.tensor([[*source, *target[:-1]]]))[0, len(source) - 1 :]
            else:
                logits = model(torch.tensor([[*source, end]]), torch.tensor([[tokens.start, *target[:-1]]]))[0]
        expected = logits.log_softmax(-1)[range(len(target)), target].sum()
        assert score == pytest.approx(float(expected), abs=1e-3)
