"""The families that we read and write, by the `model_type` of their configs and by the names of our own specs."""

from __future__ import annotations

from sepiola.checkpoints import parts
from sepiola.checkpoints.config import Config
from sepiola.checkpoints.families import bart, bert, blip2, clip, gpt, idefics3, llava, llava_onevision, siglip, t5
from sepiola.checkpoints.family import Family

FAMILIES: dict[str, Family] = {
    **parts.LANGUAGES,
    **parts.VISION_ENCODERS,
    "bart": bart,
    "bert": bert,
    "openai-gpt": gpt,
    "gpt2": gpt,
    "clip": clip,
    "siglip": siglip,
    "mm-cot": t5,
    "llava": llava,
    "llava_llama": llava,
    "llava_onevision": llava_onevision,
    "idefics3": idefics3,
    "smolvlm": idefics3,
    "blip-2": blip2,
    "instructblip": blip2,
    "minigpt-4": blip2,
}

# Whose classes say what a config of old, which states no `model_type`, is of.
_OF_CLASS = {
    "OpenAIGPT": "openai-gpt",
    "GPT2": "gpt2",
    "Bert": "bert",
    "Bart": "bart",
    "T5": "t5",
    "ViT": "vit",
    "CLIPModel": "clip",
    "Detr": "detr",
    "ResNet": "resnet",
}
_OWN_KEYS = {"afn": "openai-gpt"}  # which no other family's config has


def model_type_of(config: Config) -> str | None:
    """The `model_type` of a config that states none: by its `architectures`, or by a key that one family alone has.

    None where these do not say, or name several.
    """
    listed = config.get("architectures")
    named = [str(name) for name in listed] if isinstance(listed, list) else []
    kinds = {kind for name in named for prefix, kind in _OF_CLASS.items() if name.startswith(prefix)}
    kinds = kinds or {kind for key, kind in _OWN_KEYS.items() if key in config}
    return kinds.pop() if len(kinds) == 1 else None
