"""The families that we read and write, by the `model_type` of their configs and by the names of our own specs."""

from __future__ import annotations

from sepiola.checkpoints import parts
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
