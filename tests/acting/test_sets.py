"""Functions of a set, and of a person's own file."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import pytest

from sepiola.acting.phone import android, functions
from sepiola.acting.sets import as_taught, functions_named, set_of, taught
from sepiola.calling.calls import read, write
from sepiola.calling.functions import Call
from sepiola.data.example import Example, Message
from sepiola.errors import SpecError

FILE = '''
import sepiola

@sepiola.function
def feed(pet: str) -> str:
    """Feeds a pet."""
    return pet

def helper() -> None:
    """No function of the agent's."""

@sepiola.function
def walk(pet: str, minutes: int = 10) -> str:
    """Walks a pet."""
    return pet
'''

LATER = '''
from __future__ import annotations
import datetime as dt
from dataclasses import dataclass
import sepiola
from pydantic import BaseModel
from typing import Optional

@dataclass
class Point:
    x: float
    until: Until
    y: Optional[float] = None

class Until(BaseModel):
    day: dt.date

@sepiola.function
def go(to: Point) -> None:
    """去一个地方。"""
'''


def test_a_file_gives_its_functions_in_their_order(tmp_path: Path) -> None:
    (tmp_path / "pets.py").write_text(FILE)
    assert [f.name for f in functions_named(tmp_path / "pets.py")] == ["feed", "walk"]
    assert functions_named("phone") == functions()


def test_annotations_may_be_read_later(tmp_path: Path) -> None:
    """`from __future__ import annotations`: dataclasses and pydantic then look into the module of the file."""
    file = tmp_path / "家 里.py"
    file.write_text(LATER, encoding="utf-8")
    for _ in range(2):  # a file may have changed, and is run anew
        (go,) = functions_named(file)
        values = go.check({"to": {"x": 1.0, "until": {"day": "2024-05-01"}}})
        assert values["to"].until.day == datetime.date(2024, 5, 1) and values["to"].y is None


@pytest.mark.parametrize(
    ("text", "said"),
    [("1 / 0", "running it raised ZeroDivisionError"), ("x = 1", "no function"), ("def (", "raised SyntaxError")],
)
def test_files_that_give_none(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "bad.py").write_text(text)
    with pytest.raises(SpecError, match=said):
        functions_named(tmp_path / "bad.py")


def test_what_is_no_set(tmp_path: Path) -> None:
    for name in ("phon", "missing.py", str(tmp_path)):
        with pytest.raises(SpecError, match="no Python file that is there, and no set"):
            functions_named(name)


def test_a_model_knows_which_set_it_was_taught(tmp_path: Path) -> None:
    assert set_of(taught(functions())) == functions()
    with pytest.raises(SpecError, match="no functions"):
        set_of(None)
    (tmp_path / "pets.py").write_text(FILE)
    pets = functions_named(tmp_path / "pets.py")
    with pytest.raises(SpecError, match="feed, walk"):
        set_of(taught(pets))
    mixed = [*functions(), pets[0], android.functions()[2]]
    assert set_of(taught(mixed), [pets[0]]) == mixed
    with pytest.raises(SpecError, match="not taught 'walk'"):
        set_of(taught(mixed), pets)


def test_what_a_model_was_taught_can_be_named(tmp_path: Path) -> None:
    """With the phrasings by which more requests are made."""
    (tmp_path / "pets.py").write_text(
        FILE.replace("Feeds a pet.", "Feeds a pet.\n\n    Examples:\n        feed {pet}\n    ")
    )
    pets = functions_named(tmp_path / "pets.py")
    (tmp_path / "functions.json").write_text(json.dumps(taught(pets)))
    named = functions_named(tmp_path / "functions.json")
    assert [(f.name, f.signature, f.examples) for f in named] == [(f.name, f.signature, f.examples) for f in pets]
    assert named[0].examples == ("feed {pet}",)


def test_what_was_taught_is_enough_to_write_and_read_calls() -> None:
    known = as_taught(taught(functions()))
    assert [f.signature for f in known] == [f.signature for f in functions()]
    call = Call("amazon_shopping", {"product": "灯", "quantity": 3})
    assert write([call], known) == write([call], functions())
    assert read(write([call], known), known) == [call]
    with pytest.raises(SpecError, match="is not here"):
        known[0]()


def test_what_is_copied_stays_so_when_more_is_learned(tmp_path: Path) -> None:
    """Few requests, all of them spans, may not narrow what the earlier ones have left open."""
    (tmp_path / "pets.py").write_text(FILE)
    pets = functions_named(tmp_path / "pets.py")
    asked = (Message("user", ("feed Rex",)),)
    spans, others = (
        [Example("1", asked, "", metadata={"calls": [{"name": "feed", "arguments": {"pet": pet}}]})]
        for pet in ("Rex", "the dog")
    )
    assert [entry["copied"] for entry in taught(pets, spans)] == [["pet"], []]
    earlier = as_taught(taught(pets, others))
    assert [entry["copied"] for entry in taught(earlier, spans)] == [[], []]
    assert [entry["copied"] for entry in taught(as_taught(taught(pets, spans)), others)] == [["pet"], []]
