"""Tiny checkpoints in the Hub's layouts, as transformers writes them, with byte-level tokenizers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import processors
from transformers import (
    CONFIG_MAPPING,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoModelForSeq2SeqLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

import sepiola
from sepiola.api import Model
from sepiola.text.tokenizer import Tokenizer
from tests.tiny import HUB_LLAMA, Raw, randomise

IMAGE = 259  # the placeholder's id in these tokenizers: "<image>"
NAMES = ["<image>", "<s>", "<turn>", "<fake_token_around_image>", "<global-img>"]
NAMES += [f"<row_{r}_col_{c}>" for r in range(1, 5) for c in range(1, 5)]
SIZES: Raw = {"vocab_size": 300, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 6}
LLAMA: Raw = {**SIZES, "model_type": "llama", "intermediate_size": 50, "num_key_value_heads": 2}
LLAMA |= {"bos_token_id": 260, "eos_token_id": 1, "pad_token_id": 0}
QWEN: Raw = {**LLAMA, "model_type": "qwen2", "bos_token_id": None, "eos_token_id": 1}
OPT: Raw = {**SIZES, "model_type": "opt", "word_embed_proj_dim": 24, "ffn_dim": 50, "max_position_embeddings": 96}
OPT |= {"bos_token_id": 1, "eos_token_id": 1, "pad_token_id": 0}
T5: Raw = {"model_type": "t5", "vocab_size": 300, "d_model": 24, "d_kv": 6, "d_ff": 40, "num_layers": 2, "num_heads": 4}
T5 |= {"decoder_start_token_id": 0, "pad_token_id": 0, "eos_token_id": 1}
EYES: Raw = {"hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 72}
EYES |= {"image_size": 32, "patch_size": 8}
GRIDS = [[32, 32], [32, 64], [64, 32], [64, 64]]
QFORMER: Raw = {"vocab_size": 300, "hidden_size": 20, "num_hidden_layers": 3, "num_attention_heads": 4}
QFORMER |= {"intermediate_size": 44, "max_position_embeddings": 16}
BLIP: Raw = {"vision_config": EYES, "qformer_config": QFORMER, "num_query_tokens": 7, "image_token_index": IMAGE}
CONFIGS: dict[str, tuple[str, Raw]] = {
    "blip-2 opt": ("blip-2", {**BLIP, "text_config": OPT}),
    "blip-2 t5": ("blip-2", {**BLIP, "text_config": T5}),
    "instructblip": ("instructblip", {**BLIP, "text_config": LLAMA}),
    "llava": (
        "llava",
        {
            "text_config": LLAMA,
            "vision_config": {**EYES, "model_type": "clip_vision_model"},
            "image_token_index": IMAGE,
        },
    ),
    "smolvlm": (
        "smolvlm",
        {"text_config": LLAMA, "vision_config": {**EYES, "image_size": 64}, "image_token_id": IMAGE, "scale_factor": 4},
    ),
    "onevision": (
        "llava_onevision",
        {
            "text_config": QWEN,
            "vision_config": {**EYES, "model_type": "siglip_vision_model", "vision_use_head": False},
            "image_token_index": IMAGE,
            "image_grid_pinpoints": GRIDS,
            "vision_aspect_ratio": "anyres_max_9",
        },
    ),
}
PROCESSED = [name for name in CONFIGS if name != "onevision"]  # transformers' processor of that needs torchvision
TEXT_CONFIGS: dict[str, tuple[str, Raw]] = {
    "flan-t5": ("t5", {**T5, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}),
    "qwen": ("qwen2", QWEN),
}
FRAMES: dict[str, tuple[str | None, str | None]] = {
    "blip-2 opt": ("</s>", None),
    **dict.fromkeys(("blip-2 t5", "flan-t5"), (None, "</s>")),
    **dict.fromkeys(("smolvlm", "onevision", "qwen"), (None, None)),
}
TEMPLATE = (
    "{% for m in messages %}{{ m.role }}:{% for p in m.content %}"
    "{% if p.type == 'image' %}<image>{% else %} {{ p.text }}{% endif %}{% endfor %}<turn>\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)
SQUARE = {"height": 32, "width": 32}
_BLIP_PIXELS = {"image_processor_type": "BlipImageProcessor", "size": SQUARE}
_CLIP_PIXELS = {"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": 32}, "crop_size": SQUARE}
_TILES = {"size": {"longest_edge": 128}, "max_image_size": {"longest_edge": 64}, "resample": 1}
_TILES |= {"image_processor_type": "Idefics3ImageProcessor", "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
_ANYRES = {"size": SQUARE, "image_grid_pinpoints": GRIDS, "image_processor_type": "LlavaOnevisionImageProcessor"}
_ONEVISION = {"num_image_tokens": 16, "vision_feature_select_strategy": "full", "vision_aspect_ratio": "anyres_max_9"}
_LLAVA = {"patch_size": 8, "num_additional_image_tokens": 1, "vision_feature_select_strategy": "default"}
FILES: dict[str, tuple[Raw, Raw]] = {
    "blip-2": (_BLIP_PIXELS, {"processor_class": "Blip2Processor", "num_query_tokens": 7}),
    "instructblip": (_BLIP_PIXELS, {"processor_class": "InstructBlipProcessor", "num_query_tokens": 7}),
    "llava": (_CLIP_PIXELS, {"processor_class": "LlavaProcessor", **_LLAVA}),
    "smolvlm": (_TILES, {"processor_class": "Idefics3Processor", "image_seq_len": 4}),
    "llava_onevision": (_ANYRES, {"processor_class": "LlavaOnevisionProcessor", **_ONEVISION}),
}


def write_json(path: Path, content: Raw) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def write_tokenizer(folder: Path, before: str | None, after: str | None, *names: str, **config: Any) -> None:
    """A tokenizer of bytes and `names`, with what its file sets around a text."""
    tokenizer = Tokenizer.train([], 259 + len(names), extra=names)
    backend = tokenizer.backend
    around = [name for name in (before, after) if name is not None]
    single = " ".join(part for part in (before, "$A", after) if part is not None)
    if around:
        backend.post_processor = processors.TemplateProcessing(
            single=single,
            pair=f"{single} {single.replace('$A', '$B')}",
            special_tokens=[(name, backend.token_to_id(name)) for name in around],
        )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.json").write_text(backend.to_str(), encoding="utf-8")
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast", **config})


def vision_language_folder(folder: Path, name: str, template: str | None = None) -> Any:
    """Writes one of CONFIGS with all that stands around it, and gives transformers' model."""
    kind, config = CONFIGS[name]
    model = _text_folder(folder, name, AutoModelForImageTextToText, CONFIG_MAPPING[kind](**config), template)
    if kind == "instructblip":
        write_tokenizer(folder / "qformer_tokenizer", "[CLS]", "[SEP]", "[CLS]", "[SEP]", pad_token="<pad>")
    pixels, processor = FILES[kind]
    write_json(folder / "preprocessor_config.json", pixels)
    write_json(folder / "processor_config.json", processor)
    return model


