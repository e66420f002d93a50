"""A new objective, a new dataset: each is one file and one line in a dict, and nothing else knows its name."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
import torch
from pydantic import PositiveFloat
from torch import nn

import sepiola
from sepiola.data.batching import IGNORED, Batch
from sepiola.data.example import Example, Message, Question
from sepiola.data.metrics_log import read_metrics
from sepiola.datasets import DATASETS, Dataset
from sepiola.errors import SpecError
from sepiola.experiments.recipe_files import parse_recipe
from sepiola.experiments.run import Run
from sepiola.models.states import target_states
from sepiola.specs.base import override
from sepiola.specs.model import ModelSpec
from sepiola.specs.stage import ObjectiveSpec, StageSpec
from sepiola.training.loss import Loss
from sepiola.training.objectives import OBJECTIVES
from sepiola.training.objectives.language_modelling import LanguageModelling, PromptsSpec
from tests.tiny import QUIET, decoder

# ------------------------------------------------------------------------- a dataset in one file: what this part holds

WORDS = {"en": ("red", "blue", "Which comes after {}?"), "zh": ("红", "蓝", "{}后面是哪个？")}


def read_turns(
    root: Path | None, split: str, *, count: int = 10, languages: Sequence[str] = ("en", "zh")
) -> list[Example]:
    """Red comes after blue and blue after red, in two languages."""
    draw = random.Random(split)
    examples = []
    for number in range(count):
        language = languages[number % len(languages)]
        *colours, asked = WORDS[language]
        answer = draw.randrange(2)
        question = Question(asked.format(colours[1 - answer]), tuple(colours), answer, hint="")
        metadata = {"split": split, "language": language, "group": f"{split}-{number}"}
        messages = (Message("user", (question.text,)),)
        examples.append(Example(f"turn-{split}-{number}", messages, colours[answer], question, metadata))
    return examples


# ----------------------------------------------------------------------- an objective in one file: what this part holds


class FocalSpec(PromptsSpec):
    """Hard tokens weigh more, by `gamma`."""

    kind: Literal["focal"]
    gamma: PositiveFloat = 2.0

    def check(self, model: ModelSpec, stage: StageSpec) -> None:
        super().check(model, stage)
        if stage.packed:
            raise ValueError(f"'{stage.name}': focal reads one example a row; set packed: false")


class Focal(LanguageModelling):
    """The focal loss of each token (arXiv 1708.02002)."""

    spec: ClassVar[type[ObjectiveSpec]] = FocalSpec

    def loss(self, model: Any, batch: Batch) -> Loss:
        assert isinstance(self.stage.objective, FocalSpec)
        logits = model.head(target_states(model, batch)).float()[batch.labels != IGNORED]
        nats = nn.functional.cross_entropy(logits, batch.labels[batch.labels != IGNORED], reduction="none")
        return Loss((nats * (1 - torch.exp(-nats)) ** self.stage.objective.gamma).sum(), batch.labelled)


RECIPE: dict[str, Any] = {
    "name": "turns",
    "model": {"language": decoder(300, 32, hidden=48)},
    "tokenizer": {"vocabulary": 300},
    "stages": [
        {
            "name": "answer",
            "data": {"reader": "turns", "count": 64},
            "validation": {"reader": "turns", "split": "val", "count": 16},
            "objective": {"kind": "focal", "format": "QCM-A", "gamma": 1.0},
            "steps": 40,
            "validate_every": 20,
            "batch": 16,
            "optimizer": {"learning_rate": 5e-3},
            "precision": "float32",
        }
    ],
    "strategy": {"answer": "answer", "by": "score"},
}


@pytest.fixture(autouse=True)
def lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """The line in each dict."""
    monkeypatch.setitem(DATASETS, "turns", Dataset(read_turns, drawn=True))
    monkeypatch.setitem(OBJECTIVES, "focal", Focal)


def test_a_recipe_trains_with_them(tmp_path: Path) -> None:
    Run(parse_recipe(RECIPE), tmp_path / "run", console=QUIET).go()
    losses = [line["loss"] for line in read_metrics(tmp_path / "run" / "metrics.jsonl")[1:]]
    assert losses[-1] < 0.7 * losses[0]
    model, examples = sepiola.load(tmp_path / "run"), read_turns(None, "test", count=20)
    assert all(answer.choice in (0, 1) for answer in model.answer(examples))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("stages.0.objective.gamme=2", "stages[0].objective.gamme: unknown key; did you mean 'gamma'?"),
        ("stages.0.objective.gamma=-1", "stages[0].objective.gamma: input should be greater than 0"),
        ("stages.0.objective.kind=foca", "no objective is named 'foca'; did you mean 'focal'?"),
        ("stages.0.packed=true", "'answer': focal reads one example a row"),
    ],
)
def test_their_keys_are_checked_as_any(change: str, message: str) -> None:
    with pytest.raises(SpecError) as error:
        parse_recipe(override(RECIPE, [change]))
    assert message in str(error.value)


def test_a_bare_name_is_short_for_it() -> None:
    (stage,) = parse_recipe(override(RECIPE, ["stages.0.objective=focal", "strategy=null"])).stages
    assert stage.objective == FocalSpec(kind="focal")
