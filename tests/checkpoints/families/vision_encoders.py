"""What every family of vision encoders is held to: the features of `transformers` on the same weights, from and to its
files. A family's test file has its cases.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from sepiola.checkpoints.family import Family
from sepiola.models.build import build, build_vision_encoder
from sepiola.specs.model import ModelSpec


class Case(NamedTuple):
    """A class of `transformers` and its config, and the picture's height and width."""

    kind: Any
    config: Any
    height: int
    width: int

    def __str__(self) -> str:
        return f"{self.kind.__name__}-{self.height}x{self.width}"


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


def hub_features(model: PreTrainedModel, pixels: Tensor) -> Tensor:
    base = model if hasattr(model, "get_input_embeddings") and not hasattr(model, "vit") else model.vit
    base = getattr(base, "resnet", base)
    states = base(pixels).last_hidden_state
    return states.flatten(2).transpose(1, 2) if states.dim() == 4 else states


def saved(model: PreTrainedModel, folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    model.save_pretrained(folder)
    return json.loads((folder / "config.json").read_text()), load_file(folder / "model.safetensors")


def ours(family: Family, config: dict[str, Any], state: dict[str, Tensor]) -> tuple[ModelSpec, nn.Module]:
    spec = family.spec_from_config(config, {})
    assert spec.vision is not None
    with torch.device("meta"):
        model = build_vision_encoder(spec.vision)
    model.load_state_dict(family.to_ours(state, spec), strict=True, assign=True)
    return spec, model.eval()


def features_of_a_hub_checkpoint(family: Family, case: Case, tmp_path: Path) -> None:
    kind, config, height, width = case
    theirs = kind(config).eval()
    randomise(theirs)
    pixels = torch.randn(3, 3, height, width)
    _, model = ours(family, *saved(theirs, tmp_path))
    with torch.no_grad():
        expected, got = hub_features(theirs, pixels), model(pixels)
    assert got.shape == expected.shape and got.shape[-1] == model.width
    assert expected.std() > 1e-2 and (expected[0] - expected[1]).abs().max() > 1e-3
    torch.testing.assert_close(got, expected, atol=1e-4, rtol=1e-4)


def the_hub_reads_what_we_write(family: Family, case: Case, base: Any, tmp_path: Path, **extra: Any) -> None:
    kind, config, height, width = case
    (tmp_path / "theirs").mkdir()
    spec, model = ours(family, *saved(kind(config), tmp_path / "theirs"))
    randomise(model)
    folder = tmp_path / "ours"
    folder.mkdir()
    config_file = family.config_from_spec(spec)
    state = family.to_hub(model.state_dict(), spec)
    (folder / "config.json").write_text(json.dumps(config_file))
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    theirs, report = base.from_pretrained(folder, output_loading_info=True, **extra)
    assert not report["missing_keys"] and not report["unexpected_keys"] and not report["mismatched_keys"]
    pixels = torch.randn(3, 3, height, width)
    with torch.no_grad():
        torch.testing.assert_close(hub_features(theirs.eval(), pixels), model(pixels), atol=1e-4, rtol=1e-4)
    assert family.spec_from_config(config_file, {}) == spec
    again = family.to_ours(load_file(folder / "model.safetensors"), spec)
    assert again.keys() == model.state_dict().keys()
    assert all(torch.equal(again[name], value) for name, value in model.state_dict().items())


def unknown_and_missing_names_surface(family: Family, spec: ModelSpec) -> None:
    model = build(spec)
    state = dict(family.to_hub(model.state_dict(), spec))
    lost = next(name for name in state if name.endswith("weight"))
    state.pop(lost)
    state["encoder.adapter.weight"] = torch.zeros(2)
    with pytest.raises(RuntimeError, match=r"(?s)Missing key.*Unexpected key.*encoder\.adapter\.weight"):
        model.load_state_dict(family.to_ours(state, spec), strict=True)
