"""Models that are published as a small trained part alone: a folder with a config of ours names what it stands on.

MiniGPT-4 and OpenFlamingo publish one pickled file and no config. Beside it lies a `config.json`, written by hand:
`model_type` (`minigpt4` or `openflamingo`), `weights` (the file), `vision` and `language` (folders, from here, or Hub
ids), and where the defaults are wrong `layout` (the words around pictures) and `image_token_id`.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from sepiola.checkpoints import hub
from sepiola.checkpoints.config import JSON
from sepiola.checkpoints.families import minigpt4, openflamingo
from sepiola.checkpoints.files import read_json
from sepiola.checkpoints.store import TOKENIZER
from sepiola.errors import CheckpointError
from sepiola.specs.model import ModelSpec
from sepiola.specs.recipe import AnsweringSpec
from sepiola.text.tokenizer import Tokenizer

MINIGPT4, OPENFLAMINGO = "minigpt4", "openflamingo"
IMAGE = "<image>"


def is_assembled(folder: Path) -> bool:
    """Whether a folder's config names the parts of such a model."""
    config = folder / hub.CONFIG
    return config.is_file() and read_json(config).get("model_type") in (MINIGPT4, OPENFLAMINGO)


def load(
    folder: Path, *, dtype: torch.dtype | None = None, device: torch.device | str = "cpu", vision_only: bool = False
) -> tuple[nn.Module, ModelSpec]:
    """The model of a folder and its spec, as `hub.load` gives them. Raises CheckpointError when parts do not fit."""
    config = read_json(folder / hub.CONFIG)
    vision, language = _part(folder, config, "vision"), _part(folder, config, "language")
    if vision_only:
        return hub.load(vision, dtype=dtype, device=device, vision_only=True)
    name = config.get("weights")
    if not isinstance(name, str) or Path(name).name != name:
        raise CheckpointError(f"{folder}/{hub.CONFIG}: 'weights' is {name!r}; expected a file of this folder")
    if config["model_type"] == MINIGPT4:
        return minigpt4.load(vision, language, folder / name, dtype=dtype, device=device)
    token = _image_token(folder, config)
    return openflamingo.load(folder / name, language=language, vision=vision, token=token, dtype=dtype, device=device)


def text_folder(folder: Path) -> Path:
    """Where the tokenizer of a folder lies: in it, or with its language model."""
    return folder if (folder / TOKENIZER).is_file() else _part(folder, read_json(folder / hub.CONFIG), "language")


def answering(folder: Path) -> AnsweringSpec:
    """How the model is asked: MiniGPT-4 in its own words, unless the config's `layout` says other ones."""
    config = read_json(folder / hub.CONFIG)
    default = "minigpt-4" if config["model_type"] == MINIGPT4 else None
    return AnsweringSpec.parse({"layout": config.get("layout", default)}, f"{folder}/{hub.CONFIG}")


def _part(folder: Path, config: JSON, key: str) -> Path:
    named = config.get(key)
    if not isinstance(named, str) or not named:
        raise CheckpointError(f"{folder}/{hub.CONFIG}: '{key}' is {named!r}; expected a folder or a Hub id")
    return folder / named if (folder / named).is_dir() else hub.fetch(named)


def _image_token(folder: Path, config: JSON) -> int:
    token = config.get("image_token_id")
    if token is None and (folder / TOKENIZER).is_file():
        token = Tokenizer.load(folder / TOKENIZER).id_of(IMAGE)
    if not isinstance(token, int) or isinstance(token, bool) or token < 0:
        raise CheckpointError(
            f"{folder}: no id of {IMAGE}: state 'image_token_id' in its config.json, or put a tokenizer.json beside it "
            f"that has <|endofchunk|> and {IMAGE}"
        )
    return token
