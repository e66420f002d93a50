"""Training a classifier: it learns, from both texts where both are needed, and resumes bit for bit."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import torch

from sepiola.data.example import Example, Question
from sepiola.errors import TrainingError
from sepiola.models.build import build
from sepiola.models.classifier import Classifier, add_classifier, with_classifier
from sepiola.reasoning.classifying import ClassifierStrategy
from sepiola.specs.model import ModelSpec
from sepiola.text.tokenizer import Tokenizer
from sepiola.training.batches import ImageInputs
from sepiola.training.objectives.classification import Classification
from sepiola.training.trainer import Trainer
from tests import tiny
from tests.trainers import ExampleSetting, stage_of

NAMES = ["Anna", "Ben", "小明", "小红", "老王", "Eve", "Kai", "阿宝"]
THINGS = {"en": ("tea", "fish", "rain", "snow", "cats"), "zh": ("茶", "鱼", "雨", "雪", "猫")}
YES_NO = ("yes", "no")


def language(**changes: Any) -> ModelSpec:
    usual = {"positions": {"kind": "learned", "length": 64}, "tokens": {"pad": 0, "end": 1, "start": 1}}
    return ModelSpec.parse({"language": tiny.decoder(300, 48, 2, heads=4, hidden=96, **{**usual, **changes})})


def likes(count: int, seed: int) -> list[Example]:
    """Premise: who likes what, or does not. Hypothesis: the same or the contrary. Neither alone tells what follows."""
    draw = random.Random(seed)
    made = []
    for number in range(count):
        premise, claim = draw.random() < 0.5, draw.random() < 0.5
        who, place = draw.choice(NAMES), draw.randrange(len(THINGS["en"]))
        language = draw.choice(("en", "zh"))
        says = {"en": ("{} hates {}", "{} likes {}"), "zh": ("{}讨厌{}", "{}喜欢{}")}[language]
        text, hint = (says[sure].format(who, THINGS[language][place]) for sure in (claim, premise))
        made.append(Example(str(number), (), "", Question(text, YES_NO, int(premise != claim), hint=hint)))
    return made


def trainer(
    folder: Path, examples: list[Example], kind: Any = "entailment", **changes: Any
) -> tuple[Trainer, ClassifierStrategy]:
    spec = language(**changes.pop("language", {}))
    texts = [part for e in examples if e.question for part in (e.question.text, e.question.hint or "")]
    tokenizer = Tokenizer.train(texts, 300)
    objective = {"kind": kind, "lm_weight": changes.pop("lm_weight", 0.5)}
    stage = stage_of(**{"batch": 32, "learning_rate": 3e-3, **changes}, objective=objective)
    learned = Classification(stage, ExampleSetting(spec, tokenizer, examples, seed=1))
    network = learned.prepare(build(spec, seed=1))
    assert isinstance(network, Classifier)
    batches = learned.batches(stage.data, ImageInputs())
    run = Trainer(network, stage, learned.loss, batches, folder=folder, seed=1, log_every=1)
    return run, ClassifierStrategy(network, tokenizer)


def share(answers: ClassifierStrategy, examples: list[Example]) -> float:
    answers.network.eval()
    told = {a.id: a.choice for a in answers.answer(examples)}
    return sum(told[e.id] == e.question.answer for e in examples if e.question) / len(examples)


def test_entailment_is_learned_from_both_texts(tmp_path: Path) -> None:
    """Held-out pairs: from the claim alone, or the premise alone, half would be right."""
    stage = {"steps": 180, "warmup": 10, "lm_weight": 0.1, "packed": True, "source_tokens": 100}
    run, answers = trainer(tmp_path, likes(250, 0), **stage)
    run.run()
    seen = {(e.question.hint, e.question.text) for e in likes(250, 0) if e.question}
    new = [e for e in likes(200, 1) if e.question and (e.question.hint, e.question.text) not in seen]
    assert len(new) > 50
    assert share(answers, new) > 0.8


@pytest.mark.parametrize("kind", ["classification", "similarity", "multiple-choice"])
def test_twenty_examples_are_learned_by_heart(kind: str, tmp_path: Path) -> None:
    draw = random.Random(5)
    words = [f"{a}{b}" for a in "红黄蓝绿ab" for b in "东西南北"]
    draw.shuffle(words)
    examples = []
    for number in range(20):
        options = ("上", "下", "left") if kind != "multiple-choice" else tuple(draw.sample(words, 2 + number % 3))
        question = Question(words[number], options, draw.randrange(len(options)), hint=words[number + 4])
        examples.append(Example(str(number), (), "", question))
    run, answers = trainer(tmp_path, examples, kind, steps=50, batch=20)
    before = share(answers, examples)
    run.run()
    assert share(answers, examples) == 1.0 > before


def test_stopped_and_resumed_is_uninterrupted(tmp_path: Path) -> None:
    changes: dict[str, Any] = {"batch": 8, "accumulate": 2, "language": {"dropout": 0.2}, "save_every": 5, "epochs": 3}
    whole, _ = trainer(tmp_path / "whole", likes(40, 0), **changes)
    whole.run()
    cut, _ = trainer(tmp_path / "cut", likes(40, 0), **changes)
    save = cut._save

    def save_and_die(snapshot: dict[str, Any]) -> None:
        save(snapshot)
        raise KeyboardInterrupt

    cut._save = save_and_die  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        cut.run()
    resumed, _ = trainer(tmp_path / "cut", likes(40, 0), **changes)
    resumed.run(resume=True)
    weights = whole.model.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in resumed.model.state_dict().items())
    with pytest.raises(TrainingError, match=r"objective: .*'lm_weight': 0\.5.* then, .*'lm_weight': 0\.0.* now"):
        trainer(tmp_path / "cut", likes(40, 0), **changes, lm_weight=0.0)[0].run(resume=True)


def test_accumulated_batches_are_one_large_batch(tmp_path: Path) -> None:
    """The language-modelling loss too: its mean is each example's own."""
    states = []
    for name, batch in (("one", 16), ("four", 4)):
        run, _ = trainer(
            tmp_path / name, likes(16, 0), batch=batch, accumulate=16 // batch, steps=1, precision="float32"
        )
        run.optimizer = torch.optim.SGD(run.learning, lr=1.0)
        run.run()
        states.append(run.model.state_dict())
    torch.testing.assert_close(states[1], states[0], rtol=1e-5, atol=1e-6)


