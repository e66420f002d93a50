"""`sepiola ask`, `chat` and `eval`, and lm-eval, of a model with an adapter: what the merged model says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

import sepiola
from sepiola.cli.app import app
from tests.hub_folders import TEMPLATE, language_folder

peft = pytest.importorskip("peft")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A chat model, an adapter of peft on it, and both merged."""
    place = tmp_path_factory.mktemp("adapted")
    folders = {name: place / name for name in ("base", "adapter", "merged")}
    language_folder(folders["base"], "qwen", TEMPLATE)
    model = AutoModelForCausalLM.from_pretrained(folders["base"])
    adapted = peft.get_peft_model(model, peft.LoraConfig(r=2, target_modules="all-linear", modules_to_save=["norm"]))
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in adapted.parameters():
            if parameter.requires_grad:
                parameter.normal_(0.0, 0.5)
    adapted.save_pretrained(folders["adapter"])
    sepiola.load(folders["base"], adapter=folders["adapter"]).save(folders["merged"])
    return folders


COMMANDS = {
    "ask": ["ask", "鱿鱼是什么颜色的?", "--choices", "red|蓝色"],
    "chat": ["chat", "What is a squid?", "--max-tokens", "8"],
    "eval": ["eval", "tidepool", "--count", "4", "--option", "size=64"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_takes_an_adapter(command: str, folders: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    """As `--adapter`, or in the model's place."""

    def said(model: str, *options: str) -> Any:
        capsys.readouterr()
        app([*COMMANDS[command], "--model", str(folders[model]), "--json", *options], standalone_mode=False)
        told = json.loads(capsys.readouterr().out)
        return {key: value for key, value in told.items() if key != "model" and "second" not in key}

    merged = said("merged")
    assert said("base", "--adapter", str(folders["adapter"])) == merged
    assert said("adapter") == merged
    if command != "eval":
        assert said("base") != merged


def test_lm_eval_takes_an_adapter(folders: dict[str, Path]) -> None:
    pytest.importorskip("lm_eval")
    from lm_eval.api.instance import Instance

    from sepiola.cli.lm_eval import SepiolaLM

    def scores(model: str, **options: str) -> list[float]:
        lm = SepiolaLM(str(folders[model]), **options)
        asked = [Instance("loglikelihood", {}, ("A squid has", " ten arms"), 0)]
        return [score for score, _ in lm.loglikelihood(asked)]

    merged = scores("merged")
    assert scores("base", adapter=str(folders["adapter"])) == scores("adapter") == merged
    assert scores("base") != merged
