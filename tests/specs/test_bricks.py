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
        ("language.feed_forward.shared=8", "shared, dense and dense_width are for a mixture; give 'experts'"),
        ("language.norm.place=sideways", "place"),
    ],
)
def test_what_does_not_go_together_is_refused(change: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        ModelSpec.parse(override(SMALL, [change]))


MIXTURE = {"width": 8, "activation": "silu", "gated": True, "experts": 2}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["feed_forward.dense=[1]"], "give both 'dense' and 'dense_width', or neither"),
        (["feed_forward.dense_width=9"], "give both 'dense' and 'dense_width', or neither"),
        (["feed_forward.dense=[7]", "feed_forward.dense_width=9"], "feed_forward.dense names layers from 0 to"),
        (["norm.zero_centred=true", "attention.qk_norm=joined"], "joined has no zero-centred weights"),
    ],
)
def test_mixtures_and_joined_norms_that_do_not_go_together_are_refused(changes: list[str], message: str) -> None:
    small = {"language": {**SMALL["language"], "norm": {"kind": "rms"}, "feed_forward": MIXTURE}}
    with pytest.raises(SpecError, match=message):
        ModelSpec.parse(override(small, [f"language.{change}" for change in changes]))
