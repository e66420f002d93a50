"""Prompts: token ids and the pictures among them, and what the core reads of both."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sepiola_edge import checks
from sepiola_edge._native import Model as Core
from sepiola_edge._native import Picture
from sepiola_edge.anyres import AnyRes
from sepiola_edge.errors import EdgeError
from sepiola_edge.pictures import digest
from sepiola_edge.tiles import Grid, Run, Tiling

Floats = NDArray[np.float32]
Ids = NDArray[np.int32]
TOGETHER = 4
"""Tiles that pass through the vision encoder at once."""
MOST = 1 << 16
"""Tokens of a tile at most."""
GAP = 2
"""Equal tokens at most that stand between those of a picture and belong to it: the line breaks of a grid of tiles."""


@dataclass(frozen=True)
class Prompt:
    """Token ids, and the pictures in the order in which they are seen."""

    ids: list[int]
    pictures: tuple[Image.Image, ...] = ()


@contextmanager
def _fitting() -> Iterator[None]:
    """What the core says of parts of other shapes, of a damaged folder, as an EdgeError."""
    try:
        yield
    except ValueError as error:
        raise EdgeError(f"the folder's vision encoder and its bridge do not fit together: {error}") from None


class Vision:
    """The vision encoder of a core. Where models share it, it keeps what it made of the pictures of the last prompt."""

    def __init__(self, core: Core | None = None) -> None:
        self.core = core
        self._kept: dict[bytes, list[Floats]] = {}

    def features(self, core: Core, key: bytes, tiles: Floats) -> Iterator[Floats]:
        """Features of a picture's tiles, some tiles at a time; `core` sees them where no other one is shared."""
        parts = (tiles[at : at + TOGETHER] for at in range(0, len(tiles), TOGETHER))
        if self.core is None:
            yield from (core.features(part) for part in parts)
            return
        if key not in self._kept:
            self._kept[key] = [self.core.features(part) for part in parts]
        yield from self._kept[key]

    def keep(self, keys: Collection[bytes]) -> None:
        """Forgets all other pictures."""
        self._kept = {key: made for key, made in self._kept.items() if key in keys}


class Images(ABC):
    """How a model sees. What the core made of the pictures of the last prompt is kept, for conversations go on."""

    token: int | None = None
    """The placeholder's id, where pictures stand among the words."""

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self.tiling = tiling(raw["pixels"])
        self.newline = np.array(raw["newline"] or [], np.float32)
        self.vision = Vision()
        self._made: dict[bytes, Floats] = {}

    def make(self, core: Core, pictures: Sequence[Image.Image]) -> list[Floats]:
        """Of each picture what the language model reads, `(tokens, width)`."""
        alone = len(pictures) == 1
        keys = [digest(picture) + bytes([alone]) for picture in pictures]
        for key, picture in zip(keys, pictures, strict=True):
            if key not in self._made:
                tiles = self.tiling.tiles(picture, alone=alone)
                with _fitting():
                    made = [self._read(core, features) for features in self.vision.features(core, key, tiles)]
                size = (picture.height, picture.width)
                self._made[key] = self.tiling.laid_out(np.concatenate(made), size, self.newline)
        self._made = {key: self._made[key] for key in keys}
        self.vision.keep(keys)
        return [self._made[key] for key in keys]

    def run(self, picture: Image.Image, *, alone: bool) -> Run:
        """What stands in a prompt for a picture that is `alone` there or not."""
        return []

    @abstractmethod
    def _read(self, core: Core, features: Floats) -> Floats:
        """What the language model reads of the features of tiles."""


class Placed(Images):
    """Pictures stand among the words, so many tokens each.

    Where they come `first`, they stand before all of a text, its start token too, wherever it names them.
    """

    def __init__(self, raw: Mapping[str, Any]) -> None:
        super().__init__(raw)
        self.token, self.name = int(raw["token"]), checks.text(raw, "name")
        if not self.name:
            raise EdgeError("edge.json: 'name' is ''; expected what stands for a picture in a text")
        self.tokens = checks.whole(raw, "tokens", 1, MOST)
        self.first = bool(raw["first"])

    def run(self, picture: Image.Image, *, alone: bool) -> Run:
        assert self.token is not None
        return self.tiling.run((picture.height, picture.width), self.token, self.tokens, alone=alone)

    def texts(self, pictures: Sequence[Image.Image]) -> list[str]:
        """The run of each picture of a prompt as text, by the names of its tokens; none where it comes first."""
        if self.first:
            return [""] * len(pictures)
        runs = [self.run(picture, alone=len(pictures) == 1) for picture in pictures]
        return ["".join(part if isinstance(part, str) else self.name for part in run) for run in runs]

    def lead(self, pictures: Sequence[Image.Image]) -> list[int]:
        """The tokens of pictures that come first."""
        runs = [self.run(picture, alone=len(pictures) == 1) for picture in pictures if self.first]
        return [part for run in runs for part in run if not isinstance(part, str)]

    def places(self, ids: Ids, count: int) -> NDArray[np.bool_]:
        """Where the tokens of pictures stand. Raises EdgeError where these are not `count`."""
        places: NDArray[np.bool_] = ids == self.token
        if places.sum() != count:
            raise EdgeError(
                f"the prompt has {int(places.sum())} places for pictures, and its pictures make {count} tokens: no "
                f"text may name {self.name}"
            )
        return places


