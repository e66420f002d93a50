"""What a linear reward model reads of a reply."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sepiola.text.reply_features import (
    character_counts,
    counted,
    detail_values,
    form_values,
    rarity,
    reply_features,
    run_counts,
    word_counts,
)

BUCKETS = 1 << 18


def test_words_and_characters_are_counted_in_both_languages() -> None:
    assert word_counts("Yes, yes") == {"yes": 1 + math.log(2), ",": 1, "yes ,": 1, ", yes": 1}
    assert word_counts("你好你") == {"你": 1 + math.log(2), "好": 1, "你 好": 1, "好 你": 1}
    runs = character_counts("A  b")
    assert set(runs) == {" a", "a ", " b", "b ", " a ", "a b", " b ", " a b", "a b ", " a b "}
    assert run_counts("A b") == {**dict.fromkeys((" a", "a ", " b", "b ", " a ", "a b", " b ", "a", "b"), 1),
                                 " ": 1 + math.log(3)}  # fmt: skip
    assert character_counts("好好好")["好好"] == pytest.approx(1 + math.log(2))


def test_rare_features_count_more_and_each_family_has_length_one() -> None:
    replies = ["the red fish", "the blue fish", "the cat"]
    rare = rarity(replies, ("words",), BUCKETS)
    ((places, counts),) = counted("the red", ("words",), BUCKETS)
    expected = {"the": math.log(4 / 4) + 1, "red": math.log(4 / 2) + 1, "the red": math.log(4 / 2) + 1}
    assert sorted(rare[places]) == pytest.approx(sorted(expected.values()))
    assert counts.tolist() == [1, 1, 1]
    found, values = reply_features("", "the red", ("words",), rare)
    assert found.tolist() == places.tolist()
    assert values == pytest.approx(rare[places] / np.linalg.norm(rare[places]))
    both = reply_features("", "the red", ("words", "characters"), np.ones(BUCKETS, np.float32))[1]
    assert float(np.square(both).sum()) == pytest.approx(2.0)


def test_form_is_what_no_word_says() -> None:
    form = form_values("Why is it red? 为什么？", "It is red.\nWhy not?")
    assert form["length"] == pytest.approx(math.log1p(19)) and form["lines"] == pytest.approx(math.log1p(1))
    assert (form["asks"], form["ends"], form["Chinese"]) == (1.0, 1.0, 0.0)
    assert form["said before"] == pytest.approx(2 * 5 / 7), "why, is, it, red, ? of seven"
    assert form_values("", "为什么")["Chinese"] == 1.0
    assert set(form) == set(form_values("", "")), "an empty reply has a form too"
    counts = form_values("数一数", "1. 一！\n 2、二!\n3 三\n约 4. 四")
    assert counts["numbered"] == pytest.approx(math.log1p(2)) and counts["exclaims"] == pytest.approx(math.log1p(2))
    assert counts["unlike the prompt in length"] == pytest.approx(math.log1p(22) - math.log1p(3))
    assert counts["length after a long prompt"] == pytest.approx(math.log1p(22) * math.log1p(3) / 10)
    shown = reply_features("a", "", ("words", "characters", "runs", "form"), np.ones(BUCKETS, np.float32))
    assert len(shown[0]) == len(shown[1]) > 0


def test_details_are_more_of_it_by_characters() -> None:
    details = detail_values("红色的鱼", "红色的。- 鱼：红色的\n - “Abc”, d\n* e")
    assert details["pairs said before"] == pytest.approx(2 * 2 / 22), "红色 and 色的, of 22"
    assert details["pairs taken up"] == pytest.approx(2 * 2 / 3)
    assert details["triples said before"] == pytest.approx(2 * 1 / 23)
    assert details["repeated"] == pytest.approx(2 * (1 - 23 / 24))
    assert details["bullets"] == pytest.approx(math.log1p(2)) and details["quotes"] == pytest.approx(math.log1p(2))
    assert details["sentence"] == pytest.approx(math.log1p(27 / 4) / 2) and details["Latin"] == 2 * 5 / 27
    assert details["commas"] == pytest.approx(10 / 27) and details["colons"] == pytest.approx(math.log1p(1))
    assert set(details) == set(detail_values("", "")), "an empty reply has details too"
    read = [reply_features("a", "b", ("words", *more), np.ones(BUCKETS, np.float32)) for more in ((), ("details",))]
    assert len(read[1][0]) == len(read[0][0]) + len(details)


def test_other_prompts_change_the_form_alone() -> None:
    rare = np.ones(BUCKETS, np.float32)
    one, other = (reply_features(asked, "A red fish.", ("words", "form"), rare) for asked in ("a fish", "磁铁"))
    assert one[0].tolist() == other[0].tolist()
    changed = np.flatnonzero(one[1] != other[1])
    assert 0 < len(changed) <= 4
