"""The two ends of a published language model: whether its output head is its embedding, and how many tokens they know.

Files hold the head as a tensor of its own, or leave it out, or hold it though it is the embedding (every
`pytorch_model.bin` of a tied model does); and configs are wrong. The rules are those of `transformers`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from sepiola.checkpoints.config import JSON, Config
from sepiola.checkpoints.lazy import LazyTensors, later, renamed
from sepiola.errors import CheckpointError

HEAD = "lm_head.weight"
KEY = "tie_word_embeddings"

log = logging.getLogger(__name__)


def head_of(
    config: Config, state: Mapping[str, Tensor], embedding: str, *, head: str = HEAD, tied: bool = True
) -> JSON:
    """What a spec says of the head: whether it is `tied` or, in a bare decoder that has none, that there is none.

    `tied` is what the family's configs mean when they do not say. Where the config ties the head and the file holds one
    of other values, it is not tied, with a warning. Raises CheckpointError where the config says that the head is a
    tensor of its own and the file holds none.
    """
    tied = bool(config.get(KEY, tied))
    if head in state:
        if not tied or embedding not in state or equal(state[embedding], state[head]):
            return {"tied": tied}
        log.warning(
            "config.json says %s, but %s and %s differ: the head is not tied; set it to false", KEY, head, embedding
        )
        return {"tied": False}
    named = [str(name) for name in config.get("architectures") or ()]
    if tied or any(name.endswith("ForSequenceClassification") for name in named):
        return {"tied": True}
    if any(is_bare(name) for name in named):
        return {"tied": True, "head": {"kind": "none"}}
    raise CheckpointError(
        f"config.json says {KEY}: false, but the weights hold no {head}; take both from the same place, or set it to "
        "true if the head is the embedding"
    )


def is_bare(architecture: str) -> bool:
    """Whether a class of `transformers` is a model without any head."""
    return architecture.endswith("Model") and "Head" not in architecture


def one_head(state: Mapping[str, Tensor], embedding: str, *, tied: bool, head: str = HEAD) -> LazyTensors:
    """The tensors without a head that is the embedding again; a head that stands there alone is the embedding."""
    if not tied:
        return renamed(state, lambda name: name)
    alone = embedding not in state
    return renamed(state, lambda name: name if name != head else embedding if alone else None)


class Embeddings(NamedTuple):
    """By which tensors an encoder-decoder reads and writes: the encoder's embedding, the decoder's where it has one of
    its own, and where the file holds no head what stands in its place, if that is not the encoder's.
    """

    encoder: str
    decoder: str | None
    head: str | None


def embeddings_of(state: Mapping[str, Tensor], shared: str, encoder: str, decoder: str, *, first: str) -> Embeddings:
    """The embeddings of a file that may hold the shared one, the encoder's and the decoder's, or some of them.

    As in `transformers` each side reads by its own if that is there, and by the shared one if not. Where that is
    missing it is the one of `first`, if that is there, and else the other.
    """
    common = next((name for name in (shared, first, encoder, decoder) if name in state), shared)
    read, written = (name if name in state else common for name in (encoder, decoder))

    def is_read(name: str) -> bool:
        return name == read or equal(state[name], state[read])

    alone = HEAD in state or is_read(common)
    return Embeddings(read, None if is_read(written) else written, None if alone else common)


def one_each(state: Mapping[str, Tensor], names: Sequence[str], found: Embeddings) -> LazyTensors:
    """The tensors with the encoder's embedding under the first of `names` and the decoder's own under the last.

    What stands in the place of a head becomes one; the others of `names` are the same again.
    """
    rest = {name: read for name, read in later(state).items() if name not in names}
    reads = {**later(state)}
    places = {names[0]: found.encoder, names[-1]: found.decoder, HEAD: found.head}
    return LazyTensors({**rest, **{place: reads[name] for place, name in places.items() if name in reads}})


def vocabulary(config: Config, state: Mapping[str, Tensor], embedding: str) -> int:
    """How many tokens there are: the config's number or, where the embedding has other rows, theirs, with a warning."""
    said: int = config["vocab_size"]
    if embedding not in state or state[embedding].dim() != 2 or len(state[embedding]) == said:
        return said
    rows = len(state[embedding])
    log.warning("config.json says vocab_size %d, but %s has %d rows, which count", said, embedding, rows)
    return rows


def equal(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors hold the same values."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    return torch.equal(one, other) if one.dtype.itemsize > 1 else torch.equal(one.float(), other.float())
