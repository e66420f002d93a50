"""easy-VQA (Zhou, 2019): coloured shapes on 64 x 64 pictures, and questions with one of 13 answers.

The benchmark is a classification over 13 answers, so they are every question's choices, in the order of
`answers.txt`. The pictures of `train` and `test` are different files with different bytes; both number them
from 0.
"""

from __future__ import annotations

from pathlib import Path

from sepiola.data.example import Example, Message, Question
from sepiola.data.image import ImageRef
from sepiola.datasets.records import existing_folder, field, one_of, read_json, read_lines
from sepiola.errors import DataError, shown

SPLITS = ["train", "test"]


def read_easy_vqa(root: Path, split: str) -> list[Example]:
    """Reads `<root>/answers.txt`, `<root>/<split>/questions.json` and `<root>/<split>/images/<number>.png`.

    Raises DataError for a row that is not [question, answer, image number], an answer that is not among the
    13, or an image that is not there.
    """
    root = existing_folder(root, "easy-VQA (answers.txt, train/, test/)")
    one_of(split, SPLITS, "easy-VQA")
    choices = tuple(read_lines(root / "answers.txt"))
    numbers = {answer: index for index, answer in enumerate(choices)}
    source = root / split / "questions.json"
    rows = read_json(source)
    if not isinstance(rows, list):
        raise DataError(f"{source}: expected a list of [question, answer, image number]")
    images: dict[int, ImageRef] = {}
    examples = []
    for index, row in enumerate(rows):
        where = f"{source}: row {index}"
        if not isinstance(row, list) or len(row) != 3:
            raise DataError(f"{where}: {shown(row)}; expected [question, answer, image number]")
        record = dict(zip(("question", "answer", "image"), row, strict=True))
        text = field(record, "question", (str,), where)
        answer = field(record, "answer", (str,), where)
        number = field(record, "image", (int,), where)
        if answer not in numbers:
            raise DataError(f"{where}: the answer '{answer}' is not in answers.txt ({', '.join(choices)})")
        if number not in images:
            images[number] = ImageRef(path=root / split / "images" / f"{number}.png")
        examples.append(
            Example(
                id=f"{split}-{index}",
                messages=(Message("user", (images[number], text)),),
                target=answer,
                question=Question(text, choices=choices, answer=numbers[answer]),
                metadata={"split": split, "language": "en", "group": f"{split}/{number}"},
            )
        )
    return examples
