"""`sepiola ask`, `chat` and `eval`, and lm-eval, of a model with an adapter: what the merged model says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

import sepiola
import sepiola.acting.phone
import sepiola.acting.sets
from sepiola.cli.app import app
from sepiola.errors import SepiolaError, SpecError
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


FUNCTIONS = '''import sepiola


@sepiola.function
def find(name: str) -> str:
    """Finds one. 找。"""
    return name
'''
QWEN = (Path(__file__).parents[1] / "text" / "templates" / "qwen2.5.jinja").read_text(encoding="utf-8")


def test_a_message_is_read_with_the_functions_that_files_declare(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "模型 1"
    language_folder(folder, "qwen", QWEN)
    python, tools = tmp_path / "我的 functions.py", tmp_path / "工具.json"
    python.write_text(FUNCTIONS, encoding="utf-8")
    listed = [tool.tool for tool in sepiola.acting.phone.functions()[:2]]
    tools.write_text(json.dumps(listed), encoding="utf-8-sig")

    def read(*options: str) -> int:
        capsys.readouterr()
        common = ["--model", str(folder), "--json", "--max-tokens", "1", "--precision", "float32"]
        app(["chat", "找安娜", *common, *options], standalone_mode=False)
        return int(json.loads(capsys.readouterr().out)["prompt_tokens"])

    declared = read("--functions", str(python), "--functions", str(tools))
    model, said = sepiola.load(folder), [{"role": "user", "content": "找安娜"}]
    find: dict[str, Any] = {"name": "find", "description": "Finds one. 找。"}
    find["parameters"] = sepiola.acting.sets.functions_named(python)[0].schema
    tool = {"type": "function", "function": find}
    assert declared == model.chat(said, tools=[tool, *listed], max_tokens=1).prompt_tokens > read() + 200
    (tmp_path / "one.json").write_text(json.dumps(listed[0]), encoding="utf-8")
    for source, told in (("one.json", "expected a list"), ("none.json", "no such file"), ("none.py", "no Python")):
        with pytest.raises(SepiolaError, match=told):
            read("--functions", str(tmp_path / source))
    for option in (["--candidates", "2"], ["--tool", "calculator"]):
        with pytest.raises(SpecError, match=f"--functions: a talk with {option[0]} declares none"):
            read("--functions", str(python), *option)


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
