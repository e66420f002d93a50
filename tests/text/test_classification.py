"""GPT-1's input transformations: hand-written token lists, English and Chinese, cut and whole."""

from __future__ import annotations

from typing import Any

import pytest

from sepiola.data.example import Example, Question
from sepiola.errors import DataError
from sepiola.specs.classifier import ClassifierSpec, ClassifierTokens
from sepiola.text.classification import classification_samples, labels_of, sequences, with_special
from sepiola.text.tokenizer import Tokenizer

S, D, E = 900, 901, 902
TOKENS = ClassifierTokens(start=S, delimiter=D, extract=E)
# Without merges a token is a byte, so lists can be written by hand.
BYTES = Tokenizer.train([], 259)


def asked(text: str, choices: tuple[str, ...] = (), answer: int | None = None, **parts: Any) -> Example:
    return Example(text, (), "", Question(text, choices, answer, **parts))


def ids(text: str) -> list[int]:
    found = BYTES.encode(text)
    assert len(found) == len(text.encode())
    return found


def read(example: Example, kind: str, cut: int = 100) -> list[list[int]]:
    labels = () if kind == "multiple-choice" else ("yes", "no")
    spec = ClassifierSpec.parse({"kind": kind, "labels": labels, "tokens": TOKENS.model_dump()})
    (sample,) = classification_samples([example], BYTES, spec)
    return [with_special(texts, TOKENS) for texts in sample.cut(cut, 1).sequences]


def test_classification_is_the_text_between_start_and_extract() -> None:
    assert read(asked("ab", ("yes", "no"), 1), "classification") == [[S, *ids("ab"), E]]
    assert read(asked("股市", hint="今日"), "classification") == [[S, *ids("今日\n股市"), E]]


def test_entailment_is_premise_then_hypothesis() -> None:
    assert read(asked("睡着", hint="猫在睡"), "entailment") == [[S, *ids("猫在睡"), D, *ids("睡着"), E]]


def test_similarity_is_read_in_both_orders() -> None:
    assert read(asked("你好", hint="hi"), "similarity") == [
        [S, *ids("hi"), D, *ids("你好"), E],
        [S, *ids("你好"), D, *ids("hi"), E],
    ]


def test_multiple_choice_is_a_sequence_an_option() -> None:
    given = read(asked("谁?", ("猫", "a dog", "鱼"), 2, hint="喵"), "multiple-choice")
    assert given == [[S, *ids("喵\n谁?"), D, *ids(option), E] for option in ("猫", "a dog", "鱼")]


def test_a_long_text_gives_way_and_keeps_its_ends() -> None:
    assert read(asked("xyz", hint="abcdefgh"), "entailment", cut=10) == [[S, *ids("abgh"), D, *ids("xyz"), E]]
    forward, backward = read(asked("uvwxyz", hint="abcdef"), "similarity", cut=12)
    assert len(forward) == len(backward) == 12
    swapped = read(asked("abcdef", hint="uvwxyz"), "similarity", cut=12)
    assert swapped == [backward, forward], "cut alike, whichever of the two is named first"


@pytest.mark.parametrize(
    ("example", "kind", "message"),
    [
        (asked("睡"), "entailment", "give the premise as the question's hint"),
        (asked("睡"), "similarity", "give the second text"),
        (asked("睡"), "multiple-choice", "needs the question's options"),
        (Example("x", (), ""), "classification", "x: classification needs the question's parts"),
        (asked("睡", ("是", "否"), 0), "classification", r"labels apart \(yes, no\), and .* options are 是, 否"),
    ],
)
def test_what_a_task_lacks_is_said(example: Example, kind: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(example, kind)


def test_labels_are_what_all_questions_share() -> None:
    same = [asked("一", ("是", "否"), 0), asked("二", ("是", "否"), 1)]
    assert labels_of(same, "classification") == ("是", "否")
    assert labels_of(same, "multiple-choice") == ()
    with pytest.raises(DataError, match="for options of each question's own use multiple-choice"):
        labels_of([*same, asked("三", ("否", "是"), 0)], "classification")
    assert sequences(same[0], "multiple-choice") == [("一", "是"), ("一", "否")]
