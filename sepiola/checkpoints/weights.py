"""The weights of a folder in the Hub's layout: which files they are, and what in them is no plain tensor.

As `transformers` does, `model.safetensors` goes before its index and its shards, and those before `pytorch_model.bin`
and its own. Quantised weights, and those that an adapter is wrapped around, are refused by name.
"""

from __future__ import annotations

import logging
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from sepiola.checkpoints.config import Config
from sepiola.checkpoints.files import check_file, read_json
from sepiola.checkpoints.lazy import LazyTensors, Pieces, later
from sepiola.checkpoints.store import WEIGHTS
from sepiola.checkpoints.tensors import read_tensors
from sepiola.errors import CheckpointError

PICKLED = "pytorch_model.bin"
# What stands beside or instead of a quantised weight: of bitsandbytes, GPTQ and AWQ, float8 with scales, and others.
_QUANTISED = re.compile(
    r".*\.(absmax|nested_absmax|quant_map|nested_quant_map|quant_state\..+|SCB|weight_format|qweight|qzeros|scales|g_idx"
    r"|weight_scale|weight_scale_inv|input_scale|weight_packed|weight_shape|weight_zero_point|_packed_params\..+)"
)
_ADAPTED = re.compile(r".*\.(base_layer|lora_[AB])\..+")

log = logging.getLogger(__name__)


def read_state(folder: Path) -> LazyTensors:
    """The tensors of a Hub folder, read as they are asked for.

    Raises CheckpointError when there are none, a file is damaged, or an index names what is no file of the folder.
    """
    for name, open_file in ((WEIGHTS, read_tensors), (PICKLED, read_pickled)):
        whole, index = folder / name, folder / f"{name}.index.json"
        if whole.exists():
            if index.exists():
                log.warning("%s: read as it is; %s beside it is not", whole, index.name)
            return LazyTensors(later(open_file(whole)))
        if index.exists():
            reads: dict[str, Pieces] = {}
            for file in _shards(index):
                reads |= later(open_file(folder / file))
            return LazyTensors(reads)
    raise CheckpointError(f"{folder}: no weights; expected {WEIGHTS}, its shards, or {PICKLED}")


def _shards(index: Path) -> list[str]:
    """The files that an index names."""
    files = read_json(index).get("weight_map")
    if not isinstance(files, dict) or not files or not all(isinstance(file, str) for file in files.values()):
        raise CheckpointError(
            f"{index}: expected 'weight_map', tensors' names and the files that hold them; fetch it again"
        )
    outside = next((file for file in files.values() if Path(file).name != file), None)
    if outside is not None:
        raise CheckpointError(f"{index}: names '{outside}', which is no file of this folder; it is not read")
    return sorted(set(files.values()))


def read_pickled(path: Path) -> Mapping[str, Tensor]:
    """The tensors of a file of PyTorch, mapped. Raises CheckpointError when it is damaged or holds anything else."""
    return {name: tensor.detach() for name, tensor in check_tensors(unpickle(path), path).items()}


def check_tensors(held: object, path: Path) -> Mapping[str, Tensor]:
    """What a file held, if it is tensors by their names. Raises CheckpointError otherwise."""
    if not isinstance(held, Mapping) or not held:
        raise CheckpointError(f"{path}: holds {type(held).__name__}; expected tensors by their names")
    for name, value in held.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise CheckpointError(
                f"{path}: holds {type(value).__name__} under {name!r}; expected tensors by their names, not a training "
                "checkpoint around them"
            )
    return held


def unpickle(path: Path) -> object:
    """What a file of PyTorch holds, in its weights-only mode, which runs no code. Raises CheckpointError otherwise."""
    check_file(path)
    try:
        mapped = zipfile.is_zipfile(path)  # files of torch before 1.6 are none, and are read whole
        held: object = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:  # pickle, zip and torch raise many kinds
        raise CheckpointError(f"{path}: {_reason(str(error))}") from None
    return held


def _reason(message: str) -> str:
    """Why a file was not read, without torch's advice to read it all the same."""
    if foreign := re.search(r"GLOBAL ([A-Za-z_][\w.]*\.\w+) ", message):
        return (
            f"holds more than tensors ('{foreign[1]}'), which could run code when it is opened, so it is not; take the "
            "weights as safetensors, from a source that you trust"
        )
    inner = re.search(r"WeightsUnpickler error: *([^\n]*)", message)
    first = inner[1] if inner else "" if "weights_only" in message else message.strip().partition("\n")[0]
    return f"damaged or cut short ({first or 'no file of PyTorch'}); fetch it again"


def check_plain(state: Mapping[str, Tensor], config: Config, folder: Path) -> None:
    """Raises CheckpointError for weights that are quantised, or wrapped by an adapter that is not merged."""
    asked = config.get("quantization_config")
    method = asked.get("quant_method") or "an unknown method" if isinstance(asked, Mapping) else "an unknown method"
    adapted = next((name for name in state if _ADAPTED.fullmatch(name)), None)
    if adapted is not None:
        raise CheckpointError(
            f"{folder}: holds an adapter around its weights ({adapted}); merge it first (peft's merge_and_unload), or "
            "take the base and give the adapter alone"
        )
    quantised = next((name for name in state if _QUANTISED.fullmatch(name)), None)
    if quantised is not None:
        raise CheckpointError(
            f"{folder}: its weights are quantised by {method} ({quantised}), which is not supported; take the "
            "checkpoint that they were made of, or write a plain one with transformers (dequantize, save_pretrained)"
        )
    if asked:
        log.warning("%s/config.json: quantization_config (%s) is not honoured; the weights are plain", folder, method)
