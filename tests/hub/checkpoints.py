"""Small checkpoints of published models: a folder of their real files, and random weights that `transformers` wrote.

The configs, tokenizers, templates and settings are the published ones (`SEPIOLA_DATA`/hub_configs); the config is made
small in widths and layers alone, so that ids, special tokens and picture sizes stay what they are.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
import tokenizers
import torch
import transformers
from safetensors.torch import load_file, save_file
from tokenizers import decoders, models, pre_tokenizers, processors
from torch import Tensor
from transformers import (
    CONFIG_MAPPING,
    AutoConfig,
    AutoTokenizer,
    DetrConfig,
    GenerationConfig,
    PreTrainedModel,
    ResNetConfig,
)

from sepiola.checkpoints.registry import model_type_of

Raw = dict[str, Any]

ROOT = Path(os.environ.get("SEPIOLA_DATA", "")) / "hub_configs"
absent = not os.environ.get("SEPIOLA_DATA") or not ROOT.is_dir()
needs_configs = pytest.mark.skipif(absent, reason="SEPIOLA_DATA/hub_configs is not there")
BESIDE = (
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "generation_config.json",
    "merges.txt",
    "preprocessor_config.json",
    "processor_config.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
    "vocab.txt",
)
ALPHABET = sorted(pre_tokenizers.ByteLevel.alphabet())


def shrink_decoder(config: Raw) -> None:
    heads, groups = config["num_attention_heads"], config.get("num_key_value_heads")
    config |= {"num_hidden_layers": 2, "hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4}
    config["num_key_value_heads"] = max(1, 4 * (groups or heads) // heads)
    if config.get("head_dim"):
        config["head_dim"] = 8
    if config.get("layer_types"):
        config["layer_types"] = sorted(set(config["layer_types"]), reverse=True) * 2
        del config["layer_types"][2:]
    if config.get("query_pre_attn_scalar"):
        config["query_pre_attn_scalar"] = 8


def shrink_gpt(config: Raw) -> None:
    config |= {"n_embd": 32, "n_layer": 2, "n_head": 4}


def shrink_t5(config: Raw) -> None:
    config |= {"d_model": 32, "d_kv": 8, "num_heads": 4, "d_ff": 48, "num_layers": 2, "num_decoder_layers": 2}


def shrink_bart(config: Raw) -> None:
    for side in ("encoder", "decoder"):
        config |= {f"{side}_layers": 2, f"{side}_attention_heads": 4, f"{side}_ffn_dim": 48}
    config |= {"d_model": 32, "num_hidden_layers": 2}


def shrink_encoder(config: Raw) -> None:
    config |= {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}


def shrink_opt(config: Raw) -> None:
    config |= {"hidden_size": 32, "word_embed_proj_dim": 32, "ffn_dim": 48, "num_hidden_layers": 2}
    config["num_attention_heads"] = 4


def shrink_parts(config: Raw) -> None:
    text = config["text_config"]
    if "projection_dim" in config:
        config["projection_dim"] = 24
    for part in (text, config["vision_config"], config.get("qformer_config", {})):
        if part:
            SHRINK[part["model_type"]](part)
            if "projection_dim" in part:
                part["projection_dim"] = 24
    if qformer := config.get("qformer_config"):
        qformer["encoder_hidden_size"] = config["vision_config"]["hidden_size"]


def shrink_detr(config: Raw) -> None:
    for side in ("encoder", "decoder"):
        config |= {f"{side}_layers": 1, f"{side}_attention_heads": 8, f"{side}_ffn_dim": 48}
    config |= {"d_model": 128, "num_hidden_layers": 1, "num_queries": 9}


SHRINK: dict[str, Callable[[Raw], None]] = {
    **dict.fromkeys(("llama", "mistral", "mixtral", "qwen2", "qwen3", "gemma3_text"), shrink_decoder),
    **dict.fromkeys(("gpt2", "openai-gpt"), shrink_gpt),
    **dict.fromkeys(("llava", "idefics3", "blip-2", "clip", "siglip"), shrink_parts),
    **dict.fromkeys(
        ("bert", "vit", "clip_text_model", "clip_vision_model", "siglip_text_model", "siglip_vision_model"),
        shrink_encoder,
    ),
    **dict.fromkeys(("idefics3", "idefics3_vision", "blip_2_vision_model", "blip_2_qformer"), shrink_encoder),
    "idefics3": lambda config: (shrink_parts if "text_config" in config else shrink_encoder)(config),
    "t5": shrink_t5,
    "bart": shrink_bart,
    "opt": shrink_opt,
    "detr": shrink_detr,
}


def config_of(folder: Path) -> Any:
    """The config of a folder as `transformers` reads it; of one that names no model type, by its class."""
    raw = json.loads((folder / "config.json").read_text())
    kind = model_type_of(raw)
    if "model_type" in raw or kind is None:
        return AutoConfig.from_pretrained(folder)
    return CONFIG_MAPPING[kind].from_pretrained(folder)


def tokenizer_of(folder: Path) -> Any:
    """The tokenizer of a folder as `transformers` reads it."""
    return AutoTokenizer.from_pretrained(folder, config=config_of(folder))


def small_config(name: str) -> Any:
    """The published config with defaults spelled out, made small."""
    config = config_of(ROOT / name)
    raw = config.to_dict()
    SHRINK[raw["model_type"]](raw)
    return type(config).from_dict(raw)


def checkpoint(name: str, folder: Path) -> PreTrainedModel:
    """Writes the published model `name`, made small, as it lies at the Hub; gives `transformers`' own model of it."""
    source = json.loads((ROOT / name / "config.json").read_text())
    config = small_config(name)
    kind = getattr(transformers, (source.get("architectures") or [type(config).__name__.replace("Config", "Model")])[0])
    torch.manual_seed(0)
    with torch.device("cpu"):
        model: PreTrainedModel = kind(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.02, 0.3)
    model.generation_config = GenerationConfig()
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    # What `transformers` writes of a config is today's spelling; the published one stays wherever it says the same.
    written = json.loads((folder / "config.json").read_text())
    published = merged(source, written)
    for part in ("text_config", "vision_config"):
        published.pop(f"{part}_dict", None)  # an old twin of the part, which would set its sizes back
    for alias, real in config.attribute_map.items():
        if alias in source and real in written:
            published[alias] = written[real]
    (folder / "config.json").write_text(json.dumps(published))
    for file in BESIDE:
        if (ROOT / name / file).is_file():
            shutil.copy(ROOT / name / file, folder / file)
    complete_tokenizer(folder, written)
    return kind.from_pretrained(folder).eval()


