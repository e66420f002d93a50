"""Adapters of low rank (LoRA, arXiv 2106.09685) in peft's layout: read, merged into a network, and written.

An adapter adds `scale * b @ a` to rows of a matrix. A file names the Hub's modules (`q_proj`), and each family knows
which rows of ours those are, so peft over `transformers`' model and sepiola read each other's adapters. Of a model
without a layout at the Hub, the names are ours (`attention.qkv.q`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from sepiola.checkpoints import hub
from sepiola.checkpoints.config import JSON, Config
from sepiola.checkpoints.files import read_json
from sepiola.checkpoints.lazy import LazyTensors
from sepiola.checkpoints.registry import FAMILIES
from sepiola.checkpoints.tensors import read_tensors, write_tensors
from sepiola.checkpoints.weights import read_pickled
from sepiola.data.files import make_folder, write_text
from sepiola.errors import CheckpointError
from sepiola.models.build import outline
from sepiola.nn.linear import blocks_of
from sepiola.specs.model import ModelSpec

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
PICKLED = "adapter_model.bin"  # what peft wrote before 0.5
PREFIX = "base_model.model."  # what peft puts before a network's own names
_TENSOR = re.compile(r"base_model\.model\.(.+)\.lora_(A|B)(?:\.default)?\.weight")
# Components of names that versions of `transformers` and bare models add or leave out.
_WRAPPERS = {"model", "transformer", "bert", "vision_model"}
# What a config may ask for beside matrices of low rank, by its key; true, or not empty, means that it does.
_UNSUPPORTED = (
    "modules_to_save",
    "use_dora",
    "lora_bias",
    "target_parameters",
    "trainable_token_indices",
    "layer_replication",
    "alora_invocation_tokens",
    "use_qalora",
    "use_bdlora",
    "arrow_config",
    "kasa_config",
    "velora_config",
    "monteclora_config",
)


@dataclass(frozen=True)
class LowRank:
    """What is added to `rows` of the linear layer that is called `linear`: `scale * b @ a`.

    `a` is `(rank, columns)`, `b` `(rows, rank)`.
    """

    linear: str
    rows: slice
    a: Tensor
    b: Tensor
    scale: float


@dataclass(frozen=True)
class HubModule:
    """A linear module of the Hub's model: `rows` of our layer `linear`; `turned` ones hold their matrix transposed."""

    linear: str
    rows: slice
    turned: bool


def hub_modules(spec: ModelSpec) -> dict[str, HubModule]:
    """The Hub's linear modules that our linear layers are made of, by their names; empty without a layout there.

    Nothing is read: tensors on the meta device take the family's way to the Hub, and numbers in their place its way
    back.
    """
    if spec.family not in FAMILIES:
        return {}
    family, model = hub.family_of(spec), outline(spec)
    stored = family.to_hub(model.state_dict(), spec)
    names = list(stored)
    numbered = LazyTensors({name: [partial(torch.full, (1, 2), number)] for number, name in enumerate(names)})
    ours = family.to_ours(numbered, spec)
    modules: dict[str, HubModule] = {}
    for linear, layer in model.named_modules():
        if not isinstance(layer, nn.Linear) or f"{linear}.weight" not in ours:
            continue
        pieces = [(names[int(piece.flatten()[0])], piece.shape == (2, 1)) for piece in ours.pieces(f"{linear}.weight")]
        if not all(name.endswith(".weight") and stored[name].dim() == 2 for name, _ in pieces):
            continue
        end = 0
        for name, turned in pieces:
            size = stored[name].shape[1 if turned else 0]
            modules[name.removesuffix(".weight")] = HubModule(linear, slice(end, end + size), turned)
            end += size
    return modules


def load(network: nn.Module, folder: Path, spec: ModelSpec) -> nn.Module:
    """The network with the adapter of a folder merged into it; raises as `read` does."""
    return merge(network, read(folder, spec))


