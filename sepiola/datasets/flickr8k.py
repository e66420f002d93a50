"""Flickr8k (Hodosh et al., 2013) with Flickr8k-CN (Li et al., 2016): photographs, five captions in each language.

The English captions are the published ones, but for the spaces that their tokenization put before punctuation. The
Chinese ones are those that people wrote at the sight of the photograph (`flickr8kzhc`); the machine translations
(`zhb`, `zhg`) and the translated test captions (`zhmtest`) are not read. The official lists of 6,000, 1,000 and 1,000
photographs make the splits; 91 of the 8,091 stand in none. A folder may hold fewer photographs than the lists name.
"""

from __future__ import annotations

import csv
import logging
import re
from pathlib import Path

from sepiola.data.example import Example
from sepiola.data.image import ImageRef
from sepiola.datasets.captions import Captioned, caption_examples
from sepiola.datasets.records import existing_folder, one_of, read_file, read_lines
from sepiola.errors import DataError, shown
from sepiola.specs.values import Names

log = logging.getLogger(__name__)

SPLITS = ["train", "dev", "test"]
_SPACED = re.compile(r"\s+(?=[.,!?;:])")
_CHINESE_LINE = re.compile(r"(\S+)#zhc#\d+\s+(\S.*)")


def read_flickr8k(root: Path, split: str, *, task: str = "captions", languages: Names = ("en", "zh")) -> list[Example]:
    """Reads `<root>/captions.txt`, `zh/flickr8kzhc.caption.txt`, `Flickr_8k.<split>Images.txt` and `images/`.

    `task: captions` is of the photographs at hand, and how many are not is logged; `text` is the captions of the whole
    split without photographs. Raises DataError for a photograph in two lists or without a caption, and for damaged
    lines.
    """
    root = existing_folder(root, "Flickr8k (captions.txt, zh/, Flickr_8k.*Images.txt, images/)")
    one_of(split, SPLITS, "Flickr8k")
    lists = {name: read_lines(root / f"Flickr_8k.{name}Images.txt") for name in SPLITS}
    named = [image for images in lists.values() for image in images]
    if len(set(named)) != len(named):
        twice = next(image for image in named if named.count(image) > 1)
        raise DataError(f"{root}: the photograph {twice} stands in the image lists more than once")
    readers = {"en": _english, "zh": _chinese}
    captions = {language: readers[language](root) for language in languages if language in readers}
    folder = existing_folder(root / "images", "Flickr8k's images")
    at_hand = {path.name: ImageRef(path=path) for path in folder.iterdir()}
    pictures = []
    for image in lists[split]:
        for language, by_image in captions.items():
            if image not in by_image:
                raise DataError(f"{root}: the photograph {image} of the split '{split}' has no caption ({language})")
        texts = {language: by_image[image] for language, by_image in captions.items()}
        pictures.append(Captioned(Path(image).stem, split, at_hand.get(image), texts))
    missing = sum(picture.image is None for picture in pictures)
    if missing and task == "captions":
        log.warning("%s: %d of the %d photographs of '%s' are not at hand", root, missing, len(pictures), split)
    return caption_examples(pictures, "Flickr8k", task, languages, training=split == "train")


def _english(root: Path) -> dict[str, list[str]]:
    source = root / "captions.txt"
    captions: dict[str, list[str]] = {}
    try:
        rows = list(csv.reader(read_file(source).splitlines(), strict=True))
    except csv.Error as error:
        raise DataError(f"{source}: damaged CSV: {error}") from None
    if not rows or rows[0] != ["image", "caption"]:
        raise DataError(f"{source}: expected the columns image, caption; found {rows[0] if rows else 'nothing'}")
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != 2 or not all(cell.strip() for cell in row):
            raise DataError(f"{source}: line {number}: {shown(row)}; expected an image and its caption")
        captions.setdefault(row[0], []).append(_SPACED.sub("", row[1].strip()))
    return captions


def _chinese(root: Path) -> dict[str, list[str]]:
    source = root / "zh" / "flickr8kzhc.caption.txt"
    captions: dict[str, list[str]] = {}
    for number, line in enumerate(read_lines(source), start=1):
        match = _CHINESE_LINE.fullmatch(line)
        if match is None:
            raise DataError(f"{source}: line {number}: {shown(line)}; expected image#zhc#number and a caption")
        captions.setdefault(match[1], []).append(match[2].strip())
    return captions
