"""The sample sheet of a report: each question with its thumbnail, options, rationales, output and verdict, as
plain data for the page."""

from __future__ import annotations

import base64
import io

from PIL import Image

from sepiola.data.example import Example
from sepiola.data.image import ImageRef
from sepiola.errors import DataError
from sepiola.evaluation.metrics.accuracy import verdicts
from sepiola.evaluation.metrics.caption_figures import references
from sepiola.evaluation.metrics.rationales import reference_rationale
from sepiola.reasoning.answer import Answer

THUMBNAIL = 256
"""Longest side of a thumbnail in pixels."""

MOST_IMAGES = 4
"""Thumbnails shown for one sample; a sheet stays small also for examples with a whole film."""


def sample_card(example: Example, answer: Answer) -> dict[str, object]:
    """What the page shows of one sample; its texts are plain and still to be escaped.

    `verdict` is "right", "wrong" or "" (the right answer is not known). Raises DataError when the answer
    belongs to another example.
    """
    question = example.question
    verdict, mark = _verdict(example, answer)
    images = [_thumbnail(image) for image in example.images[:MOST_IMAGES]]
    if len(example.images) > MOST_IMAGES:
        images.append({"uri": None, "fault": f"and {len(example.images) - MOST_IMAGES} more images"})
    return {
        "id": example.id,
        "language": {"zh": "zh-Hans"}.get(str(example.metadata.get("language")), "en"),
        "images": images,
        "question": question.text if question is not None else example.prompt,
        "hint": question.hint if question is not None else None,
        "options": _options(example, answer),
        "answer_text": question.answer_text if question is not None and not question.choices else None,
        "output": answer.output,
        "captions": references(example) if question is None and example.images else [],
        "rationale": answer.rationale,
        "reference": reference_rationale(example),
        "verdict": verdict,
        "mark": mark,
    }


def thumbnail(picture: Image.Image, side: int = THUMBNAIL) -> tuple[str, int, int]:
    """A data URI of the RGB picture at most `side` pixels long, and its width and height; never enlarged."""
    small = picture.copy()
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    png, jpeg = io.BytesIO(), io.BytesIO()
    small.save(png, format="PNG")
    small.save(jpeg, format="JPEG", quality=80, optimize=True)
    # Drawings are smaller and cleaner as PNG, photographs smaller as JPEG.
    kind, data = ("png", png) if len(png.getvalue()) <= len(jpeg.getvalue()) else ("jpeg", jpeg)
    return f"data:image/{kind};base64,{base64.b64encode(data.getvalue()).decode()}", small.width, small.height


def _thumbnail(image: ImageRef) -> dict[str, object]:
    try:
        uri, width, height = thumbnail(image.open())
    except DataError:
        # A report of hours of work must not fail on one picture; the page says that it is missing.
        return {"uri": None, "fault": "image cannot be read"}
    return {"uri": uri, "width": width, "height": height}


def _verdict(example: Example, answer: Answer) -> tuple[str, str]:
    question = example.question
    if question is None or (question.answer is None and (question.choices or question.answer_text is None)):
        return "", "not scored"
    verdict = verdicts([example], [answer])[0]
    if verdict.correct:
        return "right", "✓ right"
    return "wrong", "✗ wrong" if verdict.parsed else "✗ unparsed"


def _options(example: Example, answer: Answer) -> list[dict[str, object]]:
    question = example.question
    if question is None:
        return []
    rows = []
    for index, text in enumerate(question.choices):
        gold, chosen = index == question.answer, index == answer.choice
        marks = [word for word, holds in (("right", gold), ("model", chosen)) if holds]
        if answer.probabilities is not None and len(answer.probabilities) == len(question.choices):
            marks.append(f"{100 * answer.probabilities[index]:.0f}%")
        letter = chr(ord("A") + index) if index < 26 else str(index + 1)
        rows.append({"letter": letter, "text": text, "gold": gold, "chosen": chosen, "mark": " · ".join(marks)})
    return rows
