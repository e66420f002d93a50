"""Preferences in the shapes that people share: which completions each becomes, and what is left out."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

import pytest

from sepiola.data.example import Example
from sepiola.data.preferences import completions_of
from sepiola.datasets import read
from sepiola.errors import DataError

DATA = os.environ.get("SEPIOLA_DATA")
HH = "\n\nHuman: Hi\n\nAssistant: Yes?\n\nHuman: 几点？\n\nAssistant: {}"
USER = {"role": "user", "content": "Hi"}


def every(path: Path, **options: Any) -> list[Example]:
    """The examples of all splits."""
    found = []
    for split in ("train", "val", "test"):
        try:
            found += read("preferences", path, split, **options)
        except DataError as error:
            if "nothing of the split" not in str(error):
                raise
    return found


def written(path: Path, *records: Any) -> Path:
    path.write_text("\n".join(json.dumps(record, ensure_ascii=False) for record in records), encoding="utf-8")
    return path


WHOLE = [[USER, {"role": "assistant", "content": text}] for text in "AB"]
A_B = [("A", 1), ("B", 0)]


@pytest.mark.parametrize(
    ("record", "prompt", "completions"),
    [
        ({"chosen": HH.format("A"), "rejected": HH.format("B")}, ["Hi", "Yes?", "几点？"], A_B),
        (
            {"instruction": "Sum", "input": "1", "output": "one", "chosen": "1", "rejected": "2"},
            ["Sum\n1"],
            [("1", 1), ("2", 0)],
        ),
        (
            {"conversations": [{"from": "system", "value": "S"}, {"from": "human", "value": "Hi"}],
             "chosen": {"from": "gpt", "value": "A"}, "rejected": {"from": "gpt", "value": "B"}},
            ["S", "Hi"],
            A_B,
        ),
        ({"prompt": "Hi", "chosen": WHOLE[0], "rejected": WHOLE[1]}, ["Hi"], A_B),
        (
            {"chosen": WHOLE[0], "rejected": WHOLE[1], "score_chosen": 8.5, "score_rejected": 3},
            ["Hi"],
            [("A", 8.5), ("B", 3)],
        ),
        ({"chosen_messages": WHOLE[0], "rejected_messages": WHOLE[1]}, ["Hi"], A_B),
        ({"messages": WHOLE[0], "label": False}, ["Hi"], [("A", 0)]),
        ({"prompt": "Hi", "completion": "A", "label": True}, ["Hi"], [("A", 1)]),
        (
            {"prompt": "选", "answers": [{"answer": a, "rank": r} for a, r in (("甲", 2), ("乙", 1), ("丙", 3))]},
            ["选"],
            [("甲", -2), ("乙", -1), ("丙", -3)],
        ),
    ],
    ids=["hh", "alpaca", "sharegpt", "trl", "scores", "v1", "kto", "kto-prompt", "ranked"],
)  # fmt: skip
def test_each_shape_is_known_by_its_keys(tmp_path: Path, record: Any, prompt: Any, completions: Any) -> None:
    (example,) = every(written(tmp_path / "set.jsonl", record))
    assert [turn.text for turn in example.messages] == prompt
    assert [(c.text, c.score) for c in completions_of(example)] == completions
    assert example.target == max(completions, key=lambda one: one[1])[0]


def test_what_cannot_be_used_is_left_out_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    good = {"prompt": "Hi", "chosen": "A", "rejected": "B"}
    path = written(
        tmp_path / "set.jsonl",
        good,
        good,
        {**good, "rejected": "A"},
        {**good, "rejected": " "},
        {"chosen": HH.format("A"), "rejected": HH.format("B").replace("Yes?", "No?")},
        {"chosen": "\n\nAssistant: A", "rejected": "\n\nAssistant: B"},
        {**good, "prompt": "null", "rejected": None},
        {**good, "prompt": "scored", "score_chosen": 1.0, "score_rejected": 9.0},
    )
    with caplog.at_level(logging.WARNING):
        assert len(every(path)) == 1
    reasons = ("repeat another", "have equal replies", "part before their last reply", "do not take turns")
    for reason in (*reasons, "score higher what they reject"):
        assert f"1 record is left out: they {reason}" in caplog.text
    assert "2 records are left out: they have an empty reply" in caplog.text


def test_one_prompt_is_in_one_split(tmp_path: Path) -> None:
    records = [{"prompt": f"P{n // 2}", "chosen": f"A{n}", "rejected": f"B{n}"} for n in range(80)]
    path = written(tmp_path / "set.jsonl", *records)
    groups = [{e.metadata["group"] for e in read("preferences", path, s, held_out=4)} for s in ("train", "val", "test")]
    assert all(groups) and sum(map(len, groups)) == len(set().union(*groups)) == 40


def test_two_halves_share_no_prompt_and_are_all_of_a_split(tmp_path: Path) -> None:
    records = [{"prompt": f"问{n // 2}", "chosen": f"A{n}", "rejected": f"B{n}"} for n in range(80)]
    path = written(tmp_path / "set.jsonl", *records)
    for split in ("train", "val", "test"):
        first, second, whole = (read("preferences", path, split, held_out=4, half=half) for half in (1, 2, None))
        assert sorted(e.id for e in [*first, *second]) == sorted(e.id for e in whole)
        assert not {e.messages[0].text for e in first} & {e.messages[0].text for e in second}
        assert first and second
    with pytest.raises(DataError, match="half"):
        read("preferences", path, "train", half=3)


def test_long_replies_are_left_out_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    records = [{"prompt": f"P{n}", "chosen": "A" * 3, "rejected": "B" * (n + 1)} for n in range(6)]
    path = written(tmp_path / "set.jsonl", *records)
    with caplog.at_level(logging.WARNING):
        kept = every(path, longest=4)
    assert sorted(len(completions_of(e)[1].text) for e in kept) == [1, 2, 3, 4]
    assert "left out: they have a reply of more than 4 characters" in caplog.text


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"instruction": "a", "output": "b"}, r"no preference: its keys are \['instruction', 'output'\]"),
        ({"prompt": "a", "chosen": 3, "rejected": "c"}, "a reply is 3; expected a text"),
        ({"prompt": "a", "answers": [{"answer": "x"}]}, "expected its 'text' and its 'score' or 'rank'"),
    ],
)
def test_damage_is_named(tmp_path: Path, record: Any, message: str) -> None:
    with pytest.raises(DataError, match=rf"set\.jsonl, record 1.*{message}"):
        read("preferences", written(tmp_path / "set.jsonl", record), "train")


@pytest.mark.skipif(not DATA, reason="no $SEPIOLA_DATA: the sets of preferences")
def test_real_sets_are_read_whole() -> None:
    align = Path(DATA or "") / "align"
    chinese = ["preference_small/dpo_zh_500.jsonl", "llamafactory_demo/dpo_zh_demo.json"]
    assert len(every(align, sets=chinese)) == 766
    assert len(every(align / "preference_small" / "instruction_preference_en_1100.json")) == 1094
    assert len(every(align / "hh_rlhf" / "harmless-base" / "test.jsonl.gz")) == 2299
    assert len(every(align / "llamafactory_demo", sets=["kto_en_demo"])) == 300
