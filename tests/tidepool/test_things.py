"""The things that a scene shows, their names, and what may be asked about."""

from __future__ import annotations

import pytest

from sepiola.tidepool.things import may_be_asked, name, things


@pytest.mark.parametrize(
    ("family", "scene", "shown"),
    [
        ("magnets", {}, {"magnet"}),
        ("maps", {"towns": [{"colour": "red"}, {"colour": "blue"}]}, {"compass", "red town", "blue town"}),
        ("objects", {"objects": [{"colour": "green", "shape": "heart"}]}, {"green heart"}),
        ("relations", {"objects": {"up": {"colour": "red", "shape": "star"}}}, {"red star", "black star"}),
    ],
)
def test_a_scene_shows_its_things(family: str, scene: dict[str, object], shown: set[str]) -> None:
    assert things(family, scene) == shown


def test_things_have_names_in_both_languages() -> None:
    assert [name(thing, "en") for thing in ("red fish", "compass")] == ["red fish", "compass"]
    assert [name(thing, "zh") for thing in ("red fish", "compass", "blue star")] == ["红色的鱼", "指北针", "蓝色的星形"]


def test_shapes_are_asked_about_only_where_they_are_the_subject() -> None:
    assert not may_be_asked("maps", "red circle") and may_be_asked("maps", "red fish")
    assert may_be_asked("counting", "red circle")
