"""lm-eval: a checkpoint under our model and its Hub export under `hf` (transformers) get the same scores."""

from __future__ import annotations

import dataclasses
import json
import random
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import tokenizers
import torch
import transformers

import sepiola
from sepiola.api import Model
from sepiola.data.batching import Sample
from sepiola.errors import DataError, SepiolaError
from sepiola.generation.sampling import Sampling
from sepiola.runtime.native import NativeExecutor
from sepiola.text.tokenizer import Tokenizer
from tests.hub_folders import CHAT_TEMPLATE, chat_llama
from tests.tiny import HUB_GPT, HUB_LLAMA, HUB_OPT
from tests.trainers import stage_of, text_trainer

pytest.importorskip("lm_eval")
from lm_eval import simple_evaluate
from lm_eval.api.instance import Instance
from lm_eval.api.registry import get_model
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager

from sepiola.cli.lm_eval import SepiolaLM, generation, main

DECODER = {
    "kind": "decoder",
    "width": 48,
    "layers": 2,
    "attention": {"heads": 4, "kv_heads": 2},
    "feed_forward": {"width": 96, "activation": "silu", "gated": True},
    "norm": {"kind": "rms", "eps": 1e-6},
    "positions": {"kind": "rotary"},
}
DIGITS = "零一二三四五六七八九"