def merged(published: Raw, small: Raw) -> Raw:
    """The published config with the small one's sizes."""
    made = {key: small.get(key, value) if not isinstance(value, dict) else value for key, value in published.items()}
    for key, value in small.items():
        if isinstance(value, dict) and isinstance(published.get(key), dict):
            made[key] = merged(published[key], value)
        elif key not in made and key != "model_type":  # which some configs do not name
            made[key] = value
    return made


def complete_tokenizer(folder: Path, config: Raw) -> None:
    """A byte-level `tokenizer.json` with the published special tokens, where the published one is not there."""
    if (folder / "tokenizer.json").is_file() or (folder / "vocab.json").is_file() or (folder / "vocab.txt").is_file():
        return
    if not (folder / "tokenizer_config.json").is_file():
        return
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    special = {entry["content"]: int(i) for i, entry in settings.get("added_tokens_decoder", {}).items()}
    if (folder / "added_tokens.json").is_file():
        special |= json.loads((folder / "added_tokens.json").read_text())
    text = config.get("text_config") or config
    for key in ("bos_token", "eos_token", "pad_token", "unk_token"):
        token = settings.get(key)
        token = token["content"] if isinstance(token, dict) else token
        index = text.get(f"{key}_id")
        index = index[0] if isinstance(index, list) else index
        if isinstance(token, str) and token not in special and isinstance(index, int):
            special[token] = index
    extra = settings.get("extra_special_tokens")
    for token in extra if isinstance(extra, list) else ():
        special.setdefault(token, max(special.values()) + 1)
    taken = set(special.values())
    free = (number for number in range(10**6) if number not in taken)
    vocabulary = {**special, **{letter: next(free) for letter in ALPHABET}}
    for number in range(max(vocabulary.values())):
        if number < 2000 and number not in taken and number not in vocabulary.values():
            vocabulary[f"<hole_{number}>"] = number
    backend = tokenizers.Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(list(special))
    if text.get("model_type") == "t5":  # as all of T5's own do
        close = [("</s>", backend.token_to_id("</s>"))]
        backend.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=close)
    backend.save(str(folder / "tokenizer.json"))
    settings["tokenizer_class"] = "PreTrainedTokenizerFast"
    settings.pop("added_tokens_decoder", None)
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


