"""What captions are worth that no model wrote: the most frequent one, and that of the most similar training picture.

Nearest neighbours are a strong baseline of captioning (Devlin et al., arXiv 1505.04467), the more so on few pictures: a
model that does not beat them has learnt its training captions by heart. Any features will do: raw pixels here, those of
a vision encoder where there is one.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from sepiola.data.example import Example
from sepiola.data.image import ImageRef
from sepiola.evaluation.metrics.rationales import words
from sepiola.reasoning.answer import Answer

Features = npt.NDArray[np.float32]
Describe = Callable[[Sequence[ImageRef]], Features]
"""Features `(images, width)` of some pictures, one row each."""

SIDE = 32
"""Raw pixels are compared at so many rows and columns."""


def frequent_captions(train: Sequence[Example], examples: Sequence[Example]) -> list[Answer]:
    """For every example its language's most frequent training caption; "" where there is none in that language.

    Among captions as frequent the one whose words (counted once each) stand in most captions on average.
    """
    found: dict[str, str] = {}
    for language in {e.metadata.get("language", "") for e in examples}:
        said = Counter(e.target for e in train if e.metadata.get("language", "") == language)
        spread = Counter(word for text, number in said.items() for word in set(words(text)) for _ in range(number))

        def rank(text: str, said: Counter[str] = said, spread: Counter[str] = spread) -> tuple[float, float, str]:
            own = set(words(text))
            return said[text], sum(spread[word] for word in own) / max(1, len(own)), text

        found[language] = max(said, key=rank, default="")
    return [Answer(e.id, found[e.metadata.get("language", "")]) for e in examples]


def nearest_captions(train: Sequence[Example], examples: Sequence[Example], describe: Describe) -> list[Answer]:
    """For every example the first caption of the nearest training picture of its language, by `describe`'s features.

    Each example has one image. Without training pictures in its language the caption is "".
    """
    by_language: defaultdict[str, dict[str, Example]] = defaultdict(dict)
    for example in train:
        if len(example.images) == 1:
            key = str(example.metadata.get("group", example.id))
            by_language[example.metadata.get("language", "")].setdefault(key, example)
    captions: dict[str, str] = {}
    for language, known in by_language.items():
        asked = [e for e in examples if e.metadata.get("language", "") == language and len(e.images) == 1]
        if not asked:
            continue
        stored = list(known.values())
        found = nearest(describe([e.images[0] for e in asked]), describe([e.images[0] for e in stored]))
        captions |= {e.id: stored[at].target for e, at in zip(asked, found, strict=True)}
    return [Answer(e.id, captions.get(e.id, "")) for e in examples]


def nearest(queries: Features, stored: Features) -> list[int]:
    """For each row of `queries` the row of `stored` with the largest cosine; ties go to the first."""
    unit = [rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12) for rows in (queries, stored)]
    return [int(i) for i in (unit[0] @ unit[1].T).argmax(axis=1)]


def pixel_features(images: Sequence[ImageRef]) -> Features:
    """Raw pixels of each picture squashed to 32 × 32, less their mean, so that a cosine is a correlation."""
    rows = [
        np.asarray(image.open().resize((SIDE, SIDE), Image.Resampling.BOX), dtype=np.float32).ravel()
        for image in images
    ]
    table = np.stack(rows)
    return np.asarray(table - table.mean(axis=1, keepdims=True))
