"""Measuring by prompts: figures, shots that fit, what is counted, and the command line on a tiny random decoder."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import sepiola
from sepiola.api import Model
from sepiola.cli.app import main
from sepiola.errors import SpecError
from sepiola.evaluation.benchmarks import BENCHMARKS as TASKS
from sepiola.evaluation.prompting.measure import measure
from sepiola.text.tokenizer import Tokenizer
from tests import tiny

QUESTIONS = [
    ("water boils at", ("ten", "a hundred", "zero", "five"), "B"),
    ("水的化学式是", ("氧气", "H2O", "NaCl", "铁"), "B"),
    ("the sky is", ("blue", "green", "red", "black"), "A"),
    ("猫的脚有几只", ("一", "二", "三", "四"), "D"),
]


@pytest.fixture(scope="module")
def model() -> Model:
    tokenizer = Tokenizer.train([], 259)  # the bytes alone
    learned = {"kind": "learned", "length": 600}
    language = tiny.decoder(tokenizer.vocabulary, 24, heads=3, hidden=32, positions=learned, tied=False)
    built = sepiola.build({"name": "bytes", "language": language}, seed=5)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.normal_(0, 0.5, generator=generator)
    return Model(built.network, built.spec, tokenizer)


@pytest.fixture
def cmmlu(tmp_path: Path) -> Path:
    for split, rows in (("test", QUESTIONS), ("dev", [(f"dev {q}", *rest) for q, *rest in QUESTIONS[:3]])):
        for subject in ("agronomy", "astronomy"):
            file = tmp_path / "cmmlu" / split / f"{subject}.csv"
            file.parent.mkdir(parents=True, exist_ok=True)
            lines = [
                ",".join((str(n), f"{subject} {q}", *options, right)) for n, (q, options, right) in enumerate(rows)
            ]
            file.write_text("\n".join([",Question,A,B,C,D,Answer", *lines]), encoding="utf-8")
    return tmp_path / "cmmlu"


@pytest.fixture
def gsm8k(tmp_path: Path) -> Path:
    for split, count in (("test", 6), ("train", 9)):
        records = [{"question": f"{split} {n} and {n}?", "answer": f"{n}+{n}\n#### {2 * n}"} for n in range(count)]
        (tmp_path / f"{split}.jsonl").write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    return tmp_path


def test_the_choice_is_the_likeliest_letter_of_the_shown_prompt(model: Model, cmmlu: Path) -> None:
    figures, results = measure(TASKS["cmmlu"], model.text_scorer(), cmmlu, shots=2)
    right = 0
    for result in results:
        assert result.shots == tuple(f"{result.item.group}/dev-{n}" for n in range(2))
        with torch.no_grad():
            logits = model(torch.tensor([model.tokenizer.encode(result.prompt)]))[0, -1].log_softmax(-1)
        letters = [float(logits[model.tokenizer.encode(letter)[0]]) for letter in "ABCD"]
        assert result.outcome.scores == pytest.approx(letters, abs=1e-3)
        chosen = "ABCD"[letters.index(max(letters))]
        right += chosen == result.item.answer
        assert result.outcome.answer == chosen
    assert len(results) == figures["count"] == 8 and figures["unparsed"] == 0
    assert figures["metrics"]["accuracy"]["value"] == right / 8
    low, high = figures["metrics"]["accuracy"]["interval"]
    assert low < right / 8 < high and high - low > 0.4
    assert figures["accuracy"] == right / 8
    assert [figures["buckets"]["subject"][name]["count"] for name in ("agronomy", "astronomy")] == [4, 4]
    assert figures["baselines"]["chance"]["accuracy"] == 0.25
    assert figures["baselines"]["majority"]["accuracy"] == 0.5  # B, the commonest of the shots


def test_options_are_compared_by_byte_where_their_texts_count(model: Model, cmmlu: Path) -> None:
    text_scorer = model.text_scorer()
    _, results = measure(TASKS["cmmlu_cloze"], text_scorer, cmmlu, only=["astronomy"])
    assert [result.item.group for result in results] == ["astronomy"] * 4
    sums = [s.log_likelihood for s in text_scorer.score([(results[1].prompt, o) for o in results[1].item.options])]
    sizes = [len(option.encode()) for option in results[1].item.options]
    assert sizes == [6, 3, 4, 3]
    assert results[1].outcome.scores == pytest.approx([s / n for s, n in zip(sums, sizes, strict=True)], abs=1e-4)


def test_the_last_words_perplexity_and_greedy_accuracy(model: Model, tmp_path: Path) -> None:
    text_scorer, texts = model.text_scorer(), [f"number {n} is" for n in range(130)]
    # Every tenth passage ends as the model itself goes on, so that greedy decoding is right there.
    words = [text_scorer.generate([f"{t} "], max_tokens=2)[0] if n % 10 == 0 else "so" for n, t in enumerate(texts)]
    lines = [json.dumps({"text": f"{t} {w}"}) for t, w in zip(texts, words, strict=True)]
    (tmp_path / "lambada_test.jsonl").write_text("\n".join(lines), encoding="utf-8")
    figures, results = measure(TASKS["lambada"], text_scorer, tmp_path)
    likely = [r.outcome.metrics["log_likelihood"] for r in results]
    assert figures["count"] == 130 and figures["metrics"]["accuracy"]["value"] < 0.5
    perplexity = figures["metrics"]["perplexity"]
    assert perplexity["value"] == pytest.approx(math.exp(-sum(likely) / 130))
    assert perplexity["interval"][0] < perplexity["value"] < perplexity["interval"][1]
    with_shots, results = measure(TASKS["lambada_cloze"], text_scorer, tmp_path, shots=1, count=20, seed=3)
    assert with_shots["count"] == 20
    assert all(int(r.item.id[5:]) < 30 <= int(r.shots[0][5:]) for r in results)  # the last 100 are kept for shots


def test_shots_depend_on_the_seed_and_the_item_alone(model: Model, gsm8k: Path) -> None:
    def shots(**changes: int) -> dict[str, tuple[str, ...]]:
        _, results = measure(TASKS["gsm8k"], model.text_scorer(length=200), gsm8k, **{"shots": 2, **changes})
        return {r.item.id: r.shots for r in results}

    every = shots()
    assert len(every) == 6 and len(set(every.values())) > 1
    some = shots(count=3)
    assert len(some) == 3 and some.items() <= every.items()
    assert shots(count=3, seed=1) != some
    assert all(name.startswith("train-") for drawn in every.values() for name in drawn)


def test_shots_that_do_not_fit_are_left_out_whole_and_counted(model: Model, gsm8k: Path) -> None:
    solved = len("Question: train 0 and 0?\nAnswer: 0+0\n#### 0\n\n")
    asked = len("Question: test 0 and 0?\nAnswer:")
    for shots, cut in ((3, False), (1, False), (0, False), (0, True)):
        # Half of what the model reads is kept for the answer.
        length = 2 * (asked + shots * (solved + 1) + 2) if not cut else 2 * (asked - 3)
        figures, results = measure(TASKS["gsm8k"], model.text_scorer(length), gsm8k, shots=3)
        assert {len(r.shots) for r in results} == {shots}
        assert all(r.prompt.count("Answer:") == shots + 1 and r.prompt.startswith("Question:") for r in results)
        assert figures["shots_left_out"] == 6 * (3 - shots) and figures["prompts_cut"] == 6 * cut
        assert figures["prompts_with_fewer_shots"] == (0 if shots == 3 else 6)
    assert measure(TASKS["gsm8k"], model.text_scorer(), gsm8k, shots=3)[0]["shots_left_out"] == 0


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("cmmlu", {"only": ["agronomi"]}, "did you mean 'agronomy'"),
        ("cmmlu", {"shots": 4}, "there are 3 of subject 'agronomy'"),
    ],
)
def test_what_is_not_there_is_refused(name: str, changes: dict, message: str, model: Model, cmmlu: Path) -> None:
    with pytest.raises(SpecError, match=message):
        measure(TASKS[name], model.text_scorer(), cmmlu, **changes)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[str, str]]:
    def command(*arguments: str, status: int = 0) -> tuple[str, str]:
        monkeypatch.setattr(sys, "argv", ["sepiola", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        assert end.value.code == status
        found = capsys.readouterr()
        return found.out, found.err

    return command


def test_the_command_line_measures_and_shows_prompts(
    model: Model, cmmlu: Path, tmp_path: Path, run: Callable[..., tuple[str, str]]
) -> None:
    model.save(tmp_path / "model")
    line = ("eval", "cmmlu", "--model", str(tmp_path / "model"), "--data", str(cmmlu), "--shots", "1", "--show", "2")
    out, _ = run(*line, "--count", "5", "--seed", "0", "--json", "--out", str(tmp_path / "f.json"))
    figures = json.loads(out)
    assert json.loads((tmp_path / "f.json").read_text(encoding="utf-8")) == figures
    assert figures["count"] == 5 and figures["shots"] == 1 and figures["baselines"]["chance"]["accuracy"] == 0.25
    first = figures["shown"][0]
    assert first["prompt"].startswith("以下是关于农学的单项选择题") and first["prompt"].endswith("答案是：")
    assert list(first["scores"]) == list("ABCD") and first["answer"] == max(first["scores"], key=first["scores"].get)
    shown, _ = run(*line)
    assert first["prompt"] in shown and "score of 'A': " in shown and "accuracy of chance" in shown
    for extra, message in (
        (("--option", "a=1"), "has no --option"),
        (("--split", "dev"), "no split but test"),
        (("--length", "601"), "expected 2 to 600"),
    ):
        assert message in run(*line, *extra, status=2)[1]
    assert "name its folder with --data" in run(*line[:4], status=2)[1]
    misspelt = run("eval", "gsm8", *line[2:], status=2)[1]
    assert "did you mean 'gsm8k'" in misspelt
    assert "daquar has no --show" in run("eval", "daquar", *line[2:], status=2)[1]
    short, _ = run("eval", "cmmlu", *line[2:6], "--shots", "3", "--length", "300")
    assert "left out" in short
