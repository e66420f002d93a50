"""From samples to batches: padding, packing, images.

A sample is a question in token ids; a batch is what a model reads. One layout serves both kinds of model:
`target` holds the decoder's inputs and `labels` what each of them must predict. An encoder-decoder reads the
question in `source`; a decoder reads question and answer in one row, `source` is None, and only the answer is
labelled; an encoder reads a row in `source` and predicts at its places in `target`. Packing lays several samples into
one row; segment numbers keep them from seeing each other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sepiola.data.cutting import Ids, compact, cut_text
from sepiola.data.feature_rows import lay_features
from sepiola.data.image import ImageRef
from sepiola.errors import DataError
from sepiola.specs.base import Plain
from sepiola.specs.model import SpecialTokens

IGNORED = -100

# The images of each sample to its features, `(patches, width)`; `(0, width)` where there is no image.
FeatureRows = Callable[[Sequence[Sequence[ImageRef]]], list[Tensor]]
# The images of one sample, opened: `(3, height, width)` each, or in tiles, `(tiles, 3, …)`, where the text places them.
Pixels = Callable[[Sequence[ImageRef]], list[Tensor]]
# A sample as an objective wants it (`sepiola.data.noise`), drawn anew each time it is seen.
Noise = Callable[["Sample", np.random.Generator], "Sample"]


@dataclass(frozen=True)
class Sample:
    """Token ids of one example: `source` is read, `target` (which ends with the end token) is written.

    `placeholder` is the token that stands for images in the source, where the model places them there, `image_tokens`
    all that are theirs (around tiles, too), and `instruction` what its bridge reads beside each of them. `learned` says
    which tokens of the target are learned, the last of them always; None: all.
    """

    id: str
    source: Ids
    target: Ids
    images: tuple[ImageRef, ...] = ()
    placeholder: int | None = None
    instruction: Ids = ()
    image_tokens: frozenset[int] = frozenset()
    learned: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        if len(self.target) == 0:
            raise DataError(f"sample {self.id}: the target is empty; expected at least the end token")
        if self.learned is not None and not self.learned[-1]:
            raise DataError(f"sample {self.id}: its target ends with a token that is not learned")

    @property
    def length(self) -> int:
        """Tokens in all."""
        return len(self.source) + len(self.target)

    @property
    def parts(self) -> tuple[Sample, ...]:
        """What stands in this sample's row: itself."""
        return (self,)

    def positions_for(self, kind: str) -> int:
        """The most positions that a language model of this kind needs in a row."""
        read = max(1, len(self.source))
        return read + len(self.target) - 1 if kind == "decoder" else max(read, len(self.target))

    def cut(self, source_tokens: int, target_tokens: int) -> Sample:
        """The sample, no longer than this.

        A long source loses its middle: its head holds the question, its tail the options and the cue to
        answer. A long target loses its tail, and with it the end token, so that the model is not taught to
        stop there. Images are never cut. Raises DataError when they alone are longer than the source may be.
        """
        source, target, learned = self.source, self.target, self.learned
        if len(source) > source_tokens:
            pictures = self.image_tokens | ({self.placeholder} if self.placeholder is not None else set())
            source, taken = cut_text(source, source_tokens, pictures)
            if taken > source_tokens:
                raise DataError(
                    f"sample {self.id}: its images take {taken} tokens; source_tokens is {source_tokens}: raise it"
                )
        if len(target) > target_tokens:
            if self.placeholder in target:
                raise DataError(
                    f"sample {self.id}: {len(target)} tokens with images among them cannot be cut to target_tokens "
                    f"({target_tokens}): raise it"
                )
            target = tuple(target[:target_tokens])
            if learned is not None:  # a target ends with what is learned
                learned = learned[: int(np.flatnonzero(learned[:target_tokens])[-1]) + 1]
                target = target[: len(learned)]
        if source is self.source and target is self.target:
            return self
        return replace(self, source=source, target=target, learned=learned)

    def compact(self) -> Sample:
        """The sample with its ids as arrays."""
        return replace(self, source=compact(self.source), target=compact(self.target))


