"""Examples as prompts: by the checkpoint's chat template or as plain text, within the model's context, cuts said."""

from __future__ import annotations

import dataclasses
import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer, LlamaForCausalLM

import sepiola
from sepiola.api import Model
from sepiola.data.example import Example, Message, Question
from sepiola.errors import DataError
from sepiola.reasoning.few_shot import after
from sepiola.reasoning.strategies import Direct
from sepiola.specs.recipe import AnsweringSpec
from tests.hub_folders import CHAT_TEMPLATE as TEMPLATE
from tests.hub_folders import NAMES, vision_language_folder
from tests.hub_folders import chat_llama as llama
from tests.tiny import noise_picture, question_example


def asked(model: Model, example: Example) -> str:
    """The prompt that the model reads for one example, special tokens shown."""
    strategy = model.strategy()
    assert isinstance(strategy, Direct) and model.tokenizer is not None
    (prompt,) = strategy.generator._prompts([strategy.format.apply(example)])
    return str(model.tokenizer.backend.decode(list(prompt.tokens), skip_special_tokens=False))


def test_a_chat_model_is_asked_in_its_template_with_its_shots_as_turns(tmp_path: Path) -> None:
    model, tokenizer = llama(tmp_path, TEMPLATE)
    example = question_example("q", "Which is big?", ("ant", "whale"), 1)
    content = "Which is big?\nA. ant\nB. whale\nAnswer with the option's letter from the given choices directly."
    turn = {"role": "user", "content": content}
    expected = tokenizer.apply_chat_template([turn], tokenize=False, add_generation_prompt=True)
    assert asked(model, example) == expected
    strategy = model.strategy()
    assert isinstance(strategy, Direct)
    shown = after(strategy, {"q": [question_example("d", "哪个大？", ("鲸", "蚁"), 0, language="zh")]})
    (prompt,) = shown.generator._prompts([shown.format.apply(example)])
    first = {"role": "user", "content": "哪个大？\nA. 鲸\nB. 蚁\n请直接用选项的字母回答。"}
    turns = [first, {"role": "assistant", "content": "A"}, turn]
    ids = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=False)
    assert list(prompt.tokens) == ids
    assert tokenizer.convert_tokens_to_ids("<|im_end|>") in shown.generator.stop.ends


def test_options_are_scored_as_the_assistants_reply(tmp_path: Path) -> None:
    model, tokenizer = llama(tmp_path, TEMPLATE)
    reply = model.ask("Which is big?", choices=["ant", "whale"])
    content = "Which is big?\nA. ant\nB. whale\nAnswer with the option's letter from the given choices directly."
    reference = LlamaForCausalLM.from_pretrained(tmp_path).eval()
    scores = []
    for letter in "AB":
        turns = [{"role": "user", "content": content}, {"role": "assistant", "content": letter}]
        before = tokenizer.apply_chat_template(turns[:1], add_generation_prompt=True, return_dict=False)
        whole = tokenizer.apply_chat_template(turns, return_dict=False)[: len(before) + 2]  # the letter, <|im_end|>
        with torch.no_grad():
            logits = reference(torch.tensor([whole])).logits[0].log_softmax(-1)
        scores.append(sum(float(logits[i - 1, whole[i]]) for i in range(len(before), len(whole))))
    assert reply.probabilities == pytest.approx(torch.tensor(scores).softmax(0).tolist(), abs=1e-4)


def test_a_base_model_is_asked_as_plain_text_behind_its_start_token(tmp_path: Path) -> None:
    model, tokenizer = llama(tmp_path, None)
    example = question_example("q", "Which?", ("ant", "whale"), 1)
    expected = "<s>Question: Which?\nContext: N/A\nOptions: (A) ant (B) whale\nAnswer:"
    assert asked(model, example) == expected
    generator = model.example_generator(4)
    (prompt,) = generator._prompts([Example("p", (Message("user", ("how now",)),), "")])
    assert list(prompt.tokens) == tokenizer("how now")["input_ids"]


SETTINGS: dict[str, Any] = {
    "repetition_penalty": 1.7,
    "no_repeat_ngram_size": 2,
    "min_new_tokens": 5,
    "suppress_tokens": [70, 71, 72],
    "begin_suppress_tokens": [100],
}


