"""Overrides of keys: what is refused, and what is kept."""

from __future__ import annotations

import pytest

from sepiola.errors import SpecError
from sepiola.specs.base import override
from tests.tiny import RECIPE


@pytest.mark.parametrize("assignment", ["steps", "=3", "stages.7.steps=3", "stages.x.steps=3", "name.first=a"])
def test_a_malformed_override_is_refused(assignment: str) -> None:
    with pytest.raises(SpecError, match="--set"):
        override(RECIPE, [assignment])


def test_an_override_keeps_the_original_and_the_order_of_keys() -> None:
    changed = override(RECIPE, ["stages.0.steps=9", "model=t5-small", "extra.deep=[1, 2]"])
    assert changed["stages"][0]["steps"] == 9 and RECIPE["stages"][0]["steps"] == 2
    assert changed["extra"] == {"deep": [1, 2]}
    assert list(changed)[: len(RECIPE)] == list(RECIPE)
