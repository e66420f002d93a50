"""Images by reference: a path, bytes or a picture in memory, opened only when its pixels are needed."""

from __future__ import annotations

import contextlib
import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from sepiola.errors import DataError

_PNG = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")


def as_rgb(image: Image.Image) -> Image.Image:
    """The picture as RGB, transparency laid on white; grey of more than 8 bits is cut off at 255, as Pillow does."""
    if not image.has_transparency_data:
        return image if image.mode == "RGB" else image.convert("RGB")
    rgba = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")


@dataclass(frozen=True)
class ImageRef:
    """One image: `path` on disk or encoded `data` (PNG, JPEG, WebP …). Exactly one of the two is set."""

    path: Path | None = None
    data: bytes | None = None

    @classmethod
    def of(cls, image: AnyImage) -> ImageRef:
        """Wraps whatever a user holds. A picture in memory is turned upright and encoded as PNG, without loss; one of
        a mode that PNG has no place for (CMYK, HSV, F …) becomes RGB, as `open` would make it.
        """
        if isinstance(image, ImageRef):
            return image
        if isinstance(image, Image.Image):
            buffer = io.BytesIO()
            upright = ImageOps.exif_transpose(image)  # PNG is written without the orientation
            (upright if upright.mode in _PNG else as_rgb(upright)).save(buffer, format="PNG")
            return cls(data=buffer.getvalue())
        if isinstance(image, bytes):
            return cls(data=image)
        return cls(path=Path(image))

    @cached_property
    def encoded(self) -> bytes:
        """The encoded bytes. Raises DataError when the file cannot be read."""
        if self.data is not None:
            return self.data
        assert self.path is not None
        try:
            return self.path.read_bytes()
        except OSError as error:
            raise DataError(f"{self.path}: cannot read the image: {error.strerror}") from None

    @property
    def digest(self) -> str:
        """SHA-256 of the encoded bytes: the image's identity, wherever it lies."""
        return hashlib.sha256(self.encoded).hexdigest()

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the upright picture, read from its header. Raises DataError as `open` does."""
        with self._reading(), Image.open(self.path or io.BytesIO(self.data or b"")) as image:
            turned = image.getexif().get(ExifTags.Base.Orientation, 1) >= 5
            return image.size if turned else image.size[::-1]

    def open(self) -> Image.Image:
        """The picture as RGB, upright (EXIF orientation applied), transparency laid on white.

        Raises DataError when the bytes are no image or are cut short.
        """
        with self._reading(), Image.open(io.BytesIO(self.encoded)) as image:
            return as_rgb(ImageOps.exif_transpose(image))

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        name = self.path or "image in memory"
        try:
            yield
        except FileNotFoundError as error:
            raise DataError(f"{name}: cannot read the image: {error.strerror}") from None
        except UnidentifiedImageError:
            raise DataError(f"{name}: not an image that can be read; expected PNG, JPEG, WebP, GIF or BMP") from None
        except (OSError, SyntaxError, Image.DecompressionBombError) as error:
            raise DataError(f"{name}: the image is damaged or cut short ({error}); replace the file") from None


AnyImage = ImageRef | Image.Image | bytes | str | Path
"""Whatever `ImageRef.of` takes."""
