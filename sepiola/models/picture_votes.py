"""What similar pictures say of a question's options: training questions of the same kind (the same template,
`sepiola.text.option_features`) whose pictures are nearest, pixel by pixel, speak for the options that were right there
and against those that were wrong. Of drawn pictures (maps, diagrams) two that differ little mostly have one answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from sepiola.data.image import ImageRef
from sepiola.specs.conditional_logit import PictureVoteSpec, Shape
from sepiola.text.option_features import Asked, hashed, hashes

Floats = NDArray[np.float32]
_NEAR, _CLOSE, _SURE = 1e-4, 0.003, 3.0
_TYPES = {
    "pixels": torch.uint8,
    "templates": torch.int64,
    "groups": torch.int64,
    "options": torch.int64,
    "labels": torch.float32,
}


@dataclass(frozen=True)
class Known:
    """A training question, its options' worth (1 for the right one, -1 shared by the wrong ones), and its picture."""

    asked: Asked
    labels: tuple[float, ...]
    image: ImageRef | None = None


class PictureVotes(nn.Module):
    """Pictures that vote: `pixels` `(kept, side, side, 3)`, the hash of each one's template and of its question
    (`groups`), of its options `(kept, options)`, and their `labels`, 0 where there is no option.
    """

    pixels: Tensor
    templates: Tensor
    groups: Tensor
    options: Tensor
    labels: Tensor

    names = ("near", "close")
    """`near` shares one vote among the neighbours by their likeness; `close` counts almost equal pictures alone."""

    def __init__(self, spec: PictureVoteSpec, shapes: dict[str, Shape]) -> None:
        super().__init__()
        self.spec = spec
        for name, kind in _TYPES.items():
            self.register_buffer(name, torch.zeros(shapes.get(name, (0,)), dtype=kind))

    def remember(self, known: Sequence[Known]) -> dict[str, Tensor]:
        """What it is to remember of the training questions that have a picture, by the names of its buffers."""
        seen = [(each, each.image) for each in known if each.image is not None]
        most = max((len(each.labels) for each, _ in seen), default=1)
        options, labels = np.zeros((len(seen), most), np.int64), np.zeros((len(seen), most), np.float32)
        pixels = np.zeros((len(seen), self.spec.side, self.spec.side, 3), np.uint8)
        for row, (each, image) in enumerate(seen):
            options[row, : len(each.labels)] = hashes(each.asked.lower)
            labels[row, : len(each.labels)] = each.labels
            pixels[row] = pixels_of(image, self.spec.side)
        arrays = {
            "pixels": pixels,
            "templates": np.array([hashed(each.asked.template) for each, _ in seen], np.int64),
            "groups": np.array([each.asked.group for each, _ in seen], np.int64),
            "options": options,
            "labels": labels,
        }
        return {name: torch.from_numpy(array) for name, array in arrays.items()}

    def votes(self, asked: Asked, image: ImageRef | None, *, learning: bool) -> Floats:
        """What similar pictures say of each option `(options, names)`, -1 to 1; all 0 without a picture. When
        `learning`, the question itself has no vote, nor has any other with the same words, options and pixels.
        """
        result = np.zeros((len(asked.lower), len(self.names)), np.float32)
        rows = (self.templates == hashed(asked.template)).nonzero().squeeze(1)
        if image is None or not len(rows):
            return result
        known = self.pixels[rows].numpy().reshape(len(rows), -1).astype(np.float32) / 255
        own = pixels_of(image, self.spec.side).reshape(-1).astype(np.float32) / 255
        distances = ((known - own) ** 2).mean(axis=1)
        if learning:
            repeated = (self.groups[rows].numpy() == asked.group) & (distances == 0)
            rows, distances = rows[torch.from_numpy(~repeated)], distances[~repeated]
            if not len(rows):
                return result
        nearest = np.argsort(distances, kind="stable")[: self.spec.neighbours]
        near = 1 / (distances[nearest] + _NEAR)
        close = np.exp(-distances[nearest] / _CLOSE) / _SURE
        rows = rows[torch.from_numpy(nearest)]
        offered, labels = self.options[rows].numpy(), self.labels[rows].numpy()
        for place, option in enumerate(hashes(asked.lower).astype(np.int64)):
            worth = (labels * (offered == option)).sum(axis=1)
            result[place] = (near / near.sum()) @ worth, np.tanh(close @ worth)
        return result


def pixels_of(image: ImageRef, side: int) -> NDArray[np.uint8]:
    """A picture as `(side, side, 3)`, its proportions given up. Raises DataError when it cannot be opened."""
    return np.asarray(image.open().resize((side, side), Image.Resampling.BOX))
