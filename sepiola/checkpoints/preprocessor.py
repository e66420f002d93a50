"""`preprocessor_config.json` of the Hub's image processors, read into a PixelSpec and written from one."""

from __future__ import annotations

from collections.abc import Mapping

from sepiola.checkpoints.config import JSON, Config
from sepiola.errors import CheckpointError
from sepiola.specs.vision import AnyResSpec, GridSpec, PixelSpec

# Pillow's numbers of the filters, which the file stores.
_FILTERS = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box", 5: "hamming"}
_PROCESSORS = {"squash": "ViTImageProcessor", "crop": "CLIPImageProcessor", "fit": "DetrImageProcessor"}
_FILE = "preprocessor_config.json"
# What the files of each kind of processor mean where they are silent.
_SIDE, _SHORT = {"height": 224, "width": 224}, {"shortest_edge": 224}
_OPENAI: Config = {"image_mean": (0.48145466, 0.4578275, 0.40821073), "image_std": (0.26862954, 0.26130258, 0.27577711)}
_IMAGENET: Config = {"image_mean": (0.485, 0.456, 0.406), "image_std": (0.229, 0.224, 0.225)}
_HALF: Config = {"image_mean": 0.5, "image_std": 0.5}
_SILENT: dict[str, Config] = {
    "CLIP": {**_OPENAI, "resample": 3, "size": _SHORT, "crop_size": _SIDE},
    "Llava": {**_OPENAI, "resample": 3, "size": _SHORT, "crop_size": _SIDE},
    "ViT": {**_HALF, "resample": 2, "size": _SIDE},
    "Siglip": {**_HALF, "resample": 3, "size": _SIDE},
    "Blip": {**_OPENAI, "resample": 3, "size": {"height": 384, "width": 384}},
    "LlavaOnevision": {**_OPENAI, "resample": 3, "size": {"height": 384, "width": 384}},
    "ConvNext": {**_HALF, "resample": 3, "size": {"shortest_edge": 384}},
    "Detr": {**_IMAGENET, "resample": 2, "size": {"shortest_edge": 800, "longest_edge": 1333}},
    "Idefics3": {**_HALF, "resample": 1},
    "SmolVLM": {**_HALF, "resample": 1},
}


def pixels_from_preprocessor(file: Config | None, default: PixelSpec) -> PixelSpec:
    """The PixelSpec of a file, `default` where there is none; keys that the file lacks are its processor's own, or the
    default's where it names none. A step set to null is left out, as `transformers` does, and other nulls are as if
    absent.

    Raises CheckpointError when the file asks for steps that PixelSpec does not know, and for values of a wrong type.
    """
    if not file:
        return default
    steps = {key: False for key, value in file.items() if value is None and key.startswith("do_")}
    file = {key: value for key, value in file.items() if value is not None} | steps
    file = {**_SILENT.get(_kind(file), {}), **file}
    for key in ("do_resize", "do_rescale", "do_image_splitting"):
        if not _switch(file, key, True):
            raise CheckpointError(
                f"{_FILE}: {key} is false; only pictures that are resized, rescaled to 0…1 and, where "
                "the model has tiles, cut into them are supported"
            )
    factor = file.get("rescale_factor", 1 / 255)
    if not _is_number(factor) or abs(factor - 1 / 255) > 1e-6:
        raise CheckpointError(f"{_FILE}: rescale_factor {factor!r}; expected 1/255")
    if "pad_size" in file:
        raise CheckpointError(f"{_FILE}: pad_size {file['pad_size']}; padding to a set size is not supported")
    resample = file.get("resample", -1)
    if "resample" in file and not (_is_number(resample) and resample in _FILTERS):
        raise CheckpointError(f"{_FILE}: resample {resample!r}; expected a number from 0 to 5")
    normalised = _switch(file, "do_normalize", True)
    values = {
        **_geometry(file, default),
        "filter": _FILTERS.get(resample, default.filter),
        "mean": _channels(file, "image_mean", default.mean) if normalised else (0.0, 0.0, 0.0),
        "std": _channels(file, "image_std", default.std) if normalised else (1.0, 1.0, 1.0),
    }
    if _kind(file) == "Llava" and _switch(file, "do_pad", False):
        values["pad"] = True
    return PixelSpec.parse(values, _FILE)


def _kind(file: Config) -> str:
    """The family of the file's processor: CLIP, ViT, Llava …; empty where the file names none."""
    name = str(file.get("image_processor_type", file.get("feature_extractor_type", "")))
    return name.removesuffix("Fast").removesuffix("Pil").removesuffix("ImageProcessor").removesuffix("FeatureExtractor")


