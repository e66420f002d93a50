"""A judge of replies: a classifier of dialogue and reply, which learns from both, rates, and cleans data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import sepiola
from sepiola.data.example import Example, Message
from sepiola.errors import DataError, SepiolaError, SpecError, TrainingError
from sepiola.experiments.rated_data import rate_data
from sepiola.experiments.recipe_files import parse_recipe
from sepiola.specs.data import DataSpec
from sepiola.text.rated_replies import rated_pairs, ratings_of
from tests.tiny import QUIET, Raw, decoder, recipe, run_recipe

THINGS = {"en": ("tea", "fish", "rain", "snow"), "zh": ("茶", "鱼", "雨", "雪")}


def folder(root: Path) -> Path:
    """A reply is safe where it names what was asked about; neither text alone says so."""
    root.mkdir()
    rows = []
    for number in range(240):
        things = THINGS["en" if number % 2 else "zh"]
        about, other = things[number // 2 % 4], things[(number // 2 + 1 + number // 8 % 3) % 4]
        safe = number // 16 % 2
        said = [{"role": "user", "content": f"{number % 10} {about}?"}]
        said.append({"role": "assistant", "content": about if safe else other})
        split = "test" if number % 5 == 0 else "train"
        rows.append({"messages": said, "split": split, "ratings": {"SAFE": safe}})
    rows.append({"messages": rows[0]["messages"], "split": "train"})  # which nobody rated
    (root / "turns.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return root


def judging(root: Path, **objective: Any) -> Raw:
    """A recipe that teaches a small encoder to judge."""
    attribute = {"name": "SAFE", "threshold": 0.5, "labels": "ours"}
    data = {"reader": "turns", "root": str(root)}
    stage: Raw = {
        "name": "judge",
        "data": data,
        "objective": {"kind": "entailment", "lm_weight": 0.1, "attribute": attribute, **objective},
        "steps": 160,
        "batch": 32,
        "source_tokens": 48,
        "optimizer": {"learning_rate": 3.0e-3, "warmup": 10},
    }
    learned = {"positions": {"kind": "learned", "length": 64}, "tokens": {"pad": 0, "end": 1, "start": 1}}
    model = {"name": "judge", "language": decoder(300, 48, 2, heads=4, hidden=96, **learned)}
    return recipe(
        "judge",
        model,
        [stage],
        strategy={"answer": "judge"},
        evaluation=[{**data, "split": "test"}],
    )


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    root = tmp_path_factory.mktemp("judge")
    run = run_recipe(judging(folder(root / "data")), root / "run")
    return root, json.loads((run / "report.json").read_text(encoding="utf-8"))


def test_it_is_measured_by_its_ratings_and_needs_the_context(judge: tuple[Path, Any]) -> None:
    _, report = judge
    (figures,) = report["evaluations"]
    safe = figures["ratings"]["SAFE"]
    assert figures["benchmark"] == "ratings" and safe["count"] == 48 and 10 < safe["ones"] < 38
    assert safe["auc"]["value"] > 0.9 > safe["beside"]["shuffled"]["auc"]["value"] + 0.15


def test_it_rates_and_writes_nothing(judge: tuple[Path, Any]) -> None:
    model = sepiola.load(judge[0] / "run")
    right, wrong = model.rate("7 tea?", ["tea", "fish"])
    assert right["SAFE"] > 0.5 > wrong["SAFE"] and {*right} == {"SAFE"}
    assert model.rate([{"role": "user", "content": "8 茶?"}], ["茶"])[0]["SAFE"] > 0.5
    with pytest.raises(SepiolaError, match="classifier"):
        model.sample_and_rank("7 tea?")
    with pytest.raises(DataError, match="replies is 'tea'; expected a list"):
        model.rate("7 tea?", "tea")
    with pytest.raises(DataError, match="this dialogue has none"):
        model.rate([], ["tea"])


def test_it_cleans_data_by_its_threshold(judge: tuple[Path, Any], tmp_path: Path) -> None:
    model = sepiola.load(judge[0] / "run")
    data = DataSpec(reader="turns", root=str(judge[0] / "data"), split="test")
    found = rate_data(model, data, tmp_path / "clean", console=QUIET)
    rows = [json.loads(line) for line in Path(found["file"]).read_text(encoding="utf-8").splitlines()]
    assert found["turns"] == 48 and found["dropped"]["SAFE"] == 48 - found["kept"] > 5
    assert sum(row["ratings"]["SAFE"] for row in rows) / len(rows) > 0.85


def test_a_pair_is_the_dialogue_and_the_reply() -> None:
    said = (Message("user", ("你好?",)), Message("assistant", ("hi",)), Message("user", ("who?",)))
    rated = Example("a", said, "me", metadata={"ratings": {"SAFE": 0}})
    (pair,) = rated_pairs([rated, Example("b", said, "me")], "SAFE")
    assert pair.question is not None and pair.question.answer == 0
    assert (pair.question.hint, pair.question.text) == ("你好?\nhi\nwho?", "me")
    assert rated_pairs([rated], "SENSIBLE") == []
    with pytest.raises(DataError, match="expected each 0 or 1"):
        ratings_of(Example("c", said, "me", metadata={"ratings": {"SAFE": 0.5}}))


def test_what_is_no_judge_is_refused(tmp_path: Path) -> None:
    raw = judging(folder(tmp_path / "data"), kind="classification")
    with pytest.raises(SpecError, match="expected entailment, got classification"):
        parse_recipe(raw)
    raw = judging(tmp_path / "data", attribute={"name": "SPECIFIC"})
    with pytest.raises(TrainingError, match=r"rate SPECIFIC \[\]; a judge learns from both 0 and 1"):
        run_recipe(raw, tmp_path / "run")


def test_a_model_that_was_not_taught_rates_nothing() -> None:
    plain = sepiola.build({"name": "plain", "language": decoder()})
    with pytest.raises(SepiolaError, match="not taught to rate"):
        plain.rate("hi", ["a"])
