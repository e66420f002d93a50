"""Baselines on sets whose answers are known: guessable ones are guessed, balanced ones are not."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

pytest.importorskip("sklearn")

from sepiola.data.example import Example, Message, Question
from sepiola.data.image import ImageRef
from sepiola.datasets import read
from sepiola.errors import DataError
from sepiola.evaluation.baselines.questions import chance, linear_answers, majority_answers, nearest_neighbour_answers
from sepiola.evaluation.metrics.accuracy import Accuracy, accuracy


def baselines(train: list[Example], examples: list[Example]) -> dict[str, Accuracy]:
    return {
        "chance": chance(examples, train),
        "majority": accuracy(examples, majority_answers(train, examples)),
        "nearest_neighbour": accuracy(examples, nearest_neighbour_answers(train, examples)),
    }


def closed(id: str, text: str, choices: tuple[str, ...], answer: int, image: ImageRef | None = None) -> Example:
    content = (text,) if image is None else (image, text)
    return Example(id, (Message("user", content),), choices[answer], Question(text, choices, answer))


def opened(id: str, text: str, answer: str) -> Example:
    return Example(id, (Message("user", (text,)),), answer, Question(text, answer_text=answer))


CAPITALS = {
    "Ohio": "Columbus",
    "Maine": "Augusta",
    "Texas": "Austin",
    "Utah": "Salt Lake City",
    "Iowa": "Des Moines",
}
省会 = {"四川": "成都", "湖南": "长沙", "浙江": "杭州", "江苏": "南京", "山西": "太原"}


def capitals(seed: int, prefix: str) -> list[Example]:
    """Questions that the wording gives away, in English and Chinese, with the options in drawn order."""
    rng = random.Random(seed)
    examples = []
    for table, wording in ((CAPITALS, "What is the capital of {}?"), (省会, "{}省的省会是哪里？")):
        for state, city in table.items():
            others = rng.sample([c for c in table.values() if c != city], 2)
            choices = rng.sample([city, *others], 3)
            text = wording.format(state)
            examples.append(closed(f"{prefix}{len(examples)}", text, tuple(choices), choices.index(city)))
    return examples


def test_chance_is_the_mean_of_one_over_choices() -> None:
    examples = [closed("1", "q", ("a", "b"), 0), closed("2", "q", ("a", "b", "c", "d"), 3)]
    result = chance(examples)
    assert (result.accuracy, result.count) == (0.375, 2)
    assert result.interval is not None and result.interval[0] < 0.375 < result.interval[1]
    assert chance([closed("1", "q", ("only",), 0)] * 3).accuracy == 1


def test_chance_at_open_questions_guesses_among_training_answers() -> None:
    train = [opened("t1", "q", "Red."), opened("t2", "q", "red"), opened("t3", "q", "blue")]
    assert chance([opened("1", "q", "red")], train).accuracy == 0.5
    with pytest.raises(DataError, match="pass the training examples"):
        chance([opened("1", "q", "red")])


def test_majority_takes_the_position_of_questions_with_as_many_choices() -> None:
    two, three = ("a", "b"), ("a", "b", "c")
    train = [closed(f"t{i}", "q", two, 1) for i in range(3)] + [closed(f"u{i}", "q", three, 2) for i in range(5)]
    tests = [closed("1", "q", two, 1), closed("2", "q", three, 2), closed("3", "q", ("a", "b", "c", "d"), 2)]
    assert [a.choice for a in majority_answers(train, tests)] == [1, 2, 2]
    assert accuracy(tests, majority_answers(train, tests)).accuracy == 1


def test_majority_and_neighbours_of_open_questions() -> None:
    train = [opened("t1", "what colour is the sea", "blue"), opened("t2", "what colour is blood", "red")]
    train.append(opened("t3", "what colour is a rose", "red"))
    tests = [opened("1", "which colour has the sea", "blue"), opened("2", "the colour of blood", "red")]
    assert [a.output for a in majority_answers(train, tests)] == ["red", "red"]
    assert [a.output for a in nearest_neighbour_answers(train, tests, neighbours=1)] == ["blue", "red"]


def test_neighbours_find_what_the_wording_gives_away() -> None:
    train = [e for seed in (1, 3, 4) for e in capitals(seed, f"t{seed}-")]
    tests = capitals(2, "e")
    result = baselines(train, tests)
    assert result["nearest_neighbour"].correct >= 9
    assert result["chance"].accuracy == pytest.approx(1 / 3)


def test_neighbours_stay_near_chance_where_only_the_image_tells() -> None:
    """The same wording and options each time; the right one is drawn, as by the image."""
    rng = random.Random(5)
    colours = ("red", "green", "blue", "yellow")
    scenes = []
    for i in range(1200):
        options = tuple(rng.sample(colours, 4))
        text = f"What colour is the {rng.choice(['cube', 'ball', 'ring', 'star'])}?"
        scenes.append(closed(str(i), text, options, rng.randrange(4)))
    result = baselines(scenes[:800], scenes[800:])
    for name in ("majority", "nearest_neighbour"):
        assert result[name].accuracy == pytest.approx(0.25, abs=0.07), name


def test_linear_tells_labels_by_characters() -> None:
    labels = ("finance", "sports", "无")
    rng = random.Random(3)
    drawn = [rng.choice((("股市基金债券", 0), ("球赛冠军联赛", 1))) for _ in range(200)]
    rows = [closed(str(i), "".join(rng.sample(text + "今日新闻", 5)), labels, n) for i, (text, n) in enumerate(drawn)]
    assert accuracy(rows[150:], linear_answers(rows[:150], rows[150:])).correct >= 48
    alike = [closed(str(i), "一样", labels, 2) for i in range(3)]
    assert [a.choice for a in linear_answers(alike, rows[:2])] == [2, 2], "one label is no choice"


def test_no_image_is_opened() -> None:
    broken = ImageRef(data=b"no picture")
    train = [closed("t", "q one", ("a", "b"), 1, broken), closed("u", "q two", ("a", "b"), 1, broken)]
    assert nearest_neighbour_answers(train, [closed("1", "q one", ("b", "a"), 0, broken)])[0].choice == 0


def test_hostile_inputs_have_answers() -> None:
    """No word, no known word, one choice, equal choices: each still gets an answer."""
    train = capitals(1, "t")
    strange = [
        closed("1", "？！", ("…", "—"), 0),
        closed("2", "zzz qqq", ("www", "vvv"), 1),
        closed("3", "q", ("only",), 0),
        closed("4", "q", ("same", "same"), 0),
    ]
    for answer, e in zip(nearest_neighbour_answers(train, strange), strange, strict=True):
        assert e.question is not None and answer.choice in range(len(e.question.choices))
    silent = [closed("t", "？", ("…", "—"), 0)]
    assert nearest_neighbour_answers(silent, strange)[0].choice in (0, 1)
    with pytest.raises(DataError, match="got none"):
        nearest_neighbour_answers([], strange)
    with pytest.raises(DataError, match="at least 1"):
        nearest_neighbour_answers(train, strange, neighbours=0)


def test_scienceqa_minitest_is_guessable_far_above_chance(data_root: Path) -> None:
    """On an eighth of the training questions, to be quick; the whole gives 75.0%."""
    train = read("scienceqa", data_root / "scienceqa", "train")[::8]
    tests = read("scienceqa", data_root / "scienceqa", "minitest")
    result = baselines(train, tests)
    chances, neighbours = result["chance"], result["nearest_neighbour"]
    assert chances.accuracy == pytest.approx(0.392, abs=0.001)
    assert neighbours.interval is not None and chances.interval is not None
    assert neighbours.interval[0] > chances.interval[1] + 0.1
