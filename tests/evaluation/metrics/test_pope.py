"""Whether it is there: questions that are true to the scene, settings that get harder, and figures by hand."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

import pytest

from sepiola.data.example import Example
from sepiola.datasets import read, read_spec
from sepiola.errors import DataError
from sepiola.evaluation.benchmarks import pope
from sepiola.evaluation.metrics.pope import pope_figures
from sepiola.reasoning.answer import Answer
from sepiola.specs.recipe import DataSpec
from sepiola.tidepool import captions
from sepiola.tidepool.things import may_be_asked, name, things


@pytest.fixture(scope="module")
def drawn() -> list[Example]:
    return read("pope", None, "test", pictures=90, size=64)


def test_half_of_each_setting_is_there_and_true_to_the_scene(drawn: list[Example]) -> None:
    scenes = {f"{e.metadata['group']}-{n}": e.metadata for n, e in enumerate(captions("test", 90, size=64))}
    balance = Counter((e.metadata["setting"], e.metadata["language"], e.target) for e in drawn)
    for setting in ("random", "popular", "adversarial"):
        assert balance[setting, "en", "yes"] == balance[setting, "en", "no"] > 100
        assert balance[setting, "zh", "有"] == balance[setting, "zh", "没有"] > 100
    for example in drawn:
        scene = scenes[example.metadata["group"]]
        shown = things(scene["family"], scene["scene"])
        question = example.question
        assert question is not None and (question.answer == 0) == (example.metadata["thing"] in shown)
        assert name(example.metadata["thing"], example.metadata["language"]) in question.text
    # A caption of another path through Tidepool names what the things name.
    for caption in captions("test", 90, size=64, languages=["en"], families=["objects", "counting", "food webs"]):
        for thing in things(caption.metadata["family"], caption.metadata["scene"]):
            assert all(word in caption.target for word in thing.split())
    assert not may_be_asked("maps", "red circle") and may_be_asked("maps", "red fish")


def test_adversarial_things_are_those_that_stand_beside(drawn: list[Example]) -> None:
    """Fish live with fish: most things that a food web lacks are then other fish."""
    absent: defaultdict[str, list[str]] = defaultdict(list)
    webs = {
        e.metadata["group"] for e in drawn if "fish" in e.metadata["thing"] and e.question and e.question.answer == 0
    }
    for example in drawn:
        if example.metadata["group"] in webs and example.question and example.question.answer == 1:
            absent[example.metadata["setting"]].append(example.metadata["thing"])
    share = {setting: sum("fish" in thing for thing in found) / len(found) for setting, found in absent.items()}
    assert share["adversarial"] == 1.0 and share["random"] < 0.3


def test_popular_things_are_those_of_most_pictures(data_root: Path) -> None:
    root = data_root / "coco_mini"
    examples = read("pope", root, "val", languages=["en"])
    assert examples == read("pope", root, "val", languages=["en"])
    popular = Counter(e.metadata["thing"] for e in examples if e.metadata["setting"] == "popular" and e.target == "no")
    assert len(popular) < 12 and "person" in popular
    texts = {e.question.text for e in examples if e.question}
    assert "Is there an umbrella in the picture?" in texts or "Is there an oven in the picture?" in texts
    chinese = read("pope", root, "val", languages=["zh"])
    assert len(chinese) == len(examples)
    assert not any(c.isascii() and c.isalpha() for e in chinese for c in e.prompt), "every kind has its Chinese name"


def test_figures_by_hand(drawn: list[Example]) -> None:
    some = [e for e in drawn if e.metadata["setting"] == "random"][:8]
    truth = [e.question.answer for e in some if e.question]
    assert truth == [0, 1] * 4
    said = [0, 0, 0, 1, 1, 1, None, 0]  # true yes 2, false yes 2, false no 1, true no 2, one missed
    answers = [Answer(e.id, "", choice) for e, choice in zip(some, said, strict=True)]
    found = pope_figures(some, answers)["random"]
    values = {key: found[key]["value"] for key in ("accuracy", "precision", "recall", "f1", "yes")}
    assert values == pytest.approx({"accuracy": 0.5, "precision": 0.5, "recall": 0.5, "f1": 0.5, "yes": 0.5})
    assert found["count"] == 8 and found["unparsed"] == 1
    agreeing = pope_figures(some, [Answer(e.id, "", 0) for e in some])["random"]
    assert (agreeing["recall"]["value"], agreeing["precision"]["value"], agreeing["yes"]["value"]) == (1, 0.5, 1)
    denying = pope_figures(some, [Answer(e.id, "", 1) for e in some])["random"]
    assert denying["precision"] == {"value": None, "interval": None} and denying["f1"]["value"] == 0


def test_it_is_a_benchmark_with_baselines_and_a_table() -> None:
    spec = DataSpec(reader="pope", split="val", count=40, options={"pictures": 12, "size": 64})
    examples, train = read_spec(spec), read("pope", None, "train", pictures=30, size=64)
    assert len(examples) == 40
    report = pope.BENCHMARK.figures(
        examples, [Answer(e.id, "", e.question and e.question.answer) for e in examples], train
    )
    assert report["accuracy"] == 1.0 and set(report["buckets"]) == {"setting", "language"}
    assert set(report["baselines"]) == {"chance", "majority", "nearest_neighbour"}
    (table,) = [table for table in pope.BENCHMARK.tables(report) if table["title"] == "Is it there?"]
    assert [line["name"] for line in table["lines"][:4:3]] == ["random", "popular"] and table["lines"][0]["own"]


def test_unknown_settings_are_refused() -> None:
    with pytest.raises(DataError, match=r"an option of 'pope': settings: .*got 'random'"):
        read("pope", None, "test", settings="random")
