"""ResNet in the Hub's layout (microsoft/resnet-*): `ResNetModel` or `ResNetForImageClassification`.

torchvision's names (`layer1.0.conv1`), which timm and DETR's checkpoints use too, are read as well. Written
checkpoints hold a `ResNetModel`.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from sepiola.checkpoints.config import JSON, Config, filled
from sepiola.checkpoints.family import no_processor
from sepiola.checkpoints.lazy import LazyTensors, later, renamed
from sepiola.checkpoints.preprocessor import pixels_from_preprocessor
from sepiola.errors import CheckpointError
from sepiola.specs.model import ModelSpec
from sepiola.specs.vision import BackboneSpec, PixelSpec, ResNetSpec

HOLDS_VISION = True
processor_from_spec = no_processor

# Classifiers, by the Hub's name and by torchvision's.
IGNORED = ("classifier.", "fc.")

_COUNT = ".norm.num_batches_tracked"  # which training alone reads, and files from elsewhere leave out
_DEFAULTS: JSON = {
    "num_channels": 3,
    "embedding_size": 64,
    "hidden_sizes": [256, 512, 1024, 2048],
    "depths": [3, 4, 6, 3],
    "layer_type": "bottleneck",
    "hidden_act": "relu",
    "downsample_in_first_stage": False,
    "downsample_in_bottleneck": False,
}

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def spec_from_config(
    config: Config,
    state: Mapping[str, Tensor] | None = None,
    *,
    preprocessor: Config | None = None,
) -> ModelSpec:
    """The spec of `config.json` and, when given, `preprocessor_config.json`."""
    default = PixelSpec(size=224, mode="crop", resize=256, filter="bicubic", mean=_MEAN, std=_STD)
    vision = {
        "family": "resnet",
        "kind": "resnet",
        "pixels": pixels_from_preprocessor(preprocessor, default),
        **backbone_from_config(config),
    }
    return ModelSpec.parse({"name": "resnet", "family": "resnet", "vision": vision}, "config.json")


def config_from_spec(spec: ModelSpec) -> JSON:
    """The `config.json` that `transformers` reads. Its ResNet's normalisation always learns."""
    return {"architectures": ["ResNetModel"], **backbone_to_config(_resnet(spec))}


def to_ours(state: Mapping[str, Tensor], spec: ModelSpec) -> LazyTensors:
    """Our state dict from a Hub or torchvision one; names that no table knows pass through."""
    kept = renamed(state, lambda name: None if name.startswith(IGNORED) else name.removeprefix("resnet."))
    names = backbone_names(_resnet(spec), torchvision="conv1.weight" in kept)
    ours = rename(kept, {hub: ours for ours, hub in names.items()})
    norms = [name.removesuffix(".norm.weight") for name in ours if name.endswith(".norm.weight")]
    missing = {f"{norm}{_COUNT}" for norm in norms} - ours.keys()
    return LazyTensors({**later(ours), **{name: [lambda: torch.tensor(0)] for name in sorted(missing)}})


def to_hub(state: Mapping[str, Tensor], spec: ModelSpec) -> dict[str, Tensor]:
    """The Hub's state dict from ours."""
    return dict(rename(state, backbone_names(_resnet(spec), torchvision=False)))


def rename(state: Mapping[str, Tensor], names: Mapping[str, str]) -> LazyTensors:
    """The same tensors under new names; what has none keeps its own."""
    return renamed(state, lambda name: names.get(name, name))


def backbone_names(spec: BackboneSpec, *, torchvision: bool) -> dict[str, str]:
    """Names by our names, of every tensor of the convolutions and their normalisations."""
    stem = ("conv1", "bn1") if torchvision else ("embedder.embedder.convolution", "embedder.embedder.normalization")
    modules = {"stem": stem}
    for stage, depth in enumerate(spec.depths):
        for block in range(depth):
            ours = f"stages.{stage}.{block}"
            hub = f"layer{stage + 1}.{block}" if torchvision else f"encoder.stages.{stage}.layers.{block}"
            for index in range(3 if spec.block == "bottleneck" else 2):
                modules[f"{ours}.convs.{index}"] = (
                    (f"{hub}.conv{index + 1}", f"{hub}.bn{index + 1}")
                    if torchvision
                    else (f"{hub}.layer.{index}.convolution", f"{hub}.layer.{index}.normalization")
                )
            modules[f"{ours}.shortcut"] = (
                (f"{hub}.downsample.0", f"{hub}.downsample.1")
                if torchvision
                else (f"{hub}.shortcut.convolution", f"{hub}.shortcut.normalization")
            )
    names = {}
    for ours, (conv, norm) in modules.items():
        names[f"{ours}.conv.weight"] = f"{conv}.weight"
        for kind in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
            names[f"{ours}.norm.{kind}"] = f"{norm}.{kind}"
    return names


def backbone_from_config(config: Config) -> JSON:
    """The keys of BackboneSpec. Raises CheckpointError for strides or activations other than ResNet
    v1.5's."""
    config = filled(config, _DEFAULTS)
    for key in ("downsample_in_first_stage", "downsample_in_bottleneck"):
        if config[key]:
            raise CheckpointError(f"config.json: {key} is true; only ResNet v1.5, where it is false, is supported")
    if config["hidden_act"] != "relu" or config["num_channels"] != 3:
        raise CheckpointError("config.json: a ResNet with hidden_act 'relu' and num_channels 3 was expected")
    return {
        "stem_width": config["embedding_size"],
        "widths": tuple(config["hidden_sizes"]),
        "depths": tuple(config["depths"]),
        "block": config["layer_type"],
    }


def backbone_to_config(spec: BackboneSpec) -> JSON:
    """The inverse of `backbone_from_config`."""
    return {
        "model_type": "resnet",
        "num_channels": 3,
        "embedding_size": spec.stem_width,
        "hidden_sizes": list(spec.widths),
        "depths": list(spec.depths),
        "layer_type": spec.block,
        "hidden_act": "relu",
        "downsample_in_first_stage": False,
        "downsample_in_bottleneck": False,
    }


def _resnet(spec: ModelSpec) -> ResNetSpec:
    if not isinstance(spec.vision, ResNetSpec):
        raise CheckpointError(f"'{spec.name}' holds no ResNet: its vision is {getattr(spec.vision, 'kind', None)}")
    return spec.vision
