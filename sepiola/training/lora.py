"""Adapters of low rank (LoRA, arXiv 2106.09685), by peft: small matrices learn beside linears that are frozen.

An adapter is written in peft's own layout, and peft reads it over the same network. Queries, keys and values are one
linear here, and so are gate and up: an adapter on such a linear is one product of low rank over all of it.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from sepiola.checkpoints.store import make_folder, read_tensors, write_tensors, write_text
from sepiola.errors import CheckpointError, SepiolaError, SpecError
from sepiola.models.vocabulary import Head
from sepiola.nn.feedforward import MixtureOfExperts
from sepiola.specs.stage import LoraSpec, StageSpec
from sepiola.training.preparation import parts_of

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
PREFIX = "base_model.model."  # what peft puts before a network's own names


def attach(model: nn.Module, stage: StageSpec, seed: int) -> Any:
    """Lays the stage's adapter, drawn from `seed`, on linears of the parts in `learn`, which are frozen from now on.

    Returns the `peft.PeftModel` around the model, whose linears are replaced in place. Raises SpecError for targets
    that no linear answers to, SepiolaError without peft.
    """
    spec, names = _spec(stage), linears(model, stage)
    inside = _inside(model, stage)
    still = {parameter for module in inside for parameter in module.parameters(recurse=False)}
    beside = [p for p in model.parameters() if p.requires_grad and p not in still]
    peft = _peft()
    config = peft.LoraConfig(r=spec.rank, lora_alpha=spec.alpha, lora_dropout=spec.dropout, target_modules=names)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        adapter = peft.get_peft_model(model, config)
    for parameter in beside:  # such as detection's classifiers: peft freezes all but the adapter
        parameter.requires_grad_(True)
    for module in inside:
        if isinstance(module, _BatchNorm | MixtureOfExperts):  # running statistics and routers belong to the base
            module.training = False
    return adapter


def linears(model: nn.Module, stage: StageSpec) -> list[str]:
    """The names of the linears that bear the stage's adapter; the model may be on the meta device.

    Raises SpecError for a target that names none in the parts of `learn`, or one whose weights are read directly, past
    any adapter: a mixture's experts and the output head.
    """
    targets = _spec(stage).targets
    direct = [name for name, module in model.named_modules() if isinstance(module, MixtureOfExperts | Head)]
    inside = _inside(model, stage)
    found = [name for name, module in model.named_modules() if isinstance(module, nn.Linear) and module in inside]
    bearing = [name for name in found if not any(name.startswith(f"{owner}.") for owner in direct)]
    where, parts = f"stage '{stage.name}': lora", ", ".join(stage.learn)
    if not bearing:
        raise SpecError(f"{where}: {parts} holds no linear that can bear an adapter")
    there = ", ".join(sorted({name.rpartition(".")[2] for name in bearing}))
    for target in targets or ():
        if _ending(found, target) and not _ending(bearing, target):
            raise SpecError(
                f"{where}.targets: '{target}' lies inside experts or the output head, which bear no adapter; "
                f"others: {there}"
            )
        if not _ending(bearing, target):
            raise SpecError(f"{where}.targets: '{target}' names no linear of {parts}; there are: {there}")
    return bearing if targets is None else [name for name in bearing if any(_ending([name], t) for t in targets)]


def _inside(model: nn.Module, stage: StageSpec) -> set[nn.Module]:
    """All modules of the parts that the stage names."""
    return {module for name, part in parts_of(model).items() if name in stage.learn for module in part.modules()}


def _ending(names: list[str], target: str) -> list[str]:
    return [name for name in names if f".{name}".endswith(f".{target}")]


def adapter_size(model: nn.Module, stage: StageSpec) -> int:
    """The number of the adapter's parameters; the model may be on the meta device."""
    found: list[Any] = [model.get_submodule(name) for name in linears(model, stage)]
    return _spec(stage).rank * sum(linear.in_features + linear.out_features for linear in found)


def frozen(model: nn.Module) -> dict[str, Tensor]:
    """The parameters that do not learn, by their names in the state dict."""
    return {name: p.detach() for name, p in model.named_parameters() if not p.requires_grad}


def merge(adapter: Any) -> nn.Module:
    """Adds an adapter to the weights under it: the network as it was built, with new weights."""
    network: nn.Module = adapter.merge_and_unload()
    return network.requires_grad_(True)


def save(adapter: Any, folder: Path, base: str | None = None) -> None:
    """Writes an adapter alone, in peft's layout; `base` tells whoever finds it which weights lie under it.

    Raises CheckpointError when it cannot be written.
    """
    make_folder(folder)
    write_tensors(folder / WEIGHTS, _weights(adapter), metadata={"format": "pt"})
    config = {**adapter.peft_config["default"].to_dict(), "base_model_name_or_path": base, "inference_mode": True}
    write_text(folder / CONFIG, json.dumps(config, indent=2, sort_keys=True, default=sorted))  # peft holds sets


def load(network: nn.Module, folder: Path) -> nn.Module:
    """The network with the adapter of a folder merged into it.

    Raises CheckpointError when there is no such adapter or it was made for another network.
    """
    if not (folder / CONFIG).is_file():
        raise CheckpointError(f"{folder}: no adapter here; expected {CONFIG} and {WEIGHTS}, as peft writes them")
    stored = read_tensors(folder / WEIGHTS)
    peft = _peft()
    try:
        adapter = peft.PeftModel.from_pretrained(network, str(folder))
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        raise CheckpointError(f"{folder}: the adapter does not fit this model: {error}") from None
    different = sorted(_weights(adapter).keys() ^ stored.keys())
    if different:
        raise CheckpointError(
            f"{folder}: the adapter was made for another model; {len(different)} of its tensors have no counterpart, "
            f"as {different[0].removeprefix(PREFIX)}"
        )
    return merge(adapter)


def _weights(adapter: Any) -> dict[str, Tensor]:
    """The adapter's tensors as peft names them. Embeddings are never among them, and the base is not looked up."""
    weights: dict[str, Tensor] = _peft().get_peft_model_state_dict(adapter, save_embedding_layers=False)
    return weights


def _spec(stage: StageSpec) -> LoraSpec:
    assert stage.lora is not None
    return stage.lora


def _peft() -> ModuleType:
    try:
        import peft
    except ImportError:
        raise SepiolaError("adapters need peft: pip install 'sepiola[train]'") from None
    return peft
