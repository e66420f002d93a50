"""Our own checkpoint folder: `model.safetensors`, `spec.yaml` and, when there is one, `tokenizer.json`.

A folder is replaced as one: it holds the old checkpoint or the new one. A save that was killed in between is finished
when it is read.
"""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from sepiola.checkpoints.lazy import LazyTensors
from sepiola.checkpoints.tensors import read_tensors, write_tensors
from sepiola.checkpoints.vision_part import vision_part
from sepiola.data.files import finish_save, named, named_path, replacing_folder, write_text
from sepiola.errors import CheckpointError
from sepiola.models.build import outline
from sepiola.specs.base import read_yaml, write_yaml
from sepiola.specs.model import ModelSpec

WEIGHTS, SPEC, TOKENIZER = "model.safetensors", "spec.yaml", "tokenizer.json"
ENSEMBLE = "ensemble.yaml"  # in the place of a spec: the folder holds several models
KEPT = "kept"  # the folder of what a model was before it learned its last tokens
OWNED = re.compile(  # what a checkpoint folder of ours holds
    r"(rationale|kept|members|qformer_tokenizer|additional_chat_templates)/.*|chat_template\.(jinja|json)|model\.safetensors"
    r"|(spec|strategy|ensemble)\.yaml|(tokenizer|tokenizer_config|generation_config|functions|attributes)\.json"
)
log = logging.getLogger(__name__)


def save(folder: Path, model: nn.Module, spec: ModelSpec, tokenizer_json: str | None = None) -> None:
    """Writes a checkpoint folder.

    Raises CheckpointError, before anything is written, when the model does not hold what `spec` says, so that `load`
    could not read it back; and when the disk is full or the folder cannot be written.
    """
    state = state_to_save(model, spec, folder)
    with saving(folder) as aside:
        write_tensors(aside / WEIGHTS, state)
        write_yaml_file(aside / SPEC, spec.to_dict())
        if tokenizer_json is not None:
            write_text(aside / TOKENIZER, tokenizer_json)


def saving(folder: str | Path) -> contextlib.AbstractContextManager[Path]:
    """Where the files of a checkpoint of ours are written, which then replace those of the one in `folder`."""
    return replacing_folder(named_path(folder), OWNED)


def state_to_save(model: nn.Module, spec: ModelSpec, folder: Path) -> dict[str, Tensor]:
    """The model's state dict. Raises CheckpointError when its names and shapes are not those of `spec`."""
    state = model.state_dict()
    problems = misfits(outline(spec), {name: value.shape for name, value in state.items()})
    if problems:
        raise CheckpointError(
            f"{named(folder)}: the model does not hold the tensors that its spec '{spec.name}' says, so nothing was "
            f"written; merge an adapter before you save, and save the network as it was built:\n  {problems}"
        )
    return state


def load(
    folder: Path, *, dtype: torch.dtype | None = None, device: torch.device | str = "cpu", vision_only: bool = False
) -> tuple[nn.Module, ModelSpec]:
    """The model of a checkpoint folder, in eval mode, and its spec; `dtype` as in `from_state`.

    With `vision_only`, its vision encoder alone. Raises CheckpointError when tensors do not fit.
    """
    spec, state = read(folder)
    if vision_only:
        spec, state = vision_part(spec, state, str(folder))
    return from_state(spec, state, str(folder), dtype=dtype, device=device), spec


def read(folder: Path) -> tuple[ModelSpec, LazyTensors]:
    """The spec of a checkpoint folder, and its tensors, read as they are asked for.

    Raises CheckpointError for a folder in which a save was interrupted and cannot be finished.
    """
    finish_save(folder)
    return ModelSpec.parse(read_yaml(folder / SPEC), str(folder / SPEC)), read_tensors(folder / WEIGHTS)


def from_state(
    spec: ModelSpec,
    state: LazyTensors,
    source: str,
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
) -> nn.Module:
    """The module of a spec with the tensors of `state`, each read into its place and dropped; nothing is initialised.

    Floating-point tensors become `dtype`; without it they stay as they are, or float32 where they differ. Raises
    CheckpointError when tensors do not fit.
    """
    model = outline(spec)
    expected = model.state_dict()
    check_fit(model, {name: state.shape(name) for name in state}, source)
    placed: dict[str, Tensor] = {}
    for name in sorted(expected, key=lambda name: -expected[name].numel()):  # the largest come while memory is emptiest
        pieces = state.pieces(name)
        for piece in pieces:
            if piece.is_floating_point() != expected[name].is_floating_point():
                raise CheckpointError(f"{source}: {name} is stored as {_kind(piece)}; expected {_kind(expected[name])}")
        placed[name] = _place(pieces, expected[name].shape, dtype, device)
    bad = [name for name, tensor in placed.items() if not _finite(tensor)]
    if bad:
        log.warning("%s: %d tensors hold values that are no numbers (NaN or infinite): %s", source, len(bad), bad[:3])
    model.load_state_dict(placed, strict=True, assign=True)
    if len({tensor.dtype for tensor in placed.values() if tensor.is_floating_point()}) > 1:
        model = model.to(torch.float32)
    return model.requires_grad_(True).eval()


def _finite(tensor: Tensor) -> bool:
    """Whether all values are finite: their sum tells, at the price of one reading, and is looked into if it is not."""
    if not tensor.is_floating_point() or bool(tensor.sum().isfinite()):
        return True
    return bool(tensor.isfinite().all())


def _place(
    pieces: Sequence[Tensor], shape: torch.Size, dtype: torch.dtype | None, device: torch.device | str
) -> Tensor:
    kind = dtype if dtype is not None and pieces[0].is_floating_point() else pieces[0].dtype
    if kind.itemsize == 1 and kind.is_floating_point:  # float8 is a way to store numbers; nothing computes in it
        kind = torch.float32
    place = torch.empty(shape, dtype=kind, device=device)
    rows = place.split([len(piece) for piece in pieces]) if len(pieces) > 1 else [place]
    for row, piece in zip(rows, pieces, strict=True):
        row.copy_(piece)
    return place


def _kind(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def check_fit(model: nn.Module, shapes: Mapping[str, torch.Size], source: str) -> None:
    """Raises CheckpointError that lists missing and unexpected tensors and shapes that differ."""
    problems = misfits(model, shapes)
    if problems:
        raise CheckpointError(
            f"{source}: the checkpoint does not fit its model; take the spec and the weights from the same place:\n"
            f"  {problems}"
        )


def misfits(model: nn.Module, shapes: Mapping[str, torch.Size]) -> str:
    """Lines that list tensors which the model lacks, which it alone has, and whose shapes differ; "" where all fit."""
    expected = model.state_dict()
    lines = [f"missing tensor {name} {tuple(expected[name].shape)}" for name in expected if name not in shapes]
    lines += [f"unexpected tensor {name} {tuple(shapes[name])}" for name in shapes if name not in expected]
    lines += [
        f"{name} has shape {tuple(shapes[name])}, expected {tuple(expected[name].shape)}"
        for name in expected
        if name in shapes and shapes[name] != expected[name].shape
    ]
    return "\n  ".join(lines[:12]) + (f"\n  … and {len(lines) - 12} more" if len(lines) > 12 else "")


def write_yaml_file(path: Path, data: object) -> None:
    """Writes plain data as YAML, whole or not at all."""
    write_text(path, write_yaml(data))
