"""Whether a layout states a whole spec: what is read back from a family's own config must be what was written."""

from __future__ import annotations

import math
from collections.abc import Iterator

from sepiola.errors import CheckpointError
from sepiola.specs.base import Spec
from sepiola.specs.bricks import AttentionSpec
from sepiola.specs.model import ModelSpec, TransformerSpec
from sepiola.specs.vision import DETRSpec

_NAMES = {"name", "family", "counted"}  # what a model is called, not what it computes
_TRAINING = {"dropout", "balance_loss", "router_z_loss", "z_loss", "frozen_norm"}  # read in training alone
_DERIVED = {"bridge.image_width"}  # from a vision encoder that is written beside


def check_lossless(spec: ModelSpec, again: ModelSpec) -> None:
    """Raises CheckpointError that lists the keys of `spec` which its family lost: those that differ in `again`, which
    the family read from the config that it wrote.
    """
    written, read = dict(_values(spec)), dict(_values(again))
    lost = [
        f"{key} ({written.get(key)}, read back as {read.get(key)})"
        for key in {**written, **read}
        if not _same(written.get(key), read.get(key))
    ]
    if lost:
        raise CheckpointError(
            f"'{spec.name}' cannot be written as '{spec.family}', which has no place for {', '.join(lost)}: save it "
            "with save(), in our own layout, or state the family that has"
        )


def _values(spec: Spec, path: str = "") -> Iterator[tuple[str, object]]:
    """The keys of a spec and of those within it, with defaults that follow from other keys spelled out."""
    for key in type(spec).model_fields:
        value, inner = getattr(spec, key), f"{path}{key}"
        if isinstance(value, AttentionSpec) and isinstance(width := dict(spec).get("width"), int):
            value = value.spelled_out(width)
        if key.startswith("encoder_"):
            value = value or _of_decoder(spec, key)
        if isinstance(value, Spec):
            yield from _values(value, f"{inner}.")
        elif key not in _NAMES | _TRAINING and inner not in _DERIVED:
            yield inner, value


def _of_decoder(spec: Spec, key: str) -> int | None:
    """What an encoder has where its spec leaves it to the decoder's."""
    if isinstance(spec, DETRSpec):
        return {"encoder_heads": spec.heads, "encoder_feed_forward": spec.feed_forward}[key]
    if not isinstance(spec, TransformerSpec) or spec.kind != "encoder-decoder":
        return None
    same = {"layers": spec.layers, "heads": spec.attention.heads, "feed_forward": spec.feed_forward.width}
    return same[key.removeprefix("encoder_")]


def _same(one: object, other: object) -> bool:
    if isinstance(one, float) and isinstance(other, int | float):
        return math.isclose(one, other, rel_tol=1e-6)
    return one == other
