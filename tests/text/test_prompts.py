"""The prompt formats word for word, in both languages, and the round trip from target to parsed answer."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sepiola.data.example import Example, Message, Question
from sepiola.data.image import ImageRef
from sepiola.datasets import read
from sepiola.errors import DataError, SepiolaError, SpecError
from sepiola.text.prompts import PromptFormat, split_rationale

WHOLE = Question(
    "Which is\nmagnetic?",
    choices=("wood", "iron"),
    answer=1,
    hint="ImageEncoder.",
    lecture="Magnets pull iron.",
    solution="So it is iron.",
)
HEAD = "Question: Which is\nmagnetic?\nContext: ImageEncoder.\nOptions: (A) wood (B) iron\n"


def example(question: Question | None = WHOLE, language: str = "en", **changes: Any) -> Example:
    if question is not None and changes:
        question = dataclasses.replace(question, **changes)
    images = (ImageRef.of(Image.new("RGB", (2, 2), "red")), ImageRef.of(Image.new("RGB", (2, 2), "blue")))
    text = question.text if question else "Hello"
    return Example("q-1", (Message("user", (images[0], text, images[1])),), "iron", question, {"language": language})


def applied(name: str, rationale: str | None = None, language: str = "en", **changes: Any) -> tuple[str, str]:
    result = PromptFormat.parse(name).apply(example(language=language, **changes), rationale)
    return result.prompt, result.target


# The expected texts follow utils_prompt.py of the reference, but for the differences the module names.
@pytest.mark.parametrize(
    ("name", "prompt", "target"),
    [
        ("QCM-A", HEAD + "Answer:", "The answer is (B)."),
        ("QCM-LE", HEAD + "Solution:", "Solution: Magnets pull iron. So it is iron."),
        ("QCM-E", HEAD + "Solution:", "Solution: So it is iron."),
        ("QCM-LEA", HEAD + "Solution:", "Magnets pull iron. So it is iron. The answer is (B)."),
        ("QCM-ELA", HEAD + "Solution:", "So it is iron. Magnets pull iron. The answer is (B)."),
        ("QCM-EA", HEAD + "Solution:", "So it is iron. The answer is (B)."),
        (
            "QCM-ALE",
            HEAD + "Solution:",
            "The answer is (B). BECAUSE: Magnets pull iron. So it is iron.",
        ),
        ("QCM-AE", HEAD + "Solution:", "The answer is (B). BECAUSE: So it is iron."),
        ("QCM-AL", HEAD + "Solution:", "The answer is (B). BECAUSE: Magnets pull iron."),
        ("QCMG-A", HEAD + "Solution: Magnets pull iron. So it is iron.\nAnswer:", "The answer is (B)."),
        ("QCML-A", HEAD + "BECAUSE: Magnets pull iron.\nAnswer:", "The answer is (B)."),
        ("QCME-A", HEAD + "BECAUSE: So it is iron.\nAnswer:", "The answer is (B)."),
        ("QCMLE-A", HEAD + "BECAUSE: Magnets pull iron. So it is iron.\nAnswer:", "The answer is (B)."),
        (
            "CQM-A",
            "Context: ImageEncoder.\nQuestion: Which is\nmagnetic?\nOptions: (A) wood (B) iron\nAnswer:",
            "The answer is (B).",
        ),
        (
            "QCEM-A",
            "Question: Which is\nmagnetic?\nContext: ImageEncoder.\nBECAUSE: So it is iron.\n"
            "Options: (A) wood (B) iron\nAnswer:",
            "The answer is (B).",
        ),
        ("Q-A", "Question: Which is\nmagnetic?\nAnswer:", "iron"),
        ("QCM-T", HEAD + "Answer:", "iron"),
        ("QCMG-T", HEAD + "Solution: Magnets pull iron. So it is iron.\nAnswer:", "iron"),
        ("QCM-ET", HEAD + "Solution:", "So it is iron. The answer is iron."),
        (
            "QC-EA",
            "Question: Which is\nmagnetic?\nContext: ImageEncoder.\nSolution:",
            "So it is iron. The answer is iron.",
        ),
    ],
)
def test_words(name: str, prompt: str, target: str) -> None:
    assert applied(name) == (prompt, target)
    assert PromptFormat.parse(name).name == name


def test_chinese_words() -> None:
    changes = {
        "text": "哪个有磁性？",
        "choices": ("木头", "铁"),
        "hint": "",
        "lecture": "磁铁吸引铁。",
        "solution": "所以是铁。",
        "language": "zh",
    }
    head = "问题：哪个有磁性？\n背景：无\n选项：(A) 木头 (B) 铁\n"
    assert applied("QCM-A", **changes) == (head + "答案：", "答案是(B)。")
    assert applied("QCM-LE", **changes) == (head + "解释：", "解释：磁铁吸引铁。所以是铁。")
    assert applied("QCM-LEA", **changes)[1] == "磁铁吸引铁。所以是铁。答案是(B)。"
    assert applied("QCM-ALE", **changes)[1] == "答案是(B)。因为：磁铁吸引铁。所以是铁。"
    assert applied("QCMG-A", "解释：是铁。", **changes)[0] == head + "解释：是铁。\n答案："
    assert applied("Q-A", **changes) == ("问题：哪个有磁性？\n答案：", "铁")


def test_images_come_first_and_the_source_stays_as_it_was() -> None:
    source = example()
    result = PromptFormat.parse("QCM-A").apply(source)
    (message,) = result.messages
    assert message.role == "user" and message.content[:2] == source.images and len(message.content) == 3
    assert source.target == "iron" and "prompt_format" not in source.metadata
    assert result.metadata["prompt_format"] == "QCM-A" and result.question is source.question


def test_a_bare_question_stands_before_its_pictures_and_no_cue_follows() -> None:
    source = example()
    result = PromptFormat.parse("B-A").apply(source)
    assert result.messages[0].content == (source.question.text, *source.images) and result.target == "iron"
    assert PromptFormat.parse("B-A").parse_answer("iron", source.question) == source.question.answer


def test_a_given_rationale_takes_the_place_of_the_records_own() -> None:
    for given_text in ("It is iron.", "Solution: It is iron.", " Solution:  It is iron. "):
        assert applied("QCMG-A", given_text)[0] == HEAD + "Solution: It is iron.\nAnswer:"
    assert applied("QCMG-A", "")[0] == HEAD + "Solution:\nAnswer:"
    second = PromptFormat.parse("QCMG-A")
    assert second.apply(example(), "x").metadata["rationale"] == "given"
    assert second.apply(example()).metadata["rationale"] == "gold"
    with pytest.raises(DataError, match="QCM-A shows no rationale; use one with G"):
        applied("QCM-A", "It is iron.")


def test_stage_one_target_is_what_stage_two_shows() -> None:
    first_target = applied("QCM-LE")[1]
    assert applied("QCMG-A", first_target)[0] == applied("QCMG-A")[0]


@pytest.mark.parametrize("hint", ["", None, "  \n"])
def test_an_empty_or_unknown_hint_reads_na(hint: str | None) -> None:
    result = PromptFormat.parse("QCM-A").apply(example(hint=hint))
    assert "\nContext: N/A\n" in result.prompt
    assert result.metadata["hint_known"] is (hint is not None)


@pytest.mark.parametrize(
    ("name", "changes", "expected"),
    [
        ("QCM-A", {"lecture": None, "solution": None}, True),
        ("QCM-A", {"answer": None}, False),
        ("QCM-E", {"solution": None}, False),
        ("QCM-E", {"solution": ""}, False),
        ("QCM-LE", {"solution": None}, True),
        ("QCM-LE", {"lecture": None}, True),
        ("QCM-LE", {"lecture": None, "solution": ""}, False),
        ("QCM-L", {"lecture": ""}, False),
        ("QCM-LEA", {"answer": None}, False),
        ("QCM-LEA", {"lecture": "", "solution": None}, False),
        ("QCM-LE", {"answer": None}, True),
        ("QCMG-A", {"lecture": None, "solution": None}, False),
        ("QCMG-A", {"lecture": "", "solution": ""}, True),
        ("QCML-A", {"lecture": None}, False),
        ("QCME-A", {"lecture": None}, True),
    ],
)
def test_trainable(name: str, changes: dict[str, Any], expected: bool) -> None:
    fmt, row = PromptFormat.parse(name), example(**changes)
    assert fmt.trainable(row) is expected
    if expected:
        assert fmt.apply(row).target
    elif "G" not in fmt.input and "L" not in fmt.input:
        assert fmt.apply(row).target == ""
    else:
        with pytest.raises(DataError, match=r"q-1: the prompt format .* unknown"):
            fmt.apply(row)
    if fmt.takes_rationale:
        assert fmt.trainable(row, "given") is True


def test_an_open_question_has_its_answer_as_target() -> None:
    row = example(Question("What is it?", answer_text="a table, a chair", solution="Two things stand there."))
    prompt = "Question: What is it?\nAnswer:"
    for name in ("Q-A", "QM-A"):
        result = PromptFormat.parse(name).apply(row)
        assert (result.prompt, result.target) == (prompt, "a table, a chair")
    both = PromptFormat.parse("Q-EA").apply(row).target
    assert both == "Two things stand there. The answer is a table, a chair."
    assert split_rationale(both) == ("Two things stand there.", "The answer is a table, a chair.")
    first = PromptFormat.parse("Q-AE").apply(row).target
    assert split_rationale(first) == ("Two things stand there.", "The answer is a table, a chair.")
    assert not PromptFormat.parse("Q-A").trainable(example(Question("What is it?")))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("QCM", "expected INPUT-OUTPUT"),
        ("QCM-", "expected INPUT-OUTPUT"),
        ("-A", "expected INPUT-OUTPUT"),
        ("QXM-A", "unknown input letter 'X'; known: Q question, C context, M options"),
        ("QCM-B", "unknown output letter 'B'; known: A answer, T answer as its text, L lecture, E explanation"),
        ("qcm-a", "unknown input letter 'q'"),
        ("QCM-A-E", "unknown output letter '-'"),
        ("QQ-A", "'Q' stands twice"),
        ("CM-A", "the input needs Q"),
        ("BM-A", "or is B, the bare question"),
        ("QCM-LAE", "A and T stand first or last"),
    ],
)
def test_wrong_names_are_refused(name: str, expected: str) -> None:
    with pytest.raises(SpecError, match=expected):
        PromptFormat.parse(name)


def test_more_options_than_letters_are_refused() -> None:
    choices = tuple(f"number {index}" for index in range(27))
    with pytest.raises(DataError, match="q-1: 27 options, but letters name at most 26"):
        applied("QCM-A", choices=choices, answer=26)
    assert applied("QC-A", choices=choices, answer=26)[1] == "number 26"
    assert applied("QCM-A", choices=choices[:26], answer=25)[1] == "The answer is (Z)."


def test_an_example_without_question_is_refused() -> None:
    with pytest.raises(DataError, match="q-1: prompt formats need the question's parts"):
        PromptFormat.parse("QCM-A").apply(example(None))


@pytest.mark.parametrize(
    ("text", "name", "expected"),
    [
        ("The answer is (B).", "QCM-A", 1),
        ("Answer: The answer is (A).", "QCM-A", 0),
        ("答案是(B)。", "QCM-A", 1),
        ("答案是（C）", "QCM-A", 2),
        ("答案是 (B).", "QCM-A", 1),  # as a tokenizer that normalizes to half width gives it back
        ("The answer is (D).", "QCM-A", None),
        ("The answer is B.", "QCM-A", 1),
        ("b) iron", "QCM-A", 1),
        ("It is iron.", "QCM-T", 1),
        ("B", "QCM-T", 1),  # the letters were shown
        ("B", "Q-A", None),
        ("", "QCM-A", None),
        ("One might say The answer is (A). But iron: The answer is (B).", "QCM-LEA", 1),
        ("One might say (A). But it is iron. The answer is B.", "QCM-LEA", 1),
        ("One might say (A). But it is iron.", "QCM-LEA", None),  # a rationale alone
        ("The answer is (A). BECAUSE: not so: The answer is (B).", "QCM-ALE", 0),
        ("A. BECAUSE: not so: it is iron.", "QCM-ALE", 0),
        ("The answer is clear. BECAUSE of that, no. BECAUSE: The answer is (B).", "QCM-ALE", 1),
        ("The answer is (A). The answer is (Z).", "QCM-LEA", None),
    ],
)
def test_parse_answer(text: str, name: str, expected: int | None) -> None:
    question = dataclasses.replace(WHOLE, choices=("wood", "iron", "tin"))
    assert PromptFormat.parse(name).parse_answer(text, question) == expected


@pytest.mark.parametrize(
    ("text", "rationale", "answer"),
    [
        ("Iron. The answer is (B).", "Iron.", "The answer is (B)."),
        ("Solution: Iron.\nSo. The answer is (B).", "Iron.\nSo.", "The answer is (B)."),
        ("The answer is (B). BECAUSE: Iron.", "Iron.", "The answer is (B)."),
        ("答案是(B)。因为：是铁。", "是铁。", "答案是(B)。"),
        ("答案是(B).因为:是铁。", "是铁。", "答案是(B)."),
        ("是铁。答案是(B)。", "是铁。", "答案是(B)。"),
        ("Solution: Iron is magnetic.", "Iron is magnetic.", ""),
        ("The answer is (B).", "", "The answer is (B)."),
        ("It weighs 3.5 kg. The answer is 3.5.", "It weighs 3.5 kg.", "The answer is 3.5."),
        ("", "", ""),
    ],
)
def test_split_rationale(text: str, rationale: str, answer: str) -> None:
    assert split_rationale(text) == (rationale, answer)


def test_a_spoken_answer_is_matched_whatever_its_case() -> None:
    question = Question("How long?", choices=("3.5", "3.5 cm.", "Yes", "no"), answer=0)
    fmt = PromptFormat.parse("Q-A")
    told = [fmt.parse_answer(text, question) for text in (" YES \n", "3.5 cm.", "3.5", "No.", "Answer: no", "nope")]
    assert told == [2, 1, 0, 3, 3, None]
    polite = Question("Which closing?", choices=("your nephew", "Your nephew"), answer=1)
    assert [fmt.parse_answer(text, polite) for text in ("Your nephew", "your nephew.", "YOUR NEPHEW")] == [
        1,
        0,
        None,
    ]
    assert PromptFormat.parse("Q-LE").parse_answer("Yes", question) is None
    assert fmt.parse_answer("red", Question("What?", answer_text="red")) is None


sentences = st.one_of(
    st.text(max_size=40),
    st.sampled_from(["The answer is (C).", "答案是(A)。", "BECAUSE: x", "(B)", "So\nit is. The answer is (A)."]),
)
prose = st.lists(sentences, min_size=1, max_size=4).map(" ".join)


@st.composite
def questions(draw: st.DrawFn) -> Question:
    choices = draw(st.lists(prose, min_size=1, max_size=26, unique_by=str.strip))
    answer = draw(st.integers(0, len(choices) - 1))
    hint, lecture, solution = (draw(st.none() | prose) for _ in range(3))
    return Question(draw(prose), tuple(choices), answer, hint=hint, lecture=lecture, solution=solution)


@given(questions(), st.sampled_from(["QCM-A", "QCM-LEA", "QCM-ALE", "QM-AE", "QCMG-A", "QCM-ELA"]), st.booleans())
def test_round_trip_of_letters(question: Question, name: str, chinese: bool) -> None:
    fmt, row = PromptFormat.parse(name), example(question, "zh" if chinese else "en")
    if fmt.trainable(row):
        assert fmt.parse_answer(fmt.apply(row).target, question) == question.answer


@given(questions(), st.booleans())
def test_round_trip_of_spoken_answers(question: Question, chinese: bool) -> None:
    fmt, row = PromptFormat.parse("QC-A"), example(question, "zh" if chinese else "en")
    if fmt.trainable(row):
        assert fmt.parse_answer(fmt.apply(row).target, question) == question.answer


calm = st.text(st.characters(exclude_categories=["Cs"], exclude_characters=":："), min_size=1).filter(str.strip)


@given(calm.map(str.strip), calm.map(str.strip), st.sampled_from(["QCM-LEA", "QCM-ALE"]), st.booleans())
def test_round_trip_of_rationales(lecture: str, solution: str, name: str, chinese: bool) -> None:
    row = example(WHOLE, "zh" if chinese else "en", lecture=lecture, solution=solution)
    rationale, answer = split_rationale(PromptFormat.parse(name).apply(row).target)
    assert rationale == lecture + ("" if chinese else " ") + solution
    assert answer == ("答案是(B)。" if chinese else "The answer is (B).")
    assert PromptFormat.parse(name).parse_answer(answer, WHOLE) == 1


@given(
    st.one_of(st.text(), prose),
    questions(),
    st.sampled_from(["QCM-A", "QCM-ALE", "Q-A", "Q-AE", "Q-EA", "Q-L"]),
)
def test_no_output_makes_a_parser_fail(text: str, question: Question, name: str) -> None:
    n_choices = len(question.choices)
    told = [PromptFormat.parse(name).parse_answer(text, question)]
    assert all(choice is None or 0 <= choice < n_choices for choice in told)
    assert all(isinstance(part, str) for part in split_rationale(text))


@given(st.text(max_size=12))
def test_any_name_is_read_or_refused(name: str) -> None:
    try:
        assert PromptFormat.parse(name).name == name
    except SepiolaError as error:
        assert name in str(error)


def test_real_scienceqa_answers_survive_every_format(data_root: Path) -> None:
    rows = read("scienceqa", data_root / "scienceqa", "minitest")
    for name in ("QCM-A", "QCM-LE", "QCM-LEA", "QCM-ALE", "QCMG-A", "QC-A"):
        fmt = PromptFormat.parse(name)
        kept = [row for row in rows if fmt.trainable(row)]
        assert kept
        for row in kept:
            result = fmt.apply(row)
            assert row.question is not None and row.question.text in result.prompt
            expected = row.question.answer if fmt.gives_answer else None
            assert fmt.parse_answer(result.target, row.question) == expected
