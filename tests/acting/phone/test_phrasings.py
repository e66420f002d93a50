"""How people ask for the phone's functions: every one, in both languages, with each of its arguments."""

from __future__ import annotations

import re

import pytest

from sepiola.acting.phone import android, functions
from sepiola.acting.phone.phrasings import ANDROID, PHRASINGS
from sepiola.acting.synthesis import synthesize
from sepiola.acting.wording import is_chinese
from sepiola.calling.functions import Function
from sepiola.tidepool.phone import FUNCTIONS
from sepiola.tidepool.phone.grammar import Template, templates

ALL = [*functions(), *android.functions()]


def arguments_of(template: Template) -> set[str]:
    """Those that stand in a phrasing, and those that its words fix."""
    return set(re.findall(r"\{(\w+)", template.text))


def test_they_are_of_the_sets() -> None:
    assert tuple(PHRASINGS) == FUNCTIONS
    assert list(ANDROID) == [function.name for function in android.functions()]


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("function", ALL, ids=lambda function: function.name)
def test_every_argument_is_asked_for_in_both_languages(function: Function, language: str) -> None:
    own = [t for t in templates(function.examples) if is_chinese(t.text) == (language == "zh")]
    assert len(own) >= 8 and any(not t.sentence for t in own)
    assert set().union(*map(arguments_of, own)) == {parameter.name for parameter in function.parameters}
    assert all(arguments_of(t) >= {p.name for p in function.parameters if p.required} for t in own)


def test_no_phrasing_asks_for_two_functions() -> None:
    said = {f.name: {"".join(t.parts[::2]) for t in templates(f.examples)} for f in ALL}
    for name, own in said.items():
        others = set().union(*(some for other, some in said.items() if other != name))
        assert not own & others


def test_chinese_requests_say_the_members_of_a_literal_in_chinese() -> None:
    described = [{**f.tool["function"], "examples": f.examples} for f in functions() if f.name == "interior_design"]
    asked = synthesize(described, "train", 200, languages=["zh"], kinds=["text"])
    chinese = [
        e
        for e in asked
        if any(word in e.prompt for word in ("客厅", "卧室", "厨房", "浴室", "卫生间", "书房", "儿童房"))
    ]
    assert len(chinese) > 120
