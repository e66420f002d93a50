"""Images by reference: a path, bytes, an open file or a picture in memory, opened only when its pixels are needed."""

from __future__ import annotations

import base64
import contextlib
import errno
import hashlib
import io
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol, runtime_checkable
from urllib.parse import unquote_to_bytes

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError
from torch import Tensor

from sepiola.errors import DataError, brief

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
"""The formats that are read. Pillow's other decoders stay shut: one of them starts Ghostscript on what it is given."""

_PNG = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What sets a picture upright, by its EXIF orientation; other tags turn nothing."""
_LYING = (5, 6, 7, 8)
_BITS, _PHOTOMETRIC = 258, 262  # tags of TIFF: how many bits a value has, and whether 0 is white
_CHANNELS = (1, 3, 4)
"""Of an array: grey, RGB, and RGB with transparency."""


def as_rgb(image: Image.Image) -> Image.Image:
    """The picture as RGB, transparency laid on white.

    Grey of more than 8 bits is scaled to 8: of 16 bits always, of 32 bits from 16 where a value passes 255, and of
    floating-point numbers from 0…1 unless one passes 1. Raises DataError for values that fit none of these.
    """
    image = _eight_bits(image)
    if not image.has_transparency_data:
        return image if image.mode == "RGB" else image.convert("RGB")
    rgba = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """Grey of more than 8 bits as grey of 8, with the one grey that a PNG may name as clear made so."""
    if not image.mode.startswith(("I", "F")):
        return image
    values = np.asarray(image)
    least, most = (values.min(), values.max()) if values.size else (0, 0)
    if image.mode.startswith("I;16"):
        top = 65535
    elif image.mode == "I":
        top = 255 if most <= 255 else 65535
    else:
        top = 1 if most <= 1 else 255
    if not (least >= 0 and most <= top):
        raise DataError(
            f"a grey picture of mode {image.mode} with values from {least} to {most}; expected 0…255, 0…65535 for "
            "integers, or 0…1: scale its values and save it as PNG"
        )
    grey = Image.fromarray(np.rint(values.astype(np.float64) * (255 / top)).astype(np.uint8))
    clear = image.info.get("transparency")
    if isinstance(clear, int):
        grey.putalpha(Image.fromarray(np.where(values == clear, 0, 255).astype(np.uint8)))
    return grey


def _upright(image: Image.Image) -> Image.Image:
    image.load()  # turns a TIFF, and drops its tag
    image = _full_range(image)
    turn = _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    return image if turn is None else image.transpose(turn)


def _full_range(image: Image.Image) -> Image.Image:
    """Deep grey of a TIFF over all 16 bits, as its tags mean it: 12 bits are scaled, and white as 0 is turned."""
    tags = getattr(image, "tag_v2", {})
    if not image.mode.startswith("I;16"):
        return image
    bits, white_is_zero = tags.get(_BITS), tags.get(_PHOTOMETRIC) == 0
    if bits != (12,) and not white_is_zero:
        return image
    values = np.asarray(image).astype(np.int64)
    if bits == (12,):
        values = values << 4 | values >> 8
    return Image.fromarray((65535 - values if white_is_zero else values).astype(np.uint16))


@dataclass(frozen=True)
class ImageRef:
    """One image: `path` on disk or encoded `data` (PNG, JPEG, WebP …). Exactly one of the two is set."""

    path: Path | None = None
    data: bytes | None = None

    @classmethod
    def of(cls, image: AnyImage) -> ImageRef:
        """Wraps whatever a user holds. A picture in memory is turned upright and encoded as PNG, without loss; one of
        a mode that PNG has no place for (CMYK, HSV, F …) becomes RGB, as `open` would make it. Arrays and tensors have
        1, 3 or 4 channels, last or first, or none, of uint8 or of floating-point numbers 0…1, rounded to 8 bits. An
        open file is read from its beginning, where it can be set there. A text is a path, a `data:` URL or a `file:`
        one.

        Raises DataError for what is no picture, for one in memory that cannot be read to its end, and for addresses on
        the network, which are not fetched.
        """
        if isinstance(image, ImageRef):
            return image
        if isinstance(image, Tensor | np.ndarray):
            image = _from_array(image)
        if isinstance(image, Image.Image):
            buffer = io.BytesIO()
            with _reading("picture in memory"):
                upright = _upright(image)  # PNG is written without the orientation
                (upright if upright.mode in _PNG else as_rgb(upright)).save(buffer, format="PNG", exif=b"")
            return cls(data=buffer.getvalue())
        if isinstance(image, bytes | bytearray | memoryview):
            return cls(data=bytes(image))
        if isinstance(image, BinaryFile):
            return cls(data=_read(image))
        if isinstance(image, str):
            return _at(image)
        if not isinstance(image, Path):
            raise _no_picture(image)
        return cls(path=image)

    @classmethod
    def each_of(cls, images: AnyImage | Iterable[AnyImage] | None) -> list[ImageRef]:
        """Wraps one picture, several, or none. Of an array or a tensor with four axes the first counts the pictures.

        Raises DataError as `of` does.
        """
        if images is None:
            return []
        if isinstance(images, Tensor | np.ndarray) and images.ndim == 4:
            images = list(images)
        if isinstance(images, AnyImage):
            return [cls.of(images)]
        if isinstance(images, Mapping) or not isinstance(images, Iterable):
            raise _no_picture(images)
        return [cls.of(image) for image in images]

    @cached_property
    def encoded(self) -> bytes:
        """The encoded bytes. Raises DataError when the file cannot be read."""
        if self.data is not None:
            return self.data
        path = _regular(self.path)
        with _reading(str(path)):
            return path.read_bytes()

    @property
    def digest(self) -> str:
        """SHA-256 of the encoded bytes: the image's identity, wherever it lies."""
        return hashlib.sha256(self.encoded).hexdigest()

    @property
    def mark(self) -> list[str]:
        """What tells that the image was replaced: a file's name and the digest of its bytes, which are not kept.

        A file that cannot be read has its name alone: a blind run needs none.
        """
        if self.path is None:
            return [self.digest]
        try:
            return [self.path.name, ImageRef(path=self.path).digest]
        except DataError:
            return [self.path.name]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the upright picture, read from its header. Raises DataError as `open` does."""
        with self._opened(self._header()) as image:
            lies = image.getexif().get(ExifTags.Base.Orientation, 1) in _LYING
            turned = getattr(image, "tag_v2", {}).get(ExifTags.Base.Orientation) in _LYING  # by Pillow, as TIFFs are
            return image.size if lies and not turned else image.size[::-1]

    @property
    def format(self) -> str:
        """One of FORMATS, read from the header. Raises DataError as `open` does."""
        with self._opened(self._header()) as image:
            return image.format or ""

    def open(self) -> Image.Image:
        """The picture as RGB, upright (EXIF orientation applied), transparency laid on white.

        Raises DataError when the bytes are no image or are cut short.
        """
        with self._opened(io.BytesIO(self.encoded)) as image:
            return as_rgb(_upright(image))

    def _header(self) -> io.BytesIO | Path:
        return io.BytesIO(self.data) if self.data is not None else _regular(self.path)

    @contextlib.contextmanager
    def _opened(self, source: io.BytesIO | Path) -> Iterator[Image.Image]:
        with _reading(str(self.path or "image in memory")), Image.open(source, formats=FORMATS) as image:
            yield image


def _no_picture(given: object) -> DataError:
    return DataError(
        "a picture is a path, its bytes, a binary file, a Pillow image, an array or a tensor; got "
        f"{type(given).__name__}"
    )


def _at(address: str) -> ImageRef:
    """The picture of a text: a path, or an address that holds it. Raises DataError for other addresses."""
    if address.startswith("data:"):
        head, _, data = address.partition(",")
        try:
            return ImageRef(
                data=base64.b64decode(data, validate=True) if head.endswith(";base64") else unquote_to_bytes(data)
            )
        except ValueError:
            raise DataError(f"{brief(head)},…: not valid base64") from None
    if address.startswith(("http://", "https://")):
        raise DataError(f"pictures are not fetched from the network: save {brief(address, 300)} and give its path")
    if not address:
        raise DataError("a picture's path is empty; give the path of a picture")
    return ImageRef(path=Path(address.removeprefix("file://")))


def _from_array(given: Tensor | np.ndarray) -> Image.Image:
    """The picture of an array. Raises DataError where its channels or values may be read in two ways, or none."""
    if isinstance(given, Tensor):
        given = (given.float() if given.is_floating_point() else given).detach().cpu().numpy()
    shape = given.shape
    if given.ndim not in (2, 3) or 0 in shape:
        raise DataError(
            f"a picture of shape {shape}; expected (height, width), or three axes with 1, 3 or 4 channels as the last "
            "or the first"
        )
    first, last = given.ndim == 3 and shape[0] in _CHANNELS, given.ndim == 3 and shape[2] in _CHANNELS
    if given.ndim == 3 and first == last:
        raise DataError(
            f"a picture of shape {shape}, whose channels may be the first axis or the last: give a Pillow image"
            if first
            else f"a picture of shape {shape}; expected 1, 3 or 4 channels as the last axis or the first"
        )
    if np.issubdtype(given.dtype, np.floating):
        if not (given.min() >= 0 and given.max() <= 1):  # nor is NaN
            raise DataError(
                f"a picture of {given.dtype} with values from {given.min()} to {given.max()}; expected 0…1: undo its "
                "normalisation, or give 0…255 as uint8"
            )
        given = np.rint(given * 255.0).astype(np.uint8)
    elif given.dtype != np.uint8:
        raise DataError(f"a picture of {given.dtype}; expected uint8, 0…255, or floating-point numbers, 0…1")
    if first:
        given = given.transpose(1, 2, 0)
    return Image.fromarray(np.ascontiguousarray(given[..., 0] if given.ndim == 3 and given.shape[2] == 1 else given))


def _read(file: BinaryFile) -> bytes:
    try:
        with contextlib.suppress(AttributeError, io.UnsupportedOperation):  # as of a pipe
            file.seek(0)  # type: ignore[attr-defined]
        data = file.read()
    except (OSError, ValueError) as error:
        raise DataError(f"the picture's open file cannot be read: {error}") from None
    if not isinstance(data, bytes):
        raise DataError(f"a picture's file gave {type(data).__name__}; expected bytes: open it with mode 'rb'")
    return data


def _regular(path: Path | None) -> Path:
    """The path, if a file lies there: reading from a pipe or a device may never end."""
    assert path is not None
    try:
        mode = path.stat().st_mode
    except OSError as error:
        base64_text = "; a picture in base64 is a data: URL (data:image/png;base64,…)"
        hint = base64_text if error.errno == errno.ENAMETOOLONG else ""
        raise DataError(f"{brief(str(path), 1000)}: cannot read the image: {error.strerror}{hint}") from None
    except ValueError as error:
        raise DataError(f"{str(path)!r}: cannot read the image: not a path ({error})") from None
    if not stat.S_ISREG(mode):
        raise DataError(f"{path}: cannot read the image: not a file")
    return path


@contextlib.contextmanager
def _reading(name: str) -> Iterator[None]:
    try:
        yield
    except DataError as error:
        raise DataError(f"{name}: {error}") from None
    except UnidentifiedImageError:
        raise DataError(f"{name}: not an image that can be read; expected {', '.join(FORMATS)}") from None
    except Exception as error:  # Pillow's decoders fail in as many ways as files are damaged
        if isinstance(error, Image.DecompressionBombError) or "MAX_TEXT" in str(error):
            raise DataError(f"{name}: a decompression bomb, far larger than its file ({error})") from None
        if isinstance(error, OSError) and error.errno is not None:
            raise DataError(f"{name}: cannot read the image: {error.strerror}") from None
        text = str(error) or type(error).__name__
        raise DataError(f"{name}: the image is damaged or cut short ({text}); replace the file") from None


@runtime_checkable
class BinaryFile(Protocol):
    """A file that is open in binary mode, on disk or in memory."""

    def read(self, size: int = ..., /) -> bytes: ...


AnyImage = ImageRef | Image.Image | np.ndarray | Tensor | bytes | bytearray | memoryview | BinaryFile | str | Path
"""Whatever `ImageRef.of` takes."""
