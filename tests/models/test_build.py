"""Presets built: parameters as published."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from sepiola.models.build import build, count, outline, parameter_counts, preset, presets, resolve_model

# Published counts; T5 v1.1 and FLAN-T5 with their separate head (see docs/systems/multimodal-cot.md).
PUBLISHED = {
    "t5-small": 60.5e6,
    "t5-base": 222.9e6,
    "t5-large": 737.7e6,
    "t5-xl": 2.85e9,
    "t5-xxl": 11.3e9,
    "flan-t5-small": 77.0e6,
    "flan-t5-base": 247.6e6,
    "flan-t5-large": 783.2e6,
    "flan-t5-xl": 2.85e9,
    "flan-t5-xxl": 11.13e9,
    "gpt-1": 117e6,
    "gpt2": 124.4e6,
    "gpt2-medium": 355e6,
    "gpt2-large": 774e6,
    "gpt2-xl": 1.558e9,
    "gpt-3-125m": 125e6,
    "gpt-3-760m": 760e6,
    "gpt-3-13b": 13.0e9,
    "gpt-3-175b": 175e9,
    "opt-125m": 125e6,
    "opt-30b": 30e9,
    "opt-66b": 66e9,
    "opt-175b": 175e9,
    "llama-7b": 6.74e9,
    "llama-13b": 13.0e9,
    "llama-30b": 32.5e9,
    "llama-65b": 65.2e9,
    "tinyllama-1.1b": 1.1e9,
    "smollm2-135m": 134.5e6,
    "smollm2-360m": 361.8e6,
    "smollm2-1.7b": 1.711e9,
    "qwen2.5-0.5b": 0.494e9,
    "qwen2.5-1.5b": 1.544e9,
    "qwen3-0.6b": 0.596e9,
    "qwen3-1.7b": 1.721e9,
    "gemma-3-270m": 268e6,
    "mixtral-8x7b": 46.7e9,
    "olmoe-1b-7b": 6.92e9,
    "qwen1.5-moe-a2.7b": 14.3e9,
    "palm-8b": 8.63e9,
    "palm-62b": 62.5e9,
    "palm-540b": 540.35e9,
    "bert-base": 110e6,
    "bart-base": 139e6,
    "bart-large": 406e6,
    "smolvlm-256m": 256.5e6,
    "smolvlm-500m": 507.5e6,
    "llava-1.5-7b": 7.06e9,
    "llava-onevision-0.5b": 0.894e9,
    "clip-vit-base-patch32": 151.3e6,
    "clip-vit-base-patch16": 149.6e6,
    "clip-vit-large-patch14": 427.6e6,
    "clip-vit-large-patch14-336": 427.9e6,
    "clip-vit-huge-patch14": 986.1e6,
    "siglip-base-patch16-224": 203.2e6,
    "siglip-base-patch16-512": 203.8e6,
    "siglip-so400m-patch14-384": 878.0e6,
    "mm-cot-base": 223e6,
    "mm-cot-large": 738e6,
    "chinchilla-1.4b": 1.37e9,
    "chinchilla-7b": 7.1e9,
    "chinchilla-70b": 70.0e9,
    "openflamingo-3b": 2.55e9,
    "openflamingo-4b": 4.05e9,
    "openflamingo-9b": 8.13e9,
}


@pytest.mark.parametrize("name", list(PUBLISHED))
def test_published_sizes(name: str) -> None:
    spec = presets()[name]
    counts = parameter_counts(spec)
    counted: Any = sum(counts[part] for part in spec.counted if part in counts)
    assert counted == pytest.approx(PUBLISHED[name], rel=0.005)


NFNET = 435e6  # Flamingo's vision encoder, which its presets leave out


@pytest.mark.parametrize(
    ("name", "gated", "total"),
    [("flamingo-3b", 1.2e9, 3.2e9), ("flamingo-9b", 1.6e9, 9.3e9), ("flamingo-80b", 10e9, 80e9)],
)
def test_flamingos_parts_round_to_the_papers_table(name: str, gated: float, total: float) -> None:
    model: Any = outline(presets()[name])
    resampler = count(model.bridge.resampler)
    assert resampler == pytest.approx(194e6, rel=0.005)
    assert count(model.bridge) - resampler == pytest.approx(gated, rel=0.035)
    assert count(model) + NFNET == pytest.approx(total, rel=0.007)


def test_mimetic_weights_differ_where_heads_look() -> None:
    mimetic = resolve_model({"like": "mm-cot-tiny", "language": {"mimetic": True}})
    plain, like = (build(spec, seed=3).state_dict() for spec in (preset("mm-cot-tiny"), mimetic))
    changed = [name for name in plain if not torch.equal(plain[name], like[name])]
    assert all(name.endswith(("relative.embedding.weight", "cross.kv.weight")) for name in changed)
    layers = [name.removesuffix("kv.weight") for name in changed if name.endswith("kv.weight")]
    assert len(changed) == 2 + len(layers) and layers
    for layer in layers:
        keys, queries = like[f"{layer}kv.weight"][:128], like[f"{layer}q.weight"]
        torch.testing.assert_close(keys / keys.norm(), queries / queries.norm())
        assert torch.equal(like[f"{layer}kv.weight"][128:], plain[f"{layer}kv.weight"][128:])