@dataclass(frozen=True)
class Row:
    """Several samples that stand in one row and do not see each other."""

    id: str
    parts: tuple[Sample, ...]

    @property
    def length(self) -> int:
        """Tokens in all."""
        return sum(part.length for part in self.parts)

    def cut(self, source_tokens: int, target_tokens: int) -> Row:
        """The row with each of its samples no longer than this."""
        return replace(self, parts=tuple(part.cut(source_tokens, target_tokens) for part in self.parts))

    def compact(self) -> Row:
        """The row with the ids of its samples as arrays."""
        return replace(self, parts=tuple(part.compact() for part in self.parts))


def fill_rows(documents: Sequence[tuple[str, Ids]], tokens: int, seed: int = 0) -> list[Row]:
    """Documents (id and token ids) in an order drawn from `seed`, laid end to end and cut into rows of `tokens`.

    A document that is cut goes on in another row after its last token, which is given there and not predicted again:
    a decoder predicts every token once. The last row may be shorter.
    """
    rows: list[Row] = []
    parts: list[Sample] = []
    room = tokens
    for place in np.random.default_rng(seed).permutation(len(documents)):
        name, ids = documents[place]
        at = 0
        while at < len(ids):
            piece = ids[at : at + room]
            parts.append(Sample(f"{name}+{at}" if at else name, ids[max(0, at - 1) : at], piece))
            at, room = at + len(piece), room - len(piece)
            if room == 0:
                rows.append(Row(parts[0].id, tuple(parts)))
                parts, room = [], tokens
    if parts:
        rows.append(Row(parts[0].id, tuple(parts)))
    return rows


@dataclass(frozen=True)
class Batch:
    """Tensors of one batch. Masks hold segment numbers, 0 for padding; None where nothing is hidden.

    `source` `(batch, source tokens)`; `target` and `labels` `(batch, target tokens)`, labels -100 where
    nothing is predicted; `images` features `(batch, patches, width)` or pixels `(batch, 3, height, width)` or
    `(batch, images, 3, height, width)`; `image_mask` `(batch, patches | images)`. Placed images stand in one line,
    `(images, patches, width)` or `(images, 3, height, width)`, without a mask. A model may ask for the pictures'
    `image_sizes` `(pictures, 2)`, and its bridge read `instructions` `(images, tokens)` beside them. `tokens` counts
    what is read and written, `labelled` what is predicted.
    """

    ids: tuple[str, ...]
    source: Tensor | None
    source_mask: Tensor | None
    target: Tensor
    target_mask: Tensor | None
    labels: Tensor
    images: Tensor | None
    image_mask: Tensor | None
    image_sizes: Tensor | None
    instructions: Tensor | None
    tokens: int
    labelled: int

    @property
    def real(self) -> Tensor:
        """Which tokens of `target` are no padding `(batch, target tokens)`: every sample ends with a label."""
        if self.target_mask is not None:
            return self.target_mask > 0
        return (self.labels != IGNORED).flip(1).cumsum(1).flip(1) > 0

    def to(self, device: torch.device | str) -> Self:
        """The same batch on a device."""
        values = ((f.name, getattr(self, f.name)) for f in fields(self))
        moved: Plain = {k: v.to(device, non_blocking=True) for k, v in values if isinstance(v, Tensor)}
        return replace(self, **moved)


