"""DAQUAR: split by photograph, the faults it names, and the real one."""

from __future__ import annotations

from pathlib import Path

import pytest

from sepiola.datasets import read
from tests.tiny import picture_file, read_fault


def daquar(root: Path, table: str) -> Path:
    for name, image in (("train", "image1"), ("test", "image2")):
        (root / f"{name}_images_list.txt").write_text(f"{image}\n\n", encoding="utf-8")
    picture_file(root / "images" / "image1.png")
    picture_file(root / "images" / "image2.jpg")
    (root / "data.csv").write_text(table, encoding="utf-8")
    return root


def test_daquar_is_split_by_photograph(tmp_path: Path) -> None:
    table = 'question,answer,image_id\nwhat is it,"table, chair",image1\nwhat colour,red,image2\n'
    daquar(tmp_path, table)
    (train,), (test,) = read("daquar", tmp_path, "train"), read("daquar", tmp_path, "test")
    assert train.question is not None and train.question.answer_text == "table, chair"
    assert train.question.choices == () and train.target == "table, chair"
    assert train.metadata["group"] == "image1" and test.metadata["group"] == "image2"
    assert test.images[0].open().size == (4, 4)


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ("question,answer\nwhat,red\n", "expected the columns question, answer, image_id"),
        ("question,answer,image_id\nwhat,,image1\n", "the column 'answer' is empty"),
        ("question,answer,image_id\nwhat,red,image9\n", "'image9' is in neither"),
        ('question,answer,image_id\nwhat,"red,image1\n', "damaged CSV"),
    ],
)
def test_daquar_faults(tmp_path: Path, table: str, expected: str) -> None:
    assert expected in read_fault("daquar", daquar(tmp_path, table), "train")


def test_daquar_refuses_lists_that_share_a_photograph_and_absent_images(tmp_path: Path) -> None:
    daquar(tmp_path, "question,answer,image_id\nwhat,red,image1\n")
    (tmp_path / "images" / "image1.png").unlink()
    assert "image1 is missing" in read_fault("daquar", tmp_path, "train")
    (tmp_path / "test_images_list.txt").write_text("image1\n", encoding="utf-8")
    assert "1 images are in both image lists" in read_fault("daquar", tmp_path, "train")


def test_real_daquar_shares_no_photograph_between_its_splits(data_root: Path) -> None:
    train, test = (read("daquar", data_root / "daquar", split) for split in ("train", "test"))
    assert not {e.metadata["group"] for e in train} & {e.metadata["group"] for e in test}
    assert len({e.id for e in (*train, *test)}) == len(train) + len(test) > 10_000
    assert test[0].images[0].open().width > 8
