"""The same request with another picture: whether a call follows what is shown, not what is likely to be meant."""

from __future__ import annotations

import datetime
import json
import random
from collections.abc import Iterable
from dataclasses import replace

from sepiola.data.example import Example
from sepiola.data.image import ImageRef
from sepiola.errors import DataError
from sepiola.tidepool.canvas import Canvas
from sepiola.tidepool.phone.forms import FORMS, Seen
from sepiola.tidepool.phone.pictures import PICTURES
from sepiola.tidepool.phone.requests import scene_of
from sepiola.tidepool.world import group_of


def exchanged(examples: Iterable[Example], *, seed: int = 0, size: int = 64) -> list[Example]:
    """Requests whose picture is needed, each with another picture of its kind that asks for another call.

    The text stays as it is, and the new scenes are of the same split. Raises DataError for an example that is no such
    request.
    """
    return [_exchanged(example, random.Random(f"exchange {seed} {example.id}"), size) for example in examples]


def _exchanged(example: Example, rng: random.Random, size: int) -> Example:
    metadata = dict(example.metadata)
    form = FORMS.get(str(metadata.get("form")))
    if metadata.get("picture") != "needed" or form is None or form.picture is None or form.read is None:
        raise DataError(
            f"{example.id}: no picture is needed for its call; expected a phone request of the kind 'picture'"
        )
    picture, language = PICTURES[form.picture], str(metadata["language"])
    today = datetime.date.fromisoformat(str(metadata["today"]))
    (call,) = metadata["calls"]
    while True:
        scene = scene_of(picture.name, str(metadata["split"]), rng)
        arguments = form.read(Seen(picture.words(scene, language), scene, language, today))
        if all(call["arguments"][name] != value for name, value in arguments.items()):
            break
    canvas = Canvas(size, rng)
    picture.draw(canvas, scene)
    calls = [{**call, "arguments": {**call["arguments"], **arguments}}]
    metadata |= {
        "calls": calls,
        "scene": scene,
        "group": group_of(picture.name, scene),
        "caption": picture.caption(scene, language),
        "objects": picture.objects(scene),
    }
    (message,) = example.messages
    content = tuple(ImageRef(data=canvas.png()) if isinstance(part, ImageRef) else part for part in message.content)
    return replace(
        example,
        id=f"{example.id}-exchanged",
        messages=(replace(message, content=content),),
        target=json.dumps(calls, ensure_ascii=False),
        metadata=metadata,
    )
