"""Prompts of plain texts and pictures are the ids of the Hub's tokenizers and processors."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import (
    AutoProcessor,
    AutoTokenizer,
    BartConfig,
    BartForConditionalGeneration,
    LlamaConfig,
    LlamaForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)

import sepiola
from sepiola.data.image import ImageRef
from sepiola.errors import DataError, SepiolaError
from sepiola.generation.sampling import Sampling
from sepiola.specs.recipe import AnsweringSpec
from sepiola.text.chat import as_message
from tests.hub_folders import IMAGE, PROCESSED, TEMPLATE, vision_language_folder, write_json, write_tokenizer
from tests.tiny import HUB_LLAMA, HUB_T5, byte_model, colour_picture, llama, randomise

PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 52, 3), dtype=np.uint8))
TEXTS = ["  How many foxes?\n", "有几只狐狸？", "one</s>two", ""]


def text_folder(folder: Path, kind: str) -> Any:
    """A language model whose tokenizer sets a start token (and BART's an end token) around texts."""
    torch.manual_seed(0)
    ids = {"vocab_size": 300, "bos_token_id": 259, "eos_token_id": 1, "pad_token_id": 0}
    model: Any
    if kind == "llama":
        model = LlamaForCausalLM(LlamaConfig(**{**HUB_LLAMA, **ids}, max_position_embeddings=64))
    else:
        stacks = {f"{s}_{n}": 2 for s in ("encoder", "decoder") for n in ("layers", "attention_heads")}
        sizes = {"d_model": 24, "encoder_ffn_dim": 40, "decoder_ffn_dim": 40, "max_position_embeddings": 64, **stacks}
        model = BartForConditionalGeneration(
            BartConfig(**sizes, **ids, decoder_start_token_id=1, forced_eos_token_id=None)
        )
    randomise(model, 0.02, 0.3).eval().save_pretrained(folder)
    end = None if kind == "llama" else "</s>"
    write_tokenizer(folder, "<s>", end, "<s>", bos_token="<s>", eos_token="</s>", pad_token="<pad>")
    return model


@pytest.mark.parametrize("kind", ["llama", "bart"])
def test_a_text_is_read_as_by_its_tokenizer_and_continued_as_it_was_written(tmp_path: Path, kind: str) -> None:
    theirs, tokenizer = text_folder(tmp_path, kind), None
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    model = sepiola.load(tmp_path)
    for text in TEXTS:
        read = tokenizer(text, return_tensors="pt")
        ids = read["input_ids"]
        assert list(model._prompts.prompt(text).tokens) == ids[0].tolist()
        with torch.no_grad():
            out = theirs.generate(ids, max_new_tokens=8, do_sample=False)[0, ids.shape[1] if kind == "llama" else 1 :]
        assert model.generate(text, max_tokens=8) == tokenizer.decode(out, skip_special_tokens=True)


BART_CNN = {  # what bart-large-cnn says
    "num_beams": 4,
    "no_repeat_ngram_size": 3,
    "min_length": 20,
    "max_length": 40,
    "forced_bos_token_id": 259,
    "forced_eos_token_id": 1,
    "length_penalty": 2.0,
    "early_stopping": True,
}
PENALISED = {
    "suppress_tokens": [9, 70],
    "repetition_penalty": 1.4,
    "no_repeat_ngram_size": 2,
    "min_new_tokens": 4,
    "min_length": 30,
}


@pytest.mark.parametrize(("kind", "settings"), [("bart", BART_CNN), ("llama", {**PENALISED, "max_new_tokens": 24})])
def test_the_settings_of_writing_count_as_in_transformers(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str, settings: dict[str, Any]
) -> None:
    theirs = text_folder(tmp_path, kind)
    path = tmp_path / "generation_config.json"
    write_json(path, {**json.loads(path.read_text(encoding="utf-8")), **settings})
    theirs, tokenizer = type(theirs).from_pretrained(tmp_path).eval(), AutoTokenizer.from_pretrained(tmp_path)
    with caplog.at_level(logging.WARNING):
        model = sepiola.load(tmp_path)
    assert [r.getMessage().rpartition(": ")[2] for r in caplog.records] == ["num_beams 4"] * (kind == "bart")
    plain = []
    for text in TEXTS:
        ids = tokenizer(text, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            out = theirs.generate(ids, do_sample=False, num_beams=1)[:, ids.shape[1] if kind == "llama" else 1 :]
        assert model.generate(text) == tokenizer.decode(out[0], skip_special_tokens=True)
        ours = model.generate(ids)
        assert isinstance(ours, torch.Tensor)
        assert ours[0].tolist() == out[0, : ours.shape[1]].tolist() and set(out[0, ours.shape[1] :].tolist()) <= {1}
        plain.append(model.generate(text, sampling=Sampling()) != model.generate(text))
    assert any(plain)  # and a sampling that is given stands alone


@pytest.mark.parametrize("ids", [{"decoder_start_token_id": 7}, {"bos_token_id": 9}], ids=str)
def test_a_reply_begins_and_is_filled_as_generation_config_says(tmp_path: Path, ids: dict[str, int]) -> None:
    torch.manual_seed(0)
    config = T5Config(**HUB_T5, decoder_start_token_id=0)
    randomise(T5ForConditionalGeneration(config), 0.0, 0.6).save_pretrained(tmp_path)
    write_json(tmp_path / "generation_config.json", {**ids, "eos_token_id": [1, *range(20, 40)], "pad_token_id": 5})
    theirs = T5ForConditionalGeneration.from_pretrained(tmp_path).eval()
    model = sepiola.load(tmp_path)
    model.save(tmp_path / "ours")
    model.save_hub(tmp_path / "back")
    source = torch.randint(10, 90, (8, 9), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        out = theirs.generate(source, max_new_tokens=12, do_sample=False)
    assert out[0, 0] == next(iter(ids.values()))
    for folder in (tmp_path, tmp_path / "ours", tmp_path / "back"):
        given = sepiola.load(folder).generate(source, max_tokens=12)
        assert isinstance(given, torch.Tensor)
        for wanted, row in zip(out[:, 1:].tolist(), given.tolist(), strict=True):
            at = next((i for i, token in enumerate(wanted) if token in model.processor.ends), len(wanted))
            assert row[:at] == wanted[:at] and set(row[at:]) <= {5}
    assert bool((given == 5).any()) and len({*map(tuple, given.tolist())}) > 2


def test_stop_strings_end_token_ids_as_in_transformers(tmp_path: Path) -> None:
    theirs = text_folder(tmp_path, "llama")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    ids = tokenizer(TEXTS[0], return_tensors="pt")["input_ids"]
    written = sepiola.load(tmp_path).generate(TEXTS[0], max_tokens=24)
    assert isinstance(written, str)
    string = next(letter for letter in written[2:] if letter.isascii() and letter not in written[:2])
    path = tmp_path / "generation_config.json"
    write_json(path, {**json.loads(path.read_text(encoding="utf-8")), "stop_strings": [string]})
    model = sepiola.load(tmp_path)
    with torch.no_grad():
        out = theirs.generate(ids, max_new_tokens=24, do_sample=False, stop_strings=[string], tokenizer=tokenizer)
    stopped = model.generate(ids, max_tokens=24)
    assert isinstance(stopped, torch.Tensor) and stopped.shape[1] < 24
    assert stopped[0].tolist() == out[0, ids.shape[1] :].tolist()
    assert model.generate(TEXTS[0], max_tokens=24) == written[: written.index(string)]


def test_stop_strings_without_a_tokenizer_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    text_folder(tmp_path, "llama")
    write_json(tmp_path / "generation_config.json", {"stop_strings": ["\n\n"], "eos_token_id": 1})
    (tmp_path / "tokenizer.json").unlink()
    with caplog.at_level(logging.WARNING):
        model = sepiola.load(tmp_path)
    assert "not honoured: stop_strings" in caplog.text
    written = model.generate(torch.tensor([[259, 5]]), max_tokens=3)
    assert isinstance(written, torch.Tensor) and 0 < written.shape[1] <= 3


def test_spaces_that_were_written_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text_folder(tmp_path, "llama")
    model = sepiola.load(tmp_path)
    assert model.tokenizer is not None
    said = [model.tokenizer.encode("  \tx = 1 \n")]
    monkeypatch.setattr(model.engine, "generate", lambda *_, **__: [said])
    assert model.generate("if y:") == "  \tx = 1 \n"


def test_a_long_text_is_read_whole_and_said_to_be_too_long(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    text_folder(tmp_path, "llama")
    model = sepiola.load(tmp_path)
    with caplog.at_level(logging.WARNING):
        assert model.generate("a" * 63, max_tokens=1) is not None
        assert not caplog.records
        assert len(model._prompts.prompt("a" * 900).tokens) == 901 and not caplog.records
        model.generate("a" * 900, max_tokens=1)
    assert "901 tokens; the model was made to read 64" in caplog.text


def test_a_chat_without_a_template_begins_with_the_start_token(tmp_path: Path) -> None:
    text_folder(tmp_path, "llama")
    prompt = sepiola.load(tmp_path)._chat.prompt([as_message({"role": "user", "content": "hi 你好"})])
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    assert list(prompt.tokens) == theirs("User: hi 你好\nAssistant:")["input_ids"]


@pytest.mark.parametrize("name", [name for name in PROCESSED if name != "smolvlm"])
@pytest.mark.parametrize("text", ["How many?", "有几只？"])
def test_a_picture_and_a_text_are_read_as_by_the_hubs_processor(tmp_path: Path, name: str, text: str) -> None:
    theirs = vision_language_folder(tmp_path, name)
    processor = AutoProcessor.from_pretrained(tmp_path, use_fast=False)
    model = sepiola.load(tmp_path)
    shown = text if name.split()[0] in ("blip-2", "instructblip") else f"<image>{text}"
    read = processor(images=PICTURE, text=shown, return_tensors="pt")
    for ours in {text, shown}:
        prompt = model._prompts.prompt(ours, [ImageRef.of(PICTURE)])
        assert list(prompt.tokens) == read["input_ids"][0].tolist()
    assert list(prompt.instruction) == (read["qformer_input_ids"][0].tolist() if name == "instructblip" else [])
    with torch.no_grad():
        out = theirs.generate(**read, max_new_tokens=6, do_sample=False)[0]
    out = out[1:] if name.endswith("t5") else out[read["input_ids"].shape[1] :]
    written = model.engine.generate([prompt], max_tokens=6)[0][0]
    assert written == [token for token in out.tolist() if token != 1]
    talk = [
        as_message({"role": "user", "content": [{"type": "image", "image": PICTURE}, {"type": "text", "text": text}]})
    ]
    said = f"User: {'' if shown == text else '<image>'}{text}\nAssistant:"
    assert list(model._chat.prompt(talk).tokens) == processor(images=PICTURE, text=said)["input_ids"][0]
    assert model.chat(talk, max_tokens=3).tokens <= 3


def test_a_template_counts_wherever_it_lies(tmp_path: Path) -> None:
    vision_language_folder(tmp_path, "llava", TEMPLATE.replace("assistant", "jinja"))
    talk = [{"role": "user", "content": [{"type": "image", "image": PICTURE}, {"type": "text", "text": "?"}]}]
    for file, name in ((None, "jinja"), ("chat_template.json", "legacy"), ("processor_config.json", "processor")):
        if file == "chat_template.json":
            write_json(tmp_path / file, {"chat_template": TEMPLATE.replace("assistant", name)})
        elif file is not None:
            old = AutoProcessor.from_pretrained(tmp_path, use_fast=False)
            config = {"processor_class": "LlavaProcessor", "patch_size": 8, "num_additional_image_tokens": 1}
            config |= {"vision_feature_select_strategy": old.vision_feature_select_strategy}
            write_json(tmp_path / file, {**config, "chat_template": TEMPLATE.replace("assistant", name)})
        processor = AutoProcessor.from_pretrained(tmp_path, use_fast=False)
        text = processor.apply_chat_template(talk, add_generation_prompt=True)
        assert text.endswith(f"{name}:")
        prompt = sepiola.load(tmp_path)._chat.prompt([as_message(m) for m in talk])
        assert list(prompt.tokens) == processor(images=PICTURE, text=text)["input_ids"][0]


def test_pictures_and_their_places_must_match(tmp_path: Path) -> None:
    vision_language_folder(tmp_path, "llava")
    model, picture = sepiola.load(tmp_path), ImageRef.of(PICTURE)
    prompt = model._prompts.prompt("left <image> right <image>", [picture, picture])
    assert list(prompt.tokens).count(IMAGE) == 2 * 16 and IMAGE not in list(prompt.tokens)[:6]
    for text, images in (("<image> and <image>", [picture]), ("<image>?", [])):
        with pytest.raises(DataError, match="pictures, and its text"):
            model._prompts.prompt(text, images)
    text_folder(tmp_path / "blind", "llama")
    with pytest.raises(DataError, match="no vision encoder"):
        sepiola.load(tmp_path / "blind").generate("what?", images=[PICTURE])


@pytest.mark.parametrize("kind", ["array", "tensor", "file", "stack"])
def test_pictures_in_memory_are_seen_by_every_verb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    vision_language_folder(tmp_path, "llava")
    seen: list[Image.Image] = []
    encode = sepiola.Model.encode_images

    def look(model: sepiola.Model, images: Sequence[ImageRef]) -> torch.Tensor:
        seen.extend(image.open() for image in images)
        return encode(model, images)

    monkeypatch.setattr(sepiola.Model, "encode_images", look)
    model = sepiola.load(tmp_path)
    shown = [np.asarray(PICTURE) // part for part in (1, 2, 3)]

    def given(pixels: np.ndarray, *, several: bool = True) -> Any:
        if kind == "tensor":
            return torch.from_numpy(pixels.copy()).permute(2, 0, 1) / 255
        if kind == "file":
            return io.BytesIO(ImageRef.of(pixels).encoded)
        return pixels[None] if kind == "stack" and several else pixels

    picture = {"type": "image", "image": given(shown[0], several=False)}
    model.chat([{"role": "user", "content": [picture, {"type": "text", "text": "几?"}]}], max_tokens=2)
    model.ask("几?", image=given(shown[1]))
    model.generate("几?", images=given(shown[2]), max_tokens=2)
    assert [image.tobytes() for image in seen] == [pixels.tobytes() for pixels in shown]


def test_a_text_is_given_in_pieces_and_ends_before_what_the_caller_stops_at(tmp_path: Path) -> None:
    text_folder(tmp_path, "llama")
    model = sepiola.load(tmp_path)
    written = model.generate(TEXTS[0], max_tokens=24)
    assert isinstance(written, str)
    stop = written[5:8]  # of several tokens
    before, pieces = written[: written.index(stop)], list[str]()
    for given in (stop, [stop], ("absent", stop)):
        pieces.clear()
        assert model.generate(TEXTS[0], max_tokens=24, stop=given, on_text=pieces.append) == before == "".join(pieces)
    pieces.clear()
    assert model.generate(TEXTS[0], max_tokens=24, stop=None, on_text=pieces.append) == written == "".join(pieces)
    assert len(pieces) > 5
    ids = torch.tensor([model.require_tokenizer().encode(TEXTS[0], framed=True)] * 2)
    rows, whole = (model.generate(ids, max_tokens=24, stop=given) for given in (stop, ()))
    assert isinstance(rows, torch.Tensor) and isinstance(whole, torch.Tensor) and rows.shape[1] < whole.shape[1]
    assert rows.equal(whole[:, : rows.shape[1]])  # up to the tokens of the stop string


def test_an_ending_that_cannot_be_is_one_message(tmp_path: Path) -> None:
    text_folder(tmp_path, "llama")
    model, ids = sepiola.load(tmp_path), torch.tensor([[259, 5]])
    with pytest.raises(SepiolaError, match="stop: got ''; expected texts, none of them empty"):
        model.generate("ab", stop="")
    with pytest.raises(DataError, match="on_text is given the pieces of a text, and the prompt is token ids"):
        model.generate(ids, on_text=print)
    for prompt in ("ab", ids):
        with pytest.raises(SepiolaError, match="a constraint ends a text by itself"):
            model.generate(prompt, stop="a", constraint={"type": "boolean"})
    model.tokenizer = None
    with pytest.raises(SepiolaError, match="stop holds texts, and the model has no tokenizer"):
        model.generate(ids, stop="a")


def test_a_model_with_a_layout_of_its_own_gives_pieces_too(tmp_path: Path) -> None:
    text_folder(tmp_path, "llama")
    model = sepiola.load(tmp_path)
    model.answering = AnsweringSpec(layout="minigpt-4-llama-2")
    written = model.generate("ab", max_tokens=24)
    assert isinstance(written, str)
    pieces: list[str] = []
    stopped = model.generate("ab", max_tokens=24, stop=written[5:8], on_text=pieces.append)
    assert stopped == written[: written.index(written[5:8])].strip() == "".join(pieces).strip() != written


def test_a_model_of_texts_says_so_where_pictures_are_asked_of_it() -> None:
    model = byte_model(llama())
    for ask in (lambda: model.encode_images([colour_picture()]), model.retriever):
        with pytest.raises(SepiolaError, match="'bytes' reads text alone, and sees no pictures"):
            ask()
