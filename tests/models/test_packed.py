"""Models in their running form: packed, they compute what they did, and hold their matrices once."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import sepiola
from sepiola.generation.engine import Engine, Prompt
from sepiola.models.build import preset
from sepiola.models.packed import PackedLayer, pack
from sepiola.models.transformer import LanguageModel
from sepiola.models.vision.prepack import prepackable
from sepiola.specs.base import override
from sepiola.specs.model import ModelSpec, TransformerSpec


@pytest.mark.skipif(not prepackable(), reason="needs a CPU that packs bfloat16 weights")
@pytest.mark.parametrize("name", ["smolvlm-tiny", "llava-onevision-tiny", "llava-tiny"])
def test_packed_models_compute_what_they_did(name: str) -> None:
    model: Any = sepiola.build(name).network.to(torch.bfloat16)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.02, 0.1)
    tokens = torch.randint(5, 2000, (2, 9))
    tiles = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        seen, logits = model.vision(tiles.bfloat16()).float(), model.language(tokens).float()
        before = sum(p.numel() for p in model.parameters())
        pack(model)
        torch.testing.assert_close(model.vision(tiles.bfloat16()).float(), seen, atol=0.15, rtol=0.05)
        torch.testing.assert_close(model.language(tokens).float(), logits, atol=0.15, rtol=0.05)
    kept = sum(p.numel() for p in model.parameters())
    assert kept < 0.5 * before  # embeddings, bridge and norms; packed matrices are no parameters
    run = Prompt([7, *[model.token] * model.bridge.tokens, 9], torch.randn(1, model.vision.patches, model.vision.width))
    if not model.tiling.sized:
        assert len(Engine(model).generate([run], max_tokens=3)[0][0]) <= 3


@pytest.mark.skipif(not prepackable(), reason="needs a CPU that packs bfloat16 weights")
@pytest.mark.parametrize("changes", [[], ["attention.window=4"], ["attention.bias=true", "attention.kv_heads=4"]])
def test_a_token_after_others_is_what_it_was(changes: list[str]) -> None:
    spec = preset("smolvlm-tiny").language
    assert spec is not None
    spec = TransformerSpec.parse(override(spec.to_dict(), changes))
    model: Any = LanguageModel(spec).to(torch.bfloat16).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.02, 0.1)
    tokens, mask = torch.randint(5, 2000, (2, 9)), torch.ones(2, 9, dtype=torch.long)
    mask[0, :3] = 0

    def states() -> torch.Tensor:
        state = model.begin(tokens[:, :6], 4, attention_mask=mask[:, :6])
        return torch.cat([model.extend(tokens[:, i : i + 1], state) for i in range(6, 9)], dim=1).float()

    with torch.inference_mode():
        before = states()
        pack(model)
        assert all(isinstance(layer, PackedLayer) for layer in model.decoder.layers)
        torch.testing.assert_close(states(), before, atol=0.15, rtol=0.05)


def test_a_model_in_float32_stays_as_it_is() -> None:
    spec = ModelSpec.parse(override(preset("smolvlm-tiny").to_dict(), ["language.layers=1", "vision.layers=1"]))
    model = sepiola.build(spec)
    names = set(model.network.state_dict())
    assert set(model.pack().network.state_dict()) == names