class Embedded(Placed):
    """In the place of each of their tokens stands a vector that the core makes of pictures."""

    def embed(self, core: Core, prompt: Prompt, width: int) -> Floats:
        """Vectors `(tokens, width)` of a prompt. Raises EdgeError where its places are not those of its pictures."""
        ids = np.array(prompt.ids, np.int32)
        out = np.empty((len(ids), width), np.float32)
        core.embed(ids, out)
        made = self.make(core, prompt.pictures)
        places = self.places(ids, sum(map(len, made)))
        if made:
            out[places] = np.concatenate(made)
        return out

    def _read(self, core: Core, features: Floats) -> Floats:
        return core.vectors(features)


class Looked(Placed):
    """Layers between the core's own look at pictures, each token at the last one that stands before it."""

    def __init__(self, raw: Mapping[str, Any]) -> None:
        super().__init__(raw)
        self._looked: list[tuple[Floats, Picture]] = []

    def look(self, core: Core, prompt: Prompt) -> list[Picture]:
        """The pictures of a prompt. Raises EdgeError where its places are not those of its pictures."""
        features = self.make(core, prompt.pictures)
        self.places(np.array(prompt.ids, np.int32), len(features))
        known = {id(each): picture for each, picture in self._looked}
        with _fitting():
            looked = [(each, known.get(id(each)) or core.look(each[None])[0]) for each in features]
        self._looked = looked
        return [picture for _, picture in looked]

    def _read(self, core: Core, features: Floats) -> Floats:
        return features


class Fused(Images):
    """The text's states look at the features of all pictures, once the encoder has read it."""

    def __init__(self, raw: Mapping[str, Any]) -> None:
        super().__init__(raw)
        self.width = int(raw["width"])

    def fuse(self, core: Core, states: Floats, pictures: Sequence[Image.Image]) -> Floats:
        """The encoder's states `(tokens, width)`, fused; without a picture, with one patch of zeros."""
        features = np.concatenate(self.make(core, pictures)) if pictures else np.zeros((1, self.width), np.float32)
        out = np.empty_like(states)
        rows, feature_rows = (np.zeros(len(each), np.int32) for each in (states, features))
        with _fitting():
            core.fuse(states, rows, features, feature_rows, out)
        return out

    def _read(self, core: Core, features: Floats) -> Floats:
        return features


TILINGS: dict[str, type[Grid] | type[AnyRes]] = {"grid": Grid, "anyres": AnyRes}
"""How large pictures are cut, by the names in `edge.json`."""

IMAGES: dict[str, type[Images]] = {"placed": Embedded, "looked": Looked, "fused": Fused}
"""The ways of seeing, by their names in `edge.json`."""


def tiling(raw: Mapping[str, Any]) -> Tiling:
    """How pictures are cut, by the settings of `edge.json`. Raises EdgeError for those that are damaged."""
    try:
        tiles = raw["tiles"]
        return Tiling(raw) if tiles is None else TILINGS[tiles["kind"]](raw, tiles)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise EdgeError(f"edge.json: 'pixels' is damaged ({error})") from None


def images_of(raw: Mapping[str, Any] | None) -> Images | None:
    """How the model of an `edge.json` sees; None where it does not. Raises EdgeError for a damaged one."""
    if raw is None:
        return None
    try:
        return IMAGES[raw["kind"]](raw)
    except (KeyError, TypeError, ValueError) as error:
        raise EdgeError(f"edge.json: 'images' is damaged ({error})") from None


def cut_text(ids: Sequence[int], length: int, pictures: Collection[int]) -> list[int]:
    """`length` of the tokens, the middle of the text left out; those of pictures all stay. Raises EdgeError where these
    alone are more.
    """
    places = [place for place, token in enumerate(ids) if token in pictures]
    kept = set(places)
    for before, after in pairwise(places):
        if after - before - 1 <= GAP and len(set(ids[before + 1 : after])) <= 1:
            kept.update(range(before, after))
    if len(kept) > length:
        raise EdgeError(f"the pictures take {len(kept)} tokens, and the model reads {length}: show fewer of them")
    text = [place for place in range(len(ids)) if place not in kept]
    room = length - len(kept)
    left = kept.union(text[: room // 2], text[len(text) - (room - room // 2) :])
    return [token for place, token in enumerate(ids) if place in left]
