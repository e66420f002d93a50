"""Checkpoints in the Hub's layout: `config.json`, and safetensors or PyTorch files, one or several with an index.

A config's `model_type` names the family that reads it. Loading is strict: a tensor that is missing, or that nobody
named, is an error. So is saving: a family writes what it can read back, or refuses.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from sepiola.checkpoints.config import JSON, Config
from sepiola.checkpoints.families import classifier as classifiers
from sepiola.checkpoints.family import Family
from sepiola.checkpoints.files import read_json
from sepiola.checkpoints.lazy import LazyTensors, later
from sepiola.checkpoints.lossless import check_lossless
from sepiola.checkpoints.names import as_saved_today
from sepiola.checkpoints.parts import vision_alone
from sepiola.checkpoints.preprocessor import preprocessor_from_pixels
from sepiola.checkpoints.processor import plain_ids, settle_ids, settle_placeholder
from sepiola.checkpoints.processor_export import FILES, OUTDATED, texts, with_ids
from sepiola.checkpoints.registry import FAMILIES, model_type_of
from sepiola.checkpoints.store import WEIGHTS, from_state, state_to_save
from sepiola.checkpoints.tensors import write_tensors
from sepiola.checkpoints.vision_part import vision_part
from sepiola.checkpoints.weights import check_plain, read_state
from sepiola.data.files import finish_save, make_folder, named_path, replacing_folder, write_text
from sepiola.errors import CheckpointError, shown
from sepiola.specs.base import nearest
from sepiola.specs.model import ModelSpec
from sepiola.text.chat import MORE
from sepiola.text.processor import Processor

CONFIG = "config.json"
VISION = "vision"  # the folder of a vision encoder that its model's layout has no place for
PREPROCESSOR, PROCESSOR = "preprocessor_config.json", "processor_config.json"
_OWNED = re.compile(  # what a save replaces, or takes away
    "|".join(
        [
            r"(vision/)?model(-\d{5}-of-\d{5})?\.safetensors(\.index\.json)?",
            *map(re.escape, (*FILES, *OUTDATED, PREPROCESSOR, PROCESSOR)),
            rf"{MORE}/[^/]*\.jinja",
        ]
    )
)
_PICKLED = ["pytorch_model*.bin", "*adapter_model.bin"]
_BESIDE_WEIGHTS = ["*.json", "*.jinja", "*.txt", "*.model"]  # config, index, tokenizer and chat template
_COUNT = ".num_batches_tracked"  # which training alone reads
MAX_SHARD = 5_000_000_000  # bytes of one file, as the Hub has it

log = logging.getLogger(__name__)


def load(
    folder: Path, *, dtype: torch.dtype | None = None, device: torch.device | str = "cpu", vision_only: bool = False
) -> tuple[nn.Module, ModelSpec]:
    """The model of a Hub folder, in eval mode, and its spec; `dtype` as in `store.from_state`.

    With `vision_only`, its vision encoder alone. Tensors are read one by one. Raises CheckpointError when anything does
    not fit.
    """
    spec, state = vision_part(*read(folder), str(folder)) if vision_only else read(folder)
    return from_state(spec, state, str(folder), dtype=dtype, device=device), spec


def read(folder: Path) -> tuple[ModelSpec, LazyTensors]:
    """The spec of a Hub folder and its tensors under our names, read as they are asked for; raises as `load` does."""
    finish_save(folder)
    config = read_config(folder)
    family = _family(config, folder)
    stored = as_saved_today(read_state(folder))
    check_plain(stored, config, folder)
    spec = family.spec_from_config(plain_ids(config), stored, preprocessor=_preprocessor(folder))
    spec = settle_placeholder(settle_ids(spec, config, folder), config, folder)
    _report_processor(folder, family, spec)
    state = family.to_ours(stored, spec)
    if not (folder / VISION / CONFIG).is_file():
        return spec, state
    image_spec, image_state = vision_part(*read(folder / VISION), str(folder / VISION))
    whole = {**later(state), **{f"{VISION}.{name}": read for name, read in later(image_state).items()}}
    return spec.model_copy(update={"vision": image_spec.vision}), LazyTensors(whole)


def save(
    folder: str | Path,
    model: nn.Module,
    spec: ModelSpec,
    *,
    max_shard: int = MAX_SHARD,
    processor: Processor | None = None,
) -> None:
    """Writes the model so that `transformers` (or, for Multimodal-CoT, the reference code) loads it, with its
    processor.

    Weights of more than `max_shard` bytes go to several files, each at most so large (or one tensor), and an index. The
    reference's layout has no place for the vision encoder: it goes to the folder `vision`, in its own family's layout.

    All is written aside first. A save that is killed leaves the old checkpoint or the new one. Raises
    CheckpointError, before anything is written, for a family without such a layout, for what the layout cannot state,
    and when the model does not hold what `spec` says; and when the folder cannot be written.
    """
    folder = named_path(folder)
    if not spec.family:
        raise CheckpointError(
            "this model is of no published family, and the Hub has no layout for it: sepiola loads the folder as it "
            f"is; a recipe's model that is 'like' a preset is of its family ({', '.join(sorted(FAMILIES))})"
        )
    if spec.family not in FAMILIES:
        raise CheckpointError(f"family '{spec.family}' has no Hub layout; {nearest(spec.family, FAMILIES)}")
    family = family_of(spec)
    state = state_to_save(model, spec, folder)
    if spec.vision is None or spec.language is None or family.HOLDS_VISION:
        contents = {".": _contents(family, state, spec)}
    else:
        image_family, image = vision_alone(spec.vision)
        image_state = {n.removeprefix(f"{VISION}."): value for n, value in state.items() if n.startswith(f"{VISION}.")}
        rest = {name: value for name, value in state.items() if not name.startswith(f"{VISION}.")}
        apart = spec.model_copy(update={"vision": None})
        contents = {".": _contents(family, rest, apart), VISION: _contents(image_family, image_state, image)}
    processor = processor or Processor.of(spec)
    main = contents["."].json
    main[CONFIG] = with_ids(main[CONFIG], spec, processor)
    if spec.classifier is not None and processor.pad is not None and processor.pad in processor.ends:
        log.warning(
            "%s: token %d pads rows and ends texts: of a text that ends with it transformers reads the token before, "
            "and scores otherwise; add a padding token there",
            folder,
            processor.pad,
        )
    with saving(folder) as aside:
        for path, text in texts(processor, spec).items():
            make_folder((aside / path).parent)
            write_text(aside / path, text)
        for place, files in contents.items():
            make_folder(aside / place)
            _write_weights(aside / place, files.tensors, max_shard)
            for name, content in files.json.items():
                write_text(aside / place / name, json.dumps(content, indent=2))


def family_of(spec: ModelSpec) -> Family:
    """The family in whose layout a model is written, which must be one of FAMILIES."""
    family = FAMILIES[spec.family]
    return family if spec.classifier is None else classifiers.ClassifierFamily(family)


@dataclass(frozen=True)
class _Contents:
    """What a folder in the Hub's layout holds: tensors under the Hub's names, and JSON files by name."""

    tensors: dict[str, Tensor]
    json: dict[str, JSON]


def _contents(family: Family, state: Mapping[str, Tensor], spec: ModelSpec) -> _Contents:
    config = family.config_from_spec(spec)
    preprocessor = None if spec.vision is None else preprocessor_from_pixels(spec.vision.pixels)
    files = {CONFIG: config, PREPROCESSOR: preprocessor, PROCESSOR: family.processor_from_spec(spec)}
    tensors = family.to_hub(state, spec)
    again = family.spec_from_config(json.loads(json.dumps(config)), tensors, preprocessor=preprocessor)
    check_lossless(spec, again)
    lost = [name for name in sorted(state.keys() - family.to_ours(tensors, spec).keys()) if not name.endswith(_COUNT)]
    if lost:
        raise CheckpointError(
            f"'{spec.name}' cannot be written as '{spec.family}': no place for {', '.join(lost[:12])}; save it with "
            "save(), in our own layout"
        )
    return _Contents(tensors, {name: content for name, content in files.items() if content is not None})


def _write_weights(folder: Path, state: Mapping[str, Tensor], max_shard: int) -> None:
    shards: list[dict[str, Tensor]] = [{}]
    room = max_shard
    for name, tensor in state.items():
        if tensor.nbytes > room and shards[-1]:
            shards.append({})
            room = max_shard
        shards[-1][name] = tensor
        room -= tensor.nbytes
    if len(shards) == 1:
        write_tensors(folder / WEIGHTS, state, metadata={"format": "pt"})
        return
    files = [f"model-{number:05d}-of-{len(shards):05d}.safetensors" for number in range(1, len(shards) + 1)]
    for file, shard in zip(files, shards, strict=True):
        write_tensors(folder / file, shard, metadata={"format": "pt"})
    index = {
        "metadata": {"total_size": sum(tensor.nbytes for tensor in state.values())},
        "weight_map": {name: file for file, shard in zip(files, shards, strict=True) for name in shard},
    }
    write_text(folder / f"{WEIGHTS}.index.json", json.dumps(index, indent=2, sort_keys=True))


def saving(folder: Path) -> contextlib.AbstractContextManager[Path]:
    """Where the files of a checkpoint are written, which then replace those of the one in `folder`."""
    return replacing_folder(folder, _OWNED)


def fetch(name: str) -> Path:
    """The folder of a Hub id, downloaded or from the cache (`HF_HUB_OFFLINE` and `HF_HUB_CACHE` honoured).

    PyTorch files are fetched only where there are no safetensors. Raises CheckpointError when it is neither a folder
    nor to be had.
    """
    from huggingface_hub import snapshot_download

    if os.path.isfile(name):
        raise CheckpointError(f"'{name}' is a file, and no folder here; give the path of a checkpoint folder")
    if os.path.isabs(name) or name.startswith((".", "~")) or name.count("/") > 1:  # no Hub id is written so
        raise CheckpointError(f"'{name}' is no folder here; check the spelling of its path")
    try:
        folder = Path(snapshot_download(name, allow_patterns=["*.safetensors", *_BESIDE_WEIGHTS]))
        if not any(folder.glob("*.safetensors")):
            folder = Path(snapshot_download(name, allow_patterns=[*_PICKLED, *_BESIDE_WEIGHTS]))
        return folder
    except Exception as error:  # the hub client's errors share no base
        raise CheckpointError(
            f"'{name}' is no folder here, and could not be fetched as a Hub id ({type(error).__name__}: {error}); "
            "check the spelling, or give the path of a checkpoint folder"
        ) from None


def read_config(folder: Path) -> JSON:
    """The `config.json` of a folder, with a `model_type`: where it states none, as its architectures say.

    Raises CheckpointError where they do not say either.
    """
    config = read_json(folder / CONFIG)
    if config.get("model_type") is not None:
        return config
    kind = model_type_of(config)
    if kind is None:
        raise CheckpointError(
            f"{folder}/{CONFIG}: names no model_type, and its architectures ({config.get('architectures')}) do not say "
            f"which; add it: {', '.join(sorted(FAMILIES))}"
        )
    log.warning("%s/%s: names no model_type; it is read as '%s'", folder, CONFIG, kind)
    return {**config, "model_type": kind}


def _family(config: Config, folder: Path) -> Family:
    kind = str(config.get("model_type"))
    if kind not in FAMILIES:
        raise CheckpointError(f"{folder}/config.json: model_type '{kind}' is not supported; {nearest(kind, FAMILIES)}")
    return classifiers.ClassifierFamily(FAMILIES[kind]) if classifiers.has_head(config) else FAMILIES[kind]


def _report_processor(folder: Path, family: Family, spec: ModelSpec) -> None:
    """Warns where the files of a processor say otherwise than the model how many tokens a picture takes."""
    needed = {**(family.processor_from_spec(spec) or {})}
    needed.pop("processor_class", None)
    tiles = {"image_grid_pinpoints"}
    cut = {} if spec.vision is None else preprocessor_from_pixels(spec.vision.pixels)
    for name, wanted, file in (
        (PROCESSOR, needed, read_json(folder / PROCESSOR) if (folder / PROCESSOR).is_file() else {}),
        (PREPROCESSOR, {key: cut[key] for key in tiles & cut.keys()}, _preprocessor(folder) or {}),
    ):
        for key in sorted(wanted):
            if file.get(key) is not None and file[key] != wanted[key]:
                log.warning(
                    "%s/%s: %s is %s; the model's own, %s, counts",
                    *(folder, name, key, shown(file[key]), shown(wanted[key])),
                )


def _preprocessor(folder: Path) -> JSON | None:
    """How pictures are prepared; some checkpoints state it in the file of their whole processor."""
    alone, whole = folder / PREPROCESSOR, folder / PROCESSOR
    if alone.is_file():
        return read_json(alone)
    return read_json(whole).get("image_processor") if whole.is_file() else None
