"""A checkpoint in any layout, read whole: a run, a folder of ours, one in the Hub's layout, or a trained part alone
that names what it stands on. An adapter alone is a checkpoint too: its base, with the adapter merged into it.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from sepiola.checkpoints import adapters, assembled, hub, store
from sepiola.checkpoints import processor as processors
from sepiola.checkpoints.adapter_config import CONFIG
from sepiola.data.files import finish_save, interrupted
from sepiola.errors import CheckpointError, SpecError, shown
from sepiola.nn.device import find_device
from sepiola.specs.model import ModelSpec
from sepiola.specs.recipe import AnsweringSpec
from sepiola.text.processor import Processor
from sepiola.text.tokenizer import Tokenizer

log = logging.getLogger(__name__)


class Checkpoint(NamedTuple):
    """What a checkpoint holds, and the folder where it lies. `answering` is how its layout has it asked, if it does."""

    folder: Path
    network: nn.Module
    spec: ModelSpec
    processor: Processor
    answering: AnsweringSpec | None = None


def load(
    path_or_hub_id: str | Path,
    *,
    adapter: str | Path | None = None,
    vision_only: bool = False,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
) -> Checkpoint:
    """Reads a checkpoint, as `sepiola.load` says; with `vision_only` its processor is that of the spec alone.

    Raises CheckpointError when it does not fit or is not there, SpecError for a device that is not.
    """
    find_device(device)
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point or dtype.itemsize < 2:
        raise SpecError(f"dtype: got {shown(dtype)}; expected torch.float32, torch.bfloat16 or torch.float16")
    folder = folder_of(path_or_hub_id)
    if (folder / store.ENSEMBLE).is_file():
        raise CheckpointError(f"{folder}: an ensemble of several models; name one of them: {folder / 'members' / '0'}")
    if adapters.is_alone(folder):
        if adapter is not None:
            raise CheckpointError(
                f"{folder}: an adapter, and no model; for an adapter on an adapter merge the first, "
                "sepiola.load(…).save(FOLDER), and give that folder"
            )
        return _with_base(folder, vision_only=vision_only, dtype=dtype, device=device)
    over = adapters.find(adapter) if adapter is not None else None
    if over is not None and vision_only:
        raise CheckpointError(
            f"{over}: an adapter is for the whole model; save that with it, and take the vision encoder from there"
        )
    if over is not None and (folder / store.KEPT).is_dir():
        raise CheckpointError(
            f"{folder}: writes together with what it was before functions were added, and an adapter lies on one "
            f"model: give {folder / store.KEPT}"
        )
    if over is None and (folder / CONFIG).is_file():
        log.warning("%s: holds an adapter beside its weights, which is not merged; give it as the adapter", folder)
    ours = (folder / store.SPEC).is_file()
    parted = not ours and assembled.is_assembled(folder)
    layout = store if ours else assembled if parted else hub
    network, spec = layout.load(folder, dtype=dtype, device=device, vision_only=vision_only)
    if over is not None:
        network, spec = adapters.load(network, over, spec, str(path_or_hub_id))
    if vision_only:
        return Checkpoint(folder, network, spec, Processor.of(spec))
    texts = assembled.text_folder(folder) if parted else folder
    processor = processors.read(texts, spec, None if ours else hub.read_config(texts), over)
    processors.report(processor, spec, folder)
    return Checkpoint(folder, network, spec, processor, assembled.answering(folder) if parted else None)


def _with_base(adapter: Path, **options: Any) -> Checkpoint:
    """An adapter alone, on the base that it names. An error of the base says whose it is."""
    base = adapters.base_of(adapter)
    try:
        return load(base, adapter=adapter, **options)
    except CheckpointError as error:
        if str(error).startswith(str(adapter)):
            raise
        raise CheckpointError(
            f"{error}\nThis is the base that the adapter in {adapter} names; for another: "
            f"sepiola.load(BASE, adapter='{adapter}'), or --model BASE --adapter {adapter}"
        ) from None


def folder_of(path_or_hub_id: str | Path) -> Path:
    """Where a checkpoint lies: a folder, that of a run's, or the one that a Hub id is fetched to.

    Raises CheckpointError when it is not to be had.
    """
    folder = local_folder(path_or_hub_id)
    if not folder.is_dir():
        folder = hub.fetch(str(path_or_hub_id))
    finish_save(folder)
    return folder


def local_folder(path_or_hub_id: str | Path) -> Path:
    """The folder of that name, or its checkpoint's where it is a run's; it need not be there. Raises CheckpointError
    for what names none.
    """
    if not isinstance(path_or_hub_id, str | Path) or not str(path_or_hub_id).strip():
        raise CheckpointError(f"a model is named by a run, a folder or a Hub id; got {shown(path_or_hub_id)}")
    folder = Path(path_or_hub_id)
    inside = folder / "checkpoint"
    whole = any((inside / marker).is_file() for marker in (store.SPEC, store.ENSEMBLE))
    return inside if whole or interrupted(inside) else folder


def qformer_tokenizer(path_or_hub_id: str | Path) -> Tokenizer | None:
    """By what a checkpoint's instructed Q-Former reads, if that is no tokenizer of its language model's."""
    folder = folder_of(path_or_hub_id)
    return processors.read_qformer_tokenizer(
        folder_of(adapters.base_of(folder)) if adapters.is_alone(folder) else folder
    )
