"""A few hundred photographs of MS-COCO 2017 (Lin et al., 2014) with five English captions, and boxes around objects.

`captions.jsonl` holds a photograph a line: `id`, `image` (a path from the folder), `split` (COCO's own: `train` or
`val`), `captions` and `objects`, each [name, [x, y, width, height]]. Its sources had captions or boxes or both, so an
empty list means that they are not known: such a photograph asks for no caption, or tells no objects.
`captions_val2017_text.jsonl` holds the captions of all of val2017, without photographs.
"""

from __future__ import annotations

import math
from pathlib import Path

from sepiola.data.example import Example
from sepiola.data.image import ImageRef
from sepiola.datasets.captions import Captioned, caption_examples
from sepiola.datasets.records import existing_folder, field, json_lines, one_of
from sepiola.errors import DataError, brief, shown
from sepiola.specs.base import Plain

SPLITS = ["train", "val"]


def read_coco_mini(root: Path, split: str, *, task: str = "captions") -> list[Example]:
    """Reads `<root>/captions.jsonl` and the photographs that it names.

    `task: text`, of the split `train` alone, is the captions of the photographs of val2017 that are not among those
    with a picture, to model language. Metadata holds `objects` (each with its `kind`) where they are known. Raises
    DataError for a damaged record, an id that stands twice, or a photograph that is not there.
    """
    if task == "text":
        one_of(split, SPLITS[:1], "coco_mini's text")
        pictures = _texts(existing_folder(root, "coco_mini"))
    else:
        pictures = coco_pictures(root, split)
    return caption_examples(pictures, "coco_mini", task, ("en",), training=split == "train")


def coco_pictures(root: Path, split: str) -> list[Captioned]:
    """The photographs of a split, also those without captions. Raises as `read_coco_mini`."""
    root = existing_folder(root, "coco_mini (captions.jsonl, images/)")
    one_of(split, SPLITS, "coco_mini")
    return [_picture(root, record, where) for record, where in _records(root) if record["split"] == split]


def _records(root: Path) -> list[tuple[Plain, str]]:
    """The records of the photographs, and where each stands."""
    source = root / "captions.jsonl"
    records = _json_lines(source)
    ids: set[int] = set()
    for record, where in records:
        one_of(field(record, "split", (str,), where), SPLITS, where)
        if record["id"] in ids:
            raise DataError(f"{where}: the id {record['id']} stands in the file before")
        ids.add(record["id"])
    return records


def _picture(root: Path, record: Plain, where: str) -> Captioned:
    name = Path(field(record, "image", (str,), where))
    if name.is_absolute() or ".." in name.parts:
        raise DataError(f"{where}: the image {brief(str(name))} is not in the folder; expected a path from {root}")
    path = root / name
    boxes = field(record, "objects", (list,), where)
    if not all(map(_is_object, boxes)):
        raise DataError(f"{where}: 'objects' are {shown(boxes)}; expected a list of [name, [x, y, width, height]]")
    objects = {"objects": [{"kind": name} for name, _ in boxes]} if boxes else {}
    return Captioned(f"coco-{record['id']}", record["split"], ImageRef(path=path), {"en": record["captions"]}, objects)


def _is_object(entry: object) -> bool:
    """Whether it is a name and a box of four finite numbers."""
    match entry:
        case [str(), [*box]] if len(box) == 4:
            return all(isinstance(side, int | float) and math.isfinite(side) for side in box)
    return False


def _texts(root: Path) -> list[Captioned]:
    shown = {record["id"] for record, _ in _records(root)}
    return [
        Captioned(f"coco-{record['id']}", "train", None, {"en": record["captions"]})
        for record, _ in _json_lines(root / "captions_val2017_text.jsonl")
        if record["id"] not in shown
    ]


def _json_lines(source: Path) -> list[tuple[Plain, str]]:
    """The records of a file with `id` and `captions` checked and spaces around captions left out."""
    records = []
    for number, record in enumerate(json_lines(source, "id", "captions"), start=1):
        where = f"{source}: record {number}"
        field(record, "id", (int,), where)
        captions = field(record, "captions", (list,), where)
        if not all(isinstance(caption, str) and caption.strip() for caption in captions):
            raise DataError(f"{where}: 'captions' are {shown(captions)}; expected a list of texts")
        records.append(({**record, "captions": [" ".join(caption.split()) for caption in captions]}, where))
    return records
