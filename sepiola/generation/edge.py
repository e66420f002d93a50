"""A model as the runtime without torch reads it (`edge/sepiola_edge`): packed weights, tokenizer, how it sees, how it
is asked, and what stands around a conversation's messages.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Protocol

import numpy as np
from torch import nn

from sepiola.checkpoints import store
from sepiola.checkpoints.processor import save_functions
from sepiola.errors import DataError, SepiolaError, SpecError, shown
from sepiola.generation.chat import Chat
from sepiola.generation.edge_asking import asking_of
from sepiola.generation.edge_frame import frame_of
from sepiola.generation.engine import Engine
from sepiola.generation.sampling import Sampling
from sepiola.models.bridges.projection import AnyResProjection
from sepiola.models.multimodal.cross import CrossModel
from sepiola.models.multimodal.fused import FusedModel
from sepiola.models.multimodal.prefix import PrefixModel
from sepiola.models.multimodal.vision_language import VisionLanguageModel
from sepiola.models.transformer import EncoderDecoder, LanguageModel
from sepiola.runtime.native import BUILD, built
from sepiola.runtime.native_parts import core_model, core_parts
from sepiola.runtime.native_weights import Packed
from sepiola.runtime.plain import TorchExecutor
from sepiola.specs.base import Plain
from sepiola.specs.recipe import AnsweringSpec
from sepiola.text.processor import Processor
from sepiola.text.tokenizer import Tokenizer

BITS = (4, 8, 16)

Tensors = dict[str, Packed]


class Leaving(Protocol):
    """What is asked of a model that leaves; `rationale` is the one that reasons before it answers, and `kept` what it
    was before functions were added.
    """

    @property
    def network(self) -> nn.Module: ...
    @property
    def processor(self) -> Processor: ...
    @property
    def asking(self) -> AnsweringSpec: ...
    @property
    def rationale(self) -> Leaving | None: ...
    @property
    def kept(self) -> Leaving | None: ...
    def require_tokenizer(self) -> Tokenizer: ...


def save_edge(folder: Path, model: Leaving, bits: int) -> list[str]:
    """Writes the folder, in place of one that is there; returns what the model cannot do there, as sentences.

    Raises SepiolaError, before anything is written, for a model that the core does not run whole.
    """
    if bits not in BITS:
        raise SpecError(f"bits: got {shown(bits)}; expected 4, 8 or 16")
    config, tensors, notes = _laid_out(model, bits)
    from sepiola_edge import folder as folders

    with store.saving(folder) as aside:
        rationale = model.rationale if model.asking.kind == "two-stage" else None
        for name, beside in ((folders.RATIONALE, rationale), (folders.KEPT, model.kept)):
            if beside is None:
                continue
            own, weights, more = _laid_out(beside, bits)
            _share_vision(own, weights, config, tensors)
            folders.write(aside / name, own, weights, beside.require_tokenizer().to_json())
            notes += [note for note in more if note not in notes]
        folders.write(aside, config, tensors, model.require_tokenizer().to_json())
        if model.processor.functions:
            save_functions(aside, model.processor)
    return notes


def _laid_out(model: Leaving, bits: int) -> tuple[Plain, Tensors, list[str]]:
    """The configuration and the tensors of a folder, and what the model cannot do there."""
    network, processor, tokenizer = model.network, model.processor, model.require_tokenizer()
    images = _images(network, tokenizer)
    if not built():
        raise SepiolaError(f"the native core is not built: {BUILD}")
    engine = Engine(TorchExecutor(network), ends=frozenset(processor.ends))
    chat = Chat(engine, processor, tokenizer)
    generation = processor.generation
    penalty = generation.repetition_penalty
    if Sampling.of(generation) != Sampling(repetition_penalty=penalty):
        raise SepiolaError("the checkpoint forces or forbids tokens (generation_config.json); the edge runtime cannot")
    notes: list[str] = []
    try:
        place = chat.prompts.place if isinstance(network, PrefixModel | CrossModel) else None
        talk = chat.conversations
        frame, reason = frame_of(talk.template, framed=talk.bare, place=place, controls=talk.guard.names)
        notes += [] if reason is None else [f"it cannot chat about pictures: {reason}"]
    except DataError as error:
        frame = None
        notes.append(f"it generates, and cannot chat: {error}")
    asking = model.asking
    try:
        asked = asking_of(asking, context=processor.context, opening=tuple(tokenizer.opening()))
        if asking.layout == "chat" and frame is None:
            raise SpecError("its chat template cannot be followed")
    except SpecError as error:
        asked = None
        notes.append(f"it cannot be asked: {error}")
    if processor.functions is not None and not processor.functions:
        notes.append("it calls functions that a request declares, which the edge runtime does not")
    if processor.functions and asked is None:
        notes.append("it cannot act, as it cannot be asked")
    spec, tensors = core_model(network, bits)
    config: Plain = {
        "core": spec,
        "bits": bits,
        "ends": sorted(engine.ends),
        "chat_ends": sorted(chat.ends),
        "start": engine.tokens.start,
        "end": engine.tokens.end,
        "context": processor.context if engine.spec.positions.kind != "learned" else None,
        "limits": [generation.max_new_tokens, generation.max_length],
        "stop_strings": list(generation.stop_strings),
        "repetition_penalty": penalty,
        "images": images,
        "frame": None if frame is None else dataclasses.asdict(frame),
        "asking": asked,
    }
    return config, tensors, notes


def _share_vision(config: Plain, tensors: Tensors, other: Plain, others: Tensors) -> None:
    """Leaves out a model's vision encoder where another's is the same: pictures are then seen once."""
    seeing = {name for name in (*tensors, *others) if name.startswith("vision.")}
    if not seeing or config["images"] is None or other["images"] is None:
        return
    pixels = [each["images"]["pixels"] for each in (config, other)]
    same = pixels[0] == pixels[1] and config["core"]["vision"] == other["core"]["vision"]
    if same and all(name in tensors and name in others and _equal(tensors[name], others[name]) for name in seeing):
        del config["core"]["vision"]
        for name in seeing:
            del tensors[name]


def _equal(one: Packed, other: Packed) -> bool:
    return one[0] == other[0] and one[2:] == other[2:] and np.array_equal(one[1], other[1])


def _images(network: nn.Module, tokenizer: Tokenizer) -> dict[str, object] | None:
    """How the model sees (`sepiola_edge.prompt`); None where it does not. Raises SepiolaError where it cannot leave."""
    if isinstance(network, LanguageModel | EncoderDecoder):
        return None
    if not isinstance(network, VisionLanguageModel) or network.language is None:
        raise SepiolaError("the edge runtime writes text: this model compares, or tells labels apart")
    for name, reason in core_parts(network)[1].items():
        raise SepiolaError(f"the edge runtime does not run this model's {name}, which {reason}")
    if network.vision is None:
        raise SepiolaError(
            "the edge runtime sees pictures: this model has no vision encoder, and takes stored features"
        )
    pixels = network.vision.spec.pixels
    newline = network.bridge.newline.tolist() if isinstance(network.bridge, AnyResProjection) else None
    settings: dict[str, object] = {"pixels": pixels.model_dump(mode="json"), "newline": newline}
    if isinstance(network, FusedModel):
        return {"kind": "fused", "width": network.bridge.image_width, **settings}
    assert isinstance(network, PrefixModel | CrossModel)
    if network.instructed is not None:
        raise SepiolaError("the edge runtime gives a Q-Former no instruction (bridge.text)")
    named = None if network.token is None else tokenizer.name_of(network.token)
    if named is None:
        raise SepiolaError(f"the tokenizer has no token {network.token}, which stands for pictures (bridge.token)")
    kind = "placed" if isinstance(network, PrefixModel) else "looked"
    settings |= {"first": network.first, "token": network.token, "name": named, "tokens": network.bridge.tokens}
    return {"kind": kind, **settings}
