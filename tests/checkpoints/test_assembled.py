"""MiniGPT-4 and OpenFlamingo as folders: the trained file, and a config that names what it stands on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from transformers import LlamaConfig, LlamaForCausalLM
from typer.testing import CliRunner

import sepiola
from sepiola.checkpoints import assembled
from sepiola.checkpoints.families import minigpt4, openflamingo
from sepiola.cli.app import app
from sepiola.errors import CheckpointError
from sepiola.text.tokenizer import Tokenizer
from tests.checkpoints.families import test_minigpt4, test_openflamingo

parts = test_minigpt4.parts
base = test_openflamingo.base


def folder_of(folder: Path, trained: object, **config: Any) -> Path:
    folder.mkdir()
    torch.save(trained, folder / "trained.pt")
    (folder / "config.json").write_text(json.dumps({"weights": "trained.pt", **config}))
    return folder


def minigpt4_folder(folder: Path, whole: Path, **config: Any) -> Path:
    """Over BLIP-2 and LLaMA of the folder `whole`."""
    torch.manual_seed(2)
    layer = torch.nn.Linear(20, 24)
    state = {"model": {f"llama_proj.{name}": value for name, value in layer.state_dict().items()}}
    places = {"vision": str(whole / "blip2"), "language": str(whole / "vicuna")}
    return folder_of(folder, state, model_type="minigpt4", **{**places, **config})


def test_minigpt4_loads_as_any_folder_does(parts: tuple[Path, Any, Any], tmp_path: Path) -> None:
    whole, *_ = parts
    folder = minigpt4_folder(tmp_path / "mini", whole)
    model = sepiola.load(folder)
    network, _ = minigpt4.load(whole / "blip2", whole / "vicuna", folder / "trained.pt")
    assert all(torch.equal(t, model.state_dict()[n]) for n, t in network.state_dict().items())
    assert model.answering is not None and model.answering.layout == "minigpt-4"
    assert sepiola.load(folder, vision_only=True).spec.language is None


def test_openflamingo_loads_as_any_folder_does(base: tuple[Any, Path], tmp_path: Path) -> None:
    (_, whole), state = base, test_openflamingo.trained()
    places = {"vision": str(whole / "clip"), "language": str(whole / "llama")}
    config = {"model_type": "openflamingo", **places}
    folder = folder_of(tmp_path / "flamingo", {"model_state_dict": state}, **config, image_token_id=102)
    model = sepiola.load(folder)
    network, _ = openflamingo.load(
        folder / "trained.pt", language=whole / "llama", vision=whole / "clip", token=test_openflamingo.IMAGE
    )
    assert all(torch.equal(t, model.state_dict()[n]) for n, t in network.state_dict().items())
    with pytest.raises(CheckpointError, match=r"no id of <image>"):
        sepiola.load(folder_of(tmp_path / "none", {"model_state_dict": state}, **config))


def test_it_answers_from_the_command_line(parts: tuple[Path, Any, Any], tmp_path: Path) -> None:
    vicuna = LlamaForCausalLM(LlamaConfig(**{**test_minigpt4.LLAMA, "vocab_size": 259}))
    vicuna.save_pretrained(tmp_path / "vicuna")
    Tokenizer.train([], 259).backend.save(str(tmp_path / "vicuna" / "tokenizer.json"))
    folder = minigpt4_folder(tmp_path / "mini", parts[0], language="../vicuna")
    assert assembled.text_folder(folder) == folder / "../vicuna"
    picture = tmp_path / "a.png"
    Image.new("RGB", (32, 32), "red").save(picture)
    command = ["ask", "颜色？ What colour?", "--model", str(folder), "--image", str(picture), "--json"]
    result = CliRunner().invoke(app, [*command, "--choices", "red|blue"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.output)["answer"] in ("red", "blue")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights": "../trained.pt"}, "expected a file of this folder"),
        ({"weights": 5}, "expected a file of this folder"),
        ({"weights": "gone.pt"}, "gone.pt: no such file"),
        ({"vision": None}, "'vision' is None; expected a folder or a Hub id"),
        ({"language": ["x"]}, "'language' is"),
    ],
)
def test_a_config_that_names_no_parts_is_one_message(
    change: dict[str, Any], message: str, parts: tuple[Path, Any, Any], tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match=message):
        sepiola.load(minigpt4_folder(tmp_path / "mini", parts[0], **change))


def test_a_part_of_another_kind_is_named(parts: tuple[Path, Any, Any], tmp_path: Path) -> None:
    swapped = {"vision": str(parts[0] / "vicuna"), "language": str(parts[0] / "blip2")}
    with pytest.raises(CheckpointError, match="model_type is 'llama'; MiniGPT-4 stands on a BLIP-2"):
        sepiola.load(minigpt4_folder(tmp_path / "mini", parts[0], **swapped))