def language_folder(folder: Path, name: str, template: str | None = None) -> Any:
    """Writes one of TEXT_CONFIGS with its tokenizer, and gives transformers' model."""
    kind, config = TEXT_CONFIGS[name]
    reads = AutoModelForSeq2SeqLM if kind == "t5" else AutoModelForCausalLM
    return _text_folder(folder, name, reads, CONFIG_MAPPING[kind](**config), template)


def _text_folder(folder: Path, name: str, auto: Any, config: Any, template: str | None) -> Any:
    torch.manual_seed(0)
    model = randomise(auto.from_config(config), 0.05, 0.3).eval()
    model.save_pretrained(folder)
    before, after = FRAMES.get(name, ("<s>", None))
    write_tokenizer(folder, before, after, *NAMES, eos_token="</s>", pad_token="<pad>", bos_token=before)
    if template is not None:
        (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    return model


CHAT_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def chat_llama(folder: Path, template: str | None, context: int = 2048) -> tuple[Model, Any]:
    """A LLaMA of random weights as transformers writes it, whose tokenizer puts <s> before every text."""
    backend = Tokenizer.train([], 330, extra=["<s>", "<|im_start|>", "<|im_end|>"]).backend
    start = backend.token_to_id("<s>")
    backend.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", start)])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token="<|im_end|>", pad_token="<pad>", chat_template=template
    )
    torch.manual_seed(0)
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    shape = {**HUB_LLAMA, "vocab_size": len(tokenizer), "max_position_embeddings": context, "initializer_range": 0.3}
    config = LlamaConfig(**shape, bos_token_id=start, eos_token_id=end, pad_token_id=0)
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return sepiola.load(folder), tokenizer
