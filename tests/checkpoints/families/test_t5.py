"""T5 and FLAN-T5 against `transformers` on shared random weights, both ways; and the reference fusion layout."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import (
    AutoModelForSeq2SeqLM,
    MT5Config,
    MT5ForConditionalGeneration,
    T5Config,
    T5ForConditionalGeneration,
)

import sepiola
from sepiola.errors import CheckpointError
from sepiola.models.build import build, preset
from sepiola.specs.model import ModelSpec
from tests.tiny import clip, decoder, detr, encoder_decoder

TINY = {"vocab_size": 99, "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4}
ODD = {
    "vocab_size": 131,
    "d_model": 36,
    "d_kv": 10,
    "d_ff": 50,
    "num_layers": 3,
    "num_decoder_layers": 1,
    "num_heads": 5,
    "relative_attention_num_buckets": 20,
    "relative_attention_max_distance": 17,
}
KINDS = {"t5": "relu", "flan": "gated-gelu", "gated-silu": "gated-silu"}


def reference(shape: dict[str, int], kind: str) -> T5ForConditionalGeneration:
    """A T5 of `transformers` with random weights; FLAN's head is its own, as in the published checkpoints."""
    config = T5Config(
        **shape,
        feed_forward_proj=KINDS[kind],
        decoder_start_token_id=0,
        dropout_rate=0.1,
        tie_word_embeddings=kind == "t5",
    )
    model = T5ForConditionalGeneration(config).eval()
    if kind != "t5":
        model.lm_head.weight = nn.Parameter(torch.empty_like(model.lm_head.weight))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.5)
    return model


def save_reference(model: T5ForConditionalGeneration, folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    state = {k: v.clone() for k, v in model.state_dict().items()}
    save_file(state, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(model.config.to_dict()))
    return folder


def tensors(vocabulary: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    source = torch.randint(2, vocabulary, (3, 37))
    mask = torch.ones_like(source)
    mask[1, 20:] = 0
    mask[2, 1:] = 0
    return source, mask, torch.randint(2, vocabulary, (3, 23))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [TINY, ODD], ids=["tiny", "odd"])
def test_logits_agree_with_transformers(shape: dict[str, int], kind: str, tmp_path: Path) -> None:
    theirs = reference(shape, kind)
    ours = sepiola.load(save_reference(theirs, tmp_path / "hub"))
    source, mask, target = tensors(shape["vocab_size"])
    with torch.no_grad():
        expected = theirs(input_ids=source, attention_mask=mask, decoder_input_ids=target).logits
        given = ours(source, target, attention_mask=mask)
    assert expected.std() > 0.1
    torch.testing.assert_close(given, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind", ["t5", "flan"])
def test_saved_for_the_hub_gives_the_same_logits_in_transformers(kind: str, tmp_path: Path) -> None:
    ours = sepiola.load(save_reference(reference(ODD, kind), tmp_path / "hub"))
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.normal_(0, 0.5)
    ours.save_hub(tmp_path / "back")
    config = T5Config(**json.loads((tmp_path / "back" / "config.json").read_text()))
    theirs = T5ForConditionalGeneration(config).eval()
    if kind == "flan":
        theirs.lm_head.weight = nn.Parameter(torch.empty_like(theirs.lm_head.weight))
    theirs.load_state_dict(load_file(tmp_path / "back" / "model.safetensors"), strict=False)
    source, mask, target = tensors(ODD["vocab_size"])
    with torch.no_grad():
        expected = theirs(input_ids=source, attention_mask=mask, decoder_input_ids=target).logits
        torch.testing.assert_close(ours(source, target, attention_mask=mask), expected, atol=1e-4, rtol=0)
    again = sepiola.load(tmp_path / "back")
    for name, value in ours.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], value, atol=0, rtol=0)


