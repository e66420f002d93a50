"""DAQUAR (Malinowski and Fritz, 2014): open questions on indoor photographs of NYU Depth v2.

The folder's `data_train.csv` and `data_eval.csv` split the questions at random: of the 1,129 photographs that
`data_eval.csv` asks about, 1,124 also stand in `data_train.csv`. They are therefore not read. `data.csv`
holds the same 12,468 rows, and the official lists `train_images_list.txt` (795 photographs, 6,795 questions)
and `test_images_list.txt` (654, 5,673) share no photograph: they make the split here. An answer with several
things ("table, chair") stays one string. 210 rows repeat another row word for word; they are kept, as
published.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path

from sepiola.data.example import Example, Message, Question
from sepiola.data.image import ImageRef
from sepiola.datasets.records import existing_folder, one_of, read_file, read_lines
from sepiola.errors import DataError, shown

SPLITS = ["train", "test"]


def read_daquar(root: Path, split: str) -> list[Example]:
    """Reads `<root>/data.csv`, `<root>/<split>_images_list.txt` and `<root>/images/<image id>.<any ending>`.

    Raises DataError for an absent column, an empty cell, and an image that is in neither or in both lists.
    """
    root = existing_folder(root, "DAQUAR (data.csv, *_images_list.txt, images/)")
    one_of(split, SPLITS, "DAQUAR")
    lists = {name: set(read_lines(root / f"{name}_images_list.txt")) for name in SPLITS}
    shared = sorted(lists["train"] & lists["test"])
    if shared:
        raise DataError(f"{root}: {len(shared)} images are in both image lists, among them {shared[0]}")
    folder = root / "images"
    paths = {path.stem: path for path in sorted(folder.iterdir())} if folder.is_dir() else {}
    source = root / "data.csv"
    examples = []
    for number, (text, answer, image) in enumerate(_rows(source), start=2):
        where = f"{source}: line {number}"
        if image not in lists["train"] and image not in lists["test"]:
            raise DataError(f"{where}: '{image}' is in neither train_images_list.txt nor test_images_list.txt")
        if image not in lists[split]:
            continue
        examples.append(
            Example(
                id=f"daquar-{number}",
                messages=(Message("user", (ImageRef(path=paths.get(image, folder / image)), text)),),
                target=answer,
                question=Question(text, answer_text=answer),
                metadata={"split": split, "language": "en", "group": image},
            )
        )
    return examples


def _rows(source: Path) -> list[tuple[str, str, str]]:
    columns = ("question", "answer", "image_id")
    try:
        reader = csv.DictReader(io.StringIO(read_file(source), newline=""), strict=True)
        if not set(columns) <= set(reader.fieldnames or ()):
            raise DataError(f"{source}: expected the columns {', '.join(columns)}; found {shown(reader.fieldnames)}")
        rows = list(reader)
    except csv.Error as error:
        raise DataError(f"{source}: damaged CSV: {error}") from None
    result = []
    for number, row in enumerate(rows, start=2):
        question, answer, image = ((row[column] or "").strip() for column in columns)
        for column, cell in zip(columns, (question, answer, image), strict=True):
            if not cell:
                raise DataError(f"{source}: line {number}: the column '{column}' is empty")
        result.append((question, answer, image))
    return result
