"""Published models with eyes, made small: pictures and texts as `transformers`' processors give them, in and out."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from transformers import AutoImageProcessor, AutoProcessor, AutoTokenizer, DetrModel
from transformers.models.detr.image_processing_pil_detr import DetrImageProcessorPil
from transformers.models.llava_onevision.image_processing_pil_llava_onevision import LlavaOnevisionImageProcessorPil
from transformers.models.llava_onevision.processing_llava_onevision import LlavaOnevisionProcessor

import sepiola
from sepiola.data.image import ImageRef
from sepiola.errors import CheckpointError
from sepiola.generation.sampling import Sampling
from sepiola.models.vision.pixels import to_pixels
from sepiola.models.vision.tiles import to_tiles
from sepiola.text.chat import as_message
from tests.hub.checkpoints import ROOT, checkpoint, detr_checkpoint, names, needs_configs
from tests.hub_folders import TEMPLATE, vision_language_folder

ONEVISION = "llava-onevision"  # of which there is no published folder: a tiny one of ours
CHATTING = [*(name for name in names("llava", "idefics3") if name != "llava-v1.5-7b"), ONEVISION]
CAPTIONING = names("blip-2")
ENCODERS = names("clip", "vit", "siglip_vision_model")
NO_KIND = "clip-vit-base-patch32-xenova"  # its preprocessor names no kind, and `transformers` refuses it
GREEDY = {"max_new_tokens": 6, "do_sample": False, "num_beams": 1}

pytestmark = needs_configs


def picture(folder: Path, size: tuple[int, int] = (96, 64)) -> Path:
    noise = np.random.default_rng(0).integers(0, 256, (size[1] // 8, size[0] // 8, 3), dtype=np.uint8)
    Image.fromarray(noise).resize(size, Image.Resampling.NEAREST).save(folder / "picture.png")
    return folder / "picture.png"


def continued(model: Any, inputs: Any) -> torch.Tensor:
    written = model.generate(**inputs, **GREEDY)[0]
    read = inputs["input_ids"].shape[1]
    return written[read:] if len(written) > read and not text_config(model).is_encoder_decoder else written


def text_config(model: Any) -> Any:
    return getattr(model.config, "text_config", model.config)


def processor_of(folder: Path) -> Any:
    """The processor of a folder as `transformers` reads it; OneVision's without its reader of videos, which needs
    torchvision.
    """
    if json.loads((folder / "config.json").read_text())["model_type"] != "llava_onevision":
        return AutoProcessor.from_pretrained(folder)
    processor = LlavaOnevisionProcessor.__new__(LlavaOnevisionProcessor)
    raw = json.loads((folder / "processor_config.json").read_text())
    for key in ("num_image_tokens", "vision_feature_select_strategy", "vision_aspect_ratio"):
        setattr(processor, key, raw[key])
    processor.tokenizer = AutoTokenizer.from_pretrained(folder)
    processor.image_processor = LlavaOnevisionImageProcessorPil.from_pretrained(folder)
    processor.chat_template = processor.tokenizer.chat_template
    processor.video_processor = None
    processor.image_token, processor.video_token = "<image>", "<video>"
    processor.image_token_id, processor.video_token_id = processor.tokenizer.convert_tokens_to_ids("<image>"), None
    return processor


def folder_of(name: str, folder: Path) -> Any:
    """Writes a model of the suite, and gives `transformers`' own of it."""
    return vision_language_folder(folder, "onevision", TEMPLATE) if name == ONEVISION else checkpoint(name, folder)


@pytest.mark.parametrize("name", CHATTING)
def test_a_conversation_with_a_picture(name: str, tmp_path: Path) -> None:
    theirs = folder_of(name, tmp_path / "hub")
    processor = processor_of(tmp_path / "hub")
    file = picture(tmp_path)
    said = [{"type": "image"}, {"type": "text", "text": "What is shown? 是什么？"}]
    ours = sepiola.load(tmp_path / "hub")
    ours.save_hub(tmp_path / "back")
    ours.save(tmp_path / "ours")
    for folder in ("hub", "back"):
        again = processor_of(tmp_path / folder)
        text = again.apply_chat_template([{"role": "user", "content": said}], add_generation_prompt=True)
        inputs = again(text=text, images=[Image.open(file)], return_tensors="pt")
        if folder == "hub":
            wanted = inputs
        assert torch.equal(inputs["input_ids"], wanted["input_ids"])
        torch.testing.assert_close(inputs["pixel_values"], wanted["pixel_values"], atol=1 / 255, rtol=0)
    messages = [as_message({"role": "user", "content": [{"type": "image", "image": str(file)}, said[1]]})]
    expected = continued(theirs, wanted)
    for model in (ours, sepiola.load(tmp_path / "ours"), sepiola.load(tmp_path / "back")):
        assert list(model._chat.prompt(messages).tokens) == wanted["input_ids"][0].tolist()
        reply = model.chat(messages, max_tokens=6, sampling=Sampling())
        assert reply.text == processor.decode(expected, skip_special_tokens=True).strip()
    exported = type(theirs).from_pretrained(tmp_path / "back").eval()
    assert torch.equal(continued(exported, wanted), expected)
    with torch.no_grad():
        torch.testing.assert_close(exported(**wanted).logits, theirs(**wanted).logits, atol=1e-4, rtol=1e-5)
    answer = ours.ask("What is shown?", image=file, choices=("a squid", "a crab"))
    assert answer.choice in (0, 1)


