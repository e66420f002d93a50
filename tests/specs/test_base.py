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


@pytest.mark.parametrize(
    ("assignment", "mend"),
    [
        ("model.language.width=3", "--set 'model={like: mm-cot-tiny}'"),
        ("strategy.answer.by=score", "--set 'strategy.answer={kind: answer}'"),
        ("seeds=[1", "--set seeds=[1: not valid YAML"),
    ],
)
def test_an_override_under_a_name_says_how_it_gets_keys(assignment: str, mend: str) -> None:
    with pytest.raises(SpecError) as error:
        override(RECIPE, [assignment])
    assert mend in str(error.value)


def test_an_override_says_which_option_is_wrong() -> None:
    with pytest.raises(SpecError, match=r"^--option size: expected key\.path=value"):
        override({}, ["size"], "--option")


def test_an_override_keeps_the_original_and_the_order_of_keys() -> None:
    changed = override(RECIPE, ["stages.0.steps=9", "model=t5-small", "extra.deep=[1, 2]"])
    assert changed["stages"][0]["steps"] == 9 and RECIPE["stages"][0]["steps"] == 2
    assert changed["extra"] == {"deep": [1, 2]}
    assert list(changed)[: len(RECIPE)] == list(RECIPE)
