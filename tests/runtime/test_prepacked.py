"""Models in their running form: packed, they compute what they did, and hold their matrices once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import sepiola
from sepiola.api import Model
from sepiola.data.image import ImageRef
from sepiola.errors import SepiolaError
from sepiola.generation.engine import Engine, Prompt
from sepiola.models.build import preset
from sepiola.models.transformer import LanguageModel
from sepiola.runtime.plain import TorchExecutor
from sepiola.runtime.prepacked import PrepackedExecutor, PrepackedHead, PrepackedLayer, prepack, prepack_language
from sepiola.runtime.prepacked_vit import prepackable
from sepiola.specs.base import override
from sepiola.specs.model import ModelSpec, TransformerSpec
from tests.tiny import byte_model, llama

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
        beside = prepack(model)
        assert sum(p.numel() for p in model.parameters()) == before  # it is whole
        shared = beside.vision(tiles.bfloat16()), beside.language(tokens)
        assert prepack(model, release=True) is model
        packed = model.vision(tiles.bfloat16()), model.language(tokens)
    assert all(torch.equal(*pair) for pair in zip(shared, packed, strict=True))
    for parts in zip(packed, unpacked, exact, strict=True):
        assert_as_near(*parts)
    kept = sum(p.numel() for p in model.parameters())
    assert kept < 0.5 * before  # embeddings, bridge and norms; packed matrices are no parameters
    run = Prompt([7, *[model.token] * model.bridge.tokens, 9], torch.randn(1, model.vision.patches, model.vision.width))
    if not model.tiling.sized:
        assert len(Engine(TorchExecutor(model)).generate([run], max_tokens=3)[0][0]) <= 3


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this build of PyTorch packs no matrices")
@pytest.mark.parametrize(
    "changes",
    [
        [],
        ["attention.window=4"],
        ["attention.bias=true", "attention.kv_heads=4"],
        ["tied=true"],
        ["tied=true", "head.bias=true", "head.transform=true", "head_scale=0.3"],
        ["tied=false", "head.bias=true"],
    ],
)
def test_a_token_after_others_is_what_it_was(changes: list[str]) -> None:
    spec = preset("smolvlm-tiny").language
    assert spec is not None
    model: Any = drawn(LanguageModel(TransformerSpec.parse(override(spec.to_dict(), changes))))
    tokens, mask = torch.randint(5, 2000, (2, 9)), torch.ones(2, 9, dtype=torch.long)
    mask[0, :4] = 0  # the window's first key is padding

    def states() -> torch.Tensor:
        state = model.begin(tokens[:, :6], 4, attention_mask=mask[:, :6])
        after = torch.cat([model.extend(tokens[:, i : i + 1], state) for i in range(6, 9)], dim=1)
        return model.head(after)

    with torch.inference_mode():
        before = states()
        prepack_language(model)
        assert all(isinstance(layer, PrepackedLayer) for layer in model.decoder.layers)
        assert isinstance(model.head, PrepackedHead)
        torch.testing.assert_close(states(), before, atol=1e-5, rtol=1e-5)


def test_a_model_in_float32_stays_as_it_is() -> None:
    spec = ModelSpec.parse(override(preset("smolvlm-tiny").to_dict(), ["language.layers=1", "vision.layers=1"]))
    model = sepiola.build(spec)
    names = set(model.network.state_dict())
    assert set(model.prepack().network.state_dict()) == names


def talking(tied: bool = True) -> Model:
    """A small model in bfloat16 that writes text of pictures."""
    changes = ["language.layers=2", "vision.layers=1", f"language.tied={str(tied).lower()}"]
    model = sepiola.build(ModelSpec.parse(override(preset("smolvlm-tiny").to_dict(), changes)))
    drawn(model.network.to(torch.bfloat16))
    return model


@packs
@pytest.mark.parametrize("tied", [True, False])
def test_a_prepacked_model_saves_loads_and_trains_as_before(tied: bool, tmp_path: Path) -> None:
    model = talking(tied)
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    prompt = torch.randint(5, 2000, (2, 9))
    assert isinstance(model.prepack().engine.executor, PrepackedExecutor)
    written = model.generate(prompt, max_tokens=5)
    model.save(tmp_path)
    back = sepiola.load(tmp_path, dtype=torch.bfloat16)
    assert set(back.state_dict()) == set(state)
    assert all(torch.equal(tensor, state[name]) for name, tensor in back.state_dict().items())
    assert torch.equal(back.prepack().generate(prompt, max_tokens=5), written)
    network: Any = model.network.train()
    network.language(prompt).float().square().mean().backward()
    assert all(p.grad is not None for p in network.language.parameters())
    with torch.no_grad():
        for parameter in network.language.parameters():
            parameter.normal_()
    assert not torch.equal(model.prepack().generate(prompt, max_tokens=5), written)  # what it has learned counts now
    assert isinstance(model.to(torch.float32).engine.executor, TorchExecutor)
    assert model.engine.dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_was_released_writes_text_and_is_not_saved(dtype: torch.dtype, tmp_path: Path) -> None:
    model = talking().to(dtype)
    prompt = torch.randint(5, 2000, (2, 9))
    whole = model.prepack().generate(prompt, max_tokens=5)
    assert torch.equal(model.prepack(release=True).generate(prompt, max_tokens=5), whole)
    assert torch.equal(model.eval().blind().generate(prompt, max_tokens=5), whole)
    assert byte_model(llama()).to(dtype).prepack(release=True).strategy() is not None  # it can still be asked
    for refused in (
        lambda: model.save(tmp_path / "ours"),
        lambda: model.save_hub(tmp_path / "hub"),
        lambda: model.train(),
        lambda: model.state_dict(),
        lambda: model(prompt),
        lambda: model.to(torch.float32),
        lambda: model.prepack(),
    ):
        with pytest.raises(SepiolaError, match=r"prepack\(release=True\).* Load it again, or use prepack\(\)"):
            refused()
    assert not list(tmp_path.iterdir())


@packs
def test_pictures_are_seen_by_the_packed_vision_encoder() -> None:
    model = talking()
    picture = [ImageRef.of(Image.new("RGB", (64, 64), "red"))]
    plain = model.encode_images(picture)
    packed = model.prepack(release=True).encode_images(picture)
    assert packed.shape == plain.shape
    torch.testing.assert_close(packed, plain, atol=0.1, rtol=0.1)


def test_a_model_that_writes_no_text_is_not_prepacked() -> None:
    with pytest.raises(SepiolaError, match="vision encoder: it has features"):
        sepiola.build("vit-tiny").prepack()
