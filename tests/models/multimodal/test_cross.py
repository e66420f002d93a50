"""Flamingo's resampler and gated layers: the paper's pseudo-code, the image that a token sees, cached, packed, T5."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from sepiola.data.batching import Collator, Sample
from sepiola.data.image import ImageRef
from sepiola.errors import DataError, SpecError
from sepiola.generation.engine import Engine, Prompt
from sepiola.models.build import build
from sepiola.models.multimodal.cross import last_image
from sepiola.runtime.plain import TorchExecutor
from sepiola.specs.model import ModelSpec, SpecialTokens
from sepiola.training.objectives.writing import language_modelling
from tests.tiny import decoder, vit

IMG = 9  # the placeholder
PATCHES = 5
DECODER = decoder(60, 24, 4, hidden=32)
T5 = {
    "kind": "encoder-decoder",
    "positions": {"kind": "relative"},
    "norm": {"kind": "rms"},
    "attention": {"heads": 2, "scale": 1.0},
}
VARIANTS: dict[str, dict[str, Any]] = {
    "pre": {},
    "parallel": {"norm": {"place": "parallel"}, "attention": {"heads": 2, "kv_heads": 1}},
    "post": {"norm": {"place": "post"}, "positions": {"kind": "learned", "length": 64}},
    "sandwich": {"norm": {"place": "sandwich", "kind": "rms"}, "attention": {"heads": 2, "window": 4, "full_every": 2}},
    "xl": {"positions": {"kind": "transformer-xl"}},
    "t5": T5,
}
RESAMPLER = {"latents": 3, "depth": 2, "attention": {"heads": 2, "head_width": 8}, "frames": 4}


def model_of(variant: str = "pre", *, every: int = 2, first: int = 1, opened: bool = True, seed: int = 0) -> Any:
    """A model whose gates are open, unless it is to be as it begins."""
    bridge = {
        "kind": "gated-cross",
        "token": IMG,
        "every": every,
        "first": first,
        "attention": {"heads": 2, "head_width": 8},
        "resampler": RESAMPLER,
        "context_width": 14,
        "image_width": 12,
    }
    model = build(ModelSpec.parse({"language": {**DECODER, **VARIANTS[variant]}, "bridge": bridge}), seed=seed).eval()
    for name, parameter in model.named_parameters():
        if name.endswith("_gate") and opened:
            parameter.data.fill_(0.8)
    return model


def run(model: Any, tokens: Tensor, images: Tensor | None = None, target: Tensor | None = None, **masks: Any) -> Tensor:
    with torch.no_grad():
        logits: Tensor = model(tokens, *(() if target is None else (target,)), images=images, **masks)
    return logits


@pytest.mark.parametrize("variant", VARIANTS)
def test_before_the_first_step_it_is_its_language_model(variant: str) -> None:
    model = model_of(variant, every=1, first=0, opened=False)
    tokens = torch.tensor([[4, IMG, 5, 6, IMG, 7, 8], [IMG, 11, 12, 13, 14, 15, 16]])
    target = torch.tensor([[0, 3, 4], [0, 5, 6]]) if variant == "t5" else None
    images = torch.randn(3, PATCHES, 12)
    more = (target,) if target is not None else ()
    with torch.no_grad():
        assert torch.equal(model(tokens, *more, images=images), model.language(tokens, *more))


@pytest.mark.parametrize(
    ("row", "segments", "wanted"),
    [
        ([4, 5, IMG, 6, 7, IMG, 8], None, [0, 0, 1, 1, 1, 2, 2]),
        ([IMG, IMG, 5, 6, IMG, IMG, IMG], None, [1, 2, 2, 2, 3, 4, 5]),
        ([4, 5, 6, 7, 8, 4, 5], None, [0] * 7),
        ([0, 0, 4, IMG, 6, 7, IMG], [0, 0, 1, 1, 1, 1, 1], [0, 0, 0, 1, 1, 1, 2]),
        ([IMG, 5, 6, IMG, 7, 0, 0], [1, 1, 1, 1, 1, 0, 0], [1, 1, 1, 2, 2, 0, 0]),
        ([IMG, 5, 0, 0, 7, IMG, 8], [1, 1, 0, 0, 1, 1, 1], [1, 1, 0, 0, 1, 2, 2]),
        ([4, IMG, 0, 7, 0, 8, 5], [1, 1, 0, 1, 0, 2, 2], [0, 1, 0, 1, 0, 0, 0]),
        ([IMG, IMG, 5, IMG, IMG, 8, 4], [0, 1, 1, 1, 0, 1, 2], [0, 2, 2, 3, 0, 3, 0]),
        ([IMG, 5, 6, IMG, 7, 8, IMG], [1, 1, 2, 2, 2, 3, 3], [1, 1, 0, 2, 2, 0, 3]),
    ],
)
def test_the_image_of_a_token_is_the_last_one_before_it(
    row: list[int], segments: list[int] | None, wanted: list[int]
) -> None:
    place = torch.tensor([row]) == IMG
    found = last_image(place, None if segments is None else torch.tensor([segments]))
    assert found.tolist() == [wanted]


def test_text_depends_on_its_own_image_alone() -> None:
    """Layers of one token's own: each logit changes with the image before it and no other."""
    model = model_of(every=1, first=0)
    for layer in model.language.decoder.layers:
        layer.attention.out.weight.data.zero_()  # tokens do not see each other
    tokens = torch.tensor([[4, 5, IMG, 6, IMG, IMG, 7, 8], [3, 3, 3, 3, 4, 5, 6, 7]])
    images = torch.randn(3, PATCHES, 12)
    before = run(model, tokens, images)
    for number, places in enumerate(([2, 3], [4], [5, 6, 7])):
        other = images.clone()
        other[number] = torch.randn(PATCHES, 12)
        moved = (run(model, tokens, other) != before).any(-1)
        assert moved[0].nonzero().flatten().tolist() == places and not moved[1].any()


