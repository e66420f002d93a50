"""The kind of rationales that each skill takes, by its questions on validation data."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from sepiola.curation.mixing import Taught, mix
from sepiola.data.example import Example
from sepiola.errors import DataError
from tests.tiny import question_example

SKILLS = {"a": "Maps", "b": "Maps", "c": "Maps", "d": "Food", "e": "Food", "f": "Rocks", "g": None}


def validation() -> list[Example]:
    examples = [question_example(name, "Which?", ("x", "y"), 0) for name in SKILLS]
    return [dataclasses.replace(e, metadata={"language": "en", "skill": SKILLS[e.id]}) for e in examples]


def taught(folder: Path, kind: str, right: str, skills: Mapping[str, str | None]) -> Taught:
    """Rationales for questions of these skills, and a student who answers the validation questions in `right`."""
    rationales, answers = folder / f"{kind}.jsonl", folder / f"answers-{kind}.jsonl"
    records = [{"id": i, "kind": kind, "skill": s, "lecture": "", "solution": f"{kind} {i}"} for i, s in skills.items()]
    said = [{"id": i, "output": "", "choice": 0 if i in right else 1} for i in SKILLS]
    for path, each in ((rationales, records), (answers, said)):
        path.write_text("".join(json.dumps(line) + "\n" for line in each), encoding="utf-8")
    return Taught(rationales, answers)


def test_each_skill_takes_the_kind_whose_student_is_right_more_often(tmp_path: Path) -> None:
    questions = {"1": "Maps", "2": "Food", "3": "Rocks", "4": "Bees", "5": None, "6": "Maps"}
    cot = taught(tmp_path, "cot", "abdf", questions)
    plan = taught(tmp_path, "plan", "adefg", {k: v for k, v in questions.items() if k != "2"})
    found = mix(validation(), [cot, plan], tmp_path / "mixed.jsonl")
    assert found["right"] == {"cot": 4, "plan": 5} and found["otherwise"] == "plan"
    assert found["skills"]["Maps"] == {"kind": "cot", "questions": 3, "right": {"cot": 2, "plan": 1}}
    assert found["skills"]["Food"]["kind"] == "plan"
    assert found["skills"]["Rocks"]["kind"] == "plan", "equal there, and plan is better over all"
    lines = [json.loads(line) for line in (tmp_path / "mixed.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {line["id"]: line["solution"] for line in lines} == {
        "1": "cot 1",
        "2": "cot 2",
        "3": "plan 3",
        "4": "plan 4",
        "5": "plan 5",
        "6": "cot 6",
    }, "question 2 has no plan, and a skill that was not validated takes the better kind"
    assert found["kept"] == {"cot": 3, "plan": 3}


def test_kinds_that_are_equal_throughout_leave_the_first(tmp_path: Path) -> None:
    pair = [taught(tmp_path, kind, "ab", {"1": "Maps", "2": "Bees"}) for kind in ("plan", "cot")]
    found = mix(validation(), pair, tmp_path / "mixed.jsonl")
    assert found["otherwise"] == "plan" and found["kept"] == {"plan": 2, "cot": 0}


def test_answers_to_other_questions_and_files_that_are_there_are_refused(tmp_path: Path) -> None:
    cot, plan = (taught(tmp_path, kind, "a", {"1": "Maps"}) for kind in ("cot", "plan"))
    with pytest.raises(DataError, match=r"answers to 7 questions, which are not the 6 that are chosen by"):
        mix(validation()[1:], [cot, plan], tmp_path / "mixed.jsonl")
    with pytest.raises(DataError, match="kinds go by the names of their files; got cot, cot"):
        mix(validation(), [cot, cot], tmp_path / "mixed.jsonl")
    (tmp_path / "there.jsonl").touch()
    with pytest.raises(DataError, match=r"there.jsonl is there already"):
        mix(validation(), [cot, plan], tmp_path / "there.jsonl")
