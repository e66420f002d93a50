"""Flamingo by the native core: the pictures that tokens see, torch's states but for rounding, what is read once."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import sepiola
from sepiola.generation.engine import Engine, Prompt
from sepiola.generation.sampling import Sampling
from sepiola.models.multimodal.cross import CrossModel
from sepiola.runtime.native import KERNELS, THREADS, NativeExecutor, NativeLanguage
from sepiola.runtime.plain import TorchExecutor
from tests.tiny import decoder, encoder_decoder, llama, vit

core = pytest.importorskip("sepiola_edge._native", reason="the native core is not built: pip install ./edge")
SETS: list[str] = core.instruction_sets()
IMG, PATCHES = 9, 5
"""The placeholder, and the features of an image."""

RESAMPLER = {"latents": 3, "depth": 2, "attention": {"heads": 2, "head_width": 8}, "frames": 3}
OPENFLAMINGO = {"latents": 70, "depth": 1, "attention": {"heads": 4, "kv_heads": 2, "head_width": 6}}
MODELS: dict[str, tuple[Any, Any]] = {
    "flamingo": (llama(layers=4), {"every": 2, "first": 1, "context_width": 14, "resampler": RESAMPLER}),
    "openflamingo": (
        decoder(60, 24, 3, positions={"kind": "rotary"}, norm={"bias": False}),
        {"activation": "squared_relu", "resampler": {**OPENFLAMINGO, "width": 20, "activation": "squared_relu"}},
    ),
    "post": (llama(norm={"kind": "layer", "place": "post"}), {"first": 1, "resampler": RESAMPLER}),
    "t5": (encoder_decoder(layers=2, width=24), {"resampler": RESAMPLER}),
}


def network_of(name: str) -> CrossModel:
    """A network whose gates are open and whose matrices are so large that attention chooses."""
    language, bridge = MODELS[name]
    heads = {"heads": 3, "head_width": 8}
    raw = {"kind": "gated-cross", "token": IMG, "attention": heads, "image_width": 12, "expansion": 2, **bridge}
    network = sepiola.build({"language": language, "bridge": raw}).network
    generator = torch.Generator().manual_seed(0)
    for part, parameter in network.named_parameters():
        if part.endswith("_gate"):
            parameter.data.fill_(0.8)
        elif parameter.dim() > 1:
            nn.init.normal_(parameter, std=1.3 * parameter[0].numel() ** -0.5, generator=generator)
        elif part.endswith(("norm.weight", "bias")):
            low, high = (0.5, 1.5) if "weight" in part else (-0.3, 0.3)
            nn.init.uniform_(parameter, low, high, generator=generator)
    assert isinstance(network, CrossModel)
    return network.eval()


def features(count: int, seed: int = 3) -> Tensor:
    return torch.randn(count, PATCHES, 12, generator=torch.Generator().manual_seed(seed))


PROMPTS = [
    ([7, 8, IMG, 10, 11, IMG, 12, 13], 2),  # text before a picture, and two pictures
    ([IMG, 20, 21, 22], 1),
    ([30, 31, 32, 33, 34], 0),
    ([40, 41, IMG], 1),  # the placeholder goes in next
]


@torch.inference_mode()
def states_of(executor: TorchExecutor, images: Tensor | None = None) -> list[Tensor]:
    """States of a padded batch: of the prompt's last token and two more, of chosen rows, of a step back."""
    longest = max(len(tokens) for tokens, _ in PROMPTS)
    causal = executor.spec.kind == "decoder"

    def padded(tokens: list[int]) -> list[int]:
        padding = [0] * (longest - len(tokens))
        return padding + tokens if causal else tokens + padding

    tokens = torch.tensor([padded(tokens) for tokens, _ in PROMPTS])
    given = features(sum(count for _, count in PROMPTS)) if images is None else images
    rows = executor.begin(tokens, 12, attention_mask=(tokens != 0).long(), images=given)
    first = tokens[:, -1:] if causal else torch.zeros(4, 1, dtype=torch.long)
    after = torch.randint(10, 50, (4, 3), generator=torch.Generator().manual_seed(1))
    result = [rows.extend(torch.cat((first, after[:, :2]), dim=1))]
    order = torch.tensor([3, 0, 0, 1])
    rows.select(order)
    result.append(rows.extend(after[order]))
    rows.rewind(2)
    result.append(rows.extend(after[order, 1:2]))
    return result


def distance(given: list[Tensor], expected: list[Tensor]) -> float:
    return max(float((a - b).norm() / b.norm()) for a, b in zip(given, expected, strict=True))


@pytest.mark.parametrize("name", MODELS)
def test_states_are_torchs(name: str) -> None:
    network = network_of(name)
    expected = states_of(TorchExecutor(network))
    apart = {bits: distance(states_of(NativeExecutor(network, bits=bits)), expected) for bits in (32, 16, 8, 4)}
    assert apart[32] < 1e-5
    assert apart[16] < 0.03 and apart[8] < 0.1 and apart[4] < 1
    assert apart[32] < apart[16] and apart[8] < apart[4]
    other = states_of(TorchExecutor(network), features(4, seed=4))
    assert distance(other, expected) > 0.05  # pictures are seen


