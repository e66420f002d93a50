"""The tiny models, recipes, configs of the Hub, pictures and examples that tests share.

Every function gives a new value, so that a test may change what it got."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from torch import Tensor, nn

import sepiola
from sepiola.api import Model
from sepiola.checkpoints.tensors import read_tensors
from sepiola.curation.describe import CONTINUE
from sepiola.data.example import Example, Message, Question
from sepiola.data.image import ImageRef
from sepiola.datasets import read
from sepiola.errors import DataError
from sepiola.experiments.recipe_files import parse_recipe
from sepiola.experiments.run import Run
from sepiola.models.build import preset
from sepiola.specs.base import override
from sepiola.specs.model import ModelSpec
from sepiola.specs.recipe import AnsweringSpec
from sepiola.text.encoding import IMAGE
from sepiola.text.tokenizer import Tokenizer

Raw = dict[str, Any]
Module = TypeVar("Module", bound=nn.Module | Model)

QUIET = Console(file=open(os.devnull, "w"), width=200)  # noqa: SIM115 (open as long as the tests run)


def wait_until(reached: Callable[[], object], process: subprocess.Popen[Any] | None = None) -> None:
    """Waits until a condition holds while a process runs. The limit is for hangs: a busy machine is no defect. A file
    that goes while the condition looks at it is one that the process has put elsewhere.
    """
    limit = time.monotonic() + 900

    def holds() -> object:
        with contextlib.suppress(FileNotFoundError):
            return reached()
        return False

    while not holds():
        assert process is None or process.poll() is None, f"the process ended with status {process.returncode}"
        assert time.monotonic() < limit, "not reached in a quarter of an hour"
        time.sleep(0.002)


# Specs of parts, as YAML has them.


def decoder(
    vocabulary: int = 60, width: int = 16, layers: int = 1, *, heads: int = 2, hidden: int = 24, **changes: Any
) -> Raw:
    """A decoder with rotary positions."""
    return {
        "kind": "decoder",
        "vocabulary": vocabulary,
        "width": width,
        "layers": layers,
        "attention": {"heads": heads},
        "feed_forward": {"width": hidden},
        "positions": {"kind": "rotary"},
        **changes,
    }


def llama(vocabulary: int = 60, width: int = 24, layers: int = 2, *, hidden: int = 40, **changes: Any) -> Raw:
    """A decoder of LLaMA's choices: RMS norms and a gated feed-forward."""
    gated = {"width": hidden, "activation": "silu", "gated": True}
    return decoder(vocabulary, width, layers, **{"feed_forward": gated, "norm": {"kind": "rms"}, **changes})


GROUPED_QUERY = decoder(
    40,
    12,
    3,
    attention={"heads": 3, "kv_heads": 1},
    feed_forward={"width": 20, "activation": "silu", "gated": True},
)


def encoder(vocabulary: int = 60, width: int = 16, layers: int = 1, *, hidden: int = 24, **changes: Any) -> Raw:
    """An encoder with rotary positions and a language-modelling head."""
    return decoder(vocabulary, width, layers, hidden=hidden, **{"kind": "encoder", **changes})


def encoder_decoder(vocabulary: int = 60, width: int = 16, layers: int = 1, *, hidden: int = 24, **changes: Any) -> Raw:
    """An encoder-decoder of T5's choices: relative positions and RMS norms."""
    choices = {"kind": "encoder-decoder", "positions": {"kind": "relative"}, "norm": {"kind": "rms"}}
    return decoder(vocabulary, width, layers, hidden=hidden, **{**choices, **changes})


def vit(size: int = 16, patch: int = 8, width: int = 16, layers: int = 1, *, hidden: int = 16, **changes: Any) -> Raw:
    """A ViT of two heads, with biases."""
    return {
        "kind": "vit",
        "pixels": {"size": size},
        "patch": patch,
        "width": width,
        "layers": layers,
        "attention": {"heads": 2, "bias": True},
        "feed_forward": {"width": hidden, "bias": True},
        **changes,
    }