class Collator:
    """Lays samples out as a batch for a language model of some `kind` (`TransformerSpec.kind`); one that is not
    `causal` gets a mask of the target's padding.

    `source_tokens` and `target_tokens` are the room of a row when samples are packed. `noise` changes each sample
    before it is laid out, by a generator that follows torch's. `features` gives the frozen vision encoder's features;
    `pixels` opens images for a vision encoder that learns; with neither, images are left out (a blind model). With
    `patches`, as many as the vision encoder gives of an image, the text says where images stand, and those of all rows
    stand in one line (`VisionLanguageModel.interleaved`); `sizes` are then `VisionLanguageModel.sizes`, and
    instructions beside images are padded with `instruction_pad`.
    """

    def __init__(
        self,
        tokens: SpecialTokens,
        *,
        kind: str = "encoder-decoder",
        causal: bool = True,
        packed: bool = False,
        source_tokens: int = 512,
        target_tokens: int = 512,
        features: FeatureRows | None = None,
        pixels: Pixels | None = None,
        noise: Noise | None = None,
        patches: int | None = None,
        sizes: Callable[[Sequence[ImageRef]], Tensor | None] | None = None,
        instruction_pad: int = 0,
    ) -> None:
        if packed and pixels is not None and features is None and patches is None:
            raise DataError(
                "packed batches need image features computed beforehand; unset `packed`, or freeze the vision encoder"
            )
        self.special = tokens
        self.kind = kind
        self.causal = causal and kind != "encoder"
        self.packed = packed
        self.room = (0, source_tokens + target_tokens) if kind == "decoder" else (source_tokens, target_tokens)
        self.noise = noise
        self.features = features
        self.pixels = pixels
        self.patches = patches
        self.sizes = sizes
        self.instruction_pad = instruction_pad

    def __call__(self, samples: Sequence[Sample | Row]) -> Batch:
        rows = [self._noised(sample.parts) for sample in samples]
        if self.packed and all(len(row) == 1 for row in rows):
            rows = self._pack([part for row in rows for part in row])
        return self.lay_out(rows)

    def lay_out(self, rows: Sequence[Sequence[Sample]]) -> Batch:
        """The batch of these rows, each of one sample or of several packed ones."""
        samples = [s for row in rows for s in row]
        written = [[self._written(s) for s in row] for row in rows]
        target, target_mask = self._lay([[inputs for inputs, _ in row] for row in written], self.special.pad)
        labels, _ = self._lay([[wanted for _, wanted in row] for row in written], IGNORED)
        source, source_mask = None, None
        if self.kind == "encoder-decoder":
            source, source_mask = self._lay([[s.source for s in row] for row in rows], self.special.pad)
        images, image_mask = self._images(rows)
        alone = all(len(row) == 1 for row in rows)
        # A causal model never sees the padding on the right; one that sees both ways needs the mask.
        unmasked = alone and (self.causal or bool((target_mask == 1).all()))
        return Batch(
            ids=tuple(s.id for s in samples),
            source=source,
            source_mask=source_mask if source_mask is None or not bool((source_mask == 1).all()) else None,
            target=target,
            target_mask=None if unmasked else target_mask,
            labels=labels,
            images=images,
            image_mask=image_mask,
            image_sizes=None if images is None else self._sizes(samples),
            instructions=None if images is None else self._instructions(samples),
            tokens=sum(int((mask > 0).sum()) for mask in (source_mask, target_mask) if mask is not None),
            labelled=int((labels != IGNORED).sum()),
        )

    def _noised(self, parts: Sequence[Sample]) -> list[Sample]:
        if self.noise is None:
            return list(parts)
        generator = np.random.default_rng(int(torch.randint(2**62, ())))
        return [self.noise(part, generator) for part in parts]

    def _written(self, sample: Sample) -> tuple[list[int], list[int]]:
        """The decoder's inputs and its labels, one for each input."""
        target = list(sample.target)
        # Images are read, and never written.
        wanted = [IGNORED if token == sample.placeholder else token for token in target]
        if sample.learned is not None:
            wanted = np.where(sample.learned, wanted, IGNORED).tolist()
        if self.kind == "encoder":
            return list(sample.source), wanted
        if self.kind == "encoder-decoder":
            return [self.special.start, *target[:-1]], wanted
        read = list(sample.source) or [self.special.start]
        return [*read, *target[:-1]], [IGNORED] * (len(read) - 1) + wanted

    def _pack(self, samples: Sequence[Sample]) -> list[list[Sample]]:
        """First fit, longest first: few rows, each within the room. A sample longer than a row gets its
        own.
        """
        rows: list[list[Sample]] = []
        used: list[tuple[int, int]] = []
        for sample in sorted(samples, key=lambda s: -s.length):
            read, written = self._size(sample)
            for number, (source, target) in enumerate(used):
                if source + read <= self.room[0] and target + written <= self.room[1]:
                    rows[number].append(sample)
                    used[number] = (source + read, target + written)
                    break
            else:
                rows.append([sample])
                used.append((read, written))
        return rows

    def _size(self, sample: Sample) -> tuple[int, int]:
        return (0, sample.length) if self.kind == "decoder" else (len(sample.source), len(sample.target))

    @staticmethod
    def _lay(rows: Sequence[Sequence[Ids]], padding: int) -> tuple[Tensor, Tensor]:
        """Ids and segment numbers `(rows, longest)` of the parts of each row."""
        width = max(1, max(sum(len(part) for part in row) for row in rows))
        ids = np.full((len(rows), width), padding, dtype=np.int64)
        segments = np.zeros((len(rows), width), dtype=np.int64)
        for number, row in enumerate(rows):
            at = 0
            for segment, part in enumerate(row, start=1):
                ids[number, at : at + len(part)] = part
                segments[number, at : at + len(part)] = segment
                at += len(part)
        return torch.from_numpy(ids), torch.from_numpy(segments)

    def _images(self, rows: Sequence[Sequence[Sample]]) -> tuple[Tensor | None, Tensor | None]:
        samples = [s for row in rows for s in row]
        if not any(s.images for s in samples):
            return None, None
        if self.patches is not None:
            return self._in_line(samples), None
        if self.features is not None:
            flat = iter(self.features([s.images for s in samples]))
            return lay_features([[next(flat) for _ in row] for row in rows])
        if self.pixels is not None:
            return _lay_pixels(samples, self.pixels)
        return None, None

    def _instructions(self, samples: Sequence[Sample]) -> Tensor | None:
        rows = [[s.instruction] for s in samples for _ in s.images if len(s.instruction)]
        return self._lay(rows, self.instruction_pad)[0] if rows else None

    def _in_line(self, samples: Sequence[Sample]) -> Tensor | None:
        """All images in the order in which they are read."""
        if self.features is not None:
            flat = torch.cat(self.features([s.images for s in samples]))
            return flat.unflatten(0, (-1, self.patches))
        if self.pixels is None:
            return None
        return torch.cat([tiles for s in samples for tiles in self.pixels(s.images)])

    def _sizes(self, samples: Sequence[Sample]) -> Tensor | None:
        sizes = [pair for s in samples if s.images and self.sizes and (pair := self.sizes(s.images)) is not None]
        return torch.cat(sizes) if sizes else None


def _lay_pixels(samples: Sequence[Sample], pixels: Pixels) -> tuple[Tensor, Tensor | None]:
    opened = [pixels(s.images) for s in samples]
    shapes = {tuple(picture.shape) for row in opened for picture in row}
    if len(shapes) > 1:
        raise DataError(
            f"pictures of several sizes cannot stand in one batch: {sorted(shapes)}; use a pixel mode that "
            "gives one size (squash, crop), batch: 1, or freeze the vision encoder"
        )
    most = max(len(row) for row in opened)
    if all(len(row) == most for row in opened):
        images = torch.stack([picture for row in opened for picture in row]).unflatten(0, (len(samples), most))
        return (images[:, 0] if most == 1 else images), None
    images = torch.zeros(len(samples), most, *next(iter(shapes)))
    mask = torch.zeros(len(samples), most, dtype=torch.long)
    for number, row in enumerate(opened):
        for place, picture in enumerate(row):
            images[number, place] = picture
            mask[number, place] = 1
    return (images[:, 0], mask) if most == 1 else (images, mask)
