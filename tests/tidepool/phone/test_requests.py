"""Phone requests: what is said is what is called, splits share nothing, and pictures are needed where they say so."""

from __future__ import annotations

import datetime
import json
import random
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

import pytest

from sepiola.data.example import Example
from sepiola.errors import DataError
from sepiola.tidepool.phone import FUNCTIONS, KINDS, PICTURES, phrases_en, phrases_zh, requests
from sepiola.tidepool.phone.fills import Context, fill
from sepiola.tidepool.phone.forms import FORMS, Seen
from sepiola.tidepool.phone.grammar import Template, templates
from sepiola.tidepool.phone.names import SAID
from sepiola.tidepool.world import group_of, split_of

SPLITS = ("train", "val", "test")
CLOSED = {"quantity", "pieces", "results", "at", "unit", *SAID}  # as in all splits, or said in other words
WITH_DATES = {"day"}


@pytest.fixture(scope="module")
def made() -> dict[str, list[Example]]:
    return {"train": requests("train", 3600), "val": requests("val", 1500), "test": requests("test", 1500)}


def leaves(arguments: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in arguments.items():
        if isinstance(value, list):
            for item in value:
                yield from leaves(item)
        else:
            yield name, value


def words_of(template: str) -> tuple[str, ...]:
    return Template(template).parts[::2]


def test_values_stand_in_the_text_as_they_are_called(made: dict[str, list[Example]]) -> None:
    checked = Counter()
    for example in made["train"]:
        if example.metadata["kind"] not in ("text", "distracted", "several"):
            continue
        for call in example.metadata["calls"]:
            for name, value in leaves(call["arguments"]):
                if name not in CLOSED | WITH_DATES | {"action", "max_price"}:
                    assert str(value) in example.prompt, (example.prompt, name, value)
                    checked[call["name"], example.metadata["language"]] += 1
    assert len(checked) == 2 * len(FUNCTIONS) and min(checked.values()) > 20


@pytest.mark.parametrize("language", ["en", "zh"])
def test_what_is_read_off_the_picture_has_no_slot_in_the_text(language: str) -> None:
    phrases = {"en": phrases_en, "zh": phrases_zh}[language].PHRASES
    assert set(phrases) == set(FORMS)
    for form in FORMS.values():
        for template in templates(phrases[form.name]):
            context = Context(random.Random(0), language, "train")
            said = {name for slot in template.slots for name in fill(slot, context)[1]}
            assert not said & set(form.fixed)
            if form.picture is not None and form.read is not None:
                picture = PICTURES[form.picture]
                scene = picture.sample(random.Random(1))
                seen = Seen(picture.words(scene, language), scene, language, datetime.date(2026, 5, 8))
                assert form.read(seen) and not said & set(form.read(seen)), template.text


def test_another_picture_makes_another_call(made: dict[str, list[Example]]) -> None:
    seen: dict[str, set[str]] = defaultdict(set)
    for example in made["train"]:
        if example.metadata["picture"] == "needed":
            (call,) = example.metadata["calls"]
            seen[call["name"]].add(example.metadata["caption"])
    assert set(seen) == set(FUNCTIONS) and all(len(captions) > 10 for captions in seen.values())


def test_splits_share_no_template_no_scene_and_no_value(made: dict[str, list[Example]]) -> None:
    for what in ("templates", "values"):
        used = {split: {v for e in made[split] for v in e.metadata[what]} for split in SPLITS}
        assert all(len(v) > 100 for v in used.values())
        assert not used["train"] & used["val"] and not used["train"] & used["test"] and not used["val"] & used["test"]
    for split in SPLITS:
        for example in made[split]:
            if example.images:
                assert example.metadata["group"] == group_of(example.metadata["family"], example.metadata["scene"])
                assert split_of(example.metadata["group"]) == split


def test_open_arguments_are_disjoint_over_splits(made: dict[str, list[Example]]) -> None:
    """Of the calls themselves: no name, dish, message, day … of a text is that of another split."""
    used: dict[str, set[str]] = defaultdict(set)
    for split in SPLITS:
        for example in made[split]:
            if example.metadata["picture"] == "needed":
                continue
            for call in example.metadata["calls"]:
                used[split] |= {
                    str(v) for name, v in leaves(call["arguments"]) if name not in CLOSED | {"action", "kind"}
                }
    assert not used["train"] & used["val"] and not used["train"] & used["test"] and not used["val"] & used["test"]


def test_every_function_language_and_kind_has_its_turns(made: dict[str, list[Example]]) -> None:
    counts = Counter((e.metadata["function"], e.metadata["language"], e.metadata["kind"]) for e in made["train"])
    for function in FUNCTIONS:
        for language in ("en", "zh"):
            assert all(counts[function, language, kind] >= 12 for kind in KINDS if kind != "irrelevant")
    assert set(requests("train", 12, kinds=["several"])[0].metadata) >= {"calls", "today", "templates", "values"}
    only = requests("train", 40, kinds=["text"], families=["animal_care"], languages=["zh"])
    assert {(e.metadata["function"], e.metadata["language"], e.metadata["kind"]) for e in only} == {
        ("animal_care", "zh", "text")
    }


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("function", FUNCTIONS)
def test_at_least_forty_templates(function: str, language: str) -> None:
    used = {
        t
        for split in SPLITS
        for e in requests(
            split, 250 if split == "train" else 60, kinds=["text"], families=[function], languages=[language]
        )
        for t in e.metadata["templates"]
    }
    assert len(used) >= 40


def test_kinds_are_what_they_say(made: dict[str, list[Example]]) -> None:
    for example in made["val"]:
        m = example.metadata
        calls = {"text": 1, "picture": 1, "distracted": 1}.get(
            m["kind"], len(m["calls"]) if m["kind"] == "several" else 0
        )
        assert len(m["calls"]) == calls and json.loads(example.target) == m["calls"]
        assert m["irrelevant"] == (not m["calls"]) and m["near_miss"] == (m["kind"] == "near miss")
        assert (m["picture"] == "none") == (not example.images)
        assert m["picture"] == {"picture": "needed", "distracted": "irrelevant"}.get(m["kind"], m["picture"])
        if m["kind"] == "several":
            assert 2 <= len(m["calls"]) <= 4 and m["calls"][0]["name"] == m["function"]
        if example.images:
            assert m["caption"] and m["objects"]
    assert any(len(e.metadata["calls"]) == 3 for e in made["val"])
    assert {e.metadata["picture"] for e in made["val"] if e.metadata["near_miss"]} == {"none", "irrelevant"}


def test_days_need_today(made: dict[str, list[Example]]) -> None:
    for example in made["train"]:
        for call in example.metadata["calls"]:
            for name, value in leaves(call["arguments"]):
                if name == "day":
                    today = datetime.date.fromisoformat(example.metadata["today"])
                    assert today.isoformat() in example.prompt.split("\n")[0]
                    days = (datetime.date.fromisoformat(value) - today).days
                    assert -301 < days <= 0 if call["name"] == "lost_and_found" else 0 <= days < 367
    dated = sum("\n" in e.prompt for e in made["train"] if not e.metadata["calls"])
    assert 0.3 < dated / sum(not e.metadata["calls"] for e in made["train"]) < 0.7


def test_typing_errors_and_code_switching_happen(made: dict[str, list[Example]]) -> None:
    chinese = [e.prompt.rpartition("\n")[2] for e in made["train"] if e.metadata["language"] == "zh"]
    assert 0.01 < sum("Kindle" in text or "GoPro" in text or "email" in text for text in chinese) / len(chinese) < 0.3
    assert any("邦我" in text or "得收据" in text for text in chinese)
    english = [e for e in made["train"] if e.metadata["language"] == "en" and e.metadata["kind"] == "text"]
    wrong = [e for e in english if any(p.lower() not in e.prompt.lower() for p in words_of(e.metadata["templates"][0]))]
    assert 0.01 < len(wrong) / len(english) < 0.1


def test_same_arguments_same_requests() -> None:
    first, again, other = (requests("test", 26, seed=seed) for seed in (1, 1, 2))
    assert first == again and first[:13] == requests("test", 13, seed=1)
    assert not {e.prompt for e in first} & {e.prompt for e in other}


def test_requests_without_pictures_take_few_steps() -> None:
    """What makes 24,000 in seconds: few calls of Python functions for each, counted, not timed."""
    requests("train", 200, kinds=["text"])
    calls: Counter[str] = Counter()
    sys.setprofile(lambda frame, event, argument: calls.update([event]))
    try:
        requests("train", 100, kinds=["text"])
    finally:
        sys.setprofile(None)
    assert 0 < calls["call"] < 100 * 400


def test_wrong_arguments_name_what_is_known() -> None:
    with pytest.raises(DataError, match="kind of phone request 'chat'; known: text, picture"):
        requests("train", 1, kinds=["chat"])
    with pytest.raises(DataError, match="phone function 'magnets'; known: send_email"):
        requests("train", 1, families=["magnets"])
    with pytest.raises(DataError, match="kinds: expected a list"):
        requests("train", 1, kinds=[])
