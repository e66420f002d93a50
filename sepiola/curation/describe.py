"""The first two steps of MiniGPT-4's curation (arXiv 2304.10592, section 3.2): a model describes each picture, and goes
on in a second turn where it said little.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sepiola.api import Model
from sepiola.data.example import Example, Message
from sepiola.data.image import ImageRef
from sepiola.datasets.captions import REQUEST
from sepiola.errors import DataError, SepiolaError
from sepiola.specs.base import Plain

CONTINUE = {"en": "Continue", "zh": "继续"}


@dataclass(frozen=True)
class Picture:
    """A picture to describe in a language (`en`, `zh`); `group` is the picture's source in its dataset."""

    id: str
    image: ImageRef
    request: str
    language: str
    group: str | None


def items_of(examples: Iterable[Example]) -> list[Picture]:
    """Each picture once for each language and request; examples without exactly one picture are left out.

    A caption's request is kept, for the model may know it; a question gives way to a request for a description.
    Raises DataError when nothing is left.
    """
    pictures: dict[str, Picture] = {}
    for example in examples:
        if len(example.images) != 1:
            continue
        language = "zh" if example.metadata.get("language") == "zh" else "en"
        request = example.prompt if example.question is None else REQUEST[language]
        image, group = example.images[0], example.metadata.get("group")
        name = hashlib.sha256(f"{_identity(image)} {language} {request}".encode()).hexdigest()[:16]
        pictures.setdefault(name, Picture(name, image, request, language, None if group is None else str(group)))
    if not pictures:
        raise DataError("there is nothing to describe: the data has no example with one picture")
    return list(pictures.values())


def describe(model: Model, items: Sequence[Picture], *, tokens: int, continue_under: int) -> list[Plain]:
    """For each item its `id`, the `text`, whether it was `continued`, and whether the limit of `tokens` `cut` it.

    Texts of fewer than `continue_under` tokens are continued once. A picture that cannot be read has a `fault`. Raises
    SepiolaError for a model that sees nothing.
    """
    if model.spec.vision is None or (model.answering is not None and not model.answering.images):
        raise SepiolaError(f"'{model.spec.name}' sees no pictures; name a model with a vision encoder to describe them")
    faults = {item.id: _fault(item.image) for item in items}
    readable = [item for item in items if faults[item.id] is None]
    asked = [(Message("user", (item.image, item.request)),) for item in readable]
    said = dict(zip([item.id for item in readable], replies(model, asked, tokens), strict=True))
    short = [
        (item, turn)
        for item, turn in zip(readable, asked, strict=True)
        if _length(model, said[item.id][0]) < continue_under
    ]
    talks = [
        (*turn, Message("assistant", (said[item.id][0],)), Message("user", (CONTINUE[item.language],)))
        for item, turn in short
    ]
    more = dict(zip([item.id for item, _ in short], replies(model, talks, tokens), strict=True))
    records: list[Plain] = []
    for item in items:
        if faults[item.id] is not None:
            records.append({"id": item.id, "fault": faults[item.id]})
            continue
        text, cut = said[item.id]
        rest, rest_cut = more.get(item.id, ("", False))
        if rest:
            text, cut = text + ("" if item.language == "zh" else " ") + rest, rest_cut
        records.append({"id": item.id, "text": text.strip(), "continued": bool(rest), "cut": cut})
    return records


def replies(model: Model, talks: Sequence[Sequence[Message]], tokens: int) -> list[tuple[str, bool]]:
    """The model's next turn in each conversation, in its own prompt, and whether the limit of `tokens` ended it."""
    if not talks:
        return []
    examples = [Example(str(number), tuple(talk), "") for number, talk in enumerate(talks)]
    # What the model has said, or is to repair, comes on top of what it was trained to read, and must not be cut.
    asked = model.asking.model_copy(update={"source_tokens": None})
    return model.example_generator(tokens, asked).write_or_cut(examples)


def _length(model: Model, text: str) -> int:
    return len(model.require_tokenizer().encode(text))


def _identity(image: ImageRef) -> str:
    try:
        return image.digest
    except DataError:  # named when it is to be described
        return str(image.path)


def _fault(image: ImageRef) -> str | None:
    try:
        image.open()
    except DataError as error:
        return str(error)
    return None
