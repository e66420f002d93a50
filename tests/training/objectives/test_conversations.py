"""Conversations are learned by their replies: all in one row, or one after the other where no template ends them."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

import sepiola
from sepiola.data.batching import IGNORED
from sepiola.datasets import DataCache
from sepiola.errors import SpecError
from sepiola.experiments.recipe_files import parse_recipe
from sepiola.experiments.run import Run
from sepiola.training.batches import ImageInputs
from tests.tiny import QUIET, decoder

TURNS = [("Hi {}", "Hello 1"), ("多少？{}", "两个")]


def said(role: str, text: str, number: int) -> dict[str, str]:
    return {"role": role, "content": text.format(number)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    talks = [
        {"messages": [turn for asked, reply in TURNS for turn in (said("user", asked, n), said("assistant", reply, n))]}
        for n in range(20)
    ]
    (tmp_path / "talks.json").write_text(json.dumps(talks), encoding="utf-8")
    return tmp_path


def recipe(folder: Path, **stage: Any) -> dict[str, Any]:
    return {
        "name": "talks",
        "model": {"language": decoder(300, 16)},
        "tokenizer": {"vocabulary": 300},
        "stages": [
            {
                "name": "talk",
                "data": {"reader": "instructions", "root": str(folder / "talks.json"), "options": {"held_out": 100}},
                "objective": {"layout": "chat"},
                "steps": 2,
                "batch": 2,
                "precision": "float32",
                **stage,
            }
        ],
    }


def test_all_replies_are_learned_and_the_template_goes_with_the_model(folder: Path, tmp_path: Path) -> None:
    run = Run(parse_recipe(recipe(folder)), tmp_path / "run", console=QUIET)
    run.go()
    (stage,) = run.recipe.stages
    batch = run.objective(stage).batches(stage.data, ImageInputs()).next()[0]
    for row in batch.labels.tolist():
        written = run.tokenizer.decode([token for token in row if token != IGNORED], special_tokens=True)
        assert written == " Hello 1</s> 两个</s>"
    model = sepiola.load(tmp_path / "run" / "checkpoint")
    assert model.template is not None
    turns = [{"role": "user", "content": "Hi"}]
    assert model.template.render(turns) == "User: Hi\nAssistant:"
    assert model.chat(turns, max_tokens=3).prompt_tokens == 18


def test_without_a_template_each_reply_is_a_sample(folder: Path, tmp_path: Path) -> None:
    run = Run(parse_recipe(recipe(folder, objective="language-modelling")), tmp_path / "run", console=QUIET)
    (stage,) = run.recipe.stages
    talks = run.read(stage.data)
    batches = run.objective(stage).batches(stage.data, ImageInputs())
    assert batches.counts["samples"] == 2 * len(talks)


def test_a_conversation_that_a_template_refuses_is_left_out(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = Run(parse_recipe(recipe(folder)), tmp_path / "run", console=QUIET, data=DataCache())
    (tmp_path / "tokenizer").mkdir()
    (tmp_path / "tokenizer" / "tokenizer.json").write_text(run.tokenizer.to_json(), encoding="utf-8")
    source = "{% for m in messages %}{% if '1' in m.content and m.role == 'user' %}{{ raise_exception('no ones') }}{% endif %}{{ m.content }}</s>{% endfor %}"  # noqa: E501
    (tmp_path / "tokenizer" / "chat_template.jinja").write_text(source)
    raw = {**recipe(folder), "tokenizer": {"path": str(tmp_path / "tokenizer" / "tokenizer.json")}}
    raw["model"]["language"]["vocabulary"] = run.tokenizer.vocabulary
    own = Run(parse_recipe(raw), tmp_path / "own", console=QUIET)
    with caplog.at_level(logging.WARNING):
        batches = own.objective(own.recipe.stages[0]).batches(own.recipe.stages[0].data, ImageInputs())
    kept = [talk for talk in own.read(own.recipe.stages[0].data) if "1" not in talk.messages[0].text]
    assert batches.counts["samples"] == len(kept)
    assert "conversations of instructions are left out" in caplog.text and "no ones" in caplog.text


def test_shots_and_chat_do_not_go_together(folder: Path) -> None:
    with pytest.raises(SpecError, match="layout: chat lays out conversations"):
        parse_recipe(recipe(folder, objective={"layout": "chat", "shots": 2}))
