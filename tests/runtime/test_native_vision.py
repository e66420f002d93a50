"""Vision encoders and bridges by the native core: what torch computes but for rounding, the same bits everywhere."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import sepiola
from sepiola.errors import DataError
from sepiola.models.multimodal.fused import FusedModel
from sepiola.models.multimodal.prefix import PrefixModel
from sepiola.models.multimodal.vision_language import VisionLanguageModel
from sepiola.runtime.native import KERNELS, THREADS, NativeExecutor
from sepiola.runtime.native_parts import core_model
from sepiola.runtime.plain import TorchExecutor
from tests.hub_folders import CONFIGS, vision_language_folder
from tests.tiny import clip, colour_picture, detr, encoder_decoder, llama, noise_picture, qformer, randomise, vit

core = pytest.importorskip("sepiola_edge._native", reason="the native core is not built: pip install ./edge")
SETS: list[str] = core.instruction_sets()

PROJECTION = {"kind": "projection", "token": 7}
GATED = {"width": 24, "activation": "silu", "gated": True}
RESNET = {"kind": "resnet", "pixels": {"size": 40}, "stem_width": 8, "widths": (8, 16), "depths": (1, 2)}
VISION: dict[str, Any] = {
    "vit": vit(24, 8, layers=2, hidden=40, feed_forward={"width": 40, "activation": "gelu", "bias": True}),
    "clip": clip(2),
    "siglip": vit(27, 8, 24, 2, class_token=False, feed_forward={"width": 40, "activation": "gelu_tanh", "bias": True}),
    "llava's clip": clip(3, feature_layer=-2, patch_features=True),
    "experts": vit(layers=2, feed_forward={**GATED, "experts": 4}),
    "gated": vit(width=20, layers=2, norm={"kind": "rms"}, attention={"heads": 2, "kv_heads": 1}, feed_forward=GATED),
    "detr": detr(2, encoder_heads=4, encoder_feed_forward=20),
    "detr over bottlenecks": detr(
        backbone={"stem_width": 8, "widths": (16, 32, 64), "depths": (1, 2, 1), "frozen_norm": True}
    ),
    "resnet": {**RESNET, "block": "basic", "depths": (2, 1)},
    "bottlenecks": RESNET,
}
BRIDGES: dict[str, Any] = {
    "linear": PROJECTION,
    "mlp": {**PROJECTION, "layers": 2},
    "shuffled": {**PROJECTION, "shuffle": 2, "bias": False},
    "neighbours": {**PROJECTION, "neighbours": 4, "layers": 2, "activation": "gelu_tanh"},
}


def network_of(vision: str, bridge: str) -> VisionLanguageModel:
    """A network whose matrices are so large that attention chooses."""
    raw = {"language": llama(), "vision": VISION[vision], "bridge": BRIDGES[bridge]}
    network = randomise(sepiola.build(raw).network, std=0.3).eval()
    draw = torch.Generator().manual_seed(5)
    for name, buffer in network.named_buffers():  # the norms of a backbone
        if buffer.is_floating_point():
            buffer.uniform_(0.5 if name.endswith(("var", "weight")) else -0.5, 1.5, generator=draw)
    assert isinstance(network, VisionLanguageModel)
    return network


def pixels_of(network: VisionLanguageModel, count: int = 3) -> Tensor:
    assert network.vision is not None
    side = network.vision.spec.pixels.size
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(3))


@torch.inference_mode()
def parts_of(network: nn.Module, pixels: Tensor) -> list[Tensor]:
    """Features, and what the bridge makes of them."""
    assert isinstance(network, VisionLanguageModel) and network.vision is not None and network.bridge is not None
    features = network.vision(pixels)
    return [features, network.bridge(features)]


def distance(given: Tensor, expected: Tensor) -> float:
    assert given.shape == expected.shape
    return float((given - expected).norm() / expected.norm())


@pytest.mark.parametrize(
    ("vision", "bridge"), [(name, "linear") for name in VISION] + [("siglip", "mlp"), ("llava's clip", "shuffled")]
)
def test_features_and_vectors_are_torchs(vision: str, bridge: str) -> None:
    network = network_of(vision, bridge)
    pixels = pixels_of(network)
    features, vectors = parts_of(network, pixels)
    apart = {}
    for bits in (32, 16, 8, 4):
        executor = NativeExecutor(network, bits=bits)
        given = executor.features(pixels), executor.network.bridge(features)  # type: ignore[union-attr, operator]
        apart[bits] = [distance(*pair) for pair in zip(given, (features, vectors), strict=True)]
    assert max(apart[32]) < 1e-5 and max(apart[16]) < 0.02 and max(apart[8]) < 0.1
    assert apart[4] == apart[8]  # what sees keeps 8 bits
    assert all(0 < small < large for small, large in zip(apart[32], apart[16], strict=True))


def test_keys_that_have_much_in_common_lose_nothing_in_eight_bits() -> None:
    network = network_of("siglip", "linear")
    pixels = pixels_of(network)
    plain = distance(NativeExecutor(network, bits=8).features(pixels), parts_of(network, pixels)[0])
    for name, bias in network.named_parameters():
        if name.startswith("vision.") and name.endswith("attention.qkv.bias"):
            bias.data[len(bias) // 3 : len(bias) // 3 * 2] += 100
    assert distance(NativeExecutor(network, bits=8).features(pixels), parts_of(network, pixels)[0]) < 1.2 * plain


@pytest.mark.parametrize("size", [(48, 60), (61, 47)])
def test_detr_reads_pictures_of_any_size(size: tuple[int, int]) -> None:
    network = network_of("detr", "linear")
    pixels = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(3))
    native = NativeExecutor(network, bits=32)
    assert distance(native.features(pixels), parts_of(network, pixels)[0]) < 1e-5


TEXT = {"vocabulary": 30, "length": 12, "start": 1, "end": 2, "decode": 3}
QFORMERS: dict[str, Any] = {
    "blip-2": qformer(3, token=7),
    "in every layer": qformer(5, token=7, cross_every=1, attention={"heads": 4, "kv_heads": 2}),
    "gated": qformer(3, token=7, norm={"kind": "rms", "place": "post"}, feed_forward=GATED),
    "instructblip": qformer(3, token=7, layers=3, text=TEXT, instructed=True),
}


@pytest.mark.parametrize("name", QFORMERS)
@torch.inference_mode()
def test_queries_are_torchs(name: str) -> None:
    raw = {"language": llama(), "vision": VISION["siglip"], "bridge": QFORMERS[name]}
    network = randomise(sepiola.build(raw).network, std=0.3).eval()
    assert isinstance(network, PrefixModel)
    features = torch.randn(3, 9, 24, generator=torch.Generator().manual_seed(5))
    words = torch.tensor([[1, 9, 8, 7, 2], [1, 20, 2, 0, 0], [1, 5, 6, 2, 0]])
    more = (words,) if network.bridge.instructed else ()
    expected = network.bridge(features, *more)
    apart = {}
    for bits in (32, 16, 8):
        native = NativeExecutor(network, bits=bits).network
        assert isinstance(native, PrefixModel) and native.bridge.tokens == network.bridge.tokens
        assert (native.first, native.instructed) == (network.first, network.instructed)
        apart[bits] = distance(native.bridge(features, *more), expected)
        alone = torch.cat([native.bridge(features[i : i + 1], *(x[i : i + 1] for x in more)) for i in range(3)])
        assert torch.equal(alone, native.bridge(features, *more))
    assert apart[32] < 1e-5 < apart[16] < 0.02 and apart[8] < 0.1
    if more:
        with pytest.raises(DataError, match="3 images, and none instructions"):
            native.bridge(features)
        with pytest.raises(ValueError, match="outside the bridge's vocabulary"):
            native.bridge(features, words + 20)


@torch.inference_mode()
def test_fused_states_are_torchs() -> None:
    raw = {"language": encoder_decoder(), "vision": VISION["detr"], "bridge": {"kind": "gated-fusion"}}
    network = randomise(sepiola.build(raw).network, std=0.3).eval()
    assert isinstance(network, FusedModel)
    draw = torch.Generator().manual_seed(4)
    source, target = (torch.randint(5, 50, (3, n), generator=draw) for n in (7, 4))
    mask = torch.ones_like(source)
    mask[1, 4:] = 0
    features = torch.randn(3, 5, 16, generator=draw)
    seen = torch.tensor([[1] * 5, [1, 1, 0, 1, 0], [0] * 5])
    features[2] = 0  # a question without a picture
    apart = {}
    for bits in (32, 16, 8):
        executor = NativeExecutor(network, bits=bits)
        assert not list(executor.network.parameters())
        worst = 0.0
        for images in (
            {},
            {"images": features},
            {"images": features, "image_mask": seen},
            {"images": pixels_of(network)},
        ):
            states = [
                made.begin(source, 8, attention_mask=mask, **images).extend(target)
                for made in (executor, TorchExecutor(network))
            ]
            worst = max(worst, distance(*states))
        apart[bits] = worst
    assert apart[32] < 1e-5 < apart[16] < 0.02 and apart[8] < 0.1


def test_neighbours_lie_together() -> None:
    raw = {"language": llama(), "vision": vit(32, 8, class_token=False), "bridge": BRIDGES["neighbours"]}
    network = randomise(sepiola.build(raw).network, std=0.3)
    pixels = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(3))
    native = parts_of(NativeExecutor(network, bits=32).network, pixels)
    assert all(distance(*pair) < 1e-5 for pair in zip(native, parts_of(network, pixels), strict=True))


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize(("vision", "count"), [("llava's clip", 70), ("detr", 5)])
def test_instruction_sets_threads_and_batches_change_no_bit(
    vision: str, count: int, bits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = network_of(vision, "linear")
    pixels = pixels_of(network, count)  # more than go through the layers at once
    results = []
    for kernels, threads in [(each, "1") for each in SETS] + [(SETS[0], "2"), (SETS[-1], "3")]:
        monkeypatch.setenv(KERNELS, kernels)
        monkeypatch.setenv(THREADS, threads)
        made = NativeExecutor(network, bits=bits).network
        results.append(parts_of(made, pixels))
        for index in (0, count - 1):
            alone = parts_of(made, pixels[index : index + 1])
            assert all(torch.equal(one[0], many[index]) for one, many in zip(alone, results[-1], strict=True))
    assert all(torch.equal(a, b) for other in results for a, b in zip(results[0], other, strict=True))


@pytest.mark.parametrize("name", CONFIGS)
def test_a_published_models_answers_are_torchs(name: str, tmp_path: Path) -> None:
    vision_language_folder(tmp_path, name)
    expected, native = sepiola.load(tmp_path), sepiola.load(tmp_path, runtime="native", bits=32)
    messages = [
        {"role": "user", "content": [{"type": "image", "image": picture}, {"type": "text", "text": "What is it? 什么"}]}
        for picture in (noise_picture(3, 70).open(), colour_picture("blue", (64, 40)).open())
    ]
    for message in messages:
        replies = [model.chat([message], max_tokens=8).text for model in (expected, native)]
        assert replies[0] == replies[1] and replies[0]


def test_numpy_alone_is_enough() -> None:
    network = network_of("siglip", "mlp")
    spec, tensors = core_model(network, 8)
    model = core.Model(spec, tensors)
    pixels = pixels_of(network)
    features = model.features(pixels.numpy())
    expected = parts_of(NativeExecutor(network, bits=8).network, pixels)
    assert isinstance(features, np.ndarray) and features.dtype == np.float32 and features.shape == (3, 9, 24)
    assert np.array_equal(features, expected[0].numpy())
    assert np.array_equal(model.vectors(features), expected[1].numpy())
    with pytest.raises(ValueError, match=r"pixels are \(pictures, 3, height, width\)"):
        model.features(np.zeros((1, 1, 27, 27), np.float32))
    with pytest.raises(ValueError, match="features are 20 wide; expected 24"):
        model.vectors(np.zeros((1, 9, 20), np.float32))
    with pytest.raises(ValueError, match="pictures have 8 features; this bridge reads 9"):
        model.vectors(np.zeros((1, 8, 24), np.float32))
    text, _ = core_model(network.language, 8)  # type: ignore[arg-type]
    blind = core.Model(text, tensors)
    with pytest.raises(ValueError, match="no vision encoder"):
        blind.features(pixels.numpy())
    with pytest.raises(ValueError, match="no bridge"):
        blind.vectors(features)


def test_a_picture_of_another_size_is_refused() -> None:
    native = NativeExecutor(network_of("vit", "linear"), bits=8)
    with pytest.raises(DataError, match=r"\(1, 3, 30, 24\): pictures are 30 × 24 pixels; this vision encoder reads 24"):
        native.features(torch.zeros(1, 3, 30, 24))


def test_a_released_network_sees_as_before() -> None:
    network = network_of("clip", "mlp")
    pixels = pixels_of(network)
    expected = parts_of(NativeExecutor(network, bits=8).network, pixels)
    released = parts_of(NativeExecutor(network, bits=8, release=True).network, pixels)
    assert all(torch.equal(*pair) for pair in zip(released, expected, strict=True))
    seeing = [part for name, part in network.parts().items() if name != "language"]
    assert sum(p.numel() for part in seeing for p in part.parameters() if p.dim() == 2) == 0


def test_what_stays_torchs_is_said(caplog: pytest.LogCaptureFixture) -> None:
    raw = {
        "language": llama(),
        "vision": VISION["vit"],
        "bridge": qformer(feed_forward={**GATED, "experts": 4}, token=7),
    }
    network = randomise(sepiola.build(raw).network, std=0.3).eval()
    with caplog.at_level(logging.WARNING):
        native = NativeExecutor(network, bits=32)
    assert [record.message for record in caplog.records] == [
        "the native core does not run this model's bridge, which has mixtures of experts "
        "(bridge.feed_forward.experts): PyTorch does"
    ]
    pixels = pixels_of(native.network)  # type: ignore[arg-type]
    given, expected = parts_of(native.network, pixels), parts_of(network, pixels)
    assert all(distance(*pair) < 1e-5 for pair in zip(given, expected, strict=True))


@pytest.mark.parametrize(
    ("part", "change", "message"),
    [
        ("vision", {"kind": "eye"}, "the spec's 'kind' is 'eye'"),
        ("vision", {"size": 4}, "the spec's 'patch' is 8; expected 1 to 4"),
        ("vision", {"size": 1 << 40}, "the spec's 'size' is"),
        ("vision", {"patch": 4}, "'vision.positions' has"),
        ("vision", {"class_token": True}, "'vision.positions' has"),
        ("vision", {"patch_features": True}, "leaves out a class token"),
        ("vision", {"stack": {}}, "has no 'layers'"),
        ("vision", {"width": True}, "the spec's 'width' is of another type"),
        ("bridge", {"patches": 10**9}, "the spec's 'patches' is"),
        ("bridge", {"neighbours": 2}, "cannot be laid together"),
        ("bridge", {"shuffle": 3}, r"'bridge.0' is \(24, 24\)"),
        ("bridge", {"layers": 2}, "there is no matrix 'bridge.1'"),
    ],
)
def test_parts_that_do_not_fit_are_refused(part: str, change: dict[str, Any], message: str) -> None:
    spec: dict[str, Any]
    spec, tensors = core_model(network_of("siglip", "linear"), 8)
    with pytest.raises(ValueError, match=message):
        core.Model({**spec, part: {**spec[part], **change}}, tensors)
