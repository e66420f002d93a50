"""Features of a frozen vision encoder, computed once for each encoder and image, kept on disk, and read through memory
maps.

Images are known by the SHA-256 of their bytes, so the same picture under two names is computed once, and
encoders by their spec and weights, so a changed encoder never meets old features. Two files grow by appending:
`features.bin` holds float16 rows, `index.jsonl` says which belong to which image and carries a checksum. A
line of the index is written after its rows are on the disk; what a kill, a cut file or a bad block has
damaged is computed anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sepiola.data.feature_rows import lay_features
from sepiola.data.files import locked, make_folder, no_links
from sepiola.data.image import ImageRef
from sepiola.errors import DataError
from sepiola.specs.base import Plain, Spec


def encoder_key(spec: Spec, weights: Mapping[str, Tensor]) -> str:
    """The identity of an encoder: a digest of its spec and of every weight (a module's `state_dict()`)."""
    digest = hashlib.sha256(spec.model_dump_json().encode())
    for name in sorted(weights):
        value = weights[name].detach().cpu().contiguous()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.view(-1).view(torch.uint8).numpy().data if value.numel() else b"")
    return digest.hexdigest()[:24]


@dataclass(frozen=True)
class _Entry:
    """Where an image's rows lie: from row `start`, `patches` of them."""

    start: int
    patches: int
    checksum: int


