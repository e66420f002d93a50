"""The model that comes along with the edge runtime: what it is asked, and that it answers."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence

import pytest

from sepiola.data.example import Example
from sepiola.datasets import read as read_dataset

pytest.importorskip("sepiola_edge._native", reason="the native core is not built: pip install ./edge")
import sepiola_edge
from sepiola_edge.demonstration import FOLDER, MODEL


@pytest.fixture(scope="module")
def held_out() -> Sequence[Example]:
    return read_dataset("tidepool", None, "test", count=180, size=64)


def test_it_is_asked_the_first_questions_of_the_test_split(held_out: Sequence[Example]) -> None:
    shown = json.loads((FOLDER / "questions.json").read_text(encoding="utf-8"))
    assert len(shown) == 10
    for one, example in zip(shown, held_out, strict=False):
        question = example.question
        assert question is not None
        assert (one["question"], tuple(one["choices"]), one["answer"]) == (
            question.text,
            question.choices,
            question.answer,
        )
        assert one["hint"] == question.hint and (FOLDER / one["image"]).read_bytes() == example.images[0].encoded


def test_it_answers_what_it_has_never_seen(held_out: Sequence[Example]) -> None:
    model = sepiola_edge.load(MODEL)
    right = 0
    for example in held_out:
        question = example.question
        assert question is not None
        said = model.ask(question.text, image=example.images[0].open(), choices=question.choices, hint=question.hint)
        right += said.choice == question.answer
    assert right / len(held_out) > 0.8


def test_the_command_shows_it_without_torch() -> None:
    code = "import sys; sys.modules['torch'] = None; sys.argv = ['edge', 'demo', '--json']; import runpy; "
    code += "runpy.run_module('sepiola_edge', run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    lines = json.loads(done.stdout)
    assert len(lines) == 10 and sum(line["said"]["answer"] == line["right"] for line in lines) >= 8
    assert {any(ord(c) > 0x3000 for c in line["said"]["rationale"]) for line in lines} == {True, False}


def test_a_prompt_is_needed_for_any_other_folder() -> None:
    done = subprocess.run([sys.executable, "-m", "sepiola_edge", "folder"], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "a question or a message is needed" in done.stderr
