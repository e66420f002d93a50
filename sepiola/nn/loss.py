"""Cross-entropy of a linear head without its logits: the product, the softmax and their gradients, a chunk at
a time.

`(tokens, vocabulary)` logits are the largest tensor of a language model's training step. Here a chunk of rows
is multiplied, turned into probabilities and then into gradients, all in the forward pass, and its memory is
used again for the next chunk. Products run in the autocast dtype; softmax statistics are float32, in slices
that stay in the processor's cache.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

CHUNK_ELEMENTS = 1 << 26  # logits held at once: 134 MB in bfloat16
SLICE_ELEMENTS = 1 << 20  # float32 probabilities held at once on a CPU: 4 MB
TINY = 1e-30  # a probability below this is read from the logits instead: its float32 has lost digits


def linear_cross_entropy(
    states: Tensor,
    weight: Tensor,
    labels: Tensor,
    *,
    ignore: int = -100,
    weights: Tensor | None = None,
    chunk: int | None = None,
    z_loss: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """The summed loss (nats, float32 scalar) of `states @ weight.T` against `labels`, and how much of it is z-loss.

    The loss is the cross-entropy and, for each token, `z_loss` times the square of log Z, the logarithm of the
    softmax's denominator (PaLM, arXiv 2204.02311, section 5, with 1e-4); the second scalar bears no gradient, so
    their difference is the cross-entropy by its value and the whole loss by its gradient.

    `states` `(…, width)`, `weight` `(vocabulary, width)`, `labels` `(…)`; positions labelled `ignore` cost
    nothing and are left out before the product. `weights` `(labels that are not ignored,)` are what each of the others
    counts, 1 by default. `chunk` rows are taken at a time, by default as many as keep the logits under 2**26.
    """
    states, labels = states.reshape(-1, states.shape[-1]), labels.reshape(-1)
    rows = (labels != ignore).nonzero()[:, 0]
    if rows.numel() < labels.numel():
        states, labels = states[rows], labels[rows]
    chunk = chunk or max(1, CHUNK_ELEMENTS // weight.shape[0])
    weights = weights if weights is None else weights.to(device=states.device, dtype=torch.float32)
    return _LinearCrossEntropy.apply(states, weight, labels, weights, chunk, z_loss)


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, states: Tensor, weight: Tensor, labels: Tensor, weights: Tensor | None, chunk: int, z_loss: float
    ) -> tuple[Tensor, Tensor]:
        device = states.device.type
        autocast = torch.is_autocast_enabled(device)
        dtype = torch.get_autocast_dtype(device) if autocast else weight.dtype
        needs_states, needs_weight = ctx.needs_input_grad[:2]
        matrix, inputs = weight.detach().to(dtype), states.detach().to(dtype)
        grad_states = torch.empty_like(inputs) if needs_states else None
        grad_weight: Tensor | None = None
        sums = torch.zeros(2, dtype=torch.float32, device=states.device)
        logits = torch.empty(min(chunk, len(inputs)), matrix.shape[0], dtype=dtype, device=states.device)
        for start in range(0, len(inputs), chunk):
            x, y = inputs[start : start + chunk], labels[start : start + chunk]
            out = logits[: len(x)]
            torch.mm(x, matrix.t(), out=out)
            counts = None if weights is None else weights[start : start + chunk, None]
            sums += _softmax_in_place(out, y, counts, z_loss, gradient=needs_states or needs_weight)
            if grad_states is not None:
                torch.mm(out, matrix, out=grad_states[start : start + chunk])
            if needs_weight:
                part = out.t() @ x
                grad_weight = part.to(weight.dtype) if grad_weight is None else grad_weight.add_(part)
        if needs_weight and grad_weight is None:
            grad_weight = torch.zeros_like(weight)
        ctx.grads = (grad_states.to(states.dtype) if grad_states is not None else None, grad_weight)
        loss, excess = sums.sum(), sums[1]
        ctx.mark_non_differentiable(excess)
        return loss, excess

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.grads is None:
            raise RuntimeError("linear_cross_entropy: backward was already called, its gradients are gone")
        grad_states, grad_weight = ctx.grads
        ctx.grads = None
        for gradient in (grad_states, grad_weight):
            if gradient is not None:
                gradient.mul_(grad.to(gradient.dtype))
        return grad_states, grad_weight, None, None, None, None


def _softmax_in_place(
    logits: Tensor, labels: Tensor, weights: Tensor | None, z_loss: float, *, gradient: bool
) -> Tensor:
    """The summed cross-entropy and z-loss, `(2,)`; `logits` `(rows, vocabulary)` become the gradient of both.

    That is `(1 + 2 * z_loss * log Z) * softmax - onehot`, times the row's weight `(rows, 1)`.
    """
    rows = max(1, SLICE_ELEMENTS // logits.shape[1]) if logits.device.type == "cpu" else len(logits)
    sums = torch.zeros(2, dtype=torch.float32, device=logits.device)
    for start in range(0, len(logits), rows):
        part, wanted = logits[start : start + rows], labels[start : start + rows, None]
        counts = 1.0 if weights is None else weights[start : start + rows]
        probabilities = torch.softmax(part.float(), dim=-1)
        chosen = probabilities.gather(1, wanted)
        log_chosen = chosen.clamp(min=TINY).log()
        lost = (chosen < TINY).nonzero()[:, 0]
        if lost.numel():
            log_chosen[lost] = part[lost].float().log_softmax(-1).gather(1, wanted[lost])
        sums[0] -= (counts * log_chosen).sum()
        if z_loss:
            log_total = part.gather(1, wanted).float() - log_chosen
            sums[1] += z_loss * (counts * log_total.square()).sum()
            probabilities *= 1 + 2 * z_loss * log_total
        if gradient:
            probabilities.scatter_add_(1, wanted, torch.full_like(chosen, -1.0))
            part.copy_(probabilities if weights is None else probabilities * counts)
    return sums
