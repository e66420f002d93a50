"""Pictures as a user holds them: paths, encoded bytes or Pillow's, opened upright, in RGB, transparency laid on white.

Every picture becomes what `sepiola.data.image` makes of it.
"""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote_to_bytes

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from sepiola_edge.errors import EdgeError

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
"""The formats that are read. Pillow's other decoders stay shut: one of them starts Ghostscript on what it is given."""

AnyPicture = str | Path | bytes | Image.Image
"""Whatever `open_picture` takes."""

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_BITS, _PHOTOMETRIC = 258, 262  # tags of TIFF: how many bits a value has, and whether 0 is white


def open_pictures(pictures: AnyPicture | Sequence[AnyPicture] | None) -> list[Image.Image]:
    """One picture, several, or none. Raises EdgeError as `open_picture` does."""
    if pictures is None:
        return []
    if isinstance(pictures, Sequence) and not isinstance(pictures, str | bytes):
        return [open_picture(each) for each in pictures]
    return [open_picture(pictures)]


def open_picture(picture: AnyPicture) -> Image.Image:
    """The picture in RGB; a text is a path, a `data:` URL or a `file:` one. Raises EdgeError for a file that is missing
    or damaged, for what is no picture, and for addresses on the network, which are not fetched.
    """
    if isinstance(picture, str) and not picture:
        raise EdgeError("a picture's path is empty; give the path of a picture")
    if isinstance(picture, str):
        picture = _at(picture)
    if isinstance(picture, Image.Image):
        return _read(picture, "picture in memory")
    if isinstance(picture, bytes):
        name, data = "picture in memory", picture
    elif isinstance(picture, Path):
        name = f"{picture!s:.1000}"
        try:
            if not picture.is_file():
                raise EdgeError(f"{name}: {'a folder, and no picture' if picture.is_dir() else 'no such picture'}")
            data = picture.read_bytes()
        except (OSError, ValueError) as error:
            if isinstance(error, EdgeError):
                raise
            raise EdgeError(f"{name}: cannot read the picture: {error}") from None
    else:
        raise EdgeError(f"a picture is a path, its bytes or a Pillow image; got {type(picture).__name__}")
    try:
        opened = Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        raise EdgeError(f"{name}: no picture that can be read; expected {', '.join(FORMATS)}") from None
    except Exception as error:  # Pillow's decoders fail in as many ways as files are damaged
        raise EdgeError(f"{name}: the picture is damaged: {error}") from None
    return _read(opened, name)


def opened_message(message: Mapping[str, object]) -> tuple[Mapping[str, object], list[Image.Image]]:
    """A message with its pictures opened, and these. A picture is a part of the content, as on the Hub and of OpenAI:
    `{"type": "image", "image" | "path" | "url": …}` or `{"type": "image_url", "image_url": {"url": …}}`.

    Raises EdgeError as `open_picture` does.
    """
    content, pictures = message.get("content"), list[Image.Image]()
    if not isinstance(content, list | tuple):
        return message, pictures
    parts: list[object] = []
    for part in content:
        if isinstance(part, Mapping) and part.get("type") in ("image", "image_url"):
            keys = ("image", "path", "url", "image_url")
            source = next((part[key] for key in keys if part.get(key) is not None), None)
            picture = open_picture(source.get("url") if isinstance(source, Mapping) else source)  # type: ignore[arg-type]
            pictures.append(picture)
            part = {"type": "image", "image": picture}
        parts.append(part)
    return {**message, "content": parts}, pictures


def _at(address: str) -> bytes | Path:
    if address.startswith(("http://", "https://")):
        raise EdgeError(f"pictures are not fetched from the network: save {address:.200} and give its path")
    if not address.startswith("data:"):
        return Path(address.removeprefix("file://"))
    head, _, data = address.partition(",")
    try:
        return base64.b64decode(data, validate=True) if head.endswith(";base64") else unquote_to_bytes(data)
    except ValueError:
        raise EdgeError(f"{head:.200},…: not valid base64") from None


def digest(picture: Image.Image) -> bytes:
    """What tells one opened picture from another."""
    return hashlib.sha256(str(picture.size).encode() + picture.tobytes()).digest()


def _read(opened: Image.Image, name: str) -> Image.Image:
    try:
        return _rgb(_upright(opened))
    except EdgeError as error:
        raise EdgeError(f"{name}: {error}") from None
    except Exception as error:  # as in opening
        raise EdgeError(f"{name}: the picture is damaged: {error}") from None


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


def _rgb(image: Image.Image) -> Image.Image:
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
        raise EdgeError(
            f"a grey picture of mode {image.mode} with values from {least} to {most}; expected 0…255, 0…65535 for "
            "integers, or 0…1: scale its values and save it as PNG"
        )
    grey = Image.fromarray(np.rint(values.astype(np.float64) * (255 / top)).astype(np.uint8))
    clear = image.info.get("transparency")
    if isinstance(clear, int):
        grey.putalpha(Image.fromarray(np.where(values == clear, 0, 255).astype(np.uint8)))
    return grey