def clip(layers: int = 1, **changes: Any) -> Raw:
    """CLIP's vision encoder for pictures of 16 pixels."""
    choices = {
        "family": "clip",
        "pixels": {"size": 16, "mode": "crop"},
        "feed_forward": {"width": 16, "activation": "quick_gelu", "bias": True},
        "input_norm": True,
        "patch_bias": False,
        "final_norm": False,
    }
    return vit(width=12, layers=layers, **{**choices, **changes})


def detr(layers: int = 1, **changes: Any) -> Raw:
    """A DETR over a ResNet of two stages."""
    backbone = {"stem_width": 8, "widths": (8, 16), "depths": (1, 1), "block": "basic", "frozen_norm": True}
    return {
        "kind": "detr",
        "pixels": {"size": 64, "mode": "fit", "longest": 96},
        "width": 16,
        "heads": 2,
        "layers": layers,
        "encoder_layers": layers,
        "feed_forward": 32,
        "queries": 5,
        "backbone": backbone,
        **changes,
    }


def qformer(queries: int = 3, width: int = 24, layers: int = 2, *, hidden: int = 32, **changes: Any) -> Raw:
    """A Q-Former of two heads, with biases; `text` and `heads` make it one of the first stage."""
    return {
        "kind": "q-former",
        "queries": queries,
        "width": width,
        "layers": layers,
        "attention": {"heads": 2, "bias": True},
        "feed_forward": {"width": hidden, "bias": True},
        **changes,
    }


# Whole recipes on Tidepool.


def tidepool(count: int, *families: str, **options: Any) -> Raw:
    """The data of a stage: so many examples of these families, as pictures of 64 pixels."""
    return {"reader": "tidepool", "count": count, "options": {"size": 64, "families": [*families], **options}}


def vision_language(bridge: Raw, *, vision: Raw | None = None, **changes: Any) -> Raw:
    """A model of one ViT layer, this bridge and one decoder layer, for pictures of 64 pixels and 400 tokens."""
    language = decoder(400, 32, hidden=48)
    return {"language": language, "vision": vision or vit(64, 16), "bridge": bridge, **changes}


def recipe(name: str, model: Raw, stages: list[Raw], **changes: Any) -> Raw:
    """A recipe that trains a tokenizer of the model's vocabulary."""
    vocabulary = model["language"]["vocabulary"]
    return {"name": name, "model": model, "tokenizer": {"vocabulary": vocabulary}, "stages": stages, **changes}


def run_recipe(raw: Raw, folder: Path, *changes: str) -> Path:
    """Runs a recipe with `key.path=value` changes into a folder, without a word, and gives the folder."""
    Run(parse_recipe(override(raw, changes)), folder, console=QUIET).go()
    return folder


def stage_weights(folder: Path, stage: str) -> dict[str, Tensor]:
    """The tensors of the checkpoint that a stage of a run ended with."""
    (checkpoint,) = (folder / "stages").glob(f"{stage}-*/checkpoint/model.safetensors")
    return dict(read_tensors(checkpoint))


