"""Pictures with captions as Examples: what the readers of captioned photographs share.

To train, each caption is an Example of its own. To evaluate, a picture is one Example in each language: its target is
the first caption, and `references` in its metadata holds them all, in training too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from sepiola.data.example import Content, Example, Message
from sepiola.data.image import ImageRef
from sepiola.errors import DataError
from sepiola.specs.base import Plain

REQUEST = {"en": "Describe the photo.", "zh": "描述这张照片。"}
TASKS = ("captions", "text")


@dataclass(frozen=True)
class Captioned:
    """A picture (None where it is not at hand) with its captions by language; `group` is its name in the dataset."""

    group: str
    split: str
    image: ImageRef | None
    captions: Mapping[str, Sequence[str]]
    metadata: Plain = field(default_factory=dict)


def caption_examples(
    pictures: Iterable[Captioned], dataset: str, task: str, languages: Sequence[str], *, training: bool
) -> list[Example]:
    """The Examples of some pictures, picture by picture.

    `task: captions` is of the pictures at hand; `text` is the captions of all, asked for without a picture, to model
    language. Raises DataError for another task, for a language that the dataset lacks and when nothing is left.
    """
    if task not in TASKS:
        raise DataError(f"{dataset} has no task '{task}'; known: {', '.join(TASKS)}")
    if isinstance(languages, str) or not languages or not set(languages) <= set(REQUEST):
        raise DataError(f"{dataset}: languages: expected a list of {', '.join(REQUEST)}; got {languages!r}")
    with_images = task == "captions"
    examples = [
        example
        for picture in pictures
        if picture.image is not None or not with_images
        for language in languages
        for example in _examples(picture, language, with_images=with_images, one_each=not training and with_images)
    ]
    if not examples:
        raise DataError(f"{dataset}: no picture of this split is at hand with a caption ({', '.join(languages)})")
    return examples


def _examples(picture: Captioned, language: str, *, with_images: bool, one_each: bool) -> Iterator[Example]:
    captions = list(picture.captions.get(language, ()))
    shown: tuple[Content, ...] = (picture.image,) if with_images and picture.image is not None else ()
    message = Message("user", (*shown, REQUEST[language]))
    metadata = {
        **picture.metadata,
        "split": picture.split,
        "language": language,
        "group": picture.group,
        "references": captions,
    }
    for number, caption in enumerate(captions[:1] if one_each else captions):
        place = language if one_each else f"{language}-{number}"
        name = f"{picture.group}-{place}" if with_images else f"{picture.group}-text-{place}"
        yield Example(name, (message,), caption, metadata=metadata)