def test_text_before_any_image_is_given_exactly_nothing() -> None:
    model = model_of(every=1, first=0)
    model.bridge.layers["0"].feed_forward_gate.data.zero_()
    x = torch.randn(1, 4, 24)
    media = model.bridge.media(torch.randn(1, PATCHES, 12), torch.tensor([1]))
    given = model.bridge.between(media, torch.tensor([[0, 0, 1, 1]]))[0](x) - x
    assert torch.equal(given[:, :2], torch.zeros(1, 2, 24)) and given[:, 2:].abs().min() > 0


@pytest.mark.parametrize("variant", VARIANTS)
def test_cached_decoding_is_the_whole(variant: str) -> None:
    model = model_of(variant)
    tokens = torch.tensor([[0, 0, 4, 5, IMG, 6, IMG, 7, 8, 10], [IMG, 3, IMG, 4, 5, 6, 7, IMG, 8, 11], [5] * 10])
    mask = (tokens > 0).long()
    images = torch.randn(5, PATCHES, 12)
    if variant == "t5":
        target = torch.tensor([[0, 4, 5, 6], [0, 7, 8, 4], [0, 3, 3, 3]])
        whole = run(model, tokens, images, target, attention_mask=mask)
        with torch.inference_mode():
            state = model.begin(tokens, 4, images=images, attention_mask=mask)
            state.select(torch.tensor([2, 1, 1]))
            steps = [model.extend(target[[2, 1, 1]][:, at : at + 1], state) for at in range(4)]
        torch.testing.assert_close(model.head(torch.cat(steps, 1)), whole[[2, 1, 1]], atol=1e-5, rtol=0)
        return
    whole = run(model, tokens, images, attention_mask=mask)
    with torch.inference_mode():  # the last prompt ends with its placeholder
        state = model.begin(tokens[:, :8], 3, images=images, attention_mask=mask[:, :8])
        steps = [model.extend(tokens[:, at : at + 1], state) for at in range(7, 10)]
    torch.testing.assert_close(model.head(torch.cat(steps, 1)), whole[:, 7:], atol=1e-5, rtol=0)


@pytest.mark.parametrize("variant", ["pre", "parallel", "post"])
def test_padding_between_a_text_and_its_image_changes_nothing(variant: str) -> None:
    model, images = model_of(variant), torch.randn(1, PATCHES, 12)
    tokens, padded = torch.tensor([[4, IMG, 5, 6, 7]]), torch.tensor([[4, IMG, 0, 0, 5, 0, 6, 7]])
    found = run(model, padded, images, attention_mask=(padded > 0).long())[padded > 0]
    torch.testing.assert_close(found, run(model, tokens, images)[0], atol=1e-5, rtol=0)


