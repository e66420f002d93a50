"""`preprocessor_config.json` of the Hub's image processors, read into a PixelSpec and written from one."""

from __future__ import annotations

from collections.abc import Mapping

from sepiola.checkpoints.config import JSON, Config
from sepiola.errors import CheckpointError
from sepiola.specs.vision import AnyResSpec, GridSpec, PixelSpec

# Pillow's numbers of the filters, which the file stores.
_FILTERS = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}
_PROCESSORS = {"squash": "ViTImageProcessor", "crop": "CLIPImageProcessor", "fit": "DetrImageProcessor"}


def pixels_from_preprocessor(file: Config | None, default: PixelSpec) -> PixelSpec:
    """The PixelSpec of a file, `default` where there is none; keys that the file lacks are the default's.

    Raises CheckpointError when the file asks for steps that PixelSpec does not know.
    """
    if not file:
        return default
    for key in ("do_resize", "do_rescale", "do_image_splitting"):
        if not file.get(key, True):
            raise CheckpointError(
                f"preprocessor_config.json: {key} is false; only pictures that are resized, rescaled to 0…1 and, where "
                "the model has tiles, cut into them are supported"
            )
    if abs(file.get("rescale_factor", 1 / 255) - 1 / 255) > 1e-6:
        raise CheckpointError(f"preprocessor_config.json: rescale_factor {file['rescale_factor']}; expected 1/255")
    normalised = file.get("do_normalize", True)
    values = {
        **_geometry(file, default),
        "filter": _FILTERS.get(file.get("resample", -1), default.filter),
        "mean": tuple(file.get("image_mean", default.mean)) if normalised else (0.0, 0.0, 0.0),
        "std": tuple(file.get("image_std", default.std)) if normalised else (1.0, 1.0, 1.0),
    }
    return PixelSpec.parse(values, "preprocessor_config.json")


def _geometry(file: Config, default: PixelSpec) -> JSON:
    size = file.get("size")
    if "max_image_size" in file:
        tiles = {"kind": "grid", "longest": (size or {}).get("longest_edge", 4 * 364)}
        return {"mode": "squash", "size": file["max_image_size"]["longest_edge"], "tiles": tiles}
    if size is None:
        return {key: getattr(default, key) for key in ("size", "mode", "resize", "longest")}
    if isinstance(size, int):
        size = {"height": size, "width": size} if default.mode == "squash" else {"shortest_edge": size}
    if default.mode == "fit" and "shortest_edge" in size:
        longest = size.get("longest_edge") or file.get("max_size") or default.longest
        return {"mode": "fit", "size": size["shortest_edge"], "longest": longest}
    if "shortest_edge" not in size:
        return {"mode": "squash", "size": _square(size)}
    short = size["shortest_edge"]
    if "crop_pct" in file:  # ConvNeXT's processor: from 384 pixels on it squashes
        if short >= 384:
            return {"mode": "squash", "size": short}
        return {"mode": "crop", "size": short, "resize": int(short / file["crop_pct"])}
    crop = file.get("crop_size", short)
    crop = crop if isinstance(crop, int) else _square(crop)
    return {"mode": "crop", "size": crop, "resize": short if short != crop else None}


def _square(size: Mapping[str, int]) -> int:
    if size.get("height") is None or size.get("height") != size.get("width"):
        raise CheckpointError(f"preprocessor_config.json: size {dict(size)}; expected a square")
    return size["height"]


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
