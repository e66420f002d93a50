"""Batches: what stands where, order and resume of the sampler, and that packed samples never see each
other.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from sepiola.data.batching import IGNORED, Collator, Sample
from sepiola.data.image import ImageRef
from sepiola.data.sampler import BatchSampler
from sepiola.errors import DataError
from sepiola.models.build import build
from sepiola.specs.model import ModelSpec, SpecialTokens
from sepiola.training.objectives.writing import language_modelling

PATCHES, WIDTH = 3, 7


def language(kind: str, positions: str) -> dict:
    return {
        "kind": kind,
        "vocabulary": 40,
        "width": 16,
        "layers": 2,
        "attention": {"heads": 2},
        "feed_forward": {"width": 24},
        "positions": {"kind": positions, "length": 64},
    }


MODELS = {
    "encoder-decoder": {"language": language("encoder-decoder", "relative")},
    "learned encoder-decoder": {"language": language("encoder-decoder", "learned")},
    "fused": {
        "language": language("encoder-decoder", "relative"),
        "bridge": {"kind": "gated-fusion", "image_width": WIDTH},
    },
    "rotary decoder": {"language": language("decoder", "rotary")},
    "learned decoder": {"language": language("decoder", "learned")},
}


def samples(count: int, *, images: bool = False) -> list[Sample]:
    """Samples of several lengths; of three, one has no image and one has two."""
    generator = np.random.default_rng(5)
    made = []
    for i in range(count):
        source, target = (
            generator.integers(2, 40, 3 + i % 5).tolist(),
            generator.integers(2, 40, 2 + i % 4).tolist(),
        )
        seen = tuple(ImageRef(data=bytes([i, k])) for k in range(i % 3)) if images else ()
        made.append(Sample(f"s{i}", source, [*target, 1], seen))
    return made


def features(images: object) -> list[torch.Tensor]:
    """Different for every image."""
    rows = []
    for seen in images:  # type: ignore[attr-defined]
        parts = [torch.sin(torch.arange(PATCHES * WIDTH).float() * (1 + i.data[0] + 31 * i.data[1])) for i in seen]
        rows.append(torch.cat(parts).view(-1, WIDTH) if parts else torch.zeros(0, WIDTH))
    return rows


def test_encoder_decoder_layout() -> None:
    batch = Collator(SpecialTokens(pad=0, end=1, start=9))(
        [Sample("a", [5, 6, 7], [8, 1]), Sample("b", [4], [3, 2, 1])]
    )
    assert batch.source is not None and batch.source_mask is not None
    assert batch.source.tolist() == [[5, 6, 7], [4, 0, 0]]
    assert batch.source_mask.tolist() == [[1, 1, 1], [1, 0, 0]]
    assert batch.target.tolist() == [[9, 8, 0], [9, 3, 2]]
    assert batch.labels.tolist() == [[8, 1, IGNORED], [3, 2, 1]]
    assert (batch.tokens, batch.labelled, batch.images, batch.ids) == (9, 5, None, ("a", "b"))


def test_decoder_layout() -> None:
    collate = Collator(SpecialTokens(pad=0, end=1, start=9), kind="decoder")
    batch = collate([Sample("a", [5, 6, 7], [8, 1]), Sample("b", [], [3, 1])])
    assert batch.source is None
    assert batch.target.tolist() == [[5, 6, 7, 8], [9, 3, 0, 0]]
    assert batch.labels.tolist() == [[IGNORED, IGNORED, 8, 1], [3, 1, IGNORED, IGNORED]]


@pytest.mark.parametrize("name", MODELS)
def test_packed_equals_unpacked(name: str) -> None:
    """Loss and every gradient; with images, with none and with two images in one row."""
    model = build(ModelSpec.parse(MODELS[name]), seed=3)
    decoder = "source" not in language_kinds(name)
    given_samples = samples(9, images=name == "fused")
    losses, gradients = [], []
    for packed in (False, True):
        collate = Collator(
            SpecialTokens(),
            kind="decoder" if decoder else "encoder-decoder",
            packed=packed,
            source_tokens=20,
            target_tokens=20,
            features=features,
        )
        batch = collate(given_samples)
        assert (len(batch.target) < 9) == packed
        assert sorted(batch.ids) == sorted(s.id for s in given_samples)
        outcome = language_modelling(model, batch)
        assert outcome.tokens == int((batch.labels != IGNORED).sum())
        losses.append(outcome.loss_sum)
        gradients.append(torch.autograd.grad(outcome.loss_sum / outcome.tokens, list(model.parameters())))
    torch.testing.assert_close(losses[1], losses[0], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-5, atol=1e-5)


def language_kinds(name: str) -> tuple[str, ...]:
    return ("target",) if "decoder" in name and "encoder" not in name else ("source", "target")


def test_packed_samples_do_not_see_each_other() -> None:
    """Changing one sample of a row leaves the other's states as they were; its own change."""
    model: nn.Module = build(ModelSpec.parse(MODELS["fused"]), seed=3)
    collate = Collator(SpecialTokens(), packed=True, source_tokens=32, target_tokens=32, features=features)
    first = Sample("a", [5, 6, 7, 8, 9], [4, 5, 1], (ImageRef(data=b"\x01\x00"),))
    states = []
    for second in (Sample("b", [3, 4], [7, 1]), Sample("b", [9, 8], [6, 1], (ImageRef(data=b"\x07\x01"),))):
        batch = collate([first, second])
        assert batch.target.shape == (1, 5)
        states.append(
            model.states(
                batch.source,
                batch.target,
                attention_mask=batch.source_mask,
                target_mask=batch.target_mask,
                images=batch.images,
                image_mask=batch.image_mask,
            )
        )
    torch.testing.assert_close(states[0][:, :3], states[1][:, :3], rtol=1e-5, atol=1e-6)
    assert (states[0][:, 3:] - states[1][:, 3:]).abs().max() > 1e-3


