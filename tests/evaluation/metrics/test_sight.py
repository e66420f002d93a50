"""What is said of a model's eyes: one that reads the picture, one that does not look, one that is led astray."""

from __future__ import annotations

from collections.abc import Sequence

from sepiola.calling.functions import Call
from sepiola.data.example import Example
from sepiola.evaluation.metrics.calls import Judged, judged
from sepiola.evaluation.metrics.sight import sight_figures
from sepiola.tidepool.phone import requests

EXAMPLES = requests("test", 160, kinds=["picture", "distracted", "text"])
FIRST = {e.prompt: e.metadata["calls"] for e in EXAMPLES}


def rows(examples: Sequence[Example], *, looks: bool, led: bool = False) -> list[Judged]:
    """Right calls: those of the picture at hand, or those of the first picture that was shown with these words."""
    made = []
    for example in examples:
        said = example.metadata["calls"] if looks and example.images else FIRST[example.prompt]
        if led and example.images and example.metadata["picture"] == "irrelevant":
            said = []
        made.append(judged(example, [Call(call["name"], call["arguments"]) for call in said]))
    return made


def test_one_that_looks_follows_the_picture() -> None:
    figures = sight_figures(rows(EXAMPLES, looks=True), lambda some: rows(some, looks=True))
    assert figures["exchanged"]["value"] == 1.0 and figures["unchanged"]["value"] == 1.0
    assert figures["exchanged"]["count"] == sum(e.metadata["picture"] == "needed" for e in EXAMPLES) > 40
    assert 0.05 < figures["majority"]["value"] < 0.9


def test_one_that_does_not_look_is_found_out() -> None:
    figures = sight_figures(rows(EXAMPLES, looks=False), lambda some: rows(some, looks=False))
    assert figures["exchanged"]["value"] == 0.0 and figures["blind"]["value"] == 1.0


def test_one_that_is_led_astray_is_found_out() -> None:
    figures = sight_figures(rows(EXAMPLES, looks=True, led=True), lambda some: rows(some, looks=True, led=True))
    assert figures["unchanged"]["value"] == 0.0


def test_requests_without_pictures_say_nothing() -> None:
    text = [example for example in EXAMPLES if example.metadata["picture"] == "none"]
    assert sight_figures(rows(text, looks=True), lambda some: rows(some, looks=True)) == {}
