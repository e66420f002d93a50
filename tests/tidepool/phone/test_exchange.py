"""Another picture under the same text: every argument that was read off the first one changes."""

from __future__ import annotations

import pytest

from sepiola.errors import DataError
from sepiola.tidepool.phone import FUNCTIONS, exchanged, requests
from sepiola.tidepool.phone.forms import FORMS
from sepiola.tidepool.world import split_of


def test_the_call_follows_the_picture() -> None:
    before = requests("test", 400, kinds=["picture"])
    after = exchanged(before)
    assert {e.metadata["function"] for e in after} == set(FUNCTIONS)
    assert len({e.metadata["form"] for e in after}) == sum(form.picture is not None for form in FORMS.values())
    for one, other in zip(before, after, strict=True):
        assert one.prompt == other.prompt and one.images != other.images and one.id != other.id
        assert split_of(other.metadata["group"]) == "test" and one.metadata["caption"] != other.metadata["caption"]
        (old,), (new,) = one.metadata["calls"], other.metadata["calls"]
        changed = {name for name in old["arguments"] if old["arguments"][name] != new["arguments"][name]}
        assert changed and old["arguments"].keys() == new["arguments"].keys() and old["name"] == new["name"]
        said = {name for name in new["arguments"] if f"{{{name}}}" in one.metadata["templates"][0]}
        assert not changed & said
    assert after == exchanged(before) and after != exchanged(before, seed=1)


def test_a_request_that_needs_no_picture_is_refused() -> None:
    for kind in ("text", "distracted"):
        with pytest.raises(DataError, match="no picture is needed for its call"):
            exchanged(requests("test", 1, kinds=[kind]))