def test_videos_are_torchs_also_where_they_are_longer_than_the_embeddings(monkeypatch: pytest.MonkeyPatch) -> None:
    network = network_of("flamingo")
    monkeypatch.setattr(network, "features", lambda images: images)
    for frames in (1, 2, 3, 7):
        videos = torch.randn(4, frames, PATCHES, 12, generator=torch.Generator().manual_seed(frames))
        expected = states_of(TorchExecutor(network), videos)
        assert distance(states_of(NativeExecutor(network, bits=32), videos), expected) < 1e-5


@pytest.mark.parametrize("bits", [4, 8, 16])
def test_instruction_sets_and_threads_change_no_bit(bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    network = network_of("openflamingo")
    results = []
    for kernels, threads in [(each, "1") for each in SETS] + [(SETS[0], "2"), (SETS[-1], "3")]:
        monkeypatch.setenv(KERNELS, kernels)
        monkeypatch.setenv(THREADS, threads)
        results.append(states_of(NativeExecutor(network, bits=bits)))
    assert all(torch.equal(a, b) for other in results for a, b in zip(results[0], other, strict=True))


@torch.inference_mode()
def test_prompts_share_what_they_begin_with_as_long_as_their_pictures_are_the_same() -> None:
    network = network_of("flamingo")
    start = torch.randint(10, 50, (40,), generator=torch.Generator().manual_seed(1)).tolist()
    shown = [*start[:20], IMG, *start[20:], IMG]
    one, two, three = features(3)
    first = Prompt([*shown, 12], images=torch.stack((one, two)))
    others = [
        (Prompt([*shown, 13], images=torch.stack((one, two))), 0),
        (Prompt([*shown, 13], images=torch.stack((one, three))), 1),  # from the second picture on
        (Prompt([*shown, 13], images=torch.stack((two, two))), 22),  # from the first
        (Prompt([*start, 13, 14]), 21),
    ]
    texts = set()
    for prompt, more in others:
        engine = Engine(NativeExecutor(network, bits=8), ends=frozenset())
        language = engine.executor.network.language  # type: ignore[union-attr]
        assert isinstance(language, NativeLanguage)
        both = engine.generate([first, prompt], max_tokens=6)
        assert language.core.computed == 42 + more + 2 * 6
        alone = Engine(NativeExecutor(network, bits=8), ends=frozenset())
        assert alone.generate([prompt], max_tokens=6)[0] == both[1]
        texts.add(tuple(both[1][0]))
        assert alone.generate([first], max_tokens=6)[0] == both[0]
        engine.generate([first], max_tokens=1)
        before = language.core.computed
        engine.generate([first], max_tokens=1)
        assert language.core.computed - before <= 2  # what is still held is not read again
    assert len(texts) > 1


@torch.inference_mode()
def test_chains_share_their_pictures() -> None:
    network = network_of("flamingo")
    prompt, draw = Prompt([IMG, *range(10, 40)], images=features(1)), Sampling(temperature=1.0, seed=3)
    engine = Engine(NativeExecutor(network, bits=32), ends=frozenset())
    (chains,) = engine.generate([prompt], max_tokens=8, sampling=draw, samples=4)
    (expected,) = Engine(TorchExecutor(network), ends=frozenset()).generate(
        [prompt], max_tokens=8, sampling=draw, samples=4
    )
    assert chains == expected and len({tuple(chain) for chain in chains}) > 1


def test_a_whole_model_sees_by_the_core() -> None:
    seeing = vit(16, 8, width=12)
    language, bridge = MODELS["flamingo"]
    raw = {"kind": "gated-cross", "token": IMG, "attention": {"heads": 3, "head_width": 8}, **bridge}
    network = sepiola.build({"language": language, "vision": seeing, "bridge": raw}).network
    assert isinstance(network, CrossModel)
    for name, parameter in network.named_parameters():
        if name.endswith("_gate"):
            parameter.data.fill_(0.9)
    pixels = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(3))
    native = NativeExecutor(network, bits=32)
    assert not list(native.network.parameters())
    assert distance(states_of(native, pixels), states_of(TorchExecutor(network), pixels)) < 1e-5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"before": [0, 9]}, "names layer 9"),
        ({"before": [1, 1]}, "names layer 1 twice"),
        ({"before": []}, "names no layer"),
        ({"heads": 6}, r"'bridge.layers.0.cross_q' is \(24, 24\)"),
        ({"resampler": {}}, "has no 'latents'"),
        ({"context_width": 15}, r"'bridge.context' is \(14, 12\)"),
        ({"token": 1 << 30}, "the spec's 'token' is"),
    ],
)
def test_a_spec_that_does_not_fit_is_refused(change: dict[str, Any], message: str) -> None:
    from sepiola.runtime.native_parts import core_model

    spec: dict[str, Any]
    spec, tensors = core_model(network_of("flamingo"), 8)
    core.Model(spec, tensors)
    with pytest.raises(ValueError, match=message):
        core.Model({**spec, "bridge": {**spec["bridge"], **change}}, tensors)
