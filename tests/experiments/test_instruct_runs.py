"""`instruct/bilingual` on a tiny model and tiny sources: tuned by replies, measured by kind, asked by its template."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer, GenerationConfig

import sepiola
from sepiola.errors import SepiolaError
from sepiola.experiments.recipe_files import parse_recipe, read_recipe
from sepiola.experiments.run import Run
from sepiola.specs.generation import GenerationSpec
from sepiola.specs.recipe import RecipeSpec
from sepiola.text.tokenizer import Tokenizer
from tests.datasets.folders import instruction_sources
from tests.hub_folders import CHAT_TEMPLATE, chat_llama
from tests.tiny import QUIET

TINY = [
    "weights=null",
    "tokenizer.path=null",
    "tokenizer.vocabulary=400",
    "model.language.width=24",
    "model.language.layers=1",
    "model.language.attention={heads: 2}",
    "model.language.feed_forward.width=32",
    "stages.0.steps=2",
    "stages.0.epochs=null",
    "stages.0.batch=4",
    "stages.0.validation=null",
    "stages.0.validate_every=null",
    "stages.0.precision=float32",
    "stages.0.data.options.each=4",
    "evaluation.0.options.each=1",
]


def test_the_recipe_trains_and_is_measured_by_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEPIOLA_DATA", str(instruction_sources(tmp_path / "data")))
    recipe = read_recipe("instruct/bilingual", TINY)
    assert isinstance(recipe, RecipeSpec)
    report = Run(recipe, tmp_path / "run", console=QUIET).go()
    cells = report["kinds"]
    assert len(cells) == 10
    for cell in cells.values():
        assert cell["count"] == 1 and set(cell["baselines"]) == {"copy", "majority", "nearest"}
        assert 0.0 <= cell["shots"][0]["score"] <= 1.0
    model = sepiola.load(tmp_path / "run")
    assert model.template is not None
    assert model.template.render([{"role": "user", "content": "你好"}]) == "User: 你好\nAssistant:"
    assert model.asking.layout == "chat"
    chat = model.example_generator(4).chat
    assert chat is not None and chat.template == model.template


def tuned(folder: Path, weights: Path, objective: dict[str, Any]) -> sepiola.Model:
    """What a step of training leaves of a checkpoint, by its own tokenizer."""
    (folder / "data").mkdir(parents=True)
    turns = [{"role": "user", "content": "你好"}, {"role": "assistant", "content": "hi"}]
    lines = [json.dumps({"messages": turns}, ensure_ascii=False)] * 4
    (folder / "data" / "a.jsonl").write_text("\n".join(lines), encoding="utf-8")
    stage = {"name": "tune", "objective": objective, "steps": 1, "batch": 2, "source_tokens": 32, "target_tokens": 16}
    data = {"reader": "instructions", "root": str(folder / "data")}
    recipe = parse_recipe(
        {
            "name": "tuned",
            "model": sepiola.load(weights).spec.to_dict(),
            "weights": str(weights),
            "tokenizer": {"path": str(weights / "tokenizer.json")},
            "stages": [{**stage, "data": data, "precision": "float32"}],
        },
        "recipe",
    )
    Run(recipe, folder / "run", console=QUIET).go()
    return sepiola.load(folder / "run")


def test_what_stands_around_the_weights_stays_when_they_are_tuned(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The end tokens of a chat checkpoint and how it writes, from the Hub's layout to the Hub's layout."""
    base, _ = chat_llama(tmp_path / "hub", CHAT_TEMPLATE)
    end, pad = base.require_tokenizer().id_of("<|im_end|>"), 0
    settings = {
        "eos_token_id": [end, 2],
        "pad_token_id": pad,
        "repetition_penalty": 1.3,
        "do_sample": True,
        "num_beams": 4,
    }
    (tmp_path / "hub" / "generation_config.json").write_text(json.dumps(settings))
    base = sepiola.load(tmp_path / "hub")
    model = tuned(tmp_path / "chat", tmp_path / "hub", {"layout": "chat"})
    assert set(model.processor.ends) == set(base.processor.ends) == {end, 2}
    assert (model.processor.start, model.processor.pad) == (base.processor.start, base.processor.pad)
    assert model.processor.generation == base.processor.generation and model.sampling == base.sampling
    assert model.processor.named("bos_token") == base.processor.named("bos_token")
    model.save_hub(tmp_path / "back")
    theirs = GenerationConfig.from_pretrained(tmp_path / "back")
    assert set(theirs.eos_token_id) == {end, 2} and (theirs.repetition_penalty, theirs.num_beams) == (1.3, 4)
    assert AutoTokenizer.from_pretrained(tmp_path / "back").bos_token == "<s>"
    assert "its chat template does not go" not in caplog.text
    answers = tuned(tmp_path / "plain", tmp_path / "hub", {})  # which writes for a task of its own
    assert set(answers.processor.ends) == {end, 2} and answers.processor.generation == GenerationSpec()
    assert answers.template is None and caplog.text.count("its chat template does not go with the model") == 1


