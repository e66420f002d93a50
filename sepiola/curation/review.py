"""The sheet on which a person looks through what was kept and what was dropped: pictures, texts and reasons on one page
that needs nothing beside itself. All text is escaped, and the page's content policy forbids scripts and requests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources

import jinja2

from sepiola.curation.rules import REASONS
from sepiola.data.image import ImageRef
from sepiola.data.sampler import spread
from sepiola.errors import DataError
from sepiola.evaluation.report.samples import thumbnail
from sepiola.specs.base import Plain

MOST = 200
"""Cards at most of what was kept, and of what was dropped; a page of thousands opens in no browser."""


def review_page(summary: Mapping[str, object], records: Sequence[tuple[ImageRef, Mapping[str, object]]]) -> str:
    """The page's HTML. A record with a `reason` was dropped."""
    kept = [pair for pair in records if "reason" not in pair[1]]
    dropped = [pair for pair in records if "reason" in pair[1]]
    template = resources.files("sepiola.curation").joinpath("review.html.j2").read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, undefined=jinja2.ChainableUndefined)
    return environment.from_string(template).render(
        summary=summary, reasons=REASONS, kept=_cards(kept), dropped=_cards(dropped)
    )


def _cards(records: Sequence[tuple[ImageRef, Mapping[str, object]]]) -> list[Plain]:
    return [{**record, "picture": _picture(image)} for image, record in spread(records, MOST)]


def _picture(image: ImageRef) -> tuple[str, int, int] | None:
    try:
        return thumbnail(image.open())
    except DataError:  # the page says so
        return None
