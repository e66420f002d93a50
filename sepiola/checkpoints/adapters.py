"""Adapters of low rank (LoRA, arXiv 2106.09685) in peft's layout: found, merged into a network, and written.

An adapter adds `scale * b @ a` to rows of a matrix; one of DoRA (arXiv 2402.09353) then gives each row a length of its
own. Beside it a file may hold what was trained as a whole: modules, biases, rows of tokens, embeddings of more tokens.
A file names the Hub's tensors (`q_proj`), and each family knows which rows of ours those are, so peft over
`transformers`' model and sepiola read each other's adapters. Of a model without a layout at the Hub, the names are ours
(`attention.qkv.q`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from sepiola.checkpoints import hub
from sepiola.checkpoints.adapter_config import CONFIG, TOKEN_ROWS_KEY, AdapterConfig, config_to_write
from sepiola.checkpoints.adapter_reading import PREFIX, WEIGHTS, read
from sepiola.checkpoints.places import hub_places
from sepiola.checkpoints.store import SPEC
from sepiola.checkpoints.store import WEIGHTS as MODEL
from sepiola.checkpoints.tensors import write_tensors
from sepiola.checkpoints.updates import LowRank, Rows, Update, merge
from sepiola.checkpoints.weights import PICKLED as PICKLED_MODEL
from sepiola.data.files import make_folder, write_text
from sepiola.errors import CheckpointError, brief
from sepiola.models.build import outline
from sepiola.models.vocabulary import TOKEN_ROWS
from sepiola.nn.linear import blocks_of
from sepiola.specs.model import ModelSpec


@dataclass(frozen=True)
class HubModule:
    """A linear module of the Hub's model: `rows` of our layer `linear`; `turned` ones hold their matrix transposed."""

    linear: str
    rows: slice
    turned: bool


def hub_modules(spec: ModelSpec) -> dict[str, HubModule]:
    """The Hub's linear modules that our linear layers are made of, by their names; empty without a layout there."""
    linears = {
        f"{name}.weight": name for name, module in outline(spec).named_modules() if isinstance(module, nn.Linear)
    }
    return {
        name.removesuffix(".weight"): HubModule(linears[place.tensor], place.rows, place.turned)
        for name, place in hub_places(spec).items()
        if place.tensor in linears
    }


def find(path_or_hub_id: str | Path) -> Path:
    """The folder of an adapter: one here, or the only one in it that holds one; or a Hub id, with such a folder.

    Raises CheckpointError when there is none, or several.
    """
    folder = Path(path_or_hub_id)
    if not folder.is_dir():
        owner, _, inside = str(path_or_hub_id).partition("/")
        name, _, inside = inside.partition("/")
        folder = hub.fetch(f"{owner}/{name}" if name else owner) / inside
    if (folder / CONFIG).is_file():
        return folder
    inner = sorted(path.parent for path in folder.glob(f"*/{CONFIG}"))
    if len(inner) > 1:
        names = ", ".join(path.name for path in inner[:12])
        raise CheckpointError(f"{folder}: holds several adapters ({names}); name one of these folders")
    return inner[0] if inner else folder


def is_alone(folder: Path) -> bool:
    """Whether a folder holds an adapter and no weights of a model."""
    whole = (SPEC, MODEL, PICKLED_MODEL, f"{MODEL}.index.json", f"{PICKLED_MODEL}.index.json")
    return (folder / CONFIG).is_file() and not any((folder / name).exists() for name in whole)


def base_of(folder: Path) -> str:
    """What an adapter alone lies on: a folder, as seen from here or from the adapter's own, or a Hub id.

    Raises CheckpointError when its config names none, or a folder that is not here.
    """
    base = AdapterConfig(folder).base
    give = f"give it: sepiola.load(BASE, adapter='{folder}'), or --model BASE --adapter {folder}"
    if base is None:
        raise CheckpointError(f"{folder / CONFIG}: names no base_model_name_or_path; {give}")
    there = next((path for path in (Path(base), folder / base) if path.is_dir()), None)
    if there is None and (base.startswith((".", "/", "~")) or base.count("/") > 1):
        raise CheckpointError(f"{folder / CONFIG}: its base, '{brief(base)}', is no folder here; {give}")
    return base if there is None else str(there)


def load(network: nn.Module, folder: Path, spec: ModelSpec, source: str = "") -> tuple[nn.Module, ModelSpec]:
    """The network with the adapter of a folder merged into it, and its spec, as `adapter_reading.read` finds them."""
    made, updates = read(folder, spec, source)
    return merge(_fitted(network, spec, made), updates), made