def changed_parts(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> set[str]:
    """The parts (`vision`, `bridge`, `language`) of which some tensor differs."""
    return {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}


# Weights.


def randomise(module: Module, mean: float = 0.0, std: float = 0.5, generator: torch.Generator | None = None) -> Module:
    """Draws every parameter of a module or model anew, large enough that a fault shows."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(mean, std, generator=generator)
    return module


def byte_model(language: Raw, std: float = 0.5) -> Model:
    """A model with random weights whose tokenizer knows the bytes alone (259 tokens)."""
    tokenizer = Tokenizer.train([], 259)
    built = sepiola.build({"name": "bytes", "language": {**language, "vocabulary": tokenizer.vocabulary}}, seed=5)
    randomise(built, std=std, generator=torch.Generator().manual_seed(3))
    return Model(built.network, built.spec, tokenizer)


CAPTIONS: Raw = {"task": "captions", "size": 64, "families": ["objects", "counting"]}


def captioner(folder: Path) -> Path:
    """Saves a MiniGPT-4 of random weights, in its prompt form, which describes Tidepool's pictures somehow."""
    texts = [e.prompt + e.target for e in read("tidepool", None, "train", count=40, **CAPTIONS)]
    tokenizer = Tokenizer.train([*texts, *CONTINUE.values()], 420, extra=[IMAGE])
    changes = [f"language.vocabulary={tokenizer.vocabulary}", f"bridge.token={tokenizer.id_of(IMAGE)}"]
    changes += ["language.layers=1", "vision.layers=1", "bridge.text=null", "bridge.heads=null"]
    spec = ModelSpec.parse(override(preset("minigpt-4-tiny").to_dict(), changes))
    network: Any = sepiola.build(spec).network
    torch.manual_seed(3)  # weights under which a conversation that lost its middle goes on otherwise
    randomise(network, 0.02, 0.15)
    Model(network, spec, tokenizer, AnsweringSpec(layout="minigpt-4", source_tokens=60)).save(folder)
    return folder


# Configs of `transformers`.

HUB_GPT: Raw = {"vocab_size": 97, "n_embd": 24, "n_layer": 2, "n_head": 4, "n_positions": 40}
HUB_LLAMA: Raw = {
    "vocab_size": 101,
    "hidden_size": 24,
    "intermediate_size": 50,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
}
HUB_OPT: Raw = {
    "vocab_size": 89,
    "hidden_size": 24,
    "word_embed_proj_dim": 24,
    "ffn_dim": 37,
    "num_hidden_layers": 3,
    "num_attention_heads": 3,
    "max_position_embeddings": 40,
}
HUB_T5: Raw = {"vocab_size": 99, "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4}
HUB_VIT: Raw = {
    "hidden_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 72,
    "image_size": 32,
    "patch_size": 8,
}
HUB_QFORMER: Raw = {
    "vocab_size": 61,
    "hidden_size": 20,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 44,
    "max_position_embeddings": 16,
}


# Recipes and texts.

STAGE: Raw = {"name": "answer", "data": {"reader": "tidepool"}, "objective": {"format": "QCM-A"}, "steps": 2}
RECIPE: Raw = {
    "name": "r",
    "model": "mm-cot-tiny",
    "tokenizer": {"vocabulary": 400},
    "stages": [STAGE],
    "strategy": {"answer": "answer"},
}
TEXTS = [
    "The squid has big eyes, a quick mind and many arms; that is what they say.\n\n",
    "They don't see that the squid's eyes are big. 'It's quick,' she said.\r\n",
    "耳乌贼的眼睛很大，头脑很快，手臂很多；大家都这么说。\n",
    "“它的眼睛很大。”她说：耳乌贼有12只手臂吗？　　有的。\n",
    "In 2024 the 耳乌贼 (sepiola) grew 30 mm long.\tThat is not big!\n",
]


# Pictures and examples.


def colour_picture(colour: str = "red", size: tuple[int, int] = (8, 8)) -> ImageRef:
    """A picture of one colour; the size is (width, height) in pixels."""
    return ImageRef.of(Image.new("RGB", size, colour))


def noise_picture(seed: int, size: int = 8) -> ImageRef:
    """A square picture of noise, another for each seed."""
    noise = np.random.default_rng(seed).integers(0, 255, (size, size, 3), dtype=np.uint8)
    return ImageRef.of(Image.fromarray(noise))


def picture_file(path: Path, colour: str = "red") -> Path:
    """Writes a picture of 4 by 4 pixels, and its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4), colour).save(path)
    return path


def read_fault(name: str, root: Path | None, split: str, **options: Any) -> str:
    """The message with which a dataset's reader refuses."""
    with pytest.raises(DataError) as caught:
        read(name, root, split, **options)
    return str(caught.value)


def question_example(
    name: str, text: str, choices: tuple[str, ...], answer: int = 0, *images: ImageRef, **metadata: Any
) -> Example:
    """A question with choices, about the pictures given."""
    question = Question(text, choices, answer)
    return Example(name, (Message("user", (*images, text)),), choices[answer], question, metadata)