def test_the_token_that_a_template_sets_after_a_turn_ends_a_reply_everywhere(tmp_path: Path) -> None:
    """Where the checkpoint names another, as base models with a template do, and SmolVLM's config does."""
    base, _ = chat_llama(tmp_path / "hub", CHAT_TEMPLATE)
    end = base.require_tokenizer().id_of("<|im_end|>")
    for file, more in (("config.json", {"eos_token_id": 1}), ("tokenizer_config.json", {"eos_token": "</s>"})):
        content = json.loads((tmp_path / "hub" / file).read_text())
        (tmp_path / "hub" / file).write_text(json.dumps({**content, **more}))
    (tmp_path / "hub" / "generation_config.json").unlink(missing_ok=True)
    assert sepiola.load(tmp_path / "hub").processor.ends == (1,)
    model = tuned(tmp_path / "chat", tmp_path / "hub", {"layout": "chat"})
    assert set(model.processor.ends) == {1, end}
    model.save_hub(tmp_path / "back")
    assert set(GenerationConfig.from_pretrained(tmp_path / "back").eos_token_id) == {1, end}


def test_a_checkpoints_tokenizer_is_read_as_the_checkpoint_reads_it(tmp_path: Path) -> None:
    """By the class that its config names: LLaMA's without `legacy` sets no space before a text that begins with one."""
    base, _ = chat_llama(tmp_path / "hub", CHAT_TEMPLATE)
    content = json.loads((tmp_path / "hub" / "tokenizer.json").read_text())
    config = json.loads((tmp_path / "hub" / "tokenizer_config.json").read_text())
    content["added_tokens"] = [t for t in content["added_tokens"] if t["content"] != "<|im_end|>"]
    (tmp_path / "hub" / "tokenizer.json").write_text(json.dumps(content))
    extra = {
        "added_tokens_decoder": {
            str(base.require_tokenizer().id_of("<|im_end|>")): {"content": "<|im_end|>", "special": True}
        }
    }
    (tmp_path / "hub" / "tokenizer_config.json").write_text(json.dumps({**config, **extra}))
    hub = sepiola.load(tmp_path / "hub").require_tokenizer()
    ids = tuned(tmp_path / "run", tmp_path / "hub", {}).require_tokenizer().encode("你好<|im_end|>")
    assert ids == hub.encode("你好<|im_end|>")
    assert ids != Tokenizer.load(tmp_path / "hub" / "tokenizer.json").encode("你好<|im_end|>")


def test_what_stands_there_damaged_is_said_before_a_step_is_made(tmp_path: Path) -> None:
    chat_llama(tmp_path / "hub", CHAT_TEMPLATE)
    model = sepiola.load(tmp_path / "hub")
    (tmp_path / "hub" / "generation_config.json").write_text('{"repetition_penalty": "much"}')
    (tmp_path / "hub" / "model.safetensors").unlink()
    recipe = parse_recipe(
        {
            "name": "tuned",
            "model": model.spec.to_dict(),
            "tokenizer": {"path": str(tmp_path / "hub" / "tokenizer.json")},
            "stages": [{"name": "tune", "objective": {}, "data": {"reader": "tidepool", "count": 4}, "steps": 1}],
        }
    )
    with pytest.raises(SepiolaError, match="repetition_penalty"):
        Run(recipe, tmp_path / "run", console=QUIET).go()
    assert not [*(tmp_path / "run").rglob("model.safetensors")]
