"""The plain executor: the contract of every executor, held against the network's own forward pass."""

from __future__ import annotations

import pytest
import torch

import sepiola
from sepiola.errors import SepiolaError
from sepiola.runtime import EXECUTORS
from sepiola.runtime.executor import Executor
from sepiola.runtime.plain import TorchExecutor
from tests.tiny import encoder_decoder, llama

MODELS = {
    "decoder": {"language": llama()},
    "encoder-decoder": {"language": encoder_decoder()},
    "prefix": "smolvlm-tiny",
    "cross": "flamingo-tiny",
    "fused": "mm-cot-tiny",
}


TOLERANCE = {"native": 0.1}
"""Of executors that round weights."""


@pytest.mark.parametrize("name", EXECUTORS)
@pytest.mark.parametrize("kind", MODELS)
def test_every_executor_keeps_the_contract(name: str, kind: str) -> None:
    model = sepiola.build(MODELS[kind])
    if name == "native" and kind == "cross":
        pytest.skip("the native core runs no layers between the language model's own")
    executor: Executor = EXECUTORS[name](model.network)
    spec = executor.spec
    assert (executor.device.type, executor.dtype, spec) == ("cpu", torch.float32, model.spec.language)
    assert (executor.images is not None) == model.spec.interleaved
    prompt, after = torch.randint(5, 50, (2, 6)), torch.randint(5, 50, (2, 3))
    with torch.inference_mode():
        rows = executor.begin(prompt, 4, attention_mask=None)
        if spec.kind == "decoder":
            expected = model(torch.cat((prompt, after), dim=1))[:, -4:]
            fed = torch.cat((prompt[:, -1:], after), dim=1)
        else:
            fed = torch.cat((torch.full((2, 1), spec.tokens.start), after), dim=1)
            expected = model(prompt, fed)
        first = executor.logits(rows.extend(fed[:, :1]))
        rows.extend(torch.randint(5, 50, (2, 2)))
        rows.rewind(2)
        rows.select(torch.tensor([1, 0, 1]))
        rest = executor.logits(rows.extend(fed[[1, 0, 1], 1:]))
    near = TOLERANCE.get(name, 1e-4)
    torch.testing.assert_close(first, expected[:, :1], atol=near, rtol=near)
    torch.testing.assert_close(rest, expected[[1, 0, 1], 1:], atol=near, rtol=near)


def test_a_network_without_text_or_vision_is_refused_what_it_has_not() -> None:
    with pytest.raises(SepiolaError, match="a ViT writes no text"):
        TorchExecutor(sepiola.build("vit-tiny").network)
    with pytest.raises(SepiolaError, match="no vision encoder"):
        TorchExecutor(sepiola.build({"language": llama()}).network).features(torch.zeros(1, 3, 8, 8))