def test_from_pretrained_reads_what_we_save(tmp_path: Path) -> None:
    ours = sepiola.load(save_reference(reference(TINY, "t5"), tmp_path / "hub"))
    ours.save_hub(tmp_path / "back")
    theirs = T5ForConditionalGeneration.from_pretrained(tmp_path / "back").eval()
    source, _, target = tensors(TINY["vocab_size"])
    with torch.no_grad():
        expected = theirs(input_ids=source, decoder_input_ids=target).logits
        torch.testing.assert_close(ours(source, target), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("kind", "keys"),
    [
        ("t5", {"feed_forward_proj": "relu", "dense_act_fn": "gelu"}),
        ("t5", {"feed_forward_proj": "gated-gelu", "dense_act_fn": "gelu"}),
        ("t5", {"feed_forward_proj": "gated-swish"}),
        ("mt5", {}),
        ("mt5", {"feed_forward_proj": "relu", "dense_act_fn": "silu"}),
    ],
)
def test_the_activation_that_counts_and_mt5_both_ways(kind: str, keys: dict[str, str], tmp_path: Path) -> None:
    made = {"t5": (T5Config, T5ForConditionalGeneration), "mt5": (MT5Config, MT5ForConditionalGeneration)}[kind]
    theirs = made[1](made[0](**TINY, **keys)).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.normal_(0, 0.3)
    theirs.save_pretrained(tmp_path / "hub")
    ours = sepiola.load(tmp_path / "hub")
    source, mask, target = tensors(TINY["vocab_size"])
    ours.save_hub(tmp_path / "back")
    again = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "back").eval()
    with torch.no_grad():
        expected = theirs(input_ids=source, attention_mask=mask, decoder_input_ids=target).logits
        back = again(input_ids=source, attention_mask=mask, decoder_input_ids=target).logits
        torch.testing.assert_close(ours(source, target, attention_mask=mask), expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(back, expected, atol=1e-4, rtol=0)


class ReferenceFusion(nn.Module):
    """The fusion of the Multimodal-CoT paper, written from its formula with torch's own attention."""

    def __init__(self, width: int, image_width: int) -> None:
        super().__init__()
        self.image_dense = nn.Linear(image_width, width)
        self.mha_layer = nn.MultiheadAttention(width, 1, batch_first=True)
        self.gate_dense = nn.Linear(2 * width, width)

    def forward(self, hidden: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        image = self.image_dense(features)
        attended, _ = self.mha_layer(hidden, image, image)
        gate = torch.sigmoid(self.gate_dense(torch.cat([hidden, attended], dim=-1)))
        return (1 - gate) * hidden + gate * attended


@pytest.mark.parametrize("with_image", [True, False])
def test_the_reference_multimodal_cot_layout_loads_and_agrees_with_the_formula(
    with_image: bool, tmp_path: Path
) -> None:
    theirs, fusion = reference(ODD, "t5"), ReferenceFusion(ODD["d_model"], 11)
    with torch.no_grad():
        for parameter in fusion.parameters():
            parameter.normal_(0, 0.5)
    folder = tmp_path / "mm-cot"
    folder.mkdir()
    state = {**theirs.state_dict(), **fusion.state_dict()}
    torch.save(state, folder / "pytorch_model.bin")
    (folder / "config.json").write_text(json.dumps(theirs.config.to_dict()))
    ours = sepiola.load(folder)
    source, mask, target = tensors(ODD["vocab_size"])
    features = torch.randn(3, 7, 11) if with_image else torch.zeros(3, 7, 11)
    with torch.no_grad():
        hidden = fusion(theirs.encoder(input_ids=source, attention_mask=mask).last_hidden_state, features)
        expected = theirs(encoder_outputs=(hidden,), attention_mask=mask, decoder_input_ids=target).logits
        given = ours(source, target, attention_mask=mask, images=features if with_image else None)
    torch.testing.assert_close(given, expected, atol=1e-4, rtol=0)
    ours.save_hub(tmp_path / "back")
    back = load_file(tmp_path / "back" / "model.safetensors")
    for name, value in fusion.state_dict().items():
        torch.testing.assert_close(back[name], value, atol=0, rtol=0)


VISION_ENCODERS = {
    "detr": {**detr(pixels={"size": 48}), "family": "detr"},
    "clip": clip(norm={"eps": 1.0e-5}),
}


@pytest.mark.parametrize("encoder", VISION_ENCODERS)
def test_a_model_that_sees_goes_to_the_hub_and_back_with_its_vision_encoder(encoder: str, tmp_path: Path) -> None:
    choices = {"attention": {"heads": 3, "scale": 1.0}, "feed_forward": {"width": 32, "activation": "relu"}}
    norm = {"kind": "rms", "eps": 1.0e-6}
    language = encoder_decoder(40, 24, norm=norm, head_scale=24**-0.5, **choices)
    ours = sepiola.build(
        {
            "family": "mm-cot",
            "language": language,
            "vision": VISION_ENCODERS[encoder],
            "bridge": {"kind": "gated-fusion"},
        }
    )
    ours.save_hub(tmp_path / "hub")
    again = sepiola.load(tmp_path / "hub")
    side = VISION_ENCODERS[encoder]["pixels"]["size"]
    source, target, pixels = torch.randint(2, 40, (2, 9)), torch.randint(2, 40, (2, 4)), torch.randn(2, 3, side, side)
    with torch.no_grad():
        expected = ours(source, target, images=pixels)
        torch.testing.assert_close(again(source, target, images=pixels), expected, atol=1e-6, rtol=0)
    assert again.spec.vision.pixels == ours.spec.vision.pixels


def test_presets_of_flan_do_not_scale_their_head() -> None:
    for name in ("mm-cot-flan-base", "flan-t5-base"):
        assert preset(name).language.head_scale is None and not preset(name).language.tied


def test_stacks_of_different_shapes_are_refused_for_the_hub_and_kept_in_our_folder(tmp_path: Path) -> None:
    spec = sepiola.load(save_reference(reference(TINY, "t5"), tmp_path / "hub")).spec
    language = {**spec.language.to_dict(), "encoder_heads": 2, "encoder_feed_forward": 48}
    ours = sepiola.build({"name": "apart", "family": "t5", "language": language})
    with pytest.raises(CheckpointError, match=r"2 heads and a feed-forward width of 48, its decoder 4 and 64; .*d_ff"):
        ours.save_hub(tmp_path / "back")
    ours.save(tmp_path / "kept")
    source, mask, target = tensors(TINY["vocab_size"])
    with torch.no_grad():
        expected = ours(source, target, attention_mask=mask)
        again = sepiola.load(tmp_path / "kept")(source, target, attention_mask=mask)
    torch.testing.assert_close(again, expected, atol=0, rtol=0)


def test_a_missing_or_extra_tensor_is_named(tmp_path: Path) -> None:
    folder = save_reference(reference(TINY, "t5"), tmp_path / "hub")
    state = load_file(folder / "model.safetensors")
    del state["decoder.final_layer_norm.weight"]
    state["visitor.weight"] = torch.zeros(2)
    save_file(state, folder / "model.safetensors")
    with pytest.raises(CheckpointError) as error:
        sepiola.load(folder)
    assert "missing tensor decoder.norm.weight (32,)" in str(error.value)
    assert "unexpected tensor visitor.weight (2,)" in str(error.value)


def test_a_cut_checkpoint_is_one_message(tmp_path: Path) -> None:
    folder = save_reference(reference(TINY, "t5"), tmp_path / "hub")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:2000])
    with pytest.raises(CheckpointError, match="damaged or cut short"):
        sepiola.load(folder)


def test_a_full_disk_leaves_the_old_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = ModelSpec.parse({"language": decoder(9, 8, hidden=8)})
    old = sepiola.Model(build(spec, seed=0), spec)
    old.save(tmp_path / "run")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sepiola.checkpoints.tensors.save_file", full)
    with pytest.raises(CheckpointError, match="No space left"):
        sepiola.Model(build(spec, seed=1), spec).save(tmp_path / "run")
    assert torch.equal(sepiola.load(tmp_path / "run").embedding.weight, old.embedding.weight)
    assert not list((tmp_path / "run").glob(".*"))
