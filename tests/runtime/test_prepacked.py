"""Models in their running form: packed, they compute what they did, and hold their matrices once."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import sepiola
from sepiola.generation.engine import Engine, Prompt
from sepiola.models.build import preset
from sepiola.models.transformer import LanguageModel
from sepiola.runtime.prepacked import PrepackedLayer, prepack, prepack_language
from sepiola.runtime.prepacked_vit import prepackable
from sepiola.specs.base import override
from sepiola.specs.model import ModelSpec, TransformerSpec

packs = pytest.mark.skipif(not prepackable(), reason="needs a CPU that packs bfloat16 weights")


def drawn(model: Any) -> Any:
    """Matrices so large that attention chooses, and a turn, a scale or a norm amiss shows."""
    for name, parameter in model.named_parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=1.5 * parameter[0].numel() ** -0.5)
        elif name.endswith("norm.weight"):
            torch.nn.init.uniform_(parameter, 0.5, 1.5)
    return model.eval()


def assert_as_near(packed: torch.Tensor, unpacked: torch.Tensor, exact: torch.Tensor) -> None:
    """Packed, a model in bfloat16 is as near to its float32 as it was before, but for a half."""
    scale = exact.norm()
    before, after = ((one.float() - exact).norm() / scale for one in (unpacked, packed))
    assert before < 0.1 and after < 1.5 * before


@packs
@pytest.mark.parametrize("name", ["smolvlm-tiny", "llava-onevision-tiny", "llava-tiny"])
def test_packed_models_compute_what_they_did(name: str) -> None:
    model: Any = drawn(sepiola.build(name).network)
    tokens = torch.randint(5, 2000, (2, 9))
    tiles = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        exact = model.vision(tiles), model.language(tokens)
        model.to(torch.bfloat16)
        unpacked = model.vision(tiles.bfloat16()), model.language(tokens)
        before = sum(p.numel() for p in model.parameters())
        prepack(model)
        packed = model.vision(tiles.bfloat16()), model.language(tokens)
    for parts in zip(packed, unpacked, exact, strict=True):
        assert_as_near(*parts)
    kept = sum(p.numel() for p in model.parameters())
    assert kept < 0.5 * before  # embeddings, bridge and norms; packed matrices are no parameters
    run = Prompt([7, *[model.token] * model.bridge.tokens, 9], torch.randn(1, model.vision.patches, model.vision.width))
    if not model.tiling.sized:
        assert len(Engine(model).generate([run], max_tokens=3)[0][0]) <= 3


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this build of PyTorch packs no matrices")
@pytest.mark.parametrize("changes", [[], ["attention.window=4"], ["attention.bias=true", "attention.kv_heads=4"]])
def test_a_token_after_others_is_what_it_was(changes: list[str]) -> None:
    spec = preset("smolvlm-tiny").language
    assert spec is not None
    model: Any = drawn(LanguageModel(TransformerSpec.parse(override(spec.to_dict(), changes))))
    tokens, mask = torch.randint(5, 2000, (2, 9)), torch.ones(2, 9, dtype=torch.long)
    mask[0, :4] = 0  # the window's first key is padding

    def states() -> torch.Tensor:
        state = model.begin(tokens[:, :6], 4, attention_mask=mask[:, :6])
        return torch.cat([model.extend(tokens[:, i : i + 1], state) for i in range(6, 9)], dim=1)

    with torch.inference_mode():
        before = states()
        prepack_language(model)
        assert all(isinstance(layer, PrepackedLayer) for layer in model.decoder.layers)
        torch.testing.assert_close(states(), before, atol=1e-5, rtol=1e-5)


def test_a_model_in_float32_stays_as_it_is() -> None:
    spec = ModelSpec.parse(override(preset("smolvlm-tiny").to_dict(), ["language.layers=1", "vision.layers=1"]))
    model = sepiola.build(spec)
    names = set(model.network.state_dict())
    assert set(model.prepack().network.state_dict()) == names
