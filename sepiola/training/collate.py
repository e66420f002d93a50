"""How samples of text, with images where the model sees, are laid out for a network."""

from __future__ import annotations

from torch import nn

from sepiola.data.batching import Collator, Noise
from sepiola.models.multimodal.interleaved import in_line
from sepiola.models.multimodal.vision_language import VisionLanguageModel
from sepiola.models.vision.pixels import to_pixels
from sepiola.models.vision.tiles import to_tiles
from sepiola.specs.model import TransformerSpec
from sepiola.specs.stage import StageSpec
from sepiola.specs.vision import VisionSpec
from sepiola.training.batches import ImageInputs


def text_collator(
    network: nn.Module,
    spec: TransformerSpec,
    stage: StageSpec,
    images: ImageInputs | None = None,
    noise: Noise | None = None,
    *,
    layout: type[Collator] = Collator,
) -> Collator:
    """What lays the stage's samples out for the network, whose language model is of `spec`: as `layout` does."""
    images = images or ImageInputs()
    return layout(
        spec.tokens,
        kind=spec.kind,
        packed=stage.packed,
        source_tokens=stage.source_tokens,
        target_tokens=stage.target_tokens,
        features=images.features,
        pixels=images.pixels,
        noise=noise,
        **in_line(network),
    )


def pixel_inputs(network: VisionLanguageModel, vision: VisionSpec) -> ImageInputs:
    """Images as pixels, for a vision encoder that learns: in tiles where the text says where images stand."""
    pixels = vision.pixels
    if network.interleaved:
        return ImageInputs(pixels=lambda images: to_tiles(images, pixels))
    return ImageInputs(pixels=lambda images: [to_pixels(image.open(), pixels) for image in images])
