"""Rounding to 4 bits by what a matrix multiplies: GPTQ (Frantar et al., arXiv 2210.17323) in the native core's format.

While a model reads calibration data, the products of what each matrix multiplies are summed up (`watching`). Columns
are then rounded one by one, those that count most first; what rounding one puts wrong, the columns that are still to
come make up for. Scales are of 32 columns of a row, as the core holds them, so that it packs the matrix as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from sepiola.errors import SepiolaError
from sepiola.models.multimodal.vision_language import VisionLanguageModel
from sepiola.models.transformer import EncoderDecoder, LanguageModel
from sepiola.models.vocabulary import Head
from sepiola.nn.feedforward import MixtureOfExperts
from sepiola.nn.rounding import GROUP, group_scales, nearest

DAMPING = 0.01
"""Of the mean of the moments' diagonal, what is added to it."""
TOGETHER = 128
"""Columns whose errors are handed on at once to those after them."""


class Moments:
    """By matrix, the sum of `x x^T` over all `x` that it multiplied."""

    def __init__(self) -> None:
        self.sums: dict[int, Tensor] = {}

    def add(self, weight: Tensor, states: Tensor) -> None:
        flat = states.detach().flatten(0, -2).float()
        flat = flat[flat.isfinite().all(1)]  # padding may be anything
        products = flat.T @ flat
        known = self.sums.get(id(weight))
        self.sums[id(weight)] = products if known is None else known.add_(products)

    def of(self, weight: Tensor) -> Tensor:
        """Raises SepiolaError for a matrix that multiplied nothing."""
        if id(weight) not in self.sums:
            raise SepiolaError("calibration: the data do not reach all of the model's layers; give data of its kind")
        return self.sums[id(weight)]


def text_linears(network: nn.Module) -> list[nn.Linear]:
    """The layers of a model's text whose matrices are rounded by what they multiply: all but a head tied to the
    embedding, which has two uses, and mixtures of experts, of which some read too little.
    """
    language = network.language if isinstance(network, VisionLanguageModel) else network
    assert isinstance(language, LanguageModel | EncoderDecoder)
    mixed = {
        id(m) for mixture in language.modules() if isinstance(mixture, MixtureOfExperts) for m in mixture.children()
    }
    return [module for module in language.modules() if isinstance(module, nn.Linear) and id(module) not in mixed]


@contextmanager
def watching(networks: Sequence[nn.Module]) -> Iterator[Moments]:
    """Sums up what the matrices of the networks' text multiply meanwhile."""
    moments, handles = Moments(), []

    def layer(linear: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(linear, nn.Linear)
        moments.add(linear.weight, inputs[0])

    def head(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(module, Head)
        moments.add(module.weight, module.scaled(inputs[0]))  # its rows may be read one by one

    for network in networks:
        heads = [module for module in network.modules() if isinstance(module, Head)]
        handles += [each.register_forward_pre_hook(head) for each in heads]
        own = {id(each.projection) for each in heads}
        handles += [
            linear.register_forward_pre_hook(layer) for linear in text_linears(network) if id(linear) not in own
        ]
    try:
        yield moments
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def round_matrices(networks: Sequence[nn.Module], moments: Moments) -> None:
    """Rounds the matrices of the networks' text, in place."""
    for network in networks:
        for linear in text_linears(network):
            linear.weight.copy_(rounded(linear.weight, moments.of(linear.weight)))


@torch.no_grad()
def rounded(weight: Tensor, moments: Tensor) -> Tensor:
    """A matrix `(rows, columns)` in 4 bits, as numbers, so that it does to what it multiplies nearly what it did.

    `moments` `(columns, columns)` are the sum of `x x^T` over what it multiplies.
    """
    columns = weight.shape[1]
    moments = moments.double()
    scales = group_scales(weight.float(), moments.diagonal().float())
    order = moments.diagonal().argsort(descending=True, stable=True)
    inverse = _factor(moments[order][:, order])
    left, result = weight.float()[:, order].clone(), torch.empty_like(weight, dtype=torch.float32)
    for begin in range(0, columns, TOGETHER):
        end = min(begin + TOGETHER, columns)
        errors = left.new_empty(len(left), end - begin)
        for column in range(begin, end):
            place = int(order[column])
            scale = scales[:, place // GROUP]
            kept = nearest(left[:, column], scale)
            result[:, place] = kept
            error = (left[:, column] - kept) / inverse[column, column]
            left[:, column:end] -= error[:, None] * inverse[column, column:end]
            errors[:, column - begin] = error
        left[:, end:] -= errors @ inverse[begin:end, end:]
    return result


def _factor(moments: Tensor) -> Tensor:
    """The upper Cholesky factor of the inverse of moments, damped so that there is one."""
    diagonal = moments.diagonal()
    diagonal += torch.where(diagonal == 0, 1.0, DAMPING * diagonal.mean())
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(moments))
    return torch.linalg.cholesky(inverse, upper=True).float()
