"""Which format products are computed in, by what the machine says it can do."""

import pytest
import torch

from sepiola.nn.precision import multiplies_bfloat16, product_dtype, resolve

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("capabilities", "bfloat16"),
    [
        ({"avx512_bf16": True, "avx512_fp16": False, "amx_bf16": False}, True),  # Zen 4: by vectors
        ({"avx512_bf16": True, "avx512_fp16": True, "amx_bf16": True}, True),  # Sapphire Rapids
        ({"avx512_bf16": True, "avx512_fp16": True, "amx_bf16": False}, False),  # the same, its matrix unit hidden
        ({"avx512_bf16": False, "avx512_fp16": False, "amx_bf16": False}, False),
        ({"bf16": True}, True),  # Arm
        ({"bf16": False}, False),
    ],
)
def test_auto_is_bfloat16_where_that_is_faster(monkeypatch, capabilities, bfloat16):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert multiplies_bfloat16(CPU) is bfloat16
    assert resolve("auto", CPU) == (torch.bfloat16 if bfloat16 else torch.float32)


def test_what_is_named_is_taken():
    assert resolve("float32", CPU) == torch.float32
    assert resolve("bfloat16", CPU) == torch.bfloat16


def test_products_follow_autocast_and_else_their_operands():
    x = torch.zeros(2)
    assert product_dtype(x) == torch.float32
    assert product_dtype(x.bfloat16()) == torch.bfloat16
    with torch.autocast("cpu", torch.bfloat16):
        assert product_dtype(x) == torch.bfloat16
