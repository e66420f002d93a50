"""MiniGPT-4's own file on its base: against the parts of `transformers` put together by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import Blip2Config, Blip2ForConditionalGeneration, LlamaConfig, LlamaForCausalLM

from sepiola.api import Model, load
from sepiola.checkpoints.families import minigpt4
from sepiola.errors import CheckpointError
from tests.tiny import HUB_VIT

VISION = HUB_VIT
QFORMER = {"hidden_size": 20, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 44}
OPT = {"vocab_size": 40, "hidden_size": 12, "num_hidden_layers": 1, "num_attention_heads": 2, "ffn_dim": 16}
LLAMA: dict[str, Any] = {
    "vocab_size": 90,
    "hidden_size": 24,
    "intermediate_size": 50,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
}


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any, Any]:
    """BLIP-2 over another language model, and Vicuna, in one folder, and both models."""
    folder = tmp_path_factory.mktemp("parts")
    torch.manual_seed(0)
    config = Blip2Config(
        vision_config=VISION, qformer_config=QFORMER, text_config={"model_type": "opt", **OPT}, num_query_tokens=7
    )
    blip2 = Blip2ForConditionalGeneration._from_config(config, attn_implementation="eager").eval()
    vicuna = LlamaForCausalLM._from_config(LlamaConfig(**LLAMA), attn_implementation="eager").eval()
    with torch.no_grad():
        for parameter in (*blip2.parameters(), *vicuna.parameters()):
            parameter.normal_(0.0, 0.3)
    blip2.save_pretrained(folder / "blip2")
    vicuna.save_pretrained(folder / "vicuna")
    return folder, blip2, vicuna


@pytest.mark.parametrize("over_llama_2", [False, True])
def test_the_layer_loads_onto_its_base(over_llama_2: bool, parts: tuple[Path, Any, Any], tmp_path: Path) -> None:
    folder, blip2, vicuna = parts
    layer = torch.nn.Linear(4 * 48 if over_llama_2 else 20, 24)
    file = tmp_path / "checkpoint.pth"
    state = {f"llama_proj.{name}": value for name, value in layer.state_dict().items()}
    torch.save({"model": state, "epoch": 3, "optimizer": {}}, file)
    network, spec = minigpt4.load(folder / "blip2", folder / "vicuna", file)
    tokens = 4 if over_llama_2 else 7
    assert (spec.vision.patch_features, network.bridge.tokens) == (over_llama_2, tokens)
    pixels, words = torch.randn(2, 3, 32, 32), torch.randint(6, 90, (1, 8))
    place = torch.full((1, tokens), minigpt4.PLACEHOLDER)
    source = torch.cat((words[:, :3], place, words[:, 3:5], place, words[:, 5:]), dim=1)
    with torch.no_grad():
        features = blip2.vision_model(pixels).last_hidden_state
        if over_llama_2:
            looked = features[:, 1:].reshape(2, 4, 4 * 48)
        else:
            queries = blip2.query_tokens.expand(2, -1, -1)
            looked = blip2.qformer(query_embeds=queries, encoder_hidden_states=features).last_hidden_state
        first, second = layer(looked).split(1)
        embedded: Tensor = vicuna.get_input_embeddings()(words)
        whole = torch.cat((embedded[:, :3], first, embedded[:, 3:5], second, embedded[:, 5:]), dim=1)
        wanted = vicuna(inputs_embeds=whole).logits
        assert wanted.std() > 0.1
        torch.testing.assert_close(network(source, images=pixels), wanted, atol=1e-4, rtol=0)
    if over_llama_2:
        with pytest.raises(CheckpointError, match="holds a Q-Former"):
            Model(network, spec).save_hub(tmp_path / "hub")
        return
    Model(network, spec).save_hub(tmp_path / "hub")
    again = load(tmp_path / "hub")
    with torch.no_grad():
        torch.testing.assert_close(again(source, images=pixels), wanted, atol=1e-4, rtol=0)


def test_a_file_that_is_none_or_does_not_fit_is_refused(parts: tuple[Path, Any, Any], tmp_path: Path) -> None:
    folder, *_ = parts
    torch.save({"model": {"other.weight": torch.zeros(1)}}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=r"and llama_proj.bias under 'model', found other.weight"):
        minigpt4.read_projection(tmp_path / "other.pth")
    (tmp_path / "broken.pth").write_bytes(b"no")
    with pytest.raises(CheckpointError, match="damaged or cut short"):
        minigpt4.read_projection(tmp_path / "broken.pth")
    state = torch.nn.Linear(20, 32).state_dict()
    torch.save({"model": {f"llama_proj.{name}": value for name, value in state.items()}}, tmp_path / "wide.pth")
    with pytest.raises(CheckpointError, match=r"bridge.projection.weight has shape \(32, 20\), expected \(24, 20\)"):
        minigpt4.load(folder / "blip2", folder / "vicuna", tmp_path / "wide.pth")
