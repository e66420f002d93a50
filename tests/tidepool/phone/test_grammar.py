"""Phrasing grammars: what a pattern stands for, how templates are split, and what a typing error may change."""

from __future__ import annotations

import random

import pytest

from sepiola.errors import DataError
from sepiola.tidepool.phone.grammar import Template, expand, mistyped, of_split, share_of, templates


def test_a_pattern_is_all_its_alternatives() -> None:
    assert expand("a [b|c[|d]] {x}") == ["a b {x}", "a c {x}", "a cd {x}"]
    assert expand("[|请]发") == ["发", "请发"]
    for wrong in ("[a", "a]", "[[a]"):
        with pytest.raises(DataError, match="a bracket has no partner"):
            expand(wrong)


def test_templates_know_their_slots_and_come_once() -> None:
    found = templates(["= {who} should [know|know]", "send {what} to {who}"])
    assert [t.text for t in found] == ["{who} should know", "send {what} to {who}"]
    assert [t.sentence for t in found] == [True, False]
    assert found[1].parts == ("send ", "what", " to ", "who", "") and found[1].slots == ("what", "who")


def test_splits_part_the_templates() -> None:
    found = [Template(f"do {number}") for number in range(100)]
    parts = {split: of_split(found, split) for split in ("train", "val", "test")}
    assert {split: len(part) for split, part in parts.items()} == {"train": 80, "val": 10, "test": 10}
    assert len({t for part in parts.values() for t in part}) == 100
    assert all(len(of_split(found[:3], split)) == 1 for split in parts)
    assert parts["val"] == of_split(found[::-1], "val")


def test_values_are_parted_eight_to_one_to_one() -> None:
    shares = [share_of("value", f"杯子 {number}") for number in range(2000)]
    assert abs(shares.count("train") - 1600) < 80 and abs(shares.count("val") - 200) < 60
    assert share_of("value", "mug") == share_of("value", "mug")


def test_a_typing_error_changes_one_place() -> None:
    rng = random.Random(0)
    for text in ("please send it to", "remind everyone "):
        wrong = {mistyped(text, "en", rng) for _ in range(50)}
        assert text not in wrong or len(wrong) > 5
        assert all(abs(len(w) - len(text)) <= 1 and w[0] == text[0] for w in wrong)
    assert {mistyped("请帮我", "zh", rng) for _ in range(50)} == {"情帮我", "请邦我"}
    assert mistyped("to", "en", rng) == "to" and mistyped("好", "zh", rng) == "好"
