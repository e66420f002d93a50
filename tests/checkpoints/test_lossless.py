"""A layout writes what it can state, and refuses the rest by name before anything is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import sepiola
from sepiola.checkpoints.lossless import check_lossless
from sepiola.errors import CheckpointError
from sepiola.models.build import merge, preset, presets
from sepiola.specs.model import ModelSpec
from tests.tiny import clip, llama

LLAMA = llama(61, heads=4, hidden=50)
VISION = clip(layers=2, feature_layer=-2, patch_features=True)


def llava(language: dict[str, Any]) -> sepiola.Model:
    bridge = {"kind": "projection", "token": 5, "layers": 2}
    return sepiola.build({"family": "llava", "vision": VISION, "bridge": bridge, "language": language})


@pytest.mark.parametrize(
    ("change", "lost"),
    [
        ({"attention": {"window": 8}}, r"language\.attention\.window \(8, read back as None\)"),
        ({"attention": {"qk_norm": True}}, r"language\.attention\.qk_norm \(True, read back as False\)"),
        ({"attention": {"bias": True, "output_bias": False}}, r"language\.attention\.output_bias"),
        ({"norm": {"kind": "layer", "bias": False}}, r"language\.norm\.kind \(layer, read back as rms\)"),
        ({"positions": {"kind": "none"}}, r"language\.positions\.kind"),
        ({"embedding_scale": 2.0}, r"language\.embedding_scale"),
        ({"feed_forward": {"gated": False}}, r"language\.feed_forward\.gated"),
    ],
)
@pytest.mark.parametrize("whole", [False, True])
def test_what_a_llama_cannot_state_is_refused(change: dict[str, Any], lost: str, whole: bool, tmp_path: Path) -> None:
    language = merge(LLAMA, change)
    ours = llava({**language, "family": "llama"}) if whole else sepiola.build({"family": "llama", "language": language})
    with pytest.raises(CheckpointError, match=f"which has no place for .*{lost}"):
        ours.save_hub(tmp_path / "hub")
    assert not (tmp_path / "hub").exists()


@pytest.mark.parametrize(
    ("family", "change"),
    [
        ("llama", {"attention": {"bias": True}}),
        ("mistral", {"attention": {"window": 8}}),
        ("qwen2", {"attention": {"bias": True, "output_bias": False}}),
        ("qwen3", {"attention": {"qk_norm": True, "head_width": 8}}),
    ],
)
def test_a_part_is_written_in_the_family_that_it_names(family: str, change: dict[str, Any], tmp_path: Path) -> None:
    ours = llava({**merge(LLAMA, change), "family": family})
    ours.save_hub(tmp_path)
    again = sepiola.load(tmp_path)
    assert again.spec.language.family == family
    check_lossless(ours.spec, again.spec)
    assert again.state_dict().keys() == ours.state_dict().keys()


def test_a_part_without_a_family_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"language\.family '' has no layout as a part .*known: flan-t5"):
        llava(LLAMA).save_hub(tmp_path)


def test_training_alone_reads_what_a_layout_may_lack(tmp_path: Path) -> None:
    mixture = {"experts": 2, "chosen": 1, "balance_loss": 0.1, "router_z_loss": 0.1}
    language = merge(LLAMA, {"feed_forward": mixture, "head": {"z_loss": 1e-4}, "dropout": 0.1})
    ours = sepiola.build({"family": "mixtral", "language": language})
    ours.save_hub(tmp_path)
    again = sepiola.load(tmp_path)
    assert again.state_dict().keys() == ours.state_dict().keys()
    assert again.spec.language is not None and again.spec.language.head.z_loss == 0.0


@pytest.mark.parametrize("name", ["quick_gelu", "squared_relu"])
def test_an_activation_that_the_hub_does_not_name_is_refused(name: str, tmp_path: Path) -> None:
    vision = merge(clip(layers=2), {"feed_forward": {"activation": name}})
    ours = sepiola.build({"family": "clip", "vision": vision})
    if name == "quick_gelu":
        ours.save_hub(tmp_path)
        assert sepiola.load(tmp_path).spec.vision == ours.spec.vision
        return
    with pytest.raises(
        CheckpointError, match="the activation 'squared_relu' has no name at the Hub: save it with save"
    ):
        ours.save_hub(tmp_path)


def test_presets_remember_the_families_of_their_parts() -> None:
    families = {
        name: (spec.language.family if spec.language else None, spec.vision.family if spec.vision else None)
        for name, spec in presets().items()
    }
    assert families["llava-1.5-7b"] == ("llama", "clip")
    assert families["llava-onevision-tiny"] == ("qwen2", "siglip")
    assert families["blip2-flan-t5-xl"] == ("flan-t5", "blip_2_vision_model")
    assert families["mm-cot-base"] == ("t5", "detr")
    assert (preset("qwen3-0.6b").language.family, preset("gpt2").language.family) == ("qwen3", "gpt2")
    spec = preset("llava-tiny")
    assert ModelSpec.parse(spec.to_dict()) == spec
