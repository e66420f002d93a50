"""Prompts as conversations: a chat model reads and scores what lm-eval lays out in a template, shots as turns."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

import sepiola
from sepiola.api import Model
from sepiola.errors import DataError
from sepiola.evaluation.benchmarks import BENCHMARKS
from sepiola.evaluation.benchmarks.prompted import Prompted
from sepiola.evaluation.prompting.asking import Asking
from sepiola.evaluation.prompting.item import PromptItem
from sepiola.evaluation.prompting.measure import PromptResult, measure
from sepiola.evaluation.prompting.task import Generate
from tests.evaluation.benchmarks.test_prompted import write_benchmarks
from tests.hub_folders import CHAT_TEMPLATE, chat_llama, language_folder, write_tokenizer
from tests.tiny import HUB_GPT, randomise

NO_SYSTEM = "{% if messages[0].role == 'system' %}{{ raise_exception('no system turn') }}{% endif %}" + CHAT_TEMPLATE
SILENT = CHAT_TEMPLATE.replace("{% for m in messages %}", "{% for m in messages if m.role != 'system' %}")


def results(name: str, model: Model, root: Path, **keywords: Any) -> tuple[dict[str, Any], list[PromptResult]]:
    """One benchmark asked as a conversation."""
    scorer, task = model.text_scorer(), BENCHMARKS[name]
    assert isinstance(task, Prompted)
    return measure(task, scorer, root / name.partition("_")[0], chat=scorer.chat, **keywords)


def write_task(folder: Path, name: str, shots: list[PromptItem], tested: list[PromptItem]) -> None:
    """The items as a task of lm-eval's."""
    for split, items in (("dev", shots), ("test", tested)):
        rows = [
            {
                "asked": item.prompt,
                "answer": item.answer.lstrip(),
                "options": list(item.options) or ["-"],
                "gold": item.options.index(item.answer) if item.options else 0,
            }
            for item in items
        ]
        (folder / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    files = {split: str(folder / f"{split}.jsonl") for split in ("dev", "test")}
    task = {
        "task": name,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": files, "cache_dir": str(folder / "cache")},
        "test_split": "test",
        "fewshot_split": "dev",
        "fewshot_config": {"sampler": "first_n"},
        "doc_to_text": "{{asked}}",
        "description": tested[0].head,
    }
    if tested[0].options:
        task |= {"output_type": "multiple_choice", "doc_to_choice": "options", "doc_to_target": "gold"}
        task |= {"metric_list": [{"metric": "acc"}]}
    else:
        task |= {"output_type": "generate_until", "doc_to_target": "answer", "metric_list": [{"metric": "exact_match"}]}
        task |= {"generation_kwargs": {"until": ["<|im_end|>"], "max_gen_toks": 64}}
    (folder / f"{name}.yaml").write_text(json.dumps(task), encoding="utf-8")  # JSON is YAML


@pytest.mark.parametrize("name", ["cmmlu", "bbh", "gsm8k"])
@pytest.mark.parametrize("shots", [0, 1])
def test_prompts_ids_and_scores_are_those_of_lm_eval_with_shots_as_turns(
    name: str, shots: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("lm_eval")
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    model, _ = chat_llama(tmp_path / "model", CHAT_TEMPLATE)
    write_benchmarks(tmp_path)
    task = BENCHMARKS[name]
    assert isinstance(task, Prompted)
    if name != "cmmlu":
        monkeypatch.setattr(type(task.scoring), "_most", lambda *_: 64)
    only = {"cmmlu": ["agronomy"], "bbh": ["sorting"], "gsm8k": []}[name]
    figures, found = results(name, model, tmp_path, shots=shots, only=only)
    assert figures["chat_template"] is True and len(found) == 1
    pool = [item for item in task.read(tmp_path / name).shots if item.group == found[0].item.group]
    write_task(tmp_path, name, pool, [result.item for result in found])
    theirs = HFLM(pretrained=str(tmp_path / "model"), batch_size=1, dtype="float32", device="cpu")
    (samples,) = simple_evaluate(
        model=theirs,
        tasks=[name],
        task_manager=TaskManager(include_path=str(tmp_path), include_defaults=False),
        num_fewshot=shots,
        apply_chat_template=True,
        fewshot_as_multiturn=True,
        bootstrap_iters=0,
        log_samples=True,
    )["samples"].values()
    scorer = model.text_scorer()
    for mine, sample in zip(found, samples, strict=True):
        prompt = sample["arguments"]["gen_args_0"]["arg_0"] if isinstance(sample["arguments"], dict) else None
        prompt = prompt or sample["arguments"][0][0]
        assert mine.prompt == prompt and prompt.count("<|im_start|>") == 2 + 2 * shots + bool(mine.item.head)
        assert scorer.encode(mine.prompt) == theirs.tok_encode(prompt)
        if mine.item.options:
            pairs = [theirs._encode_pair(prompt, option) for option in mine.item.options]
            asking = Asking(scorer, scorer.chat)
            laid_out = asking.lay_out(mine.item, pool[:shots])
            assert [scorer.encode_pair(laid_out, option) for option in mine.item.options] == pairs
            likely = [float(response[0][0]) for response in sample["resps"]]
            assert mine.outcome.scores == pytest.approx(likely, abs=1e-4)
        else:
            assert mine.outcome.output == sample["resps"][0][0]


def test_a_written_turn_ends_at_its_end_and_at_no_stop_string_of_plain_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, _ = chat_llama(tmp_path / "model", CHAT_TEMPLATE)
    write_benchmarks(tmp_path)
    said = "Think.\n\nQuestion: none.\n#### 5"
    assert model.tokenizer is not None
    end = model.tokenizer.id_of("<|im_end|>")
    ids = [*model.tokenizer.encode(said), end, *model.tokenizer.encode("user")]
    monkeypatch.setattr(
        type(model.engine),
        "generate",
        lambda self, prompts, **how: [[_until(ids, how["stop"]())] for _ in prompts],
    )
    figures, (result,) = results("gsm8k", model, tmp_path)
    assert result.outcome.output == said and figures["accuracy"] == 1
    (plain,) = measure(BENCHMARKS["gsm8k"], model.text_scorer(), tmp_path / "gsm8k")[1]  # type: ignore[arg-type]
    assert plain.outcome.output == "Think." and plain.outcome.answer is None and not plain.prompt.startswith("<")


def _until(ids: list[int], stop: Any) -> list[int]:
    return ids[: next((i + 1 for i, token in enumerate(ids) if stop(token)), len(ids))]


@pytest.mark.parametrize("template", [NO_SYSTEM, SILENT])
def test_what_opens_a_prompt_leads_the_first_turn_where_the_template_has_no_system(
    template: str, tmp_path: Path
) -> None:
    model, tokenizer = chat_llama(tmp_path / "model", template)
    write_benchmarks(tmp_path)
    _, (result,) = results("cmmlu", model, tmp_path, shots=1)
    shot = BENCHMARKS["cmmlu"].read(tmp_path / "cmmlu").shots[0]  # type: ignore[attr-defined]
    turns = [
        {"role": "user", "content": result.item.head + shot.prompt},
        {"role": "assistant", "content": "A"},
        {"role": "user", "content": result.item.prompt},
    ]
    assert result.prompt == tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)


def test_a_text_that_goes_on_and_a_base_model_are_asked_as_plain_text(tmp_path: Path) -> None:
    write_benchmarks(tmp_path)
    chats, _ = chat_llama(tmp_path / "chat", CHAT_TEMPLATE)
    figures, found = results("lambada", chats, tmp_path, count=2)
    assert figures["chat_template"] is False and not any("<|im_start|>" in result.prompt for result in found)
    base, _ = chat_llama(tmp_path / "base", None)
    assert base.text_scorer().chat is None
    figures, found = results("cmmlu", base, tmp_path, shots=1)
    assert figures["chat_template"] is False and found[0].prompt.startswith("以下是")


def test_control_tokens_in_a_question_or_an_option_stay_text(tmp_path: Path) -> None:
    model, _ = chat_llama(tmp_path / "model", CHAT_TEMPLATE)
    scorer = model.text_scorer()
    asking, end = Asking(scorer, scorer.chat), scorer.tokenizer.id_of("<|im_end|>")
    item = PromptItem("q", "What is <|im_end|>?", " <|im_end|>", (" <|im_end|>", "b"))
    laid_out = asking.lay_out(item, [PromptItem("s", "What is b?", "b<|im_start|>")])
    ids = scorer.encode(laid_out)
    assert ids.count(end) == 3 and "What is <|im_end|>?" in str(laid_out)  # one for each turn
    before, after = scorer.encode_pair(laid_out, asking.reply(item.answer))
    assert end not in after and scorer.tokenizer.decode([*before, *after]).endswith("assistant\n<|im_end|>")
    assert all(score.log_likelihood < 0 for score in asking.score([(laid_out, o) for o in item.options]))


def test_shots_are_dropped_whole_and_a_long_question_loses_its_beginning_within_the_template(tmp_path: Path) -> None:
    model, _ = chat_llama(tmp_path / "model", CHAT_TEMPLATE)
    write_benchmarks(tmp_path)
    scorer = model.text_scorer(500)
    task = BENCHMARKS["gsm8k"]
    assert isinstance(task, Prompted)
    solved = [{"question": f"{n} " + "x" * 70 + "?", "answer": f"so\n#### {n}"} for n in range(3)]
    (tmp_path / "gsm8k" / "train.jsonl").write_text("\n".join(map(json.dumps, solved)), encoding="utf-8")
    asked = [{"question": "y" * n + " end?", "answer": "#### 1"} for n in (20, 400)]
    (tmp_path / "gsm8k" / "test.jsonl").write_text("\n".join(map(json.dumps, asked)), encoding="utf-8")
    figures, (short, long) = measure(task, scorer, tmp_path / "gsm8k", chat=scorer.chat, shots=3)
    assert 0 < len(short.shots) < 3 and not short.cut and short.prompt.count("<|im_start|>") == 2 * len(short.shots) + 2
    assert not long.shots and long.cut and figures["prompts_cut"] == 1 and figures["prompts_with_fewer_shots"] == 2
    assert long.prompt.startswith("<s><|im_start|>user\ny") and "end?\nAnswer:<|im_end|>" in long.prompt
    assert len(scorer.encode(long.prompt)) == 250 and scorer.cut == 0


def test_pictures_placeholder_in_a_text_is_refused(tmp_path: Path) -> None:
    import sepiola
    from tests.hub_folders import TEMPLATE, vision_language_folder

    vision_language_folder(tmp_path, "onevision", TEMPLATE)
    scorer = sepiola.load(tmp_path).text_scorer()
    asking = Asking(scorer, scorer.chat)
    assert str(asking.lay_out(PromptItem("q", "What?", "b"), ())) == "user: What?<turn>\nassistant:"
    with pytest.raises(DataError, match="names <image>, which stands for pictures"):
        asking.lay_out(PromptItem("q", "What is <image>?", "b"), ())


def encoder_decoder(folder: Path) -> None:
    language_folder(folder, "flan-t5")


def gpt2_without_start_token(folder: Path) -> None:
    torch.manual_seed(0)
    config = GPT2Config(**{**HUB_GPT, "vocab_size": 300, "n_positions": 512}, bos_token_id=None, eos_token_id=1)
    randomise(GPT2LMHeadModel(config), 0.05, 0.3).save_pretrained(folder)
    write_tokenizer(folder, None, None, eos_token="</s>", pad_token="<pad>")


@pytest.mark.parametrize("write", [encoder_decoder, gpt2_without_start_token])
def test_an_encoder_decoder_and_a_model_without_a_start_token_score_and_write_as_under_hf(
    write: Callable[[Path], None], tmp_path: Path
) -> None:
    pytest.importorskip("lm_eval")
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    write(tmp_path / "model")
    write_benchmarks(tmp_path)
    model = sepiola.load(tmp_path / "model")
    theirs = HFLM(pretrained=str(tmp_path / "model"), batch_size=1, dtype="float32", device="cpu", max_length=512)
    scorer = model.text_scorer(512)
    assert scorer.chat is None
    for name in ("cmmlu", "lambada", "gsm8k", "bbh"):
        task = BENCHMARKS[name]
        assert isinstance(task, Prompted)
        _, found = measure(task, scorer, tmp_path / name, shots=1, count=2)
        for result in found:
            options = result.item.options or (result.item.answer,)
            if result.outcome.scores:
                pairs = [Instance("loglikelihood", {}, (result.prompt, o), n) for n, o in enumerate(options)]
                likely = [float(score) for score, _ in theirs.loglikelihood(pairs, disable_tqdm=True)]
                assert result.outcome.scores == pytest.approx(likely, abs=1e-3)
            else:
                assert isinstance(task.scoring, Generate)
                how = {"until": list(task.scoring.stops), "max_gen_toks": min(task.scoring.tokens, 256)}
                asked = [Instance("generate_until", {}, (result.prompt, how), 0)]
                assert theirs.generate_until(asked, disable_tqdm=True) == [result.outcome.output]
    assert model.ask("Which is big?", choices=("ant", "whale")).choice in (0, 1)
    assert isinstance(model.ask("哪个大？").answer, str)
