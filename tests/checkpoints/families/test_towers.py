"""Dual encoders against `transformers` on shared random weights: vectors, padded texts, logits, both ways; the vision
encoder.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import CLIPConfig, CLIPModel, CLIPVisionModel, SiglipConfig, SiglipModel, SiglipVisionModel

import sepiola
from sepiola.checkpoints import hub
from sepiola.errors import CheckpointError, DataError, SpecError
from sepiola.models.build import build, preset
from sepiola.specs.base import override
from sepiola.specs.model import ModelSpec

END = 60
TOWER = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 72}
VISION = {**TOWER, "image_size": 35, "patch_size": 8}
TEXT = {
    **TOWER,
    "hidden_size": 32,
    "vocab_size": 61,
    "max_position_embeddings": 12,
    "bos_token_id": 59,
    "eos_token_id": END,
    "pad_token_id": 1,
}
CASES: dict[str, tuple[Any, Any]] = {
    "clip": (CLIPModel, CLIPConfig(vision_config=VISION, text_config=TEXT, projection_dim=20)),
    "clip of old": (
        CLIPModel,
        CLIPConfig(vision_config=VISION, text_config={**TEXT, "eos_token_id": 2, "bos_token_id": 0}, projection_dim=20),
    ),
    "siglip": (
        SiglipModel,
        SiglipConfig(vision_config=VISION, text_config={**TEXT, "eos_token_id": 1, "projection_size": 48}),
    ),
}


def reference(name: str) -> Any:
    kind, config = CASES[name]
    torch.manual_seed(0)
    model = kind(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.0 if parameter.dim() > 1 else 0.5, 0.4)
    return model


def inputs(name: str) -> tuple[Tensor, Tensor, Tensor]:
    """Ids and mask of five texts of several lengths, padded, and pixels of three pictures."""
    ids = torch.randint(3, 59, (5, 12))
    mask = torch.ones_like(ids)
    for row, length in enumerate((12, 3, 7, 2, 11)):
        ids[row, length - 1 :], mask[row, length:] = 1, 0
        ids[row, length - 1] = 1 if name == "siglip" else END
    return ids, mask, torch.randn(3, 3, 35, 35)


def agree(ours: Any, theirs: Any, name: str) -> None:
    ids, mask, pixels = inputs(name)
    network = ours.network
    with torch.inference_mode():
        wanted = theirs(input_ids=ids, pixel_values=pixels)
        torch.testing.assert_close(network.image(pixels), wanted.image_embeds, atol=1e-4, rtol=0)
        torch.testing.assert_close(network.text(ids), wanted.text_embeds, atol=1e-4, rtol=0)
        torch.testing.assert_close(ours(ids, images=pixels), wanted.logits_per_image, atol=1e-4, rtol=0)
        features = network.vision(pixels)
        torch.testing.assert_close(ours(ids, images=features), wanted.logits_per_image, atol=1e-4, rtol=0)
        assert wanted.text_embeds.std(dim=0).mean() > 1e-2 < wanted.image_embeds.std(dim=0).mean()
        if name == "siglip":
            with pytest.raises(DataError, match="12 tokens long and have a mask; this model reads texts padded"):
                network.text(ids, attention_mask=mask)
            return
        masked = theirs(input_ids=ids, pixel_values=pixels, attention_mask=mask).text_embeds
        torch.testing.assert_close(network.text(ids, attention_mask=mask), masked, atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", CASES)
def test_a_hub_checkpoint_and_back(name: str, tmp_path: Path) -> None:
    theirs = reference(name)
    theirs.save_pretrained(tmp_path / "theirs")
    ours = sepiola.load(tmp_path / "theirs")
    agree(ours, theirs, name)
    ours.save_hub(tmp_path / "ours")
    again, report = type(theirs).from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"] and not report["mismatched_keys"]
    agree(ours, again.eval(), name)
    reread = sepiola.load(tmp_path / "ours")
    assert reread.spec == ours.spec
    ours.save(tmp_path / "own")
    agree(sepiola.load(tmp_path / "own"), theirs, name)


@pytest.mark.parametrize(("name", "alone"), [("clip", CLIPVisionModel), ("siglip", SiglipVisionModel)])
def test_the_eye_alone_of_a_whole_checkpoint(name: str, alone: Any, tmp_path: Path) -> None:
    """From a Hub folder, from ours, and from the folder `vision` beside another model; written as a vision encoder."""
    theirs = reference(name)
    theirs.save_pretrained(tmp_path / "whole")
    sepiola.load(tmp_path / "whole").save(tmp_path / "own")
    pixels = torch.randn(2, 3, 35, 35)
    with torch.inference_mode():
        wanted = theirs.vision_model(pixels).last_hidden_state
        for folder in ("whole", "own"):
            vision = sepiola.load(tmp_path / folder, vision_only=True)
            assert vision.spec.language is None and not any(n.startswith("language") for n in vision.state_dict())
            torch.testing.assert_close(vision(pixels), wanted, atol=1e-4, rtol=0)
        vision.save_hub(tmp_path / "vision")
        torch.testing.assert_close(
            alone.from_pretrained(tmp_path / "vision").eval()(pixels).last_hidden_state, wanted, atol=1e-4, rtol=0
        )
    raw = {"name": "fused", "family": "mm-cot", "vision": vision.spec.vision, "bridge": {"kind": "gated-fusion"}}
    language = preset("mm-cot-tiny").language
    unscaled = language.attention.model_copy(update={"scale": 1.0})
    spec = ModelSpec.parse({**raw, "language": language.model_copy(update={"attention": unscaled})})
    hub.save(tmp_path / "fused", build(spec), spec)
    (tmp_path / "fused" / "vision").rename(tmp_path / "old vision")
    (tmp_path / "whole").rename(tmp_path / "fused" / "vision")
    fused = sepiola.load(tmp_path / "fused")
    assert fused.spec.vision == vision.spec.vision
    assert all(torch.equal(fused.vision.state_dict()[n], tensor) for n, tensor in vision.state_dict().items())
    with pytest.raises(CheckpointError, match="holds no vision encoder"):
        (tmp_path / "fused" / "vision").rename(tmp_path / "whole")
        sepiola.load(tmp_path / "fused", vision_only=True)


def test_what_the_layouts_cannot_hold_is_refused_and_names_surface(tmp_path: Path) -> None:
    reference("clip").save_pretrained(tmp_path)
    ours = sepiola.load(tmp_path)
    for change, message in (
        ({"bridge": ours.spec.bridge.model_copy(update={"image": "mean"})}, r"bridge\.image"),
        ({"language": ours.spec.language.model_copy(update={"kind": "encoder"})}, "kind 'decoder'"),
    ):
        with pytest.raises(CheckpointError, match=message):
            hub.save(tmp_path / "no", ours.network, ours.spec.model_copy(update=change))
    state = hub.FAMILIES["clip"].to_hub(ours.state_dict(), ours.spec)
    state["text_model.adapter.weight"] = state.pop("text_projection.weight")
    with pytest.raises(RuntimeError, match=r"(?s)Missing key.*bridge\.text_projection.*text_model\.adapter"):
        ours.network.load_state_dict(hub.FAMILIES["clip"].to_ours(state, ours.spec), strict=True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["vision.class_token=false"], "bridge.image 'class': 'vision' has no class token; take 'mean'"),
        (["bridge.image=attention", "bridge.width=32"], "must be a ViT of bridge.width (32)"),
        (["bridge.text=last", "language.positions.kind=rotary"], "bridge.text 'last': texts are padded"),
        (["language.head.kind=token"], "without a head (head: {kind: none})"),
        (["vision=null"], "a dual encoder needs a 'vision' encoder"),
    ],
)
def test_impossible_dual_encoders_are_refused(changes: list[str], message: str) -> None:
    with pytest.raises(SpecError) as error:
        ModelSpec.parse(override(preset("clip-vit-base-patch32").to_dict(), changes))
    assert message in str(error.value)
