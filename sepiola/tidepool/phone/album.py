"""The phone's pictures with their captions: what a vision encoder and its alignment learn from before any request."""

from __future__ import annotations

import random
from collections.abc import Sequence

from sepiola.data.example import Example, Message
from sepiola.data.image import ImageRef
from sepiola.tidepool.canvas import Canvas
from sepiola.tidepool.phone.pictures import PICTURES
from sepiola.tidepool.phone.requests import scene_of
from sepiola.tidepool.words import LANGUAGES
from sepiola.tidepool.world import CAPTION_REQUEST, checked_arguments, group_of


def album(
    split: str,
    count: int,
    *,
    seed: int = 0,
    languages: Sequence[str] = LANGUAGES,
    families: Sequence[str] | None = None,
    size: int = 64,
) -> list[Example]:
    """`count` pictures whose target is the caption; `families` are kinds of pictures, and take turns with languages.

    Scenes are those of the split, as in requests. `metadata` holds the `scene`, its `group`, and the `objects` with
    their traits. Raises DataError as `generate` does.
    """
    languages, names = checked_arguments(split, count, languages, families, size, tuple(PICTURES), "phone picture")
    made = []
    for index in range(count):
        turn, place = divmod(index, len(names))
        language, picture = languages[(turn + place) % len(languages)], PICTURES[names[place]]
        rng = random.Random(f"tidepool phone album {seed} {split} {index} {picture.name}")
        scene = scene_of(picture.name, split, rng)
        canvas = Canvas(size, rng)
        picture.draw(canvas, scene)
        caption = picture.caption(scene, language)
        metadata = {
            "split": split,
            "language": language,
            "family": picture.name,
            "group": group_of(picture.name, scene),
            "scene": scene,
            "caption": caption,
            "objects": picture.objects(scene),
        }
        message = Message("user", (ImageRef(data=canvas.png()), CAPTION_REQUEST[language]))
        made.append(Example(f"tidepool-album-{split}-{index:06d}-{language}", (message,), caption, metadata=metadata))
    return made
