"""Where the tensors of the Hub's model lie within ours: its names, and the rows of our tensors that they are.

A file may name them as any version of `transformers` does: components come and go, and a head stands inside the
language model or beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Size, Tensor, nn

from sepiola.checkpoints import hub
from sepiola.checkpoints.lazy import LazyTensors
from sepiola.checkpoints.names import as_saved_today
from sepiola.checkpoints.registry import FAMILIES
from sepiola.models.build import outline
from sepiola.nn.linear import blocks_of
from sepiola.specs.model import ModelSpec

# Components of names that versions of `transformers` and bare models add or leave out, and one that has two names.
_WRAPPERS = {"model", "transformer", "bert", "vision_model"}
_RENAMED = {"block_sparse_moe": "mlp"}
_HEAD = "lm_head"


@dataclass(frozen=True)
class Place:
    """A tensor of the Hub's model: `rows` of our tensor `tensor`; `turned` ones hold their matrix transposed."""

    tensor: str
    rows: slice
    turned: bool = False


def hub_places(spec: ModelSpec) -> dict[str, Place]:
    """The Hub's tensors that are rows of ours, by their names; empty without a layout there.

    Nothing is read: tensors on the meta device take the family's way to the Hub, and numbers in their place its way
    back. What a family reshapes on that way has no place.
    """
    if spec.family not in FAMILIES:
        return {}
    family, model = hub.family_of(spec), outline(spec)
    stored = family.to_hub(model.state_dict(), spec)
    names = list(stored)
    numbered = {name: [partial(_numbered, stored[name].shape, n)] for n, name in enumerate(names)}
    ours = family.to_ours(LazyTensors(numbered), spec)
    places: dict[str, Place] = {}
    for tensor in model.state_dict():
        pieces = ours.pieces(tensor) if tensor in ours else []
        origins = [names[int(piece.flatten()[0])] if piece.numel() else "" for piece in pieces]
        if not all(name and _whole(piece, stored[name]) for name, piece in zip(origins, pieces, strict=True)):
            continue
        end = 0
        for name, piece in zip(origins, pieces, strict=True):
            turned = piece.shape == (2, 1)
            size = stored[name].shape[1 if turned else 0]
            places[name] = Place(tensor, slice(end, end + size), turned)
            end += size
    return places


def _numbered(shape: Size, number: int) -> Tensor:
    """A number in the place of a tensor; of a matrix a row, so that one that was transposed is a column."""
    return torch.tensor(float(number)).expand((1, 2) if len(shape) == 2 else shape)


def _whole(piece: Tensor, stored: Tensor) -> bool:
    return piece.shape in ((1, 2), (2, 1)) if stored.dim() == 2 else stored.dim() > 0 and piece.shape == stored.shape


class Places:
    """The tensors that a file may name: the Hub's, and our own with the blocks of our linear layers."""

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec
        self.model = outline(spec)
        self.shapes = {name: tensor.shape for name, tensor in self.model.state_dict().items()}
        named = {**_our_places(self.model), **hub_places(spec)}
        self._places = {_bare(name): place for name, place in named.items()}
        for bare, place in list(self._places.items()):
            if _HEAD in bare:  # older versions have it inside the language model
                self._places.setdefault(bare[bare.index(_HEAD) :], place)

    def find(self, name: str) -> Place | None:
        """Where a tensor of that name lies; None when there is none such."""
        if (known := self._places.get(_bare(name))) is not None:
            return known
        tensor = next((made for made in self._made_of(name) if made in self.shapes), None)
        return None if tensor is None else Place(tensor, slice(0, self.shapes[tensor][0]))

    def as_ours(self, name: str, value: Tensor) -> Tensor:
        """A tensor of that name as its place holds it."""
        if (known := self._places.get(_bare(name))) is not None:
            return value.t() if known.turned and value.dim() == 2 else value
        place = self.find(name)
        if place is None or self.spec.family not in FAMILIES:
            return value
        try:
            return hub.family_of(self.spec).to_ours({name: value}, self.spec)[place.tensor]
        except RuntimeError:  # of a shape that the family cannot read
            return value

    def is_left_out(self, name: str) -> bool:
        """Whether the family knows such a tensor and leaves it out."""
        return not self._made_of(name)

    def shape(self, place: Place) -> tuple[int, ...]:
        """The shape of a place's rows, as we have them."""
        return (place.rows.stop - place.rows.start, *self.shapes[place.tensor][1:])

    def _made_of(self, name: str) -> list[str]:
        """The names of what the family makes of a file that holds this tensor alone."""
        if self.spec.family not in FAMILIES:
            return [name]
        family = hub.family_of(self.spec)
        always = family.to_ours({}, self.spec)
        alone = as_saved_today(LazyTensors({name: [partial(torch.zeros, (1, 2))]}))
        return [made for made in family.to_ours(alone, self.spec) if made not in always]


def _our_places(model: nn.Module) -> dict[str, Place]:
    places = {name: Place(name, slice(0, len(tensor))) for name, tensor in model.state_dict().items() if tensor.dim()}
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Linear):
            for block, rows in blocks_of(name, layer).items():
                for kind in ("weight", "bias") if layer.bias is not None else ("weight",):
                    places[f"{block}.{kind}"] = Place(f"{name}.{kind}", rows)
    return places


def _bare(name: str) -> tuple[str, ...]:
    return tuple(_RENAMED.get(part, part) for part in name.split(".") if part not in _WRAPPERS)