def sums(count: int, seed: int) -> list[dict[str, Any]]:
    """Sums of two digits, in English and in Chinese."""
    generator = random.Random(seed)
    rows = []
    for i in range(count):
        a = generator.randint(0, 6)
        b = generator.randint(0, 9 - a)
        wrong = generator.sample([n for n in range(10) if n != a + b], 3)
        options = generator.sample([a + b, *wrong], 4)
        if i % 2:
            question, names = f"问：{DIGITS[a]}加{DIGITS[b]}等于几？\n答：", [DIGITS[n] for n in options]
        else:
            question, names = f"Q: {a} plus {b} is what?\nA:", [f" {n}" for n in options]
        gold = options.index(a + b)
        rows.append({"question": question, "choices": names, "gold": gold, "answer": names[gold]})
    return rows


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A LLaMA-shaped decoder that was taught sums for some seconds, as a checkpoint and as a Hub folder."""
    folder = tmp_path_factory.mktemp("sums")
    solved = [row["question"] + row["answer"] for row in sums(1200, seed=1)]
    texts = ["\n\n".join(solved[i : i + 3]) for i in range(0, len(solved), 3)]
    tokenizer = Tokenizer.train(texts, 320)
    raw = {"name": "sums", "family": "llama", "language": {**DECODER, "vocabulary": tokenizer.vocabulary}}
    model = sepiola.build(raw, seed=2)
    samples = [Sample(str(i), (), (*tokenizer.encode(text), 1)) for i, text in enumerate(texts)]
    stage = stage_of(batch=8, learning_rate=5e-3, steps=90)
    text_trainer(model.network, stage, samples, folder=folder / "training").run()
    trained = Model(model.network, model.spec, tokenizer)
    trained.save(folder / "ours")
    trained.save_hub(folder / "hub")
    return folder / "ours", folder / "hub"


def write_tasks(folder: Path) -> TaskManager:
    (folder / "rows.jsonl").write_text("\n".join(json.dumps(row) for row in sums(24, seed=3)), encoding="utf-8")
    common = {
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(folder / "rows.jsonl")}, "cache_dir": str(folder / "cache")},
        "test_split": "test",
        "fewshot_split": "test",
        "fewshot_config": {"sampler": "first_n"},
        "doc_to_text": "{{question}}",
        "target_delimiter": "",
    }
    choose = {
        "task": "sums_choose",
        "output_type": "multiple_choice",
        "doc_to_choice": "choices",
        "doc_to_target": "gold",
        "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
    }
    write = {
        "task": "sums_write",
        "output_type": "generate_until",
        "doc_to_target": "answer",
        "generation_kwargs": {"until": ["\n"], "max_gen_toks": 12},
        "metric_list": [{"metric": "exact_match", "ignore_case": True}],
    }
    for task in (choose, write):
        # JSON is YAML.
        (folder / f"{task['task']}.yaml").write_text(json.dumps({**common, **task}), encoding="utf-8")
    return TaskManager(include_path=str(folder), include_defaults=False)


def requests(kind: str, *arguments: tuple[Any, ...]) -> list[Instance]:
    return [Instance(kind, {}, given, number) for number, given in enumerate(arguments)]


def assert_alike(first: Sequence[Any], second: Sequence[Any]) -> None:
    """The same log-likelihoods, and the same are greedy; lm-eval logs both as text."""
    assert [float(r[0]) for r in first] == pytest.approx([float(r[0]) for r in second], abs=1e-3)
    assert [str(r[1]) for r in first] == [str(r[1]) for r in second]


def test_lm_evals_scores_are_those_of_the_hub_export_under_transformers(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    ours, hub = folders
    manager = write_tasks(tmp_path)
    results = {}
    for name, arguments in (("sepiola", f"path={ours}"), ("hf", f"pretrained={hub},dtype=float32")):
        results[name] = simple_evaluate(
            model=name,
            model_args=arguments,
            tasks=["sums_choose", "sums_write"],
            task_manager=manager,
            num_fewshot=2,
            batch_size=8,
            device="cpu",
            bootstrap_iters=0,
            log_samples=True,
        )
    mine, theirs = results["sepiola"], results["hf"]
    for task in ("sums_choose", "sums_write"):
        scores = {k: v for k, v in mine["results"][task].items() if isinstance(v, float)}
        assert scores == {k: v for k, v in theirs["results"][task].items() if isinstance(v, float)}
        assert 0 < max(scores.values()) < 1, scores
        for sample, other in zip(mine["samples"][task], theirs["samples"][task], strict=True):
            assert sample["doc"] == other["doc"] and sample["arguments"] == other["arguments"]
            if task == "sums_write":
                assert sample["resps"] == other["resps"]
                continue
            assert_alike([r for (r,) in sample["resps"]], [r for (r,) in other["resps"]])
    written = {sample["resps"][0][0] for sample in mine["samples"]["sums_write"]}
    assert len(written) > 2 and not any("\n" in text for text in written)


@pytest.mark.parametrize("opened", [False, True])
def test_rolling_empty_contexts_and_cut_contexts_as_under_transformers(
    folders: tuple[Path, Path], tmp_path: Path, opened: bool
) -> None:
    """Also for a tokenizer that opens every text with a start token, as LLaMA's does."""
    model = sepiola.load(folders[0])
    assert model.tokenizer is not None
    if opened:
        tokens = {"pad": 0, "end": 1, "start": 2}
        raw = model.spec.to_dict() | {"language": model.spec.language.to_dict() | {"tokens": tokens}}
        again = sepiola.build(raw)
        again.network.load_state_dict(model.network.state_dict())
        template = tokenizers.processors.TemplateProcessing(single="<unk> $A", special_tokens=[("<unk>", 2)])
        model.tokenizer.backend.post_processor = template
        model = Model(again.network, again.spec, model.tokenizer)
    model.save_hub(tmp_path)
    mine = SepiolaLM(model, max_length=24)
    theirs = HFLM(pretrained=str(tmp_path), max_length=24, batch_size=4, dtype="float32", device="cpu")
    texts = ["".join(row["question"] + row["answer"] + "\n" for row in sums(n, seed=n)) for n in (1, 3, 9)]
    assert mine.max_length == theirs.max_length == 24 and len(mine.tok_encode(texts[2])) > 60
    assert mine.tok_encode("Q: 1") == theirs.tok_encode("Q: 1") and (mine.tok_encode("Q: 1")[0] == 2) is opened
    assert mine.prefix_token_id == theirs.prefix_token_id and mine.eot_token_id == theirs.eot_token_id
    rolled = requests("loglikelihood_rolling", *((text,) for text in texts))
    assert mine.loglikelihood_rolling(rolled) == pytest.approx(theirs.loglikelihood_rolling(rolled), abs=1e-3)
    pairs = requests(
        "loglikelihood", ("", "问：一"), ("Q: 1 plus ", "2"), *((texts[2], end) for end in (" 3", "九", "\n"))
    )
    assert_alike(mine.loglikelihood(pairs), theirs.loglikelihood(pairs))
    assert mine.text_scorer.cut == 3
    asked = requests("generate_until", *((text, {"until": ["?", "？"], "max_gen_toks": 8}) for text in texts))
    assert mine.generate_until(asked) == theirs.generate_until(asked)