def detr_checkpoint(name: str, folder: Path) -> PreTrainedModel:
    """The same of a published DETR, whose ResNet-50 stays whole under timm's names, and its pictures an eighth."""
    raw = json.loads((ROOT / name / "config.json").read_text())
    shrink_detr(raw)
    backbone = {"use_timm_backbone": False, "use_pretrained_backbone": False, "backbone": None}
    config = DetrConfig(
        **{key: raw[key] for key in raw if key.startswith(("encoder", "decoder", "d_model", "num_q"))},
        **backbone,
        backbone_config=ResNetConfig(out_features=["stage1", "stage2", "stage3", "stage4"]),
    )
    torch.manual_seed(0)
    model: PreTrainedModel = getattr(transformers, raw["architectures"][0])(config).eval()
    with torch.no_grad():
        for parameter in (parameter for name, parameter in model.named_parameters() if "backbone" not in name):
            parameter.normal_(0.02, 0.3)
    model.save_pretrained(folder)
    save_file(timm_names(load_file(folder / "model.safetensors")), folder / "model.safetensors", {"format": "pt"})
    (folder / "config.json").write_text(json.dumps(raw))
    pixels = json.loads((ROOT / name / "preprocessor_config.json").read_text())
    pixels["size"] = {edge: side // 8 for edge, side in pixels["size"].items()}
    (folder / "preprocessor_config.json").write_text(json.dumps(pixels))
    return model


def timm_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A DETR's tensors with its backbone's under the names of timm and torchvision, which published files have."""
    kinds = {"convolution": ("conv", "downsample.0"), "normalization": ("bn", "downsample.1")}

    def renamed(name: str) -> str:
        parts = name.split(".")
        if parts[0] == "embedder":
            return f"{kinds[parts[2]][0]}1.{parts[3]}"
        block = f"layer{int(parts[2]) + 1}.{parts[4]}"
        if parts[5] == "shortcut":
            return f"{block}.{kinds[parts[6]][1]}.{parts[7]}"
        return f"{block}.{kinds[parts[7]][0]}{int(parts[6]) + 1}.{parts[8]}"

    split = {name: name.partition("backbone.conv_encoder.model.") for name in state}
    return {head + found + renamed(tail) if found else name: state[name] for name, (head, found, tail) in split.items()}


def names(*kinds: str) -> list[str]:
    """The folders whose config is of one of these model types."""
    found = []
    for folder in sorted(ROOT.iterdir()) if not absent else ():
        try:
            config = json.loads((folder / "config.json").read_text())
        except (OSError, ValueError):
            continue
        if config.get("model_type", model_type_of(config)) in kinds:
            found.append(folder.name)
    return found


def readable(folders: Iterable[str], *files: str) -> list[str]:
    """Those of the folders that hold one of the files."""
    return [name for name in folders if any((ROOT / name / file).is_file() for file in files)]