def test_the_language_model_is_kept_and_three_tokens_join_it() -> None:
    for changes in ({}, {"tied": False}, {"kind": "encoder", "head": {"bias": True, "transform": True}}):
        spec = language(**changes)
        before = build(spec, seed=1)
        old = before.state_dict()
        whole = with_classifier(spec, "entailment", likes(4, 0))
        assert whole.language is not None and whole.classifier is not None and whole.classifier.tokens is not None
        assert whole.language.vocabulary == 303 and whole.classifier.tokens.extract == 302
        after = add_classifier(before, whole, seed=1).state_dict()
        for name, value in old.items():
            kept = after[f"language.{name}"]
            assert torch.equal(kept[: len(value)], value) and len(kept) in (len(value), 303)
        new = after["language.embedding.weight"][300:]
        assert 0.3 < new.std() / old["embedding.weight"].std() < 3


def test_too_long_a_sequence_is_cut_and_counted(tmp_path: Path) -> None:
    run, _ = trainer(tmp_path / "a", likes(20, 0), steps=1, source_tokens=12)
    counts = {"samples": 20, "truncated_sources": 10, "truncated_targets": 0}
    assert run.batches.counts == counts, "the English ones"
    assert max(batch.target.shape[1] for batch in run.batches.once()) == 12
    short = {"positions": {"kind": "learned", "length": 12}}
    with pytest.raises(TrainingError, match="the model has 12 positions; lower source_tokens"):
        trainer(tmp_path / "b", likes(20, 0), steps=1, language=short)
    _, answers = trainer(tmp_path / "c", likes(20, 0), steps=1, language=short, source_tokens=12)
    assert len(answers.answer(likes(20, 0))) == 20, "a longer text is cut to the model's positions"
