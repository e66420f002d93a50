"""Vision checkpoints: the features of `transformers` on the same weights, from and to its files."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import (
    Blip2VisionConfig,
    Blip2VisionModel,
    CLIPVisionConfig,
    CLIPVisionModel,
    DetrConfig,
    DetrForObjectDetection,
    DetrModel,
    InstructBlipVisionConfig,
    InstructBlipVisionModel,
    PreTrainedModel,
    ResNetConfig,
    ResNetForImageClassification,
    ResNetModel,
    SiglipVisionConfig,
    SiglipVisionModel,
    ViTConfig,
    ViTForImageClassification,
    ViTModel,
)

from sepiola.checkpoints import hub
from sepiola.checkpoints.families import clip, detr, eva, resnet, siglip, vit
from sepiola.checkpoints.preprocessor import pixels_from_preprocessor, preprocessor_from_pixels
from sepiola.errors import CheckpointError
from sepiola.models.build import build, build_vision_encoder, preset
from sepiola.specs.model import ModelSpec
from sepiola.specs.vision import PixelSpec
from tests.hub.checkpoints import timm_names

FAMILIES: dict[str, ModuleType] = {"vit": vit, "clip": clip, "resnet": resnet, "detr": detr}
FAMILIES |= {"siglip": siglip, "eva": eva}

SMALL: dict[str, Any] = {
    "hidden_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 96,
    "image_size": 32,
    "patch_size": 8,
}
ODD: dict[str, Any] = {
    "hidden_size": 42,
    "num_hidden_layers": 1,
    "num_attention_heads": 3,
    "intermediate_size": 50,
    "image_size": 35,
    "patch_size": 7,
}
BASIC = {"embedding_size": 12, "hidden_sizes": [12, 20, 24], "depths": [2, 1, 2], "layer_type": "basic"}
BOTTLENECK = {"embedding_size": 16, "hidden_sizes": [16, 32], "depths": [2, 2], "layer_type": "bottleneck"}


def detr_config(backbone: dict[str, Any], **changes: Any) -> DetrConfig:
    return DetrConfig(
        use_timm_backbone=False,
        use_pretrained_backbone=False,
        backbone=None,
        backbone_config=ResNetConfig(**backbone, out_features=[f"stage{len(backbone['depths'])}"]),
        **{
            "d_model": 24,
            "encoder_layers": 2,
            "decoder_layers": 1,
            "encoder_attention_heads": 3,
            "num_queries": 7,
            "decoder_attention_heads": 3,
            "encoder_ffn_dim": 40,
            "decoder_ffn_dim": 40,
            **changes,
        },
    )


def randomise(model: nn.Module) -> None:
    """Every tensor takes part: fresh norms and statistics would hide a lost or swapped one."""
    for name, value in model.state_dict().items():
        if not value.is_floating_point():
            value.fill_(7)
        elif name.endswith("running_var"):
            value.uniform_(0.5, 2.0)
        elif value.dim() == 1 and name.endswith("weight"):
            value.normal_(1.0, 0.2)
        elif value.dim() == 4:
            value.normal_(0.0, value[0].numel() ** -0.5)
        else:
            value.normal_(0.0, 0.2)


# family, the Hub's class and config, the picture's height and width
CASES = [
    ("vit", ViTModel, lambda: ViTConfig(**SMALL), 32, 32),
    (
        "vit",
        ViTForImageClassification,
        lambda: ViTConfig(**ODD, hidden_act="gelu_new", qkv_bias=False),
        35,
        35,
    ),
    ("clip", CLIPVisionModel, lambda: CLIPVisionConfig(**SMALL), 32, 32),
    ("clip", CLIPVisionModel, lambda: CLIPVisionConfig(**ODD), 35, 35),
    ("siglip", SiglipVisionModel, lambda: SiglipVisionConfig(**SMALL), 32, 32),
    ("siglip", SiglipVisionModel, lambda: SiglipVisionConfig(**{**ODD, "image_size": 39}), 39, 39),
    ("eva", Blip2VisionModel, lambda: Blip2VisionConfig(**SMALL), 32, 32),
    ("eva", InstructBlipVisionModel, lambda: InstructBlipVisionConfig(**ODD, qkv_bias=False), 35, 35),
    ("resnet", ResNetModel, lambda: ResNetConfig(**BOTTLENECK), 45, 70),
    ("resnet", ResNetForImageClassification, lambda: ResNetConfig(**BASIC), 33, 64),
    ("detr", DetrModel, lambda: detr_config(BASIC), 64, 90),
    ("detr", DetrForObjectDetection, lambda: detr_config(BOTTLENECK, d_model=36), 75, 41),
    ("detr", DetrModel, lambda: detr_config(BASIC, encoder_attention_heads=6, encoder_ffn_dim=52), 49, 66),
]
NAMES = [f"{family}-{kind.__name__}-{height}x{width}" for family, kind, _, height, width in CASES]


def hub_features(model: PreTrainedModel, pixels: Tensor) -> Tensor:
    base = model if hasattr(model, "get_input_embeddings") and not hasattr(model, "vit") else model.vit
    base = getattr(base, "resnet", base)
    states = base(pixels).last_hidden_state
    return states.flatten(2).transpose(1, 2) if states.dim() == 4 else states


def saved(model: PreTrainedModel, folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    model.save_pretrained(folder)
    return json.loads((folder / "config.json").read_text()), load_file(folder / "model.safetensors")


def ours(family: str, config: dict[str, Any], state: dict[str, Tensor]) -> tuple[ModelSpec, nn.Module]:
    spec = FAMILIES[family].spec_from_config(config)
    assert spec.vision is not None
    with torch.device("meta"):
        model = build_vision_encoder(spec.vision)
    model.load_state_dict(FAMILIES[family].to_ours(state, spec), strict=True, assign=True)
    return spec, model.eval()


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_features_of_a_hub_checkpoint(case: tuple, tmp_path: Path) -> None:
    family, kind, config, height, width = case
    theirs = kind(config()).eval()
    randomise(theirs)
    pixels = torch.randn(3, 3, height, width)
    _, model = ours(family, *saved(theirs, tmp_path))
    with torch.no_grad():
        expected, got = hub_features(theirs, pixels), model(pixels)
    assert got.shape == expected.shape and got.shape[-1] == model.width
    assert expected.std() > 1e-2 and (expected[0] - expected[1]).abs().max() > 1e-3
    torch.testing.assert_close(got, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_the_hub_reads_what_we_write(case: tuple, tmp_path: Path) -> None:
    family, kind, config, height, width = case
    (tmp_path / "theirs").mkdir()
    spec, model = ours(family, *saved(kind(config()), tmp_path / "theirs"))
    randomise(model)
    folder = tmp_path / "ours"
    folder.mkdir()
    config_file = FAMILIES[family].config_from_spec(spec)
    state = FAMILIES[family].to_hub(model.state_dict(), spec)
    (folder / "config.json").write_text(json.dumps(config_file))
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    bases = {"vit": ViTModel, "clip": CLIPVisionModel, "resnet": ResNetModel, "detr": DetrModel}
    base = (bases | {"siglip": SiglipVisionModel, "eva": Blip2VisionModel})[family]
    extra = {"add_pooling_layer": False} if family == "vit" else {}
    theirs, report = base.from_pretrained(folder, output_loading_info=True, **extra)
    assert not report["missing_keys"] and not report["unexpected_keys"] and not report["mismatched_keys"]
    pixels = torch.randn(3, 3, height, width)
    with torch.no_grad():
        torch.testing.assert_close(hub_features(theirs.eval(), pixels), model(pixels), atol=1e-4, rtol=1e-4)
    assert FAMILIES[family].spec_from_config(config_file) == spec
    again = FAMILIES[family].to_ours(load_file(folder / "model.safetensors"), spec)
    assert again.keys() == model.state_dict().keys()
    assert all(torch.equal(again[name], value) for name, value in model.state_dict().items())


def test_clip_is_pooled_as_the_hub_pools(tmp_path: Path) -> None:
    theirs = CLIPVisionModel(CLIPVisionConfig(**SMALL)).eval()
    randomise(theirs)
    config, state = saved(theirs, tmp_path)
    state["vision_model.embeddings.position_ids"] = torch.arange(17)[None]  # as files of older versions hold it
    _, model = ours("clip", config, state)
    pixels = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(model.pooled(pixels), theirs(pixels).pooler_output, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("backbone", [BASIC, BOTTLENECK], ids=["basic", "bottleneck"])
def test_detr_with_the_names_of_the_published_files(backbone: dict[str, Any], tmp_path: Path) -> None:
    """facebook/detr-resnet-50 names its backbone as torchvision and timm do."""
    theirs = DetrForObjectDetection(detr_config(backbone)).eval()
    randomise(theirs)
    config, state = saved(theirs, tmp_path)
    published = timm_names(state)
    assert "model.backbone.conv_encoder.model.layer2.0.downsample.0.weight" in published
    assert "model.backbone.conv_encoder.model.bn1.running_var" in published
    published["model.backbone.conv_encoder.model.bn1.num_batches_tracked"] = torch.tensor(5)
    _, model = ours("detr", config, published)
    pixels = torch.randn(2, 3, 70, 50)
    with torch.no_grad():
        torch.testing.assert_close(model(pixels), hub_features(theirs, pixels), atol=1e-4, rtol=1e-4)


def test_the_config_of_the_published_detr() -> None:
    old = {
        "model_type": "detr",
        "backbone": "resnet101",
        "use_timm_backbone": True,
        "d_model": 256,
        "position_embedding_type": "sine",
        "dilation": False,
    }
    assert detr.spec_from_config(old).vision == preset("detr-resnet-101").vision
    new = {"model_type": "detr", "backbone_config": {"model_type": "timm_backbone", "backbone": "resnet50"}}
    assert detr.spec_from_config(new).vision == preset("detr-resnet-50").vision


@pytest.mark.parametrize(
    "name", ["vit-tiny", "clip-vit-base-32", "siglip-vit-so400m-14-384", "eva-clip-g", "resnet-18", "detr-resnet-50"]
)
def test_the_config_of_every_family_reads_back(name: str) -> None:
    spec = preset(name)
    family = hub.FAMILIES[spec.family]
    file = preprocessor_from_pixels(spec.vision.pixels)
    assert family.spec_from_config(family.config_from_spec(spec), preprocessor=file).vision == spec.vision


@pytest.mark.parametrize("family", FAMILIES)
def test_unknown_and_missing_names_surface(family: str) -> None:
    name = {"resnet": "resnet-tiny", "detr": "detr-tiny"}.get(family, "vit-tiny")
    spec = tiny_detr() if name == "detr-tiny" else preset(name)
    model = build(spec)
    state = FAMILIES[family].to_hub(model.state_dict(), spec)
    lost = next(name for name in state if name.endswith("weight"))
    state.pop(lost)
    state["encoder.adapter.weight"] = torch.zeros(2)
    with pytest.raises(RuntimeError, match=r"(?s)Missing key.*Unexpected key.*encoder\.adapter\.weight"):
        model.load_state_dict(FAMILIES[family].to_ours(state, spec), strict=True)


def tiny_detr() -> ModelSpec:
    return ModelSpec.parse(
        {
            "name": "tiny",
            "family": "detr",
            "vision": {
                "kind": "detr",
                "pixels": {"size": 64, "mode": "fit", "longest": 96},
                "width": 16,
                "heads": 2,
                "layers": 1,
                "encoder_layers": 1,
                "feed_forward": 32,
                "queries": 5,
                "backbone": {
                    "stem_width": 8,
                    "widths": (8, 16),
                    "depths": (1, 1),
                    "block": "basic",
                    "frozen_norm": True,
                },
            },
        }
    )


@pytest.mark.parametrize(
    ("family", "config", "message"),
    [
        ("vit", {"hidden_act": "mish"}, "the activation 'mish' is not known"),
        ("vit", {"image_size": [224, 192]}, "expected a square"),
        ("vit", {"num_channels": 1}, "num_channels 1"),
        ("resnet", {"downsample_in_bottleneck": True}, "downsample_in_bottleneck"),
        ("detr", {"dilation": True}, "dilation"),
        ("detr", {"backbone": "swin_tiny"}, "backbone 'swin_tiny'"),
        ("detr", {"activation_function": "gelu"}, "activation_function 'gelu'"),
    ],
)
def test_architectures_that_are_not_supported_are_refused(family: str, config: dict, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        FAMILIES[family].spec_from_config(config)


def test_a_vit_that_the_format_cannot_hold_is_refused() -> None:
    spec = ModelSpec.parse(
        {
            "name": "bare",
            "family": "vit",
            "vision": {**preset("vit-tiny").vision.to_dict(), "class_token": False},
        }
    )
    with pytest.raises(CheckpointError, match="class_token"):
        vit.config_from_spec(spec)
    with pytest.raises(CheckpointError, match="holds no ViT"):
        clip.config_from_spec(preset("resnet-tiny"))


def test_preprocessor_files_old_and_new() -> None:
    crop = PixelSpec(size=224, mode="crop")
    assert pixels_from_preprocessor({"size": 256, "crop_size": 224, "resample": 3}, crop) == PixelSpec(
        size=224, mode="crop", resize=256, filter="bicubic"
    )
    assert pixels_from_preprocessor({"size": 384, "resample": 2}, PixelSpec(size=224)) == PixelSpec(size=384)
    assert pixels_from_preprocessor({"size": {"shortest_edge": 224}, "crop_pct": 0.875}, crop).resize == 256
    assert pixels_from_preprocessor({"size": {"shortest_edge": 384}, "crop_pct": 0.875}, crop).mode == "squash"
    fit = PixelSpec(size=800, mode="fit", longest=1333)
    assert pixels_from_preprocessor({"size": 600, "max_size": 1000}, fit) == PixelSpec(
        size=600, mode="fit", longest=1000
    )
    plain = pixels_from_preprocessor({"do_normalize": False}, crop)
    assert plain.mean == (0, 0, 0) and plain.std == (1, 1, 1)
    with pytest.raises(CheckpointError, match="rescale_factor"):
        pixels_from_preprocessor({"rescale_factor": 1 / 127.5}, crop)
    with pytest.raises(CheckpointError, match="image_size 224"):
        vit.spec_from_config({"image_size": 224}, preprocessor={"size": 384})
