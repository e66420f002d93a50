"""A toy of preferences: a prompt names a digit, and the nearer a reply's digit is, the better it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import sepiola
from sepiola.data.example import Example, Message
from sepiola.data.preferences import Completion, preference
from sepiola.datasets import DATASETS, Dataset
from sepiola.specs.model import ModelSpec
from sepiola.text.encoding import IMAGE
from sepiola.text.tokenizer import Tokenizer
from sepiola.training.batches import ImageInputs
from sepiola.training.objectives import objective_of
from sepiola.training.objectives.preference import Preference
from sepiola.training.rankings import RankingBatch, RankingBatches
from tests import tiny
from tests.policies import BASE, EN, ZH
from tests.trainers import ExampleSetting, stage_of

READER = "digit-preferences"
COLOURS = ["red", "green", "blue", "yellow", "white"]


def ranking(number: int, name: str, *, replies: int = 3, picture: bool = False) -> Example:
    """Replies with that digit and others, the right one not first; those at the end are a tie."""
    said = [(number + step) % 10 for step in range(1, replies)] + [number]
    scores = [*(-float(min(step, 3)) for step in range(1, replies)), 0.0]
    colour = (tiny.colour_picture(COLOURS[number % 5], (64, 64)),) if picture else ()
    # Replies of other lengths: a longer one is no better.
    texts = [f"{digit}" if digit % 2 else f"{digit} {name}" for digit in said]
    corrected = [((0, 1),) if place < replies - 1 else () for place in range(replies)]
    completions = [Completion(*one) for one in zip(texts, scores, corrected, strict=True)]
    metadata = {"language": "en" if name.isascii() else "zh", "split": "train", "group": str(number)}
    return preference(f"{name}-{number}", [Message("user", (*colour, name))], completions, metadata)


def rankings(**options: Any) -> list[Example]:
    """One a digit and language."""
    pairs = [(n, name) for n, pair in enumerate(zip(EN, ZH, strict=True)) for name in pair]
    return [ranking(number, name, **options) for number, name in pairs]


def tokenizer() -> Tokenizer:
    """One that has every name and digit as a token."""
    return Tokenizer.train([*EN * 9, *(ZH * 9), *("0123456789" * 9)], 330, extra=[IMAGE])


def model(language: dict[str, Any], made: Tokenizer, seed: int = 0, **more: Any) -> tuple[Any, ModelSpec]:
    """A network of random weights for the tokenizer, and its spec."""
    spec = ModelSpec.parse({"language": {**language, "vocabulary": made.vocabulary}, **more})
    return sepiola.build(spec, seed=seed).network, spec


def objective(raw: dict[str, Any], spec: ModelSpec, made: Tokenizer, examples: Any = None, **stage: Any) -> Preference:
    """An objective over the toy's rankings, or others."""
    settings = {**BASE, "target_tokens": 8, **stage}
    learned = objective_of(stage_of(**settings, objective=raw), ExampleSetting(spec, made, examples or rankings()))
    assert isinstance(learned, Preference)
    return learned


def batches(learned: Preference, images: ImageInputs | None = None) -> RankingBatches:
    """Its batches."""
    return learned.batches(learned.stage.data, images or ImageInputs())


def all_of(learned: Preference) -> RankingBatch:
    """All its prompts in one batch, in their order."""
    made = batches(learned)
    return made.laid_out(range(len(made.samples)))


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> str:
    """The toy as a dataset that recipes may name."""

    def read(root: Path | None, split: str, *, pictures: bool = False, replies: int = 3) -> list[Example]:
        return rankings(picture=pictures, replies=replies)

    monkeypatch.setitem(DATASETS, READER, Dataset(read, drawn=True))
    return READER
