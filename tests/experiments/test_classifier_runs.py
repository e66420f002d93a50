"""Recipes that end as a classifier: run whole, loaded, asked, explained; and what they refuse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from typer.testing import CliRunner

import sepiola
from sepiola.cli.app import app
from sepiola.datasets import read
from sepiola.errors import SepiolaError, SpecError
from sepiola.experiments.dry_run import explain
from sepiola.experiments.recipe_files import parse_recipe
from sepiola.experiments.run import Run
from sepiola.models.build import resolve_model
from sepiola.specs.base import override
from sepiola.specs.recipe import RecipeSpec

QUIET = Console(quiet=True)
LANGUAGE: dict[str, Any] = {
    "width": 32,
    "layers": 1,
    "attention": {"heads": 2},
    "feed_forward": {"width": 48},
    "positions": {"length": 48},
    "tokens": {"pad": 0, "end": 1, "start": 1},
}
TOPICS = {"finance": ("股市", "基金", "利率"), "sports": ("球赛", "冠军", "联赛")}


@pytest.fixture(scope="module")
def headlines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Headlines whose topic a word tells."""
    root = tmp_path_factory.mktemp("headlines")
    (root / "thucnews_headlines_class.txt").write_text("\n".join(TOPICS), encoding="utf-8")
    for name, first in (("dev", 0), ("test", 100)):
        lines = [
            f"{number}日{word}消息\t{topic}"
            for number in range(first, first + 20)
            for topic, words in enumerate(TOPICS.values())
            for word in words
        ]
        (root / f"thucnews_headlines_{name}.txt").write_text("\n".join(lines), encoding="utf-8")
    return root


def recipe(root: Path, *changes: str) -> RecipeSpec:
    data = {"reader": "thucnews", "root": str(root)}
    common = {"batch": 16, "optimizer": {"learning_rate": 3e-3}, "precision": "float32"}
    raw = {
        "name": "topics",
        "model": resolve_model({"like": "gpt2", "language": LANGUAGE}).model_dump(),
        "tokenizer": {"vocabulary": 300},
        "stages": [
            {"name": "pretrain", "data": {**data, "options": {"task": "headlines"}}, "steps": 5, **common},
            {
                "name": "finetune",
                "start": "pretrain",
                "objective": {"kind": "classification"},
                "data": data,
                "validation": {**data, "split": "val"},
                "source_tokens": 40,
                "steps": 60,
                **common,
            },
        ],
        "strategy": {"answer": "finetune"},
        "evaluation": [{**data, "split": "test"}],
    }
    return parse_recipe(override(raw, changes))


