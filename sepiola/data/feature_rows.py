"""Features of images, laid out in rows beside the text of a batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def lay_features(rows: Sequence[Sequence[Tensor]]) -> tuple[Tensor, Tensor | None]:
    """Features `(batch, patches, width)` and their segment numbers, of the samples `(patches, width)` of each
    row.

    The numbers are None when every row holds one sample and all images have as many patches. A sample without
    an image `(0, width)` has zeros: one patch does where patches are numbered, for attention over equal
    patches does not depend on how many there are.
    """
    counts = {len(part) for row in rows for part in row if len(part)}
    if all(len(row) == 1 for row in rows) and len(counts) <= 1:
        patches = max(counts, default=1)
        images = rows[0][0].new_zeros(len(rows), patches, rows[0][0].shape[1])
        for image, (part,) in zip(images, rows, strict=True):
            image[: len(part)] = part
        return images, None
    filled = [[part if len(part) else part.new_zeros(1, part.shape[1]) for part in row] for row in rows]
    width = max(sum(len(part) for part in row) for row in filled)
    images = filled[0][0].new_zeros(len(filled), width, filled[0][0].shape[1])
    segments = torch.zeros(len(filled), width, dtype=torch.long)
    for number, row in enumerate(filled):
        at = 0
        for segment, part in enumerate(row, start=1):
            images[number, at : at + len(part)] = part
            segments[number, at : at + len(part)] = segment
            at += len(part)
    return images, segments