def _geometry(file: Config, default: PixelSpec) -> JSON:
    kind = _kind(file)
    if "max_image_size" in file or kind in ("Idefics3", "SmolVLM"):
        longest = _edge(file, "size", "longest_edge", 4 * 364)
        tile = _edge(file, "max_image_size", "longest_edge", 364)
        return {"mode": "squash", "size": tile, "tiles": {"kind": "grid", "longest": longest}}
    if "size" not in file:
        return {key: getattr(default, key) for key in ("size", "mode", "resize", "longest")}
    squares = kind in ("ViT", "Blip") if kind else default.mode == "squash"
    size = _sides(file, "size", square=_switch(file, "default_to_square", squares))
    if default.mode == "fit" and "shortest_edge" in size:
        bound = size.get("longest_edge") or file.get("max_size") or default.longest
        return {"mode": "fit", "size": size["shortest_edge"], "longest": bound}
    if "shortest_edge" in size and "longest_edge" in size:
        raise CheckpointError(f"{_FILE}: size {size}; only DETR's processor bounds the longest edge too")
    # Where the file is silent, its processor's habit counts.
    crops = _switch(file, "do_center_crop", kind in ("CLIP", "Llava") or ("crop_size" in file and kind == ""))
    short: int | None = size.get("shortest_edge")
    if "crop_pct" in file or kind == "ConvNext":
        return _convnext(file, short, crops)
    if not kind and "do_center_crop" not in file and default.mode == "crop":
        crops = True
    if short is not None and kind == "LlavaOnevision" and not crops:  # each tile is a square
        return {"mode": "squash", "size": short}
    if not crops:
        if short is None:
            return {"mode": "squash", "size": _square(size, "size")}
        if _switch(file, "do_pad", False) and kind == "Llava":
            return {"mode": "squash", "size": short}
        raise CheckpointError(
            f"{_FILE}: size {size} without do_center_crop keeps the picture's aspect; expected a square: "
            "height and width, or a centre crop"
        )
    squared = size if short is None else {"height": short, "width": short}
    crop = _square(_sides(file, "crop_size", square=True) if "crop_size" in file else squared, "crop_size")
    if short is None:
        if _square(size, "size") != crop:
            raise CheckpointError(
                f"{_FILE}: size {size} with a centre crop of {crop}; a crop of a stretched picture is not supported: "
                "give the size as shortest_edge"
            )
        return {"mode": "squash", "size": crop}
    if crop > short:
        raise CheckpointError(f"{_FILE}: crop_size {crop} is larger than size {short}; a border is not supported")
    return {"mode": "crop", "size": crop, "resize": short if short != crop else None}


def _convnext(file: Config, short: int | None, crops: bool) -> JSON:
    """ConvNeXT's processor: from 384 pixels on it squashes."""
    share = file.get("crop_pct", 224 / 256)
    if short is None or crops or not _is_number(share) or not 0 < share <= 1:
        raise CheckpointError(
            f"{_FILE}: size {file['size']}, crop_pct {share!r}, do_center_crop {crops}; expected a shortest_edge, a "
            "number up to 1, and no further crop"
        )
    if short >= 384:
        return {"mode": "squash", "size": short}
    resize = int(short / share)
    return {"mode": "crop", "size": short, "resize": resize if resize != short else None}


def _sides(file: Config, key: str, *, square: bool) -> dict[str, int]:
    """A size by its edges; one number is both sides of a `square`, or else the shortest edge."""
    value = file[key]
    if _is_side(value):
        return {"height": value, "width": value} if square else {"shortest_edge": value}
    if isinstance(value, list) and len(value) == 2 and all(map(_is_side, value)):
        return {"height": value[0], "width": value[1]}
    if isinstance(value, Mapping):
        sides = {name: side for name, side in value.items() if side is not None}
        known = set(sides) in ({"height", "width"}, {"shortest_edge"}, {"shortest_edge", "longest_edge"})
        if known and all(map(_is_side, sides.values())):
            return sides
    raise CheckpointError(
        f"{_FILE}: {key} {value!r}; expected a positive number, [height, width], or an object with height and width, "
        f"or with shortest_edge{' and longest_edge' if key == 'size' else ''}"
    )


def _edge(file: Config, key: str, edge: str, default: int) -> int:
    value = file.get(key, {edge: default})
    side = value.get(edge) if isinstance(value, Mapping) else None
    if not _is_side(side):
        raise CheckpointError(f"{_FILE}: {key} {value!r}; expected an object with {edge}, in pixels")
    assert isinstance(side, int)
    return side


def _square(size: Mapping[str, int], key: str) -> int:
    if size.get("height") is None or size.get("height") != size.get("width"):
        raise CheckpointError(f"{_FILE}: {key} {dict(size)}; expected a square")
    return size["height"]


def _channels(file: Config, key: str, default: tuple[float, float, float]) -> tuple[float, ...]:
    value = file.get(key, default)
    value = [value] * 3 if _is_number(value) else value
    if not isinstance(value, list | tuple) or len(value) != 3 or not all(map(_is_number, value)):
        raise CheckpointError(f"{_FILE}: {key} {value!r}; expected a number, or one for each of three channels")
    return tuple(value)


def _switch(file: Config, key: str, default: bool) -> bool:
    value = file.get(key, default)
    if not isinstance(value, bool):
        raise CheckpointError(f"{_FILE}: {key} {value!r}; expected true or false")
    return value


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_side(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def preprocessor_from_pixels(pixels: PixelSpec) -> JSON:
    """The file that makes a Hub processor do what `pixels` says; which processor follows from the mode."""
    square = {"height": pixels.size, "width": pixels.size}
    geometry: JSON = {"size": square}
    if pixels.mode == "crop":
        shortest = {"shortest_edge": pixels.resize or pixels.size}
        geometry = {"size": shortest, "do_center_crop": True, "crop_size": square}
    elif pixels.mode == "fit":
        geometry = {"size": {"shortest_edge": pixels.size, "longest_edge": pixels.longest}}
    kind = _PROCESSORS[pixels.mode]
    if pixels.pad:
        kind = "LlavaImageProcessor"
        geometry |= {"do_pad": True, "do_center_crop": pixels.mode == "crop"}
    if isinstance(pixels.tiles, GridSpec):
        kind = "Idefics3ImageProcessor"
        geometry = {"size": {"longest_edge": pixels.tiles.longest}, "max_image_size": {"longest_edge": pixels.size}}
    elif isinstance(pixels.tiles, AnyResSpec):
        kind = "LlavaOnevisionImageProcessor"
        geometry |= {"image_grid_pinpoints": [[pixels.size * side for side in grid] for grid in pixels.tiles.grids]}
    return {
        "image_processor_type": kind,
        "do_resize": True,
        **geometry,
        "resample": next(number for number, name in _FILTERS.items() if name == pixels.filter),
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(pixels.mean),
        "image_std": list(pixels.std),
    }