@pytest.mark.parametrize("variant", ["pre", "t5"])
def test_batched_is_single(variant: str) -> None:
    model = model_of(variant)
    images = torch.randn(3, PATCHES, 12)
    prompts = [Prompt([4, 5, 6]), Prompt([IMG, 4, 5, 6, 7, IMG], images[:2]), Prompt([3, IMG, 8, 7], images[2:])]
    options = [[[11, 12], [13, 1]]] * 3
    engine = Engine(TorchExecutor(model))
    assert engine.generate(prompts, max_tokens=6, samples=2) == [
        engine.generate([one], max_tokens=6, samples=2)[0] for one in prompts
    ]
    together = [s.log_likelihood for row in engine.score(prompts, options) for s in row]
    apart = [s.log_likelihood for one, o in zip(prompts, options, strict=True) for s in engine.score([one], [o])[0]]
    assert together == pytest.approx(apart, abs=1e-4)


@pytest.mark.parametrize("variant", ["pre", "parallel", "xl", "t5"])
def test_packed_rows_lose_what_their_samples_lose_alone(variant: str) -> None:
    model = model_of(variant)
    image = [ImageRef(data=bytes([n])) for n in range(3)]
    samples = [
        Sample("a", [IMG, 4, 5, IMG, 6], [7, 8, 1], (image[0], image[1]), IMG),
        Sample("b", [4, 5, 6, 7], [8, 1], (), IMG),
        Sample("c", [4, IMG, 5], [11, 12, 13, 1], (image[2],), IMG),
    ]
    features = {image.encoded: torch.randn(PATCHES, 12) for image in image}

    def rows(found: Any) -> list[Tensor]:
        return [torch.cat([features[i.encoded] for i in row]) if row else torch.empty(0, 12) for row in found]

    options: dict[str, Any] = {"kind": model.spec.kind, "patches": PATCHES, "features": rows}
    packed = Collator(SpecialTokens(), packed=True, **options)(samples)
    assert packed.target.shape[0] == 1
    apart = [Collator(SpecialTokens(), **options)([sample]) for sample in samples]
    together = language_modelling(model, packed).loss_sum
    torch.testing.assert_close(together, sum(language_modelling(model, batch).loss_sum for batch in apart))


def test_pixels_of_images_and_videos() -> None:
    vision = vit(32, 16, 12)
    bridge = {"kind": "gated-cross", "token": IMG, "resampler": RESAMPLER}
    model: Any = build(ModelSpec.parse({"language": DECODER, "vision": vision, "bridge": bridge})).eval()
    for gated in model.bridge.layers.values():
        gated.attention_gate.data.fill_(0.8)
    tokens, pixels = torch.tensor([[IMG, 4, 5]]), torch.randn(1, 3, 32, 32)
    expected = run(model, tokens, pixels)
    torch.testing.assert_close(run(model, tokens, pixels[:, None]), expected)
    torch.testing.assert_close(run(model, tokens, model.vision(pixels)), expected)
    assert (run(model, tokens, torch.randn(1, 2, 3, 32, 32)) - expected).abs().max() > 1e-3


def test_gradients_reach_gates_first_and_then_the_resampler() -> None:
    model = model_of(opened=False)
    model.language.requires_grad_(False)
    tokens, images = torch.tensor([[4, IMG, 5, 6, IMG, 7]]), torch.randn(2, PATCHES, 12)

    def moved() -> set[str]:
        model.zero_grad()
        model(tokens, images=images).logsumexp(-1).sum().backward()
        found = [n for n, p in model.named_parameters() if p.grad is not None and p.grad.abs().max() > 0]
        return {name.split(".")[-1] if name.endswith("_gate") else name.split(".")[1] for name in found}

    assert moved() == {"attention_gate", "feed_forward_gate"}
    for layer in model.bridge.layers.values():
        layer.attention_gate.data.fill_(0.1)
    assert moved() == {"attention_gate", "feed_forward_gate", "resampler", "context", "layers"}


def test_images_and_placeholders_that_do_not_match_are_refused() -> None:
    model = model_of()
    tokens = torch.tensor([[IMG, 4, IMG, 5]])
    with pytest.raises(DataError, match="2 image placeholders, and there are 3 images"):
        run(model, tokens, torch.randn(3, PATCHES, 12))
    with pytest.raises(DataError, match="2 image placeholders, and there are 0 images"):
        run(model, tokens)
    with pytest.raises(DataError, match="give features \\(images, patches, 12\\)"):
        run(model, tokens, torch.randn(2, 3, 32, 32))
    with pytest.raises(SpecError, match=r"bridge\.first 4: the decoder has 4 layers"):
        model_of(first=4)
