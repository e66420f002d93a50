"""The model that comes along: the one of `sepiola demo` at 8 bits, trained on Tidepool alone, and ten questions.

They are the first ten of Tidepool's test split, pictures and all, in English and Chinese; the model has seen none.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sepiola_edge.asking import Answer
from sepiola_edge.model import Model

FOLDER = Path(__file__).with_name("demo")
MODEL = FOLDER / "model"


@dataclass(frozen=True)
class Asked:
    """A question with its picture, the right answer, what the model says, and the seconds that it took."""

    question: str
    choices: tuple[str, ...]
    image: str
    right: str
    said: Answer
    seconds: float


def asked() -> Iterator[Asked]:
    """The model's answers, one after the other."""
    model = Model.load(MODEL)
    for one in json.loads((FOLDER / "questions.json").read_text(encoding="utf-8")):
        began = time.perf_counter()
        image, choices = FOLDER / one["image"], tuple(one["choices"])
        said = model.ask(one["question"], image=image, choices=choices, hint=one["hint"])
        right = choices[one["answer"]]
        yield Asked(one["question"], choices, str(image), right, said, time.perf_counter() - began)