class FeatureCache:
    """The features of images under one encoder, `width` numbers a patch, in `folder/encoder_key`.

    `encode` turns pixels `(batch, 3, height, width)` into features `(batch, patches, width)` and `to_pixels`
    opens an image. Several processes may use one folder. Within a process, a file that was read once is taken
    not to change.
    """

    def __init__(
        self,
        folder: Path,
        encoder_key: str,
        encode: Callable[[Tensor], Tensor],
        *,
        width: int,
        to_pixels: Callable[[ImageRef], Tensor],
        batch: int = 16,
    ) -> None:
        self.folder = Path(folder) / encoder_key
        self.encode = encode
        self.to_pixels = to_pixels
        self.width = width
        self.batch = batch
        self._data_file = self.folder / "features.bin"
        self._index_file = self.folder / "index.jsonl"
        self._digests: dict[ImageRef, str] = {}
        self._entries: dict[str, _Entry] = {}
        self._sound: set[str] = set()
        self._index_bytes = 0  # of the index, read so far
        self._end = 0  # of the data, in rows
        self._map: np.ndarray = np.empty((0, width), dtype=np.float16)
        make_folder(self.folder)
        self._read_index()

    def __contains__(self, image: ImageRef) -> bool:
        return self._digest(image) in self._entries

    def rows(self, samples: Sequence[Sequence[ImageRef]]) -> list[Tensor]:
        """Features `(patches, width)` float16 of each sample's images, one after another; `(0, width)`
        without images.

        What is missing is computed first. Raises DataError for an image that cannot be read, or features that
        are not finite in float16.
        """
        self.fill([image for images in samples for image in images])
        empty = torch.empty(0, self.width, dtype=torch.float16)
        return [torch.cat([self._read(image) for image in images]) if images else empty for images in samples]

    def get(self, samples: Sequence[Sequence[ImageRef]]) -> tuple[Tensor, Tensor | None]:
        """A model's `images` `(batch, patches, width)` and `image_mask`, None when all have as many patches
        or none.
        """
        return lay_features([[row] for row in self.rows(samples)])

    def fill(self, images: Sequence[ImageRef]) -> None:
        """Computes the features that are missing, with a progress bar when that takes long."""
        missing: dict[str, ImageRef] = {}
        for image in images:
            digest = self._digest(image)
            if not self._is_sound(digest):
                missing[digest] = image
        todo = list(missing.items())
        with _bar(len(todo)) as advance:
            for start in range(0, len(todo), self.batch):
                chunk = todo[start : start + self.batch]
                self._append(self._compute(chunk))
                advance(len(chunk))

    def _compute(self, chunk: Sequence[tuple[str, ImageRef]]) -> dict[str, np.ndarray]:
        """Features of a few images; those of one size go through the encoder together."""
        by_shape: dict[torch.Size, list[tuple[str, Tensor]]] = {}
        for digest, image in chunk:
            pixels = self.to_pixels(replace(image))  # a copy: its bytes are freed with it
            by_shape.setdefault(pixels.shape, []).append((digest, pixels))
        computed = {}
        for group in by_shape.values():
            with torch.no_grad():
                features = self.encode(torch.stack([pixels for _, pixels in group])).detach().cpu()
            if features.shape[0] != len(group) or features.dim() != 3 or features.shape[2] != self.width:
                raise DataError(
                    f"the encoder gave {tuple(features.shape)}; expected ({len(group)}, patches, {self.width})"
                )
            for (digest, _), rows in zip(group, features.to(torch.float16), strict=True):
                if not bool(torch.isfinite(rows).all()):
                    raise DataError(f"the encoder's features of image {digest[:12]} are not finite in float16")
                computed[digest] = rows.numpy()
        return computed

    def _append(self, computed: Mapping[str, np.ndarray]) -> None:
        with locked(self.folder):
            self._read_index()  # another process may have grown it
            end = self._end
            lines = ""
            try:
                with open(self._data_file, "ab", opener=no_links) as data:
                    data.truncate(end * self._row_bytes)
                    for digest, rows in computed.items():
                        if digest in self._entries and self._is_sound(digest):
                            continue
                        raw = np.ascontiguousarray(rows).tobytes()
                        data.write(raw)
                        entry = {
                            "image": digest,
                            "start": end,
                            "patches": len(rows),
                            "crc32": zlib.crc32(raw),
                        }
                        lines += json.dumps(entry) + "\n"
                        end += len(rows)
                    data.flush()
                    os.fsync(data.fileno())
                with open(self._index_file, "ab", opener=no_links) as index:
                    index.truncate(self._index_bytes)
                    index.write(lines.encode())
            except OSError as error:
                raise DataError(
                    f"{self.folder}: features cannot be written ({error.strerror}); what was computed before is kept"
                ) from None
            self._read_index()

    def _read(self, image: ImageRef) -> Tensor:
        return torch.from_numpy(self._rows(self._entries[self._digest(image)]).copy())

    def _rows(self, entry: _Entry) -> np.ndarray:
        end = entry.start + entry.patches
        if end > len(self._map):
            rows = self._data_file.stat().st_size // self._row_bytes  # a cut file may end inside a row
            self._map = np.memmap(self._data_file, dtype=np.float16, mode="r", shape=(rows, self.width))
        return self._map[entry.start : end]

    def _is_sound(self, digest: str) -> bool:
        """Whether the image's rows are there and whole; looked at once a process."""
        entry = self._entries.get(digest)
        if entry is None:
            return False
        if digest not in self._sound:
            if zlib.crc32(np.ascontiguousarray(self._rows(entry)).tobytes()) != entry.checksum:
                del self._entries[digest]
                return False
            self._sound.add(digest)
        return True

    def _read_index(self) -> None:
        """Takes in the lines that are new and whose rows are there. A later line of an image replaces an
        earlier one.
        """
        if not self._index_file.exists():
            return
        rows = self._data_file.stat().st_size // self._row_bytes if self._data_file.exists() else 0
        with self._index_file.open("rb") as index:
            index.seek(self._index_bytes)
            new = index.read()
        whole = new.rfind(b"\n") + 1
        self._index_bytes += whole
        for line in new[:whole].splitlines():
            with contextlib.suppress(ValueError, KeyError, TypeError):
                line_entry: Plain = json.loads(line)
                entry = _Entry(int(line_entry["start"]), int(line_entry["patches"]), int(line_entry["crc32"]))
                if entry.start + entry.patches <= rows:
                    self._entries[line_entry["image"]] = entry
                    self._sound.discard(line_entry["image"])
                    self._end = max(self._end, entry.start + entry.patches)

    @property
    def _row_bytes(self) -> int:
        return 2 * self.width

    def _digest(self, image: ImageRef) -> str:
        if image not in self._digests:
            self._digests[image] = replace(image).digest
        return self._digests[image]


@contextlib.contextmanager
def _bar(total: int) -> Iterator[Callable[[int], None]]:
    """A progress bar that appears when the work has taken two seconds and is not done."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("image features"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=Console(stderr=True), transient=True)
    task = bar.add_task("", total=total)
    began = time.monotonic()

    def advance(count: int) -> None:
        bar.advance(task, count)
        if not bar.live.is_started and time.monotonic() - began > 2 and not bar.finished:
            bar.start()

    try:
        yield advance
    finally:
        if bar.live.is_started:
            bar.stop()
