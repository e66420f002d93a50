"""The linear reward model: its likelihood, its optimum, what it learns; saved, resumed, and paid by."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import sepiola
from sepiola.data.batching import Batch
from sepiola.data.example import Example, Message
from sepiola.data.preferences import Completion, completions_of, preference
from sepiola.datasets import DATASETS, Dataset
from sepiola.errors import DataError, SepiolaError, SpecError, TrainingError
from sepiola.experiments.dry_run import explain
from sepiola.experiments.recipe_files import parse_recipe
from sepiola.models.linear_reward import LinearReward
from sepiola.specs.linear_reward import LinearRewardSpec
from sepiola.specs.model import ModelSpec
from sepiola.training.batches import ImageInputs
from sepiola.training.loss import Loss
from sepiola.training.objectives import objective_of
from sepiola.training.objectives.linear_reward import LinearRewardObjective, chosen
from sepiola.training.rewards import Written, reward_of, reward_spec
from sepiola.training.trainer import Trainer
from tests import preferences, tiny
from tests.tiny import QUIET
from tests.trainers import ExampleSetting, stage_of

MODEL = {"linear_reward": {"buckets": 1 << 14}}
POLITE = [("please, {}", "no {}, go away"), ("请看{}", "走开，{}")]
THINGS = ["red", "blue", "green", "fish", "cat", "sun"]
NEWTON = {"kind": "lbfgs", "learning_rate": 1.0, "schedule": "constant", "weight_decay": 0, "clip": None}


def polite(first: int = 0, last: int = 6) -> list[Example]:
    """A polite reply is better than a rude one, in two languages."""
    found = []
    for number, thing in enumerate(THINGS[first:last]):
        for place, (good, bad) in enumerate(POLITE):
            completions = [Completion(bad.format(thing), 0.0), Completion(good.format(thing), 1.0)]
            name = f"{first + number}-{place}"
            found.append(preference(name, [Message("user", (f"{thing}?",))], completions, {"split": "train"}))
    return found


def learner(
    examples: list[Example], *, ridge: float = 1e-2, **stage: Any
) -> tuple[LinearRewardObjective, LinearReward]:
    spec = ModelSpec.parse(MODEL)
    settings = {"steps": 100, "batch": 64, "precision": "float32", **stage}
    raw = stage_of(**settings, objective={"kind": "linear-reward", "ridge": ridge}, optimizer=NEWTON)
    learned = objective_of(raw, ExampleSetting(spec, preferences.tokenizer(), examples))
    assert isinstance(learned, LinearRewardObjective)
    network = learned.prepare(sepiola.build(spec).network)
    assert isinstance(network, LinearReward)
    return learned, network


def trainer(learned: LinearRewardObjective, network: LinearReward, folder: Path) -> Trainer:
    batches = learned.batches(learned.stage.data, ImageInputs())
    return Trainer(network, learned.stage, learned.loss, batches, folder=folder, console=QUIET)


def test_the_loss_is_that_of_all_choices_of_a_ranking() -> None:
    """−log softmax of the best among all, then of the next among the rest; ties are not compared; the formula."""
    completions = [Completion("b", 1.0), Completion("a", 2.0), Completion("c", 1.0), Completion("d", 0.0)]
    example = preference("e", [Message("user", ("?",))], completions)
    assert [texts for _, _, texts in chosen(example)] == [["a", "b", "c", "d"], ["b", "d"], ["c", "d"]]
    learned, network = learner([example], ridge=0.5)
    torch.nn.init.normal_(network.weight)
    (batch,) = learned.batches(learned.stage.data, ImageInputs()).once()
    loss = learned.loss(network, batch)
    score = dict(zip("abcd", network.scores([("?", text) for text in "abcd"]), strict=True))
    weights = {text: np.exp(value) for text, value in score.items()}
    expected = -sum(np.log(weights[texts[0]] / sum(weights[text] for text in texts)) for texts in ("abcd", "bd", "cd"))
    assert loss.tokens == 3
    assert loss.loss_sum.item() == pytest.approx(expected, rel=1e-4)
    assert loss.total.item() - loss.loss_sum.item() == pytest.approx(
        3 * 0.25 * float(network.weight.detach().square().sum()), rel=1e-4
    )


def test_training_comes_to_the_weights_that_scikit_learn_finds(tmp_path: Path) -> None:
    linear = pytest.importorskip("sklearn.linear_model", reason="compared with scikit-learn, from the eval extra")
    examples, ridge = polite(), 1e-2
    learned, network = learner(examples, ridge=ridge, steps=25)
    trainer(learned, network, tmp_path).run()
    rows = np.zeros((len(examples), network.spec.buckets), np.float32)
    for row, example in zip(rows, examples, strict=True):
        for one in completions_of(example):
            places, values = network.features(example.prompt, one.text)
            np.add.at(row, places, values if one.score > 0 else -values)
    there = np.flatnonzero(np.abs(rows).sum(0))
    both = np.concatenate([rows[:, there], -rows[:, there]])
    machine = linear.LogisticRegression(C=1 / (2 * ridge * len(rows)), fit_intercept=False, tol=1e-8, max_iter=5000)
    machine.fit(both, [1] * len(rows) + [0] * len(rows))
    assert network.weight.detach().numpy()[there] == pytest.approx(machine.coef_[0], abs=2e-4)
    assert float(network.weight.detach().abs().sum()) > 1.0


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> str:
    def read(root: Path | None, split: str) -> list[Example]:
        return polite(0, 4) if split == "train" else polite(4, 6)

    monkeypatch.setitem(DATASETS, "polite", Dataset(read, drawn=True))
    return "polite"


def recipe(reader: str, **changes: Any) -> dict[str, Any]:
    stage = {"name": "reward", "data": {"reader": reader}, "objective": {"kind": "linear-reward", "ridge": 1e-3}}
    stage |= {"steps": 20, "batch": 8, "optimizer": NEWTON, "precision": "float32"}
    evaluation = [{"reader": reader, "split": "test"}]
    return {"name": "polite", "model": MODEL, "stages": [{**stage, **changes}], "evaluation": evaluation}


def talk(asked: str, reply: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": asked}, {"role": "assistant", "content": reply}]


def test_a_recipe_ends_as_a_reward_model(reader: str, tmp_path: Path) -> None:
    folder = tiny.run_recipe(recipe(reader), tmp_path / "run")
    report = json.loads((folder / "report.json").read_text())
    assert report["accuracy"] == 1.0, "of replies about other things"
    model = sepiola.load(folder)
    for good, bad in POLITE:
        assert model.reward(talk("Moon?", good.format("moon"))) > model.reward(talk("Moon?", bad.format("moon")))
    both = [talk("Sun?", "please"), talk("Sun?", "go away")]
    found = [model.reward(one) for one in both]
    assert model.score(both) == pytest.approx(found, abs=1e-6)
    model.save(tmp_path / "again")
    assert sepiola.load(tmp_path / "again").score(both) == pytest.approx(found, abs=1e-7)
    assert model.score([]) == []
    assert model.score(["please"])[0] > model.score(["go away"])[0], "a text is a reply to nothing"


def test_a_policy_is_paid_by_it_whatever_its_words_are(reader: str, tmp_path: Path) -> None:
    judge = str(tiny.run_recipe(recipe(reader), tmp_path / "judge"))
    spec = reward_spec({"kind": "learned", "model": judge})
    spec.check_words("the chat template 0123")
    written = [Written(text, text, ended) for text, ended in (("please, moon", True), ("go away", False))]
    asked = [Example("a", (Message("user", ("Moon?",)),), "")] * 2
    found = reward_of(spec).score(asked, written)
    assert found == pytest.approx([sepiola.load(judge).reward(talk("Moon?", one.text)) for one in written], abs=1e-6)
    assert found[0] > found[1]
    paid = {"kind": "grpo", "samples": 2, "reward": {"kind": "learned", "model": judge}}
    stages = [{"name": "taught", "data": {"reader": reader}, "steps": 2, "batch": 4, "target_tokens": 8}]
    stages.append({**stages[0], "name": "paid", "start": "taught", "objective": paid})
    language = {**preferences.LANGUAGES["decoder"], "vocabulary": 300}
    folder = tiny.run_recipe(tiny.recipe("paid", {"language": language}, stages), tmp_path / "policy")
    assert json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])["reward"] != 0


class KilledError(Exception):
    pass


def test_a_resumed_run_ends_with_the_same_weights(tmp_path: Path) -> None:
    def run(folder: Path, steps: int, stop: int | None = None) -> torch.Tensor:
        learned, network = learner(polite(), steps=steps, save_every=3)
        losses = learned.loss
        steps_left = iter(range(stop or steps * 3))

        def loss(model: nn.Module, batch: Batch) -> Loss:
            if next(steps_left, None) is None:
                raise KilledError
            return losses(model, batch)

        with pytest.MonkeyPatch.context() as patch, contextlib.suppress(KilledError):
            patch.setattr(learned, "loss", loss)
            trainer(learned, network, folder).run(resume=True)
        return network.weight.detach().clone()

    whole = run(tmp_path / "whole", 12)
    run(tmp_path / "parts", 12, stop=7)
    assert torch.equal(run(tmp_path / "parts", 12), whole)


def test_a_dry_run_explains_it(reader: str) -> None:
    (run,) = explain(parse_recipe(recipe(reader), "polite"), QUIET)["runs"]
    assert run["parameters"] == {"total": 1 << 14}
    assert run["stages"][0]["samples"] == 8


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="linear-reward one with 'linear_reward'"):
        parse_recipe(recipe("pairs") | {"model": {"options": {}}}, "polite")
    with pytest.raises(SpecError, match="stands alone"):
        ModelSpec.parse({**MODEL, "language": tiny.encoder()})
    single = preference("e", [Message("user", ("?",))], [Completion("a", 1.0)])
    with pytest.raises(DataError, match="one completion alone is compared with none"):
        chosen(single)
    tied = preference("e", [Message("user", ("?",))], [Completion("a", 1.0), Completion("b", 1.0)])
    learned, _ = learner([tied])
    with pytest.raises(TrainingError, match="none of the 1 prompts"):
        learned.batches(learned.stage.data, ImageInputs())
    learned, network = learner(polite(), batch=5)
    with pytest.raises(TrainingError, match="its data make 3 steps: raise batch"):
        trainer(learned, network, tmp_path)
    with pytest.raises(SpecError, match="weight_decay: 0, clip: null"):
        stage_of(steps=1, optimizer={"kind": "lbfgs"})
    model = sepiola.build(MODEL)
    picture = Message("user", (tiny.colour_picture("red"), "What?"))
    with pytest.raises(DataError, match="reads text alone"):
        model.reward([picture, Message("assistant", ("red",))])
    with pytest.raises(DataError, match="its last turn, which is the assistant's"):
        model.score([[Message("user", ("What?",))]])
    with pytest.raises(SepiolaError, match="scores replies, and writes no text"):
        model.generate("please")


def test_the_toy_of_digits_is_read_too(preference_reader: str) -> None:
    learned, _ = learner(preferences.rankings(replies=5)[:4])
    batches = learned.batches(learned.stage.data, ImageInputs())
    assert batches.counts["tied_prompts"] == 0
    assert batches.counts["samples"] == 4 * 3, "the right digit among five, and two among those below"
    assert LinearRewardSpec().families == ("words", "characters", "form")
