"""BART against `transformers` on shared random weights, both ways."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BartConfig, BartForConditionalGeneration

import sepiola
from tests.tiny import randomise

BART: dict[str, Any] = {
    "vocab_size": 83,
    "d_model": 24,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 40,
    "decoder_ffn_dim": 40,
    "max_position_embeddings": 30,
}
BARTS: dict[str, dict[str, Any]] = {
    "tiny": BART,
    "odd": {**BART, "d_model": 33, "encoder_attention_heads": 3, "decoder_attention_heads": 3, "decoder_layers": 1}
    | {"scale_embedding": True},
    "stacks apart": {**BART, "encoder_attention_heads": 6, "decoder_attention_heads": 2, "encoder_ffn_dim": 56}
    | {"decoder_layers": 3},
}


@pytest.mark.parametrize("shape", BARTS)
def test_bart_agrees_with_transformers(shape: str, tmp_path: Path) -> None:
    theirs = randomise(BartForConditionalGeneration(BartConfig(**BARTS[shape])), 0.1, 0.3).eval()
    theirs.final_logits_bias.normal_()
    theirs.save_pretrained(tmp_path / "hub")
    ours = sepiola.load(tmp_path / "hub")
    source = torch.randint(3, 83, (3, 19))
    mask = torch.ones_like(source)
    mask[1, 11:] = 0
    mask[2, 1:] = 0
    target = torch.randint(3, 83, (3, 13))
    with torch.no_grad():
        expected = theirs(input_ids=source, attention_mask=mask, decoder_input_ids=target).logits
        given = ours(source, target, attention_mask=mask)
        torch.testing.assert_close(given, expected, atol=1e-4, rtol=0)
        state = ours.network.begin(source, 13, attention_mask=mask)
        steps = [ours.network.head(ours.network.extend(target[:, t : t + 1], state)) for t in range(13)]
        torch.testing.assert_close(torch.cat(steps, 1), expected, atol=1e-4, rtol=0)
    ours.save_hub(tmp_path / "back")
    again = BartForConditionalGeneration.from_pretrained(tmp_path / "back").eval()
    with torch.no_grad():
        back = again(input_ids=source, attention_mask=mask, decoder_input_ids=target).logits
    torch.testing.assert_close(back, expected, atol=1e-4, rtol=0)