def merge(network: nn.Module, updates: Iterable[LowRank]) -> nn.Module:
    """Adds an adapter to the weights under it, in place."""
    for update in updates:
        weight = network.get_parameter(f"{update.linear}.weight")
        change = update.scale * (update.b.to(weight.device, torch.float32) @ update.a.to(weight.device, torch.float32))
        with torch.no_grad():
            weight[update.rows] += change.to(weight.dtype)
    return network


def read(folder: Path, spec: ModelSpec) -> list[LowRank]:
    """The adapter of a folder, for a model of that spec.

    Raises CheckpointError when there is none, when it was made for another model, and for what it holds beside matrices
    of low rank (DoRA, biases, whole modules, embeddings), by name.
    """
    if not (folder / CONFIG).is_file():
        raise CheckpointError(f"{folder}: no adapter here; expected {CONFIG} and {WEIGHTS}, as peft writes them")
    config = read_json(folder / CONFIG)
    _check_supported(config, folder)
    old = not (folder / WEIGHTS).is_file() and (folder / PICKLED).is_file()
    stored = read_pickled(folder / PICKLED) if old else read_tensors(folder / WEIGHTS)
    matches = {name: _TENSOR.fullmatch(name) for name in stored}
    strange = [name for name, match in matches.items() if match is None]
    if strange:
        raise CheckpointError(
            f"{folder}: the adapter holds {len(strange)} tensors that are not matrices of low rank on linear layers "
            f"(embeddings, DoRA's magnitudes, whole modules), as {strange[0]}; they are not supported"
        )
    places, modules = _places(spec), sorted({match[1] for match in matches.values() if match is not None})
    unknown = [module for module in modules if _bare(module) not in places]
    if unknown:
        raise CheckpointError(
            f"{folder}: the adapter was made for another model; {len(unknown)} of its modules have no counterpart in "
            f"'{spec.name}', as {unknown[0]}"
        )
    pairs = {(match[1], match[2]): name for name, match in matches.items() if match is not None}
    shapes = {name: layer.weight.shape for name, layer in outline(spec).named_modules() if isinstance(layer, nn.Linear)}
    updates = []
    for module in modules:
        place = places[_bare(module)]
        if (module, "A") not in pairs or (module, "B") not in pairs:
            raise CheckpointError(f"{folder}: damaged; {module} lacks one of its two matrices, lora_A and lora_B")
        a, b = stored[pairs[module, "A"]], stored[pairs[module, "B"]]
        expected = (place.rows.stop - place.rows.start, shapes[place.linear][1])
        if a.dim() != 2 or b.dim() != 2 or (b.shape[0], a.shape[1]) != expected or a.shape[0] != b.shape[1]:
            raise CheckpointError(
                f"{folder}: the adapter does not fit this model: {module} has matrices of {tuple(a.shape)} and "
                f"{tuple(b.shape)}, and is {expected} here"
            )
        updates.append(LowRank(place.linear, place.rows, a, b, _scale(config, module, len(a))))
    return updates


def write(
    folder: Path, updates: Sequence[LowRank], spec: ModelSpec, *, base: str | None = None, dropout: float = 0.0
) -> None:
    """Writes an adapter alone, in peft's layout and under the Hub's names of the spec's family.

    `base` tells whoever finds it which weights lie under it. Updates of one module are one of their ranks' sum, and all
    modules have the rank of the largest, filled up with zeros. Raises CheckpointError when it cannot be written.
    """
    modules = hub_modules(spec)
    mapped = {module.linear for module in modules.values()}
    modules |= {name: module for name, module in _our_modules(spec).items() if module.linear not in mapped}
    held: dict[str, list[tuple[Tensor, Tensor]]] = {}
    for update in updates:
        for module, rows in _written_as(update, modules):
            held.setdefault(module, []).append((update.a, update.scale / updates[0].scale * rows))
    rank = max(sum(len(a) for a, _ in pairs) for pairs in held.values())
    tensors: dict[str, Tensor] = {}
    for module, pairs in held.items():
        a, b = torch.cat([a for a, _ in pairs]), torch.cat([b for _, b in pairs], dim=1)
        tensors[f"{PREFIX}{module}.lora_A.weight"] = nn.functional.pad(a, (0, 0, 0, rank - len(a)))
        tensors[f"{PREFIX}{module}.lora_B.weight"] = nn.functional.pad(b, (0, rank - len(a)))
    config: JSON = {
        "peft_type": "LORA",
        "base_model_name_or_path": base,
        "r": rank,
        "lora_alpha": updates[0].scale * rank,
        "lora_dropout": dropout,
        "target_modules": _targets(list(held), list(modules), whole=spec.vision is not None),
        "fan_in_fan_out": any(modules[name].turned for name in held),
        "bias": "none",
        "inference_mode": True,
    }
    make_folder(folder)
    write_tensors(folder / WEIGHTS, tensors, metadata={"format": "pt"})
    write_text(folder / CONFIG, json.dumps(config, indent=2, sort_keys=True))