def test_images_as_pixels() -> None:
    opened = Collator(
        SpecialTokens(), pixels=lambda images: [torch.full((3, 2, 2), float(i.encoded[0])) for i in images]
    )
    one, two = ImageRef(data=b"\x01"), ImageRef(data=b"\x02")
    batch = opened([Sample("a", [2], [1], (one,)), Sample("b", [2], [1])])
    assert batch.images is not None and batch.image_mask is not None
    assert batch.images.shape == (2, 3, 2, 2) and batch.images[1].abs().sum() == 0
    assert batch.image_mask.tolist() == [[1], [0]]
    batch = opened([Sample("a", [2], [1], (one, two)), Sample("b", [2], [1], (two,))])
    assert batch.images is not None and batch.image_mask is not None
    assert batch.images.shape == (2, 2, 3, 2, 2) and batch.image_mask.tolist() == [[1, 1], [1, 0]]
    with pytest.raises(DataError, match="unset `packed`"):
        Collator(SpecialTokens(), packed=True, pixels=lambda images: [torch.zeros(3, 2, 2)])


def test_a_long_source_loses_its_middle_and_a_long_target_its_tail() -> None:
    sample = Sample("a", list(range(10)), list(range(20, 30)))
    assert sample.cut(10, 10) is sample
    cut = sample.cut(5, 4)
    assert (tuple(cut.source), tuple(cut.target)) == ((0, 1, 7, 8, 9), (20, 21, 22, 23))


def test_a_compact_sample_is_laid_out_alike() -> None:
    samples = [Sample("a", (5, 6, 7), (8, 1)), Sample("b", [70_000], [9, 9, 1])]
    compact = [sample.compact() for sample in samples]
    assert all(np.asarray(ids).dtype == np.int32 for sample in compact for ids in (sample.source, sample.target))
    collate = Collator(SpecialTokens(pad=0, end=1, start=2))
    for name in ("source", "target", "labels", "source_mask"):
        assert torch.equal(getattr(collate(compact), name), getattr(collate(samples), name))


def test_an_empty_target_is_refused() -> None:
    with pytest.raises(DataError, match="sample x: the target is empty"):
        Sample("x", [1], [])


@given(
    st.lists(st.integers(1, 50), min_size=1, max_size=90),
    st.integers(1, 7),
    st.integers(1, 3),
    st.integers(0, 9),
)
def test_sampler_sees_each_sample_once_an_epoch_and_resumes(
    lengths: list[int], batch: int, accumulate: int, seed: int
) -> None:
    sampler = BatchSampler(lengths, batch, accumulate=accumulate, seed=seed, window=2)
    for epoch in range(2):
        assert (sampler.epoch, sampler.position) == (epoch, 0)
        seen = [i for _ in range(sampler.steps_per_epoch) for group in sampler.next_step() for i in group]
        assert sorted(seen) == list(range(len(lengths)))
    resumed = BatchSampler(lengths, batch, accumulate=accumulate, seed=seed, window=2)
    sampler.next_step()
    resumed.restore(sampler.state())
    assert [resumed.next_step() for _ in range(9)] == [sampler.next_step() for _ in range(9)]


def test_sampler_shuffles_and_buckets() -> None:
    lengths = np.random.default_rng(0).integers(1, 200, 640)
    sampler = BatchSampler(lengths.tolist(), 8, seed=1)
    first, second = sampler.steps(0), list(sampler.steps(1))
    assert first != second
    batches = [group for step in first for group in step]
    spread = np.mean([np.ptp(lengths[b]) for b in batches])
    assert spread < 10, "lengths within a batch should be alike"
    order = [lengths[b].mean() for b in batches]
    assert abs(np.corrcoef(order, range(len(order)))[0, 1]) < 0.3, "long batches should not come first or last"
    assert BatchSampler(lengths.tolist(), 8, seed=2).steps(0) != first
