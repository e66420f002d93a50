"""ScienceQA in each of its layouts, each fault it names, and the real one."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any

import pytest

from sepiola.data.image import ImageRef
from sepiola.datasets import read
from tests.datasets.folders import problem, problems
from tests.tiny import picture_file, read_fault


@pytest.mark.parametrize("home", ["", "images"])
def test_official_layout_keeps_the_choice_images_after_the_question_image(tmp_path: Path, home: str) -> None:
    folder = tmp_path / home / "train" / "7"
    for name in ("choice_10.png", "choice_9.png", "choice_0.png", "image.png"):
        picture_file(folder / name)
    problems(tmp_path, {"7": problem(image="image.png"), "8": problem()})
    with_image, without = read("scienceqa", tmp_path, "train")
    names = [image.path.name for image in with_image.images if image.path]
    assert names == ["image.png", "choice_0.png", "choice_9.png", "choice_10.png"]
    assert with_image.images[0].open().size == (4, 4)
    assert without.images == () and without.metadata["has_image"] is False
    assert with_image.question is not None
    assert with_image.question.lecture is None and with_image.question.hint == ""
    assert with_image.target == "iron" and with_image.prompt == "Which is a\nmagnet?"


def test_official_layout_without_any_image_folder_reads_the_text(tmp_path: Path) -> None:
    (example,) = read("scienceqa", problems(tmp_path, {"7": problem(image="image.png")}), "train")
    assert example.metadata["has_image"] is True and example.metadata["image_available"] is False


def test_flat_layout_tells_an_absent_image_from_none(tmp_path: Path) -> None:
    picture_file(tmp_path / "images" / "1.webp")
    records = {
        "1": problem(image="image.png", image_file="images/1.webp"),
        "2": problem(image="image.png", image_file=None),
        "3": problem(image_file=None),
    }
    examples = read("scienceqa", problems(tmp_path, records), "train")
    told = [(e.metadata["has_image"], e.metadata["image_available"], len(e.images)) for e in examples]
    assert told == [(True, True, 1), (True, False, 0), (False, False, 0)]
    assert [e.id for e in read("scienceqa", tmp_path, "train", with_image=True)] == ["1"]
    assert [e.id for e in read("scienceqa", tmp_path, "train", with_image=False)] == ["2", "3"]


def test_questions_whose_solution_is_known_and_others(tmp_path: Path) -> None:
    records = {
        "1": problem(solution="Iron is.", lecture=None),
        "2": problem(solution="", lecture="Metals."),
        "3": problem(solution="", lecture=""),
        "4": problem(solution=None, lecture=None),
    }
    problems(tmp_path, records)
    assert [e.id for e in read("scienceqa", tmp_path, "train", with_solution=True)] == ["1", "2"]
    assert [e.id for e in read("scienceqa", tmp_path, "train", with_solution=False)] == ["3", "4"]
    assert read("scienceqa", tmp_path, "train", with_solution=True, with_image=True) == []


def test_absent_problems_are_counted_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    problems(tmp_path, {"1": problem(split="val")}, minival=["1", "2", "3"], test=["9"])
    with caplog.at_level(logging.WARNING):
        (example,) = read("scienceqa", tmp_path, "minival")
    assert "2 of the 3 problems of 'minival' are absent" in caplog.text
    assert example.metadata["split"] == "val"
    assert "holds none of the 1 problems of 'test'" in read_fault("scienceqa", tmp_path, "test")
    assert "it holds minival, test" in read_fault("scienceqa", tmp_path, "train")


def test_group_ignores_case_spacing_and_the_order_of_options(tmp_path: Path) -> None:
    records = {
        "1": problem(),
        "2": problem(question="which is a  MAGNET?", choices=["Iron", "wood", "glass"], answer=0),
        "3": problem(question="Which is not a magnet?"),
    }
    groups = [e.metadata["group"] for e in read("scienceqa", problems(tmp_path, records), "train")]
    assert groups[0] == groups[1] != groups[2]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"answer": 3}, "'answer' is 3; expected 0 to 2"),
        ({"answer": -1}, "'answer' is -1"),
        ({"answer": True}, "'answer' is True; expected int"),
        ({"answer": None}, "'answer' is None; expected int"),
        ({"question": None}, "'question' is None; expected str"),
        ({"choices": []}, "'choices' is []"),
        ({"choices": ["a", 2, "c"]}, "expected a list of texts"),
        ({"hint": 5}, "'hint' is 5; expected str or null"),
        ({"image": 5}, "'image' is 5"),
    ],
)
def test_a_faulty_problem_is_named(tmp_path: Path, changes: dict[str, Any], expected: str) -> None:
    message = read_fault("scienceqa", problems(tmp_path, {"41": problem(**changes)}), "train")
    assert expected in message and "problem 41" in message and "problems.json" in message


@pytest.mark.parametrize("key", ["question", "choices", "answer", "hint", "image", "grade", "solution"])
def test_a_missing_field_is_named(tmp_path: Path, key: str) -> None:
    record = problem()
    del record[key]
    message = read_fault("scienceqa", problems(tmp_path, {"41": record}), "train")
    assert f"problem 41: the field '{key}' is missing" in message


def hub(root: Path, name: str, rows: list[dict[str, Any]], shard: str = "00000-of-00001") -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = root / "data" / f"{name}-{shard}-0123456789abcdef.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    texts = [
        "question",
        "hint",
        "task",
        "grade",
        "subject",
        "topic",
        "category",
        "skill",
        "lecture",
        "solution",
    ]
    fields = [("image", image), ("choices", pa.list_(pa.string())), ("answer", pa.int8())]
    schema = pa.schema([*fields, *((key, pa.string()) for key in texts)])
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)
    return path


def test_hub_layout(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    png = picture_file(tmp_path / "red.png").read_bytes()
    image = {"bytes": png, "path": "image.png"}
    hub(tmp_path, "train", [problem(image=image), problem(lecture="")], "00000-of-00002")
    assert "found 1 files train-*.parquet, expected 2" in read_fault("scienceqa", tmp_path, "train")
    hub(tmp_path, "train", [problem()], "00001-of-00002")
    path = hub(tmp_path, "validation", [problem(question="What?")])
    examples = read("scienceqa", tmp_path, "trainval")
    assert [e.id for e in examples] == ["train-0", "train-1", "train-2", "val-0"]
    assert [e.metadata["split"] for e in examples] == ["train", "train", "train", "val"]
    assert examples[0].images == (ImageRef(data=png),) and examples[0].images[0].open().size == (4, 4)
    assert examples[1].question is not None and examples[1].question.lecture == ""
    assert examples[0].question is not None and examples[0].question.lecture is None
    assert examples[3].metadata["has_image"] is False
    assert "have no problem ids" in read_fault("scienceqa", tmp_path, "minival")
    assert "found 0 files test-*.parquet" in read_fault("scienceqa", tmp_path, "test")
    hub(tmp_path, "validation", [problem(), problem(answer=3)])
    assert "row 1 of val: 'answer' is 3" in read_fault("scienceqa", tmp_path, "val")
    path.write_bytes(path.read_bytes()[:100])
    assert "damaged parquet file" in read_fault("scienceqa", tmp_path, "val")


def test_hub_layout_without_pyarrow_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "train-00000-of-00001.parquet").touch()
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert "needs pyarrow; run: pip install 'sepiola[train]'" in read_fault("scienceqa", tmp_path, "train")


def test_hub_and_problems_give_the_same_question(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    hub(tmp_path / "hub", "train", [problem()])
    (theirs,) = read("scienceqa", tmp_path / "hub", "train")
    (ours,) = read("scienceqa", problems(tmp_path / "json", {"1": problem()}), "train")
    assert theirs.question == ours.question and dict(theirs.metadata) == dict(ours.metadata)


def test_real_scienceqa(data_root: Path) -> None:
    root = data_root / "scienceqa"
    examples = {split: read("scienceqa", root, split) for split in ("train", "val", "minitest")}
    raw = json.loads((root / "problems.json").read_text(encoding="utf-8"))
    for split, rows in examples.items():
        assert len({e.id for e in rows}) == len(rows)
        for example in rows:
            record, question = raw[example.id], example.question
            assert question is not None and example.target == record["choices"][record["answer"]]
            assert [question.hint, question.lecture, question.solution] == [
                record["hint"], record["lecture"], record["solution"],
            ]  # fmt: skip
            assert example.metadata["has_image"] == bool(record["image"])
            assert example.metadata["image_available"] == bool(record["image_file"])
            assert example.metadata["subject"] == record["subject"], split
    absent = [e for e in examples["val"] if e.metadata["has_image"] and not e.metadata["image_available"]]
    assert absent and all(not e.images for e in absent)
    assert read("scienceqa", root, "train", with_image=True)[0].images[0].open().width > 8


def test_a_picture_that_is_not_there_is_named_to_who_looks_at_it(tmp_path: Path) -> None:
    gone = {"1": problem(image="image.png", image_file="gone.webp"), "2": problem()}
    folder = problems(tmp_path, gone)
    message = read_fault("scienceqa", folder, "train")
    assert "example '1'" in message and "gone.webp is missing" in message
    first, second = read("scienceqa", folder, "train", look=False)
    assert first.images and first.metadata["has_image"] and not second.images
