"""Members side by side give the numbers that they give alone, whatever they are made of."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import sepiola
from sepiola.errors import SepiolaError
from sepiola.generation.engine import Engine, Prompt
from sepiola.models.build import build
from sepiola.runtime.plain import TorchExecutor
from sepiola.runtime.stacked import stacked
from sepiola.specs.base import override
from sepiola.specs.model import ModelSpec
from tests.tiny import GROUPED_QUERY, Raw, decoder, encoder_decoder, llama, qformer, randomise, vision_language, vit

LANGUAGES: dict[str, Raw] = {
    "rotary": decoder(40, layers=2),
    "llama": llama(40, layers=1, tied=True),
    "biases": decoder(40, attention={"heads": 2, "bias": True}, feed_forward={"width": 24, "bias": True}),
    "grouped queries": GROUPED_QUERY,
    "t5": encoder_decoder(40, layers=2, tied=True, head_scale=0.25),
}
OPTIONS = [[5, 6, 7], [8, 9], [5, 10]]


def members(spec: Raw, count: int = 3) -> list[nn.Module]:
    parsed = ModelSpec.parse({"name": "m", **spec})
    return [randomise(build(parsed, seed=n), 0.1, 0.4, torch.Generator().manual_seed(n)).eval() for n in range(count)]


def scores(network: nn.Module, prompts: list[Prompt]) -> list[list[float]]:
    engine = Engine(TorchExecutor(network), batch=1000)
    return [[s.log_likelihood for s in row] for row in engine.score(prompts, [OPTIONS] * len(prompts))]


@pytest.mark.parametrize("name", LANGUAGES)
def test_side_by_side_equals_each_alone(name: str) -> None:
    networks = members({"language": LANGUAGES[name]})
    prompt = Prompt([3, 11, 12, 13, 14])
    each = [scores(network, [prompt])[0] for network in networks]
    assert each[0] != pytest.approx(each[1], abs=1e-2)
    for alone, together in zip(each, scores(stacked(networks), [prompt] * 3), strict=True):
        assert together == pytest.approx(alone, rel=1e-4, abs=1e-4)


def test_a_fused_model_with_features() -> None:
    base = sepiola.build("mm-cot-tiny").spec.to_dict()
    changes = ["language.width=32", "language.layers=1", "language.feed_forward.width=24", "language.vocabulary=40"]
    networks = members({k: v for k, v in override(base, changes).items() if k != "name"}, 2)
    width = networks[0].vision.width  # type: ignore[union-attr]
    prompt = Prompt([3, 4, 5], torch.randn(7, int(width), generator=torch.Generator().manual_seed(0)))
    for network, together in zip(networks, scores(stacked(networks), [prompt] * 2), strict=True):
        assert together == pytest.approx(scores(network, [prompt])[0], rel=1e-4, abs=1e-4)


def test_a_prefix_model_with_features_among_its_tokens() -> None:
    bridge = {"kind": "projection", "shuffle": 2, "token": 39}
    spec = vision_language(bridge, vision=vit(64, 16, class_token=False))
    networks = members({**spec, "language": {**spec["language"], "vocabulary": 40}}, 2)
    features = torch.randn(1, 16, 16, generator=torch.Generator().manual_seed(0))
    prompt = Prompt([3, *[39] * 4, 4, 5], features)
    for network, together in zip(networks, scores(stacked(networks), [prompt] * 2), strict=True):
        assert together == pytest.approx(scores(network, [prompt])[0], rel=1e-4, abs=1e-4)


def test_the_members_keep_their_own_weights() -> None:
    networks = members({"language": LANGUAGES["t5"]}, 2)
    before = [{name: value.clone() for name, value in network.state_dict().items()} for network in networks]
    stacked(networks)
    for network, state in zip(networks, before, strict=True):
        assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())


def test_what_does_not_stack_is_refused_by_name() -> None:
    with pytest.raises(SepiolaError, match="unlike shapes"):
        stacked([*members({"language": decoder(40)}, 1), *members({"language": decoder(40, 24)}, 1)])
    with pytest.raises(SepiolaError, match="holds weights of its own"):
        stacked(members(vision_language(qformer(), vision=vit(64, 16)), 2))
