"""The Q-Former: who sees whom, by hand and by what the states depend on; published sizes; MiniGPT-4's layer."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import CONFIG_MAPPING, AutoModelForImageTextToText

from sepiola.checkpoints.families import blip2
from sepiola.errors import DataError, SpecError
from sepiola.models.bridges.qformer import QFormer, attention_mask
from sepiola.models.build import count, outline, parameter_counts, preset
from sepiola.specs.bridge import QFormerSpec
from tests.tiny import qformer

TEXT = {"vocabulary": 40, "length": 8, "start": 1, "end": 2, "decode": 3}
SMALL = qformer(width=16, layers=3, hidden=24, text=TEXT, heads={"space": 6})


def drawn(text: Tensor, queries: int, causal: bool) -> list[str]:
    """The first row's mask as a picture: a line a position, x where it sees."""
    return ["".join(".x"[int(seen)] for seen in line) for line in attention_mask(queries, text, causal=causal)[0]]


@pytest.mark.parametrize(
    ("queries", "text", "causal", "expected"),
    [
        (2, [1, 1], False, ["xxxx"] * 4),  # matching: all see all
        (2, [1, 1, 0], False, ["xxxx."] * 5),  # but padding
        (0, [1, 1, 0], False, ["xx."] * 3),  # a text alone
        (2, [1, 1, 1], True, ["xx...", "xx...", "xxx..", "xxxx.", "xxxxx"]),  # writing
        (1, [1, 1, 0], True, ["x...", "xx..", "xxx.", "xxx."]),  # writing, padded
    ],
)
def test_which_position_sees_which(queries: int, text: list[int], causal: bool, expected: list[str]) -> None:
    assert drawn(torch.tensor([text]), queries, causal) == expected


def depends(outputs: Tensor, inputs: Tensor, places: int) -> list[list[bool]]:
    """Whether the state at each of the first `places` depends on each input position."""
    rows = []
    for place in range(places):
        (grad,) = torch.autograd.grad(outputs[0, place].square().sum(), inputs, retain_graph=True, allow_unused=True)
        rows.append([False] * inputs.shape[1] if grad is None else (grad[0].abs().sum(-1) > 0).tolist())
    return rows


def test_states_depend_on_what_is_seen_alone() -> None:
    """Three layers deep, of text and of image: by the gradients themselves."""
    model = QFormer(QFormerSpec.parse(SMALL), 12, 10).eval()
    features = torch.randn(1, 4, 10, requires_grad=True)
    embedded: list[Tensor] = []
    assert model.text is not None
    model.text.register_forward_hook(lambda *call: embedded.append(call[2].requires_grad_()))
    text = torch.tensor([[1, 9, 8, 0]])
    for causal, by_text in (
        (False, [[True] * 3 + [False]] * 6),
        (True, [[False] * 4] * 3 + [[i <= t for i in range(4)] for t in range(3)]),
    ):
        states = model.states(features, text, causal=causal)
        assert depends(states, embedded[-1], 6) == by_text
        assert depends(states, features, 6) == [[True] * 4] * 6, "queries look at the image, and all see the queries"
    alone = model.states(None, text)
    assert depends(alone, embedded[-1], 3) == [[True] * 3 + [False]] * 3


def test_queries_that_texts_cannot_change() -> None:
    """Queries give the same alone and before a text that is written, so that the first stage's losses agree."""
    model = QFormer(QFormerSpec.parse(SMALL), 12, 10).eval()
    features, text = torch.randn(2, 4, 10), torch.tensor([[3, 9, 8], [3, 7, 0]])
    alone = model.states(features)
    torch.testing.assert_close(model.states(features, text, causal=True)[:, :3], alone)
    assert (model.states(features, text)[:, :3] - alone).abs().max() > 0.01
    states, words = model.written(features, text)
    assert (states @ words.t()).shape == (2, 3, 40)


def test_what_a_q_former_cannot_do_is_said() -> None:
    bare = {key: value for key, value in SMALL.items() if key not in ("text", "heads")}
    model = QFormer(QFormerSpec.parse(bare), 12, 10)
    with pytest.raises(DataError, match="reads no text"):
        model.states(torch.zeros(1, 4, 10), torch.ones(1, 2, dtype=torch.long))
    with pytest.raises(DataError, match="no heads"):
        model.image_vectors(torch.zeros(1, 4, 10))
    with pytest.raises(DataError, match="9 tokens of text; the Q-Former reads 8"):
        QFormer(QFormerSpec.parse(SMALL), 12, 10).text_vectors(torch.ones(1, 9, dtype=torch.long))
    for wrong, message in (({"instructed": True}, "need 'text'"), ({"norm": {"place": "pre"}}, "norm.place: post")):
        with pytest.raises(SpecError, match=message):
            QFormerSpec.parse({**bare, **wrong})
    with pytest.raises(SpecError, match=r"text: pad \(1\)"):
        QFormerSpec.parse({**SMALL, "text": {**SMALL["text"], "pad": 1}})


@pytest.mark.parametrize("name", ["blip2-opt-2.7b", "instructblip-vicuna-7b"])
def test_as_many_parameters_as_the_hub_s_model(name: str) -> None:
    spec = preset(name)
    config = blip2.config_from_spec(spec)
    with torch.device("meta"):
        theirs = AutoModelForImageTextToText.from_config(CONFIG_MAPPING[config["model_type"]](**config))
    assert parameter_counts(spec)["total"] == count(theirs)


def test_published_sizes() -> None:
    """The papers' figures; BLIP-2's 188M are its first stage (186.7M in its code) and the layer before the language
    model.
    """
    first: Any = outline(preset("blip-2-stage-1"))
    assert count(first.bridge) == 186_702_654
    for name in ("blip2-opt-2.7b", "blip2-flan-t5-xl"):
        second: Any = outline(preset(name))
        assert count(first.bridge) + count(second.bridge.projection) == pytest.approx(188e6, rel=0.005)
        assert parameter_counts(preset(name))["bridge"] == pytest.approx(107e6, rel=0.005), "what learns"
    assert parameter_counts(preset("blip2-flan-t5-xl"))["total"] == pytest.approx(3.94e9, rel=0.005)
    layers = {"minigpt-4-7b": 768 * 4096 + 4096, "minigpt-4-13b": 768 * 5120 + 5120}
    for name, learns in layers.items():
        model: Any = outline(preset(name))
        assert count(model.bridge.projection) == learns
    assert layers["minigpt-4-7b"] == 3_149_824
    over_llama_2: Any = outline(preset("minigpt-4-llama2-7b"))
    assert count(over_llama_2.bridge) == 4 * 1408 * 4096 + 4096 and over_llama_2.bridge.tokens == 64
