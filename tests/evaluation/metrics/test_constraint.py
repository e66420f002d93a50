"""What a constraint earns: paired figures of the same requests, by language and kind."""

from __future__ import annotations

from collections.abc import Sequence

from sepiola.calling.functions import Call
from sepiola.data.example import Example, Message
from sepiola.evaluation.metrics.calls import Judged, judged
from sepiola.evaluation.metrics.constraint import constraint_figures, constraint_tables

FEED, PLAY = Call("feed", {"pet": "cat"}), Call("play", {"song": "月亮"})


def asked(language: str, calls: Sequence[Call], **about: object) -> Example:
    metadata = {"language": language, "calls": [call.to_json() for call in calls], **about}
    return Example("request", (Message("user", ("…",)),), "", metadata=metadata)


EXAMPLES = [
    asked("en", [FEED]),
    asked("en", [FEED, PLAY]),
    asked("zh", [PLAY]),
    asked("zh", [PLAY], picture="needed"),
    asked("zh", []),
    asked("zh", [], near_miss=True),
]


def replies(*calls: Sequence[Call] | None) -> list[Judged]:
    return [judged(example, made) for example, made in zip(EXAMPLES, calls, strict=True)]


def test_the_same_requests_are_compared() -> None:
    constrained = replies([FEED], [FEED, PLAY], [PLAY], [PLAY], [PLAY], [])
    free = replies(None, [PLAY, FEED], [FEED], [PLAY], [], None)
    figures = constraint_figures(constrained, free)
    assert (figures["with"]["value"], figures["without"]["value"]) == (5 / 6, 3 / 6)
    assert (figures["only_with"], figures["only_without"], figures["unparsed"]) == (3, 1, 2)
    assert figures["difference"] == 2 / 6 and figures["p_value"] == 0.625
    values = {name: (some["with"]["value"], some["without"]["value"]) for name, some in figures["by"].items()}
    assert values["en, one call"] == (1.0, 0.0) and values["en, several calls"] == (1.0, 1.0)
    assert values["zh, one call"] == (1.0, 0.0) and values["zh, one call, picture needed"] == (1.0, 1.0)
    assert values["zh, irrelevant"] == (0.0, 1.0) and values["zh, near miss"] == (1.0, 0.0)
    assert figures["by"]["en"]["count"] == 2 and figures["by"]["zh"]["count"] == 4


def test_splits_stand_in_lines() -> None:
    rows = replies([FEED], [FEED], [PLAY], None, [], [])
    (table,) = constraint_tables(constraint_figures(rows, rows))
    assert table["lines"][0]["name"] == "All" and len(table["lines"]) == 9
    assert [cell and cell["value"] for cell in table["lines"][0]["cells"]] == [
        "6", "66.7", "66.7", "+0.0", "0", "0", "1"
    ]  # fmt: skip
    assert constraint_tables(None) == []
