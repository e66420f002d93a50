"""Bricks: what does not go together is refused."""

from __future__ import annotations

import pytest

from sepiola.errors import SpecError
from sepiola.specs.base import override
from sepiola.specs.model import ModelSpec
from tests.tiny import GROUPED_QUERY

SMALL = {"language": GROUPED_QUERY}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("language.attention.full_every=2", "full_every says which layers have no window"),
        ("language.feed_forward.experts=1", "at least 'chosen'"),
        ("language.norm.place=sideways", "place"),
    ],
)
def test_what_does_not_go_together_is_refused(change: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        ModelSpec.parse(override(SMALL, [change]))
