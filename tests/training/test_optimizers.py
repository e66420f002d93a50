"""Muon sees queries, keys and values, gate and up, and each expert as matrices of their own."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from sepiola.models.build import build
from sepiola.nn.linear import block_linears
from sepiola.specs.model import ModelSpec
from sepiola.training.optimizers import BlockMuon, optimizer_for, orthogonalised
from tests.tiny import decoder, encoder_decoder, llama
from tests.trainers import stage_of

GROUPED = {"heads": 4, "kv_heads": 2}
GATED = {"width": 40, "activation": "silu", "gated": True}
MODELS = {
    "gated": llama(31, attention=GROUPED),
    "experts": llama(31, attention=GROUPED, feed_forward={**GATED, "experts": 3}),
    "crossing": encoder_decoder(31, 24, 2, hidden=40, attention=GROUPED),
}
OPTIONS: dict[str, Any] = {"lr": 0.02, "weight_decay": 0.1}
TORCHS = {**OPTIONS, "adjust_lr_fn": "match_rms_adamw"}


def network(name: str) -> nn.Module:
    return build(ModelSpec.parse({"language": MODELS[name]}))


def matrices(model: nn.Module) -> list[tuple[nn.Parameter, list[slice]]]:
    rows = {f"{name}.weight": list(linear.rows.values()) for name, linear in block_linears(model)}
    return [(p, rows.get(n, [slice(None)])) for n, p in model.named_parameters() if p.dim() == 2 and "layers." in n]


def set_gradients(model: nn.Module, step: int) -> None:
    generator = torch.Generator().manual_seed(step)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)


@pytest.mark.parametrize("name", MODELS)
def test_each_block_is_a_matrix_of_its_own(name: str) -> None:
    """To the bit what torch's Muon makes of the same matrices, each as a parameter by itself."""
    model = network(name)
    separate = [nn.Parameter(p.detach()[part].clone()) for p, rows in matrices(model) for part in rows]
    assert len(separate) > len(matrices(model))
    ours, theirs = BlockMuon(matrices(model), **OPTIONS), torch.optim.Muon(separate, **TORCHS)
    for step in range(3):
        set_gradients(model, step)
        gradients = [p.grad[part] for p, rows in matrices(model) if p.grad is not None for part in rows]
        for parameter, gradient in zip(separate, gradients, strict=True):
            parameter.grad = gradient.clone()
        ours.step()
        theirs.step()
        after = [p.detach()[part] for p, rows in matrices(model) for part in rows]
        assert all(torch.equal(a, b.detach()) for a, b in zip(after, separate, strict=True))
        assert all(p.grad is not None for p, _ in matrices(model))
        ours.zero_grad()
        assert all(p.grad is None for p, _ in matrices(model))
    fused = network(name)
    whole = torch.optim.Muon([p for p, _ in matrices(fused)], **TORCHS)
    set_gradients(fused, 0)
    whole.step()
    one = network(name)
    set_gradients(one, 0)
    BlockMuon(matrices(one), **OPTIONS).step()
    pairs = zip(matrices(fused), matrices(one), strict=True)
    assert all(torch.equal(a, b) == (len(rows) == 1) for (a, _), (b, rows) in pairs)


def test_state_is_restored_and_memory_may_move() -> None:
    model = network("gated")
    again = copy.deepcopy(model)
    first, second = BlockMuon(matrices(model), **OPTIONS), BlockMuon(matrices(again), **OPTIONS)
    set_gradients(model, 0)
    first.step()
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    again.load_state_dict(model.state_dict())
    for parameter in again.parameters():
        parameter.data = parameter.data.clone()  # as `Module.to` does
    for step in (1, 2):
        for one, optimizer in ((model, first), (again, second)):
            set_gradients(one, step)
            optimizer.param_groups[0]["lr"] = 0.01
            optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))


@pytest.mark.parametrize("shape", [(24, 24), (12, 40), (40, 12)])
def test_orthogonalised_in_either_format(shape: tuple[int, int]) -> None:
    """The singular vectors stay, and the values come near to 1."""
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    made = orthogonalised(matrix)
    values = left.T @ made @ right.T
    assert (values - torch.diag(values.diagonal())).abs().max() < 1e-3
    assert values.diagonal().min() > 0.6 and values.diagonal().max() < 1.3
    torch.testing.assert_close(orthogonalised(matrix.bfloat16()).float(), made, atol=0.05, rtol=0)


def test_muon_takes_the_matrices_of_the_layers() -> None:
    model = build(ModelSpec.parse({"language": decoder()}))
    stage = stage_of(steps=1, optimizer={"kind": "muon"})
    adamw, muon = optimizer_for(model, stage).optimizers
    assert isinstance(muon, BlockMuon) and isinstance(adamw, torch.optim.AdamW)
    names = {id(p): name for name, p in model.named_parameters()}
    matrices = {names[id(whole)] for whole, _ in muon.matrices}
    assert matrices == {
        n for n, m in model.named_parameters() if "layers." in n and n.endswith("weight") and m.dim() == 2
    }
    rest = {names[id(p)]: group["weight_decay"] for group in adamw.param_groups for p in group["params"]}
    assert matrices.isdisjoint(rest) and len(matrices) + len(rest) == len(names)
    norms = {f"{n}.weight" for n, m in model.named_modules() if isinstance(m, nn.LayerNorm | nn.RMSNorm)}
    assert all(rest[name] == 0 for name in norms) and rest["embedding.weight"] > 0