def _fitted(network: nn.Module, spec: ModelSpec, made: ModelSpec) -> nn.Module:
    """The network in the shape of the spec `made`: what the adapter will replace is zero, what it parts a copy."""
    if made == spec:
        return network
    under = "language." if made.classifier is not None and spec.classifier is None else ""
    state = {f"{under}{name}": tensor for name, tensor in network.state_dict().items()}
    model = outline(made)
    fitted = {}
    for name, empty in model.state_dict().items():
        tied_to = re.sub(rf"({'|'.join(map(re.escape, TOKEN_ROWS[1:3]))})$", TOKEN_ROWS[0], name)
        tensor = state[name] if name in state else state[tied_to].clone() if tied_to in state else None
        like = next(iter(state.values())) if tensor is None else tensor
        fitted[name] = tensor if tensor is not None and tensor.shape == empty.shape else like.new_zeros(empty.shape)
    model.load_state_dict(fitted, assign=True)
    return model.requires_grad_(True).eval()


def low_rank_alone(updates: Sequence[Update], spec: ModelSpec) -> list[LowRank] | None:
    """The changes, if all are matrices of low rank on linear layers, so that more may be added to them."""
    linears = {name for name, module in outline(spec).named_modules() if isinstance(module, nn.Linear)}
    plain = [u for u in updates if isinstance(u, LowRank) and u.magnitude is None and u.module in linears]
    return plain if len(plain) == len(updates) else None


def write(
    folder: Path, changes: Sequence[Update], spec: ModelSpec, *, base: str | None = None, dropout: float = 0.0
) -> None:
    """Writes an adapter alone, in peft's layout and under the Hub's names of the spec's family.

    `base` tells whoever finds it which weights lie under it. Updates of one module are one of their ranks' sum, and all
    modules have the rank of the largest, filled up with zeros. Rows that are replaced are those of tokens. Raises
    CheckpointError when it cannot be written.
    """
    modules = hub_modules(spec)
    updates = [change for change in changes if isinstance(change, LowRank)]
    mapped = {module.linear for module in modules.values()}
    modules |= {name: module for name, module in _our_modules(spec).items() if module.linear not in mapped}
    held: dict[str, list[tuple[Tensor, Tensor]]] = {}
    for update in updates:
        for module, rows in _written_as(update, modules):
            held.setdefault(module, []).append((update.a.cpu(), update.scale / updates[0].scale * rows.cpu()))
    rank = max(sum(len(a) for a, _ in pairs) for pairs in held.values())
    tensors: dict[str, Tensor] = {}
    for module, pairs in held.items():
        a, b = torch.cat([a for a, _ in pairs]), torch.cat([b for _, b in pairs], dim=1)
        tensors[f"{PREFIX}{module}.lora_A.weight"] = nn.functional.pad(a, (0, 0, 0, rank - len(a)))
        tensors[f"{PREFIX}{module}.lora_B.weight"] = nn.functional.pad(b, (0, rank - len(a)))
    targets = _targets(list(held), list(modules), whole=spec.vision is not None)
    turned = any(modules[name].turned for name in held)
    config = config_to_write(base, rank, updates[0].scale * rank, dropout, targets, turned=turned)
    for module, change in _token_rows(changes, spec).items():
        tensors[f"{PREFIX}{module}.token_adapter.trainable_tokens_delta"] = change.value.cpu()
        ids = list(change.rows if isinstance(change.rows, tuple) else range(change.rows.start, change.rows.stop))
        config = {**config, TOKEN_ROWS_KEY: {**config.get(TOKEN_ROWS_KEY, {}), module: ids}}
    make_folder(folder)
    write_tensors(folder / WEIGHTS, tensors, metadata={"format": "pt"})
    write_text(folder / CONFIG, json.dumps(config, indent=2, sort_keys=True))


def _token_rows(changes: Sequence[Update], spec: ModelSpec) -> dict[str, Rows]:
    """The rows of tokens that are replaced, by the Hub's names of the embeddings and heads that they lie in."""
    named = {place.tensor: name.removesuffix(".weight") for name, place in reversed(hub_places(spec).items())}
    return {
        named.get(change.tensor, change.tensor.removesuffix(".weight")): change
        for change in changes
        if isinstance(change, Rows)
    }


def _written_as(update: LowRank, modules: Mapping[str, HubModule]) -> list[tuple[str, Tensor]]:
    """The Hub's modules that an update changes, each with `b` laid out over all of the module's rows."""
    result = []
    for name, module in modules.items():
        first, last = max(module.rows.start, update.rows.start), min(module.rows.stop, update.rows.stop)
        if module.linear != update.module or first >= last:
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
