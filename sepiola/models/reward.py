"""A reward model: any model that writes text under a layer that gives one number, its score of what was written.

The layer has no bias, and its weights begin as N(0, 1/(width + 1)) has them, that being the deviation (Stiennon et al.,
arXiv 2009.01325; Ouyang et al., 2203.02155). It reads the state at a row's last real token, found by where tokens stand
and never by which token pads: pad and end are one token in many vocabularies. An encoder-decoder has the prompt in its
encoder and the reply in its decoder, and is read at the decoder's last token. An encoder sees both ways, so no token is
the one that knows all: the mean of its states is read (Sentence-BERT, 1908.10084). A model that sees holds the layer
beside its parts.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sepiola.data.batching import Batch
from sepiola.models.build import outline
from sepiola.models.classifier import CLASSIFIER, Classifier
from sepiola.models.states import target_states
from sepiola.specs.classifier import ClassifierSpec, Pooling
from sepiola.specs.model import ModelSpec


def with_reward(spec: ModelSpec) -> ModelSpec:
    """The spec of a model under a reward layer; the head over its vocabulary is left out where it is its own."""
    assert spec.language is not None
    language = spec.language.model_copy(update={"tied": True})
    pooling: Pooling = "mean" if language.kind == "encoder" else "last"
    return spec.model_copy(update={"language": language, "classifier": ClassifierSpec(kind="reward", pooling=pooling)})


def add_reward(network: nn.Module, spec: ModelSpec, seed: int) -> nn.Module:
    """The network under the reward layer of `spec`, in eval mode; its own tensors are kept, the layer is drawn from
    `seed`.
    """
    model = outline(spec)
    wanted = model.state_dict()
    inside = "language." if isinstance(model, Classifier) else ""
    state = {f"{inside}{name}": tensor for name, tensor in network.state_dict().items()}
    width = wanted[CLASSIFIER].shape[1]
    generator = torch.Generator().manual_seed(seed)
    layer = torch.randn(1, width, generator=generator) / (width + 1)
    first = next(network.parameters())
    state[CLASSIFIER] = layer.to(first.device, first.dtype)
    model.load_state_dict({name: state[name] for name in wanted}, assign=True)
    return model.requires_grad_(True).eval()


def scores(model: Any, batch: Batch) -> Tensor:
    """The score of each row of a batch `(rows,)`, in float32 or better: at its last real token, or of an encoder."""
    read = mean_scores if model.spec.kind == "encoder" else last_scores
    return read(model, target_states(model, batch), batch.real)


def last_scores(model: nn.Module, states: Tensor, real: Tensor) -> Tensor:
    """Scores of states `(rows, tokens, width)`; `real` `(rows, tokens)` is False where padding stands, on any side."""
    places = torch.arange(real.shape[1], device=real.device)
    last = torch.where(real, places, -1).amax(1)
    return token_scores(model, states[torch.arange(len(states), device=states.device), last])


def mean_scores(model: nn.Module, states: Tensor, real: Tensor) -> Tensor:
    """Scores of the means of states over each row's real tokens, shapes as in `last_scores`."""
    inside = real[..., None].to(torch.promote_types(states.dtype, torch.float32))
    return token_scores(model, (states * inside).sum(1) / inside.sum(1))


def token_scores(model: nn.Module, read: Tensor) -> Tensor:
    """Scores of states `(…, width)`, each by itself `(…)`, in float32 or better."""
    dtype = torch.promote_types(read.dtype, torch.float32)
    weight = model.get_parameter(CLASSIFIER)
    return (read.to(dtype) * weight.to(dtype)).sum(-1)  # a sum of products, which autocast leaves as it is