@pytest.mark.parametrize("stops", [[], ["e", "k"]])
def test_answers_are_written_by_the_checkpoints_own_settings(tmp_path: Path, stops: list[str]) -> None:
    """In `ask` and in a benchmark, the text is that of transformers' `generate`; options are scored as they are."""
    llama(tmp_path, TEMPLATE)
    path = tmp_path / "generation_config.json"
    plain = sepiola.load(tmp_path)
    path.write_text(
        json.dumps(
            json.loads(path.read_text(encoding="utf-8")) | SETTINGS | ({"stop_strings": stops} if stops else {})
        ),
        encoding="utf-8",
    )
    model, tokenizer = sepiola.load(tmp_path), AutoTokenizer.from_pretrained(tmp_path)
    reference = LlamaForCausalLM.from_pretrained(tmp_path).eval()
    reference.generation_config.stop_strings = None  # it looks for them in tokens, which may be no characters
    written = []
    for text in ("Which is big?", "哪个大？", "What now?"):
        turn = {"role": "user", "content": text}
        ids = tokenizer.apply_chat_template([turn], add_generation_prompt=True, return_tensors="pt", return_dict=False)
        with torch.no_grad():
            out = reference.generate(ids, do_sample=False, max_new_tokens=64)[0, ids.shape[1] :]
        expected = tokenizer.decode(out, skip_special_tokens=True)
        cut = min((expected.index(stop) for stop in stops if stop in expected), default=len(expected))
        assert model.ask(text).answer == expected[:cut].strip()
        written.append(expected)
        example = Example("e", (Message("user", (text,)),), "", Question(text, answer_text="whale"))
        (answer,) = model.answer([example])
        assert answer.output != plain.answer([example])[0].output
        scored = [one.ask(text, choices=("ant", "whale")).probabilities for one in (model, plain)]
        assert scored[0] == scored[1]
    assert any(stop in text for stop in stops for text in written) is bool(stops)


@pytest.mark.parametrize("template", [None, TEMPLATE])
def test_the_context_less_the_reply_is_read_and_a_cut_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, template: str | None
) -> None:
    model, _ = llama(tmp_path, template, context=1000)
    fits, long = (question_example(str(n), "x" * n + "?", ("a", "bb"), 1) for n in (700, 3000))
    again = question_example("again", "y" * 2000, ("a", "bb"), 1)
    with caplog.at_level(logging.WARNING):
        answers = model.answer([fits, long, again])
    assert [a.prompt_cut for a in answers] == [False, True, True]
    (record,) = caplog.records  # nothing else is said of a prompt that is cut to fit
    assert "936" in record.getMessage() and "3000: the prompt has" in record.getMessage()
    strategy = model.strategy()
    assert isinstance(strategy, Direct)
    whole, cut = (p.tokens for p in strategy.generator._prompts([strategy.format.apply(e) for e in (fits, long)]))
    assert 700 < len(whole) < 936 and 930 < len(cut) <= 936
    text = asked(model, long)
    assert text.startswith(asked(model, fits)[:10]) and text.endswith(asked(model, fits)[-10:])


def test_what_a_recipe_was_trained_to_read_stays(tmp_path: Path) -> None:
    model, _ = llama(tmp_path / "hub", TEMPLATE)
    trained = Model(model.network, model.spec, model.processor, AnsweringSpec(source_tokens=40))
    assert asked(trained, question_example("q", "x" * 90, ("a", "bb"))).endswith("Answer:")
    trained.save(tmp_path / "ours")
    (tmp_path / "ours" / "strategy.yaml").write_text(
        "answer_tokens: 7\n", encoding="utf-8"
    )  # as earlier versions wrote
    loaded = sepiola.load(tmp_path / "ours")
    assert loaded.answering == AnsweringSpec(answer_tokens=7, source_tokens=512)
    loaded.answering = AnsweringSpec()
    loaded.save(tmp_path / "free")
    assert sepiola.load(tmp_path / "free").answering == AnsweringSpec()


def test_a_rigged_chat_model_that_answers_right_in_ten_phrasings_gets_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, _ = llama(tmp_path, TEMPLATE)
    assert model.tokenizer is not None
    frames = (
        "{l}",
        "{l}.",
        "({l})",
        "{s}) {t}",
        "{l}. {t}",
        "{t}",
        "The answer is {l}.",
        "**Answer:** {l}",
        "答案是{l}",
        "选{l}",
    )
    examples = [question_example(str(n), "Which?", ("ant", "whale"), n % 2) for n in range(10)]
    said = [frame.format(l="AB"[n % 2], s="ab"[n % 2], t=("ant", "whale")[n % 2]) for n, frame in enumerate(frames)]
    written = [[model.tokenizer.encode(text)] for text in said]
    monkeypatch.setattr(type(model.engine), "generate", lambda engine, prompts, **_: written)
    assert [a.choice for a in model.answer(examples)] == [n % 2 for n in range(10)]


def test_a_cut_prompt_keeps_every_token_of_its_pictures(tmp_path: Path) -> None:
    """Of a base model too, whose tiles have tokens around them, and between texts that are cut."""
    vision_language_folder(tmp_path, "smolvlm")
    model = sepiola.load(tmp_path)
    assert model.tokenizer is not None
    names = [model.tokenizer.id_of(name) for name in NAMES if name not in ("<s>", "<turn>")]

    def pictured(context: int | None) -> list[int]:
        model.processor = dataclasses.replace(model.processor, context=context)
        first, second = (noise_picture(seed, 64) for seed in (1, 2))
        example = Example("e", (Message("user", ("x" * 300, first, "y" * 300, second, "z" * 300)),), "")
        (prompt,) = model.example_generator(8)._prompts([example])
        assert context is None or len(prompt.tokens) <= context - 8
        return [token for token in prompt.tokens if token in names]

    whole = pictured(None)
    assert len(whole) > 20 and pictured(90) == whole
    with pytest.raises(DataError, match=r"its images take \d+ tokens"):
        pictured(30)