def test_the_checkpoints_settings_of_writing_count_as_under_transformers(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(folders[1], folder)
    path = folder / "generation_config.json"
    own = {"repetition_penalty": 3.0, "no_repeat_ngram_size": 2}
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **own}), encoding="utf-8")
    theirs = HFLM(pretrained=str(folder), batch_size=1, dtype="float32", device="cpu")
    mine, plain = SepiolaLM(str(folder)), SepiolaLM(str(folders[1]))
    how = {"until": ["\n"], "max_gen_toks": 8}
    asked = requests("generate_until", *((row["question"], how) for row in sums(6, seed=6)))
    assert mine.generate_until(asked) == theirs.generate_until(asked) != plain.generate_until(asked)


def test_an_encoder_decoder_and_its_export_score_and_write_the_same(tmp_path: Path) -> None:
    tokenizer = Tokenizer.train([row["question"] for row in sums(40, seed=5)], 300)
    language = {**DECODER, "kind": "encoder-decoder", "attention": {"heads": 4, "head_width": 12, "scale": 1.0}}
    language |= {"feed_forward": {"width": 96, "activation": "relu"}, "positions": {"kind": "relative"}}
    raw = {"family": "t5", "language": {**language, "vocabulary": tokenizer.vocabulary, "head_scale": 48**-0.5}}
    built = sepiola.build(raw, seed=4)
    model = Model(built.network, built.spec, tokenizer)
    model.save_hub(tmp_path)
    mine, theirs = SepiolaLM(model), HFLM(pretrained=str(tmp_path), batch_size=4, dtype="float32", device="cpu")
    assert mine.backend == theirs.backend == "seq2seq"
    pairs = requests("loglikelihood", *((row["question"], row["answer"]) for row in sums(6, seed=6)), ("", "问"))
    assert_alike(mine.loglikelihood(pairs), theirs.loglikelihood(pairs))
    how = {"until": ["?"], "max_gen_toks": 6}
    asked = requests("generate_until", *((row["question"], how) for row in sums(6, seed=6)))
    assert mine.generate_until(asked) == theirs.generate_until(asked)


def test_lm_evals_cache_is_told_every_result(folders: tuple[Path, Path]) -> None:
    class Hook:
        def __init__(self) -> None:
            self.told: list[tuple[Any, ...]] = []

        def add_partial(self, *arguments: Any) -> None:
            self.told.append(arguments)

    model, hook = SepiolaLM(str(folders[0])), Hook()
    model.set_cache_hook(hook)
    how = {"until": "\n", "max_gen_toks": 3}
    (score,) = model.loglikelihood(requests("loglikelihood", ("Q:", " 1")))
    (text,) = model.generate_until(requests("generate_until", ("Q:", how)))
    (rolled,) = model.loglikelihood_rolling(requests("loglikelihood_rolling", ("问：",)))
    assert hook.told == [
        ("loglikelihood", ("Q:", " 1"), score),
        ("generate_until", ("Q:", how), text),
        ("loglikelihood_rolling", ("问：",), rolled),
    ]


def test_the_native_core_scores_as_torch_does_but_for_rounding(folders: tuple[Path, Path]) -> None:
    pytest.importorskip("sepiola_edge._native", reason="the native core is not built: pip install ./edge")
    pairs = [("The sea", " is wide"), ("海", "很宽")]
    torch_, native = (SepiolaLM(str(folders[0]), **how).text_scorer for how in ({}, {"runtime": "native", "bits": 16}))
    assert isinstance(native.engine.executor, NativeExecutor)
    for ours, theirs in zip(native.score(pairs), torch_.score(pairs), strict=True):
        assert ours.log_likelihood == pytest.approx(theirs.log_likelihood, rel=0.02)


def test_generation_keywords_are_read_and_unknown_ones_refused() -> None:
    how = generation({"until": "\n", "max_new_tokens": 7, "do_sample": True, "temperature": 0.5, "top_p": 0.9})
    assert how["stops"] == ["\n"] and how["max_tokens"] == 7
    assert (how["sampling"].temperature, how["sampling"].top_p) == (0.5, 0.9)
    assert generation({"do_sample": False, "temperature": 0.7})["sampling"].temperature == 0
    own = Sampling(repetition_penalty=1.2, min_new_tokens=3)
    assert generation({"min_new_tokens": 0, "top_k": 5}, own)["sampling"] == Sampling(repetition_penalty=1.2, top_k=5)
    with pytest.raises(SepiolaError, match="got num_beams; known: until, ") as refused:
        generation({"num_beams": 4, "top_k": 5})
    assert all(field.name in str(refused.value) for field in dataclasses.fields(Sampling))


