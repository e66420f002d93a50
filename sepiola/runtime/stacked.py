"""Several networks of one shape as one network, whose rows belong to them in turn: the first block of rows to the first
network, the next to the second, and so on, all blocks of one size.

A small network that answers one question spends its time between products, not in them. Where the members' matrices
stand one over the other, one product serves them all, and the time between is spent once. Everything but the layers
that hold weights is row by row, and stays as it is.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sepiola.errors import SepiolaError
from sepiola.models.vocabulary import Head, TokenEmbedding
from sepiola.nn.norms import RMSNorm
from sepiola.nn.positions import RelativeBias


class _Blocks:
    """How many rows each member has in the batch under way; the embedding says it, which reads a batch first."""

    def __init__(self, members: int) -> None:
        self.members = members
        self.rows = 1


class StackedLinear(nn.Module):
    """A linear layer for each member."""

    def __init__(self, layers: Sequence[nn.Linear]) -> None:
        super().__init__()
        self.members = len(layers)
        self.weight = nn.Parameter(torch.stack([layer.weight.detach().t() for layer in layers]))  # as products read it
        biases = [layer.bias.detach() for layer in layers if layer.bias is not None]
        self.bias = nn.Parameter(torch.stack(biases)[:, None]) if biases else None

    def forward(self, x: Tensor) -> Tensor:
        rows = x.reshape(self.members, -1, x.shape[-1])
        out = torch.bmm(rows, self.weight) if self.bias is None else torch.baddbmm(self.bias, rows, self.weight)
        return out.view(*x.shape[:-1], -1)


class StackedNorm(nn.Module):
    """A norm for each member: the same of every row, then each member's own weight and bias."""

    def __init__(self, norms: Sequence[nn.LayerNorm | RMSNorm]) -> None:
        super().__init__()
        self.members = len(norms)
        self.shape, self.eps, self.mean = norms[0].normalized_shape, norms[0].eps, isinstance(norms[0], nn.LayerNorm)
        self.weight = nn.Parameter(torch.stack([norm.weight.detach() for norm in norms])[:, None])
        biases = [norm.bias.detach() for norm in norms if isinstance(norm, nn.LayerNorm) and norm.bias is not None]
        self.bias = nn.Parameter(torch.stack(biases)[:, None]) if biases else None

    def forward(self, x: Tensor) -> Tensor:
        shape = list(self.shape)
        even = F.layer_norm(x, shape, eps=self.eps or 1e-5) if self.mean else F.rms_norm(x, shape, eps=self.eps)
        own = even.reshape(self.members, -1, x.shape[-1]) * self.weight
        return (own if self.bias is None else own + self.bias).view(x.shape)


class StackedTokens(nn.Module):
    """A token embedding for each member."""

    def __init__(self, embeddings: Sequence[TokenEmbedding], blocks: _Blocks) -> None:
        super().__init__()
        self.blocks = blocks
        self.scale = embeddings[0].scale
        self.weight = nn.Parameter(torch.stack([embedding.weight.detach() for embedding in embeddings]))
        self.firsts = torch.arange(len(embeddings), device=self.weight.device)[:, None] * self.weight.shape[1]

    def forward(self, tokens: Tensor) -> Tensor:
        self.blocks.rows = len(tokens) // self.blocks.members
        if tokens.is_floating_point():  # vectors come back as they are
            return tokens
        places = tokens.reshape(self.blocks.members, -1) + self.firsts
        vectors = F.embedding(places, self.weight.flatten(0, 1)).view(*tokens.shape, -1)
        return vectors if self.scale is None else vectors * self.scale


class StackedBias(nn.Module):
    """T5's bias for each member: one bias that has the heads of all."""

    def __init__(self, biases: Sequence[RelativeBias], blocks: _Blocks) -> None:
        super().__init__()
        self.blocks = blocks
        self.bias = copy.copy(biases[0])
        tables = torch.cat([bias.embedding.weight.detach() for bias in biases], dim=1)
        self.bias._modules = {"embedding": nn.Embedding.from_pretrained(tables)}

    def forward(self, queries: int, keys: int, offset: int = 0, segments: Tensor | None = None) -> Tensor:
        each = self.bias(queries, keys, offset).view(self.blocks.members, -1, queries, keys)
        return each.repeat_interleave(self.blocks.rows, dim=0) if self.blocks.rows > 1 else each


class StackedHead(nn.Module):
    """A head for each member."""

    def __init__(self, scale: float | None, weights: Sequence[Tensor]) -> None:
        super().__init__()
        self.scale = scale
        self.weight = nn.Parameter(torch.stack([weight.detach().t() for weight in weights]))

    def forward(self, states: Tensor) -> Tensor:
        rows = states.reshape(len(self.weight), -1, states.shape[-1])
        logits = torch.bmm(rows if self.scale is None else rows * self.scale, self.weight)
        return logits.view(*states.shape[:-1], -1)


def stacked(networks: Sequence[nn.Module]) -> nn.Module:
    """One network that holds all of these, in eval mode; a vision encoder stays the first one's.

    Raises SepiolaError for networks of unlike shapes, and for a layer that is not known here.
    """
    shapes = [{name: tensor.shape for name, tensor in network.state_dict().items()} for network in networks]
    if any(one != shapes[0] for one in shapes):
        raise SepiolaError("members of unlike shapes do not run side by side; they run one after the other")
    return _replaced(list(networks), _Blocks(len(networks))).eval()


def _replaced(modules: list[nn.Module], blocks: _Blocks) -> nn.Module:
    """A copy of the first module, in which every layer that holds weights is that of all."""
    first = modules[0]
    made = _layer(modules, blocks)
    if made is not None:
        return made
    own = [name for name, _ in first.named_parameters(recurse=False)]
    if own:
        raise SepiolaError(f"a {type(first).__name__} holds weights of its own ({', '.join(own)}), which do not stack")
    result = copy.copy(first)
    result._modules = dict(first._modules)
    for name, child in first._modules.items():
        if child is not None and name != "vision":
            result._modules[name] = _replaced([module.get_submodule(name) for module in modules], blocks)
    return result


def _layer(modules: list[nn.Module], blocks: _Blocks) -> nn.Module | None:
    """The layer of all members in the place of one that holds weights; None where its parts are to be replaced."""
    each: list[nn.Module] = modules
    first = each[0]
    if isinstance(first, nn.Linear):
        return StackedLinear([m for m in each if isinstance(m, nn.Linear)])
    if isinstance(first, RMSNorm | nn.LayerNorm) and first.weight is not None:
        return StackedNorm([m for m in each if isinstance(m, RMSNorm | nn.LayerNorm)])
    if isinstance(first, TokenEmbedding) and first.types is None:
        return StackedTokens([m for m in each if isinstance(m, TokenEmbedding)], blocks)
    if isinstance(first, RelativeBias):
        return StackedBias([m for m in each if isinstance(m, RelativeBias)], blocks)
    if isinstance(first, Head) and first.bias is None and isinstance(first.transform, nn.Identity):
        return StackedHead(first.scale, [m.weight for m in each if isinstance(m, Head)])
    return None