@pytest.mark.parametrize("name", CAPTIONING)
def test_a_picture_and_a_text(name: str, tmp_path: Path) -> None:
    theirs = checkpoint(name, tmp_path / "hub")
    processor = AutoProcessor.from_pretrained(tmp_path / "hub")
    file = picture(tmp_path)
    if theirs.config.image_token_index is None:  # `transformers` does not look into the tokenizer
        theirs.config.image_token_index = processor.tokenizer.convert_tokens_to_ids("<image>")
    text = "Question: what is it? 答："
    ours = sepiola.load(tmp_path / "hub")
    ours.save_hub(tmp_path / "back")
    wanted = processor(text=text, images=Image.open(file), return_tensors="pt")
    again = AutoProcessor.from_pretrained(tmp_path / "back")(text=text, images=Image.open(file), return_tensors="pt")
    assert torch.equal(again["input_ids"], wanted["input_ids"])
    torch.testing.assert_close(again["pixel_values"], wanted["pixel_values"], atol=1 / 255, rtol=0)
    prompt = ours._prompts.prompt(text, [ImageRef.of(file)])
    assert list(prompt.tokens) == wanted["input_ids"][0].tolist()
    expected = processor.decode(continued(theirs, wanted), skip_special_tokens=True)
    assert ours.generate(text, images=[file], max_tokens=6, sampling=Sampling()) == expected
    exported = type(theirs).from_pretrained(tmp_path / "back").eval()
    assert torch.equal(continued(exported, again), continued(theirs, wanted))


@pytest.mark.parametrize("name", names("detr"))
def test_features_of_a_detector(name: str, tmp_path: Path) -> None:
    theirs = detr_checkpoint(name, tmp_path / "hub")
    ours = sepiola.load(tmp_path / "hub")
    ours.save_hub(tmp_path / "back")
    file = picture(tmp_path)
    inputs = DetrImageProcessorPil.from_pretrained(tmp_path / "hub")(Image.open(file), return_tensors="pt")
    pixels = to_pixels(ImageRef.of(file).open(), ours.spec.vision.pixels)[None]
    torch.testing.assert_close(pixels, inputs["pixel_values"], atol=2 / 255 / 0.22, rtol=0)
    again = DetrImageProcessorPil.from_pretrained(tmp_path / "back")(Image.open(file), return_tensors="pt")
    torch.testing.assert_close(again["pixel_values"], inputs["pixel_values"], atol=1 / 255, rtol=0)
    whole = getattr(theirs, "detr", theirs).model
    with torch.no_grad():
        wanted = whole(inputs["pixel_values"]).last_hidden_state
        torch.testing.assert_close(ours(inputs["pixel_values"]), wanted, atol=1e-3, rtol=1e-3)
        exported = DetrModel.from_pretrained(tmp_path / "back").eval()
        torch.testing.assert_close(exported(inputs["pixel_values"]).last_hidden_state, wanted, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("name", ENCODERS)
def test_features_of_a_vision_encoder(name: str, tmp_path: Path) -> None:
    theirs = checkpoint(name, tmp_path / "hub")
    ours = sepiola.load(tmp_path / "hub", vision_only=True)
    assert ours.spec.vision is not None
    file = picture(tmp_path)
    if name != NO_KIND and (tmp_path / "hub" / "preprocessor_config.json").is_file():
        processor = AutoImageProcessor.from_pretrained(tmp_path / "hub")
        pixels = processor(Image.open(file), return_tensors="pt")["pixel_values"]
        (tiles,) = to_tiles([ImageRef.of(file)], ours.spec.vision.pixels)
        torch.testing.assert_close(tiles, pixels, atol=2 / 255 / 0.25, rtol=0)
    else:
        size = ours.spec.vision.pixels.size
        pixels = torch.randn(1, 3, size, size)
    tower = next(getattr(theirs, part) for part in ("vision_model", "vit", "base_model") if hasattr(theirs, part))
    with torch.no_grad():
        wanted = tower(pixels).last_hidden_state
        torch.testing.assert_close(ours(pixels), wanted, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("eagle2-2B-Isaac-GR00T", "model_type 'eagle_3_vl' is not supported"),
        ("llava-next-video", "model_type 'llava_next_video' is not supported"),
        ("vit-gpt2-image-captioning", "model_type 'vision-encoder-decoder' is not supported"),
        ("bert-base-chinese-crlf", "config.json: not valid JSON"),
    ],
)
def test_what_is_no_family_of_ours_is_refused_by_name(name: str, message: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        sepiola.load(ROOT / name)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_llavas_original_layout_is_refused_in_one_sentence(tmp_path: Path) -> None:
    shutil.copy(ROOT / "llava-v1.5-7b" / "config.json", tmp_path)
    save_file({"model.mm_projector.0.weight": torch.zeros(2, 2)}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="LLaVA's original layout"):
        sepiola.load(tmp_path)