def _written_as(update: LowRank, modules: Mapping[str, HubModule]) -> list[tuple[str, Tensor]]:
    """The Hub's modules that an update changes, each with `b` laid out over all of the module's rows."""
    result = []
    for name, module in modules.items():
        first, last = max(module.rows.start, update.rows.start), min(module.rows.stop, update.rows.stop)
        if module.linear != update.linear or first >= last:
            continue
        b = update.b.new_zeros(module.rows.stop - module.rows.start, update.b.shape[1])
        b[first - module.rows.start : last - module.rows.start] = update.b[
            first - update.rows.start : last - update.rows.start
        ]
        result.append((name, b))
    return result


def _targets(chosen: list[str], modules: list[str], *, whole: bool) -> list[str] | str:
    """`target_modules`: last names where they mean the chosen modules and no other, and else what matches those alone.

    Of a vision-language model it is an expression: versions of `transformers` differ in how the parts' names begin.
    """
    last = sorted({name.rpartition(".")[2] for name in chosen})
    if {name for name in modules if name.rpartition(".")[2] in last} <= set(chosen):
        return last
    if not whole:
        return sorted(chosen)
    parts = sorted({next(part for part in name.split(".") if part != "model") for name in chosen})
    return rf"(.*\.)?({'|'.join(parts)})\.(.*\.)?({'|'.join(last)})"


def _our_modules(spec: ModelSpec) -> dict[str, HubModule]:
    """The blocks of our own linear layers."""
    linears = ((name, layer) for name, layer in outline(spec).named_modules() if isinstance(layer, nn.Linear))
    return {
        block: HubModule(name, rows, turned=False)
        for name, layer in linears
        for block, rows in blocks_of(name, layer).items()
    }


def _places(spec: ModelSpec) -> dict[tuple[str, ...], HubModule]:
    """The modules that a file may name: the Hub's, and our own blocks."""
    return {_bare(name): module for name, module in {**_our_modules(spec), **hub_modules(spec)}.items()}


def _bare(name: str) -> tuple[str, ...]:
    return tuple(part for part in name.split(".") if part not in _WRAPPERS)


def _scale(config: Config, module: str, rank: int) -> float:
    """What the product is multiplied by; a pattern's key is a name's end, or an expression for it, as in peft."""
    pattern = config.get("alpha_pattern") or {}
    key = next((key for key in pattern if re.match(rf"(.*\.)?({key})$", module)), None)
    alpha = float(config["lora_alpha"] if key is None else pattern[key])
    return alpha / rank**0.5 if config.get("use_rslora") else alpha / rank


def _check_supported(config: Config, folder: Path) -> None:
    if config.get("peft_type") != "LORA":
        raise CheckpointError(f"{folder}: an adapter of type {config.get('peft_type')}; LORA is supported")
    asked = [key for key in _UNSUPPORTED if config.get(key)]
    if config.get("bias", "none") != "none":
        asked.append(f"bias: {config['bias']}")
    if isinstance(start := config.get("init_lora_weights"), str) and start not in ("gaussian", "orthogonal", "eva"):
        asked.append(f"init_lora_weights: {start} (which changes the weights under it)")
    if asked:
        raise CheckpointError(f"{folder}: the adapter asks for {', '.join(asked)}, which is not supported")