@pytest.fixture(scope="module")
def finished(headlines: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "topics"
    Run(recipe(headlines), folder, console=QUIET).go()
    return folder


def test_a_run_learns_and_reports_beside_its_baselines(finished: Path) -> None:
    report = json.loads((finished / "report.json").read_text())
    assert report["accuracy"] > 0.9 and report["count"] == 120 and report["unparsed"] == 0
    assert report["interval"][0] < report["accuracy"]
    shares = {name: figures["accuracy"] for name, figures in report["baselines"].items()}
    assert shares == {"chance": 0.5, "majority": 0.5, "linear": 1.0}
    assert set(report["buckets"]["topic"]) == set(TOPICS)
    assert "<svg" in (finished / "report.html").read_text()


def test_loaded_and_saved_it_answers_as_the_run_did(finished: Path, headlines: Path, tmp_path: Path) -> None:
    model = sepiola.load(finished)
    examples = read("thucnews", headlines, "test")
    told = [json.loads(line) for line in (finished / "answers-thucnews-test.jsonl").read_text().splitlines()]
    answers = model.answer(examples)
    assert [(a.id, a.choice, a.output) for a in answers] == [(t["id"], t["choice"], t["output"]) for t in told]
    shares = [a.probabilities for a in answers]
    torch.testing.assert_close(shares, [tuple(t["probabilities"]) for t in told])
    model.save(tmp_path / "copy")
    model.save_hub(tmp_path / "hub")
    for folder in ("copy", "hub"):
        again = sepiola.load(tmp_path / folder)
        assert again.spec.classifier == model.spec.classifier
        torch.testing.assert_close(
            [a.probabilities for a in again.answer(examples)], [a.probabilities for a in answers]
        )


def test_a_classifier_may_begin_with_weights_from_elsewhere(finished: Path, headlines: Path, tmp_path: Path) -> None:
    (pretrained,) = (finished / "stages").glob("pretrain-*/checkpoint")
    sepiola.load(pretrained).save_hub(tmp_path / "hub")
    tokenizer = f"tokenizer={{path: {finished / 'checkpoint' / 'tokenizer.json'}}}"
    changes = ["model.language.vocabulary=300", tokenizer, f"weights={tmp_path / 'hub'}", "stages.1.start=null"]
    run = Run(recipe(headlines, *changes), tmp_path / "run", console=QUIET)
    state = run.objective(run.recipe.stages[1]).prepare(run.begun(run.recipe.stages[1])).state_dict()
    for name, value in sepiola.load(pretrained).state_dict().items():
        assert torch.equal(state[f"language.{name}"][: len(value)], value)


def test_shares_and_evidence_tell_the_logits(finished: Path, headlines: Path) -> None:
    model = sepiola.load(finished)
    examples = read("thucnews", headlines, "test")[:5]
    assert model.spec.classifier is not None and model.spec.classifier.tokens is not None
    start, extract = model.spec.classifier.tokens.start, model.spec.classifier.tokens.extract
    for example, answer in zip(examples, model.answer(examples), strict=True):
        assert example.question is not None and answer.probabilities is not None and answer.evidence is not None
        tokens = torch.tensor([[start, *model.require_tokenizer().encode(example.question.text), extract]])
        with torch.no_grad():
            logits = model(tokens)[0]
        torch.testing.assert_close(torch.tensor(answer.probabilities).log() + answer.evidence, logits)


def test_ask_needs_no_choices(finished: Path) -> None:
    reply = sepiola.load(finished).ask("150日联赛消息")
    assert reply.choices == ("finance", "sports") and reply.answer == "sports"
    assert reply.probabilities is not None and sum(reply.probabilities) == pytest.approx(1.0)
    done = CliRunner().invoke(app, ["ask", "150日股市消息", "--model", str(finished), "--json"])
    told = json.loads(done.stdout)
    assert told["answer"] == "finance" and set(told["probabilities"]) == set(TOPICS)
    with pytest.raises(SepiolaError, match="tells labels apart, and writes no text"):
        sepiola.load(finished).generate("150日")
    with pytest.raises(SepiolaError, match="tells one set of labels apart"):
        sepiola.load(finished).ask("150日联赛消息", choices=("体育", "财经"))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_a_run_is_explained(smoothing: float, headlines: Path) -> None:
    changes = [f"stages.1.objective.label_smoothing={smoothing}"]
    (found,) = explain(recipe(headlines, *changes), QUIET)["runs"]
    pretrain, finetune = found["stages"]
    assert (pretrain["objective"]["kind"], finetune["objective"]["kind"]) == ("language-modelling", "classification")
    # Three tokens more, and a row a label.
    assert finetune["learns"]["language"] - pretrain["learns"]["language"] == (3 + 2) * LANGUAGE["width"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["stages.1.objective.format=QCM-A"], "stages[1].objective.format: unknown key"),
        (["stages.0.objective.lm_weight=0.1"], "stages[0].objective.lm_weight: unknown key"),
        (["stages.1.objective.lm_wait=0.1"], "stages[1].objective.lm_wait: unknown key; did you mean 'lm_weight'?"),
        (["stages.1.objective=clasification"], "no objective is named 'clasification'; did you mean 'classification'?"),
        (["stages.0.start=finetune"], "which is no earlier stage"),
        (["model.language.kind=encoder-decoder"], "'finetune': classification needs a decoder or an encoder alone"),
        (
            ["model.language.kind=encoder", "stages.0.objective=masked"],
            "an encoder sees the tokens to come; set objective.lm_weight: 0",
        ),
        (["stages.1.objective.pooling=first"], "stages[1].objective.pooling: "),
        (["stages.1.objective.hidden=1"], "stages[1].objective.hidden: "),
        (["model.language.head={kind: none}"], "stage 'pretrain' (language-modelling) does; set kind: token"),
    ],
)
def test_a_wrong_recipe_names_the_key(changes: list[str], message: str, headlines: Path) -> None:
    with pytest.raises(SpecError) as error:
        recipe(headlines, *changes)
    assert message in str(error.value)


