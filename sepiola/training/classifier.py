"""Where a task's stage begins: a language model gets three more tokens and a linear layer, drawn at random.

As GPT-1 does (Radford et al., 2018, sections 3.2 and 3.3).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from sepiola.checkpoints.lazy import LazyTensors, later
from sepiola.checkpoints.store import from_state
from sepiola.data.example import Example
from sepiola.models.build import assemble
from sepiola.models.classifier import CLASSIFIER
from sepiola.specs.model import ModelSpec, TaskKind, TaskSpec, TaskTokens
from sepiola.text.classification import labels_of


def under_task(spec: ModelSpec, kind: TaskKind, examples: Sequence[Example]) -> ModelSpec:
    """The language model's spec, `spec`, with the task's head and tokens; its labels are the examples' own.

    Raises DataError when the examples are not told apart by one set of labels.
    """
    assert spec.language is not None
    first = spec.language.vocabulary
    tokens = TaskTokens(start=first, delimiter=first + 1, extract=first + 2)
    task = TaskSpec(kind=kind, labels=labels_of(examples, kind), tokens=tokens)
    language = spec.language.model_copy(update={"vocabulary": first + 3})
    return spec.model_copy(update={"language": language, "task": task})


def begin_task(network: nn.Module, spec: ModelSpec, seed: int) -> nn.Module:
    """The language model under the head of `spec`; rows of new tokens, drawn from `seed`, vary as the others do."""
    with torch.device("meta"):
        wanted = assemble(spec).state_dict()
    state = {f"language.{name}": tensor for name, tensor in network.state_dict().items()}
    generator = torch.Generator().manual_seed(seed)
    state[CLASSIFIER] = 0.02 * torch.randn(wanted[CLASSIFIER].shape, generator=generator)
    for name, old in state.items():
        rows = len(wanted[name]) - len(old)
        if rows:
            new = old.std() * torch.randn((rows, *old.shape[1:]), generator=generator)
            state[name] = torch.cat((old, new))
    return from_state(spec, LazyTensors(later(state)), "the network before the task")