def test_the_command_line_is_lm_evals(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["harness", "run", "--help"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 0 and "--model_args" in capsys.readouterr().out
    assert get_model("sepiola") is SepiolaLM


def test_a_template_without_a_system_turn_leaves_it_out_as_under_hf(tmp_path: Path) -> None:
    template = "{% if messages[0].role == 'system' %}{{ raise_exception('none') }}{% endif %}" + CHAT_TEMPLATE
    model, _ = chat_llama(tmp_path, template)
    mine, theirs = SepiolaLM(model), HFLM(pretrained=str(tmp_path), batch_size=1, dtype="float32", device="cpu")
    talk = [{"role": "system", "content": "Add."}, {"role": "user", "content": "1 + 1"}]
    assert mine.apply_chat_template(talk) == theirs.apply_chat_template(talk) == mine.apply_chat_template(talk[1:])
    with pytest.raises(DataError, match="refuses"):
        mine.apply_chat_template(talk[:1])


@pytest.mark.parametrize("family", ["gpt2", "opt", "qwen2", "gemma3"])
def test_a_chat_template_with_shots_as_turns_gives_the_scores_of_hf(family: str, tmp_path: Path) -> None:
    """One multiple-choice and one written task in the template, and a text longer than the window."""
    backend = Tokenizer.train([row["question"] for row in sums(40, seed=5)], 330, extra=["<s>", "<|end|>"]).backend
    start = backend.token_to_id("<s>")
    if family == "gemma3":
        single = tokenizers.processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", start)])
        backend.post_processor = single
    template = "{% for m in messages %}{{ m.role }}: {{ m.content }}<|end|>\n{% endfor %}"
    template += "{% if add_generation_prompt %}assistant: {% endif %}"
    template = ("{{ bos_token }}" if family == "gemma3" else "") + template
    names = {"bos_token": "<s>", "eos_token": "<|end|>", "pad_token": "<pad>", "chat_template": template}
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=backend, **names)
    ids = {"bos_token_id": start, "eos_token_id": backend.token_to_id("<|end|>"), "pad_token_id": 0}
    raw: dict[str, Any] = {
        "gpt2": {**HUB_GPT, "n_positions": 640},
        "opt": {**HUB_OPT, "max_position_embeddings": 640},
        "qwen2": {**HUB_LLAMA, "max_position_embeddings": 640},
        "gemma3": {**HUB_LLAMA, "head_dim": 8, "max_position_embeddings": 640},
    }[family]
    kind = {"gemma3": "gemma3_text"}.get(family, family)
    torch.manual_seed(0)
    config = transformers.CONFIG_MAPPING[kind](**{**raw, "vocab_size": len(tokenizer)}, **ids)
    reference = transformers.AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in reference.parameters():
            parameter.normal_(0.02, 0.2)
    reference.save_pretrained(tmp_path / "hub")
    tokenizer.save_pretrained(tmp_path / "hub")
    manager, results = write_tasks(tmp_path), {}
    mine = SepiolaLM(str(tmp_path / "hub"))
    theirs = HFLM(pretrained=str(tmp_path / "hub"), batch_size=4, dtype="float32", device="cpu")
    for name, model in (("sepiola", mine), ("hf", theirs)):
        results[name] = simple_evaluate(
            model=model,
            tasks=["sums_choose", "sums_write"],
            task_manager=manager,
            num_fewshot=2,
            limit=6,
            apply_chat_template=True,
            fewshot_as_multiturn=True,
            bootstrap_iters=0,
            log_samples=True,
        )
    assert mine.chat_template(True) == theirs.chat_template(True) == template
    for task in ("sums_choose", "sums_write"):
        for one, other in zip(results["sepiola"]["samples"][task], results["hf"]["samples"][task], strict=True):
            assert one["arguments"] == other["arguments"]
            if task == "sums_write":
                assert one["resps"] == other["resps"]
            else:
                assert_alike([r for (r,) in one["resps"]], [r for (r,) in other["resps"]])
    text = "".join(row["question"] + row["answer"] + "\n" for row in sums(60, seed=9))
    assert len(mine.tok_encode(text)) > mine.max_length == theirs.max_length == 640
    rolled = requests("loglikelihood_rolling", (text,))
    assert mine.loglikelihood_rolling(rolled) == pytest.approx(theirs.loglikelihood_rolling(rolled), rel=1e-4)
    assert (mine.prefix_token_id, mine.eot_token_id) == (theirs.prefix_token_id, theirs.eot_token_id)
    assert mine.tokenizer_name