@pytest.mark.parametrize(
    "changes",
    [
        ["model.language.kind=encoder", "stages.0.objective=masked", "stages.1.objective.lm_weight=0"],
        ["stages.1.packed=true"],
        ["stages.1.objective={kind: classification, pooling: mean, hidden: 0.1, label_smoothing: 0.1}"],
        ["stages.1.objective={kind: classification, frame: {start: </s>, delimiter: </s>, extract: </s>}}"],
    ],
)
def test_an_encoder_and_packed_rows_learn_too(changes: list[str], headlines: Path, tmp_path: Path) -> None:
    start = "stages.1.start=null"
    run = Run(recipe(headlines, *changes, start), tmp_path / "run", console=QUIET)
    run.train(run.recipe.stages[1])
    examples = read("thucnews", headlines, "test")
    right = [
        a.choice == e.question.answer for a, e in zip(run.model().answer(examples), examples, strict=True) if e.question
    ]
    assert sum(right) / len(right) > 0.9


def test_an_encoder_without_a_head_is_framed_by_its_own_tokens(headlines: Path, tmp_path: Path) -> None:
    """As published sentence encoders come: no head, and `[CLS]` and `[SEP]` (here `</s>`) around a text."""
    objective = {
        "kind": "classification",
        "lm_weight": 0,
        "pooling": "mean",
        "frame": {"start": "</s>", "delimiter": "</s>", "extract": "</s>"},
    }
    changes = ["model.language.kind=encoder", "stages.0.objective=masked", "stages.1.objective.lm_weight=0"]
    raw = recipe(headlines, *changes, "stages.1.start=null").to_dict()
    raw["model"]["language"]["head"] = {"kind": "none"}
    raw["stages"] = [{**raw["stages"][1], "objective": objective}]
    run = Run(parse_recipe(raw), tmp_path / "run", console=QUIET)
    run.train(run.recipe.stages[0])
    model = run.model()
    assert model.spec.language is not None and model.spec.classifier is not None
    assert model.spec.language.vocabulary == 300 and model.spec.classifier.tokens is not None
    assert (model.spec.classifier.tokens.start, model.spec.classifier.pooling) == (1, "mean")
    examples = read("thucnews", headlines, "test")
    right = [a.choice == e.question.answer for a, e in zip(model.answer(examples), examples, strict=True) if e.question]
    assert sum(right) / len(right) > 0.9
    raw["stages"][0]["objective"] = {**objective, "frame": {**objective["frame"], "start": "[CLS]"}}
    with pytest.raises(SpecError, match=r"'finetune': objective.frame.start: the tokenizer has no token '\[CLS\]'"):
        Run(parse_recipe(raw), tmp_path / "other", console=QUIET).train(parse_recipe(raw).stages[0])


def test_multiple_choice_on_real_questions(data_root: Path, tmp_path: Path) -> None:
    """ScienceQA's text questions: each has options of its own, and as many as it likes."""
    data = {"reader": "scienceqa", "root": str(data_root / "scienceqa"), "options": {"with_image": False}, "count": 24}
    stage = {
        "name": "choose",
        "objective": "multiple-choice",
        "data": data,
        "source_tokens": 44,
        "steps": 2,
        "batch": 4,
    }
    raw = {
        "name": "mc",
        "model": resolve_model({"like": "gpt2", "language": LANGUAGE}).model_dump(),
        "tokenizer": {"vocabulary": 300},
        "stages": [stage],
        "strategy": {"answer": "choose"},
        "evaluation": [{**data, "split": "val"}],
    }
    report = Run(parse_recipe(raw), tmp_path / "mc", console=QUIET).go()
    assert report["count"] == 24 and report["unparsed"] == 0
    reply = sepiola.load(tmp_path / "mc").ask("Which is a fruit?", choices=("apple", "stone", "铁"))
    assert reply.probabilities is not None and len(reply.probabilities) == 3
