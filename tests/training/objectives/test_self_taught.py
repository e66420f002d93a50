"""Which chains a round learns: right ones, of the questions on which chains disagree; rounds run, resume and refuse."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from sepiola.data.example import Example, Message, Question
from sepiola.datasets import DATASETS, Dataset
from sepiola.errors import SpecError, TrainingError
from sepiola.experiments.recipe_files import parse_recipe
from sepiola.experiments.run import Run
from sepiola.reasoning.answer import Answer, Chain
from sepiola.reasoning.verdicts import is_right
from sepiola.specs.stage import StageSpec
from sepiola.specs.strategy import SelfConsistencySpec
from sepiola.training.objectives import objective_specs
from sepiola.training.objectives.self_taught import SelfTaught, SelfTaughtSpec, disagreement, own_chain, picked
from tests.coins import read_coins
from tests.tiny import QUIET, decoder, recipe, run_recipe, stage_weights

SPEC: dict[str, Any] = {"kind": "self-taught", "format": "Q-EA", "writer": "first", "questions": {"reader": "coins"}}


def asked(name: str, right: str = "4", **parts: Any) -> Example:
    question = Question("2 + 2?", answer_text=None if "choices" in parts else right, **parts)
    return Example(name, (Message("user", ("2 + 2?",)),), right, question, {"language": "en"})


def chains(*said: str | None, likely: Sequence[float] = ()) -> Answer:
    return Answer(
        "q",
        "",
        chains=tuple(
            Chain(f"way {n}", None, likelihood, 2, f"way {n}", one)
            for n, (one, likelihood) in enumerate(zip(said, likely or [-1.0] * len(said), strict=True))
        ),
    )


def test_disagreement_is_the_entropy_of_the_votes() -> None:
    assert disagreement(chains("4", "4", "4", "4").chains) == 0.0
    assert disagreement(chains("4", "5", "4", "5").chains) == pytest.approx(math.log(2))
    assert disagreement(chains("4", "5", "6", None).chains) == pytest.approx(math.log(4))


def test_a_chain_is_right_by_its_answer() -> None:
    assert is_right(asked("a"), chains("4").chains[0]) and not is_right(asked("a"), chains("5").chains[0])
    assert not is_right(asked("a"), chains(None).chains[0])
    chosen = asked("b", choices=("3", "4"), answer=1)
    assert is_right(chosen, Chain("", 1, 0.0, 1)) and not is_right(chosen, Chain("", 0, 0.0, 1))


def test_the_questions_that_chains_disagree_on_are_learned_with_their_likeliest_right_chain() -> None:
    questions = [asked(name) for name in "abcd"]
    answers = [
        chains("4", "4", "4", "4"),
        chains("5", "4", "6", "4", likely=[-1.0, -9.0, -1.0, -3.0]),
        chains("5", "6", "7", "8"),
        chains("4", "4", "5", "4"),
    ]
    spec = SelfTaughtSpec.model_validate({**SPEC, "picks": 2})
    taught = [own_chain(*pair) for pair in zip(questions, answers, strict=True)]
    found = picked(taught, answers, spec)
    assert [example.id for example in found] == ["b#chain", "d#chain"], "c has no right chain, and on a all agree"
    assert found[0].question is not None and found[0].question.solution == "way 3"
    everything = picked(taught, answers, spec.model_copy(update={"picks": 9}))
    assert [example.id for example in everything] == ["a#chain", "b#chain", "d#chain"]
    at_random = spec.model_copy(update={"pick": "random", "picks": 1})
    drawn = {picked(taught, [], at_random, seed)[0].id for seed in range(30)}
    assert drawn == {"a#chain", "b#chain", "d#chain"}


def test_of_solutions_those_that_chains_disagree_on_are_learned_as_they_are() -> None:
    questions = [asked(name) for name in "abc"]
    answers = [chains("4", "4", "4"), chains("5", "6", "7"), chains("5", "5", "4")]
    spec = SelfTaughtSpec.model_validate({**SPEC, "learn": "solutions", "picks": 2})
    assert picked([*questions], answers, spec) == questions[1:], "b too, which no chain answers right"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "Q-A"}, "a format that writes them, such as Q-EA"),
        ({"gate": True}, "the gate of self-taught asks 'validation' questions"),
        ({"bits": 8, "gate": False}, "bits are those of runtime: native"),
        ({"writer": "nobody", "gate": False}, "asks 'nobody', which is no earlier stage"),
    ],
)
def test_what_does_not_fit_is_one_message(change: dict[str, Any], message: str) -> None:
    raw = rounds()
    raw["stages"][1] = {key: value for key, value in raw["stages"][1].items() if key != "validation"}
    raw["stages"][1]["objective"] = {**SPEC, **change}
    with pytest.raises(SpecError, match=message):
        parse_recipe(raw, "recipe")


# ------------------------------------------------------------------------------------------------------------ runs


def rounds(sure: bool = False, **objective: Any) -> dict[str, Any]:
    data = {"reader": "coins", "count": 32, "options": {"sure": sure}}
    common = {"batch": 8, "source_tokens": 24, "target_tokens": 24, "optimizer": {"learning_rate": 0.02, "warmup": 4}}
    first = {"name": "first", "objective": {"format": "Q-EA"}, "data": data, "steps": 40, **common}
    own = {**SPEC, "questions": {**data, "split": "more"}, "chains": 6, "picks": 4, **objective}
    second = {"name": "second", "objective": own, "data": data, "validation": {**data, "split": "val"}, **common}
    last = {**second, "name": "third", "objective": {**own, "writer": "second"}}
    return recipe(
        "rounds",
        {"language": decoder(300, 32, positions={"kind": "rotary", "length": 64})},
        [first, {**second, "steps": 40}, {**last, "steps": 40}],
        tokenizer={"vocabulary": 300},
        strategy={"kind": "one-stage", "answer": "third"},
    )


def test_a_round_that_is_no_better_is_refused_and_the_writers_weights_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(DATASETS, "coins", Dataset(read_coins, drawn=True))
    folder = run_recipe(rounds(sure=True), tmp_path)
    outcome = json.loads(next(folder.glob("stages/second-*/outcome.json")).read_text())
    assert outcome["right_before"] == outcome["right_now"] == outcome["asked"] == 32, "all are right already"
    assert outcome["round"].startswith("refused") and outcome["chains_learned"] == 4
    first, third = stage_weights(folder, "first"), stage_weights(folder, "third")
    assert all(torch.equal(first[name], third[name]) for name in first)


def test_rounds_learn_what_was_picked_and_keep_the_chains_that_were_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(DATASETS, "coins", Dataset(read_coins, drawn=True))
    folder = run_recipe(rounds(gate=False), tmp_path)
    first, second = stage_weights(folder, "first"), stage_weights(folder, "second")
    assert not all(torch.equal(first[name], second[name]) for name in first)
    drawn = [*folder.glob("stages/answers-*/answers.jsonl")]
    assert len(drawn) == 2, "the questions, for each of two writers"
    lines = [json.loads(line) for line in drawn[0].read_text().splitlines()][1:]
    assert len(lines) == 32 and all(len(line["chains"]) == 6 for line in lines)
    votes = {chain["said"] for line in lines for chain in line["chains"]}
    assert {"heads", "tails"} <= votes, "of a coin's sides nobody is sure"
    metrics = [json.loads(line) for line in next(folder.glob("stages/second-*/metrics.jsonl")).read_text().splitlines()]
    assert metrics[0]["samples"] == 36, "its own data and four chains"


@pytest.mark.parametrize("pick", ["disagreement", "random"])
def test_rounds_learn_the_solutions_of_picked_questions(
    pick: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(DATASETS, "coins", Dataset(read_coins, drawn=True))
    run = Run(parse_recipe(rounds(gate=False, learn="solutions", pick=pick)), tmp_path, console=QUIET)
    run.train(run.stages["first"])
    run.train(run.stages["second"])
    second = run.objective(run.stages["second"])
    assert isinstance(second, SelfTaught)
    questions = run.read(second.own.questions)
    assert len(second.learned) == 4 and all(example in questions for example in second.learned)
    drawn = [*tmp_path.glob("stages/answers-*/answers.jsonl")]
    assert len(drawn) == (pick == "disagreement"), "random picks ask for no chains"
    outcome = json.loads(next(tmp_path.glob("stages/second-*/outcome.json")).read_text())
    assert outcome["solutions_learned"] == 4


@pytest.mark.parametrize(
    ("learn", "message"),
    [
        ("solutions", "of its 32 questions none has a solution; learn: chains learns"),
        ("chains", "of its 32 questions 'first' answers none right; train it longer"),
    ],
)
def test_a_round_with_nothing_to_learn_is_one_message(
    learn: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(DATASETS, "coins", Dataset(read_coins, drawn=True))
    questions = {"reader": "coins", "split": "more", "count": 32, "options": {"told": False}}
    raw = rounds(gate=False, learn=learn, questions=questions)
    raw["stages"][0]["steps"] = 1
    run = Run(parse_recipe(raw), tmp_path, console=QUIET)
    run.train(run.stages["first"])
    with pytest.raises(TrainingError, match=message):
        run.train(run.stages["second"])


def test_chains_that_were_drawn_are_not_drawn_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DATASETS, "coins", Dataset(read_coins, drawn=True))
    run = Run(parse_recipe(rounds(gate=False)), tmp_path, console=QUIET)
    run.train(run.stages["first"])
    questions = run.read(run.stages["second"].objective.reads_beside["questions"])
    spec = SelfConsistencySpec(kind="self-consistency", chains=3, seed=1)
    drawn = run.answers("first", questions, spec)
    (path,) = tmp_path.glob("stages/answers-*/answers.jsonl")
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:20]) + lines[20][:30])  # as a kill leaves it
    assert run.answers("first", questions, spec) == drawn and len(path.read_text().splitlines()) == len(lines)
    kept = [*lines[:1], *(json.dumps({**json.loads(line), "output": "kept"}) + "\n" for line in lines[1:])]
    path.write_text("".join(kept))
    assert {answer.output for answer in run.answers("first", questions, spec)} == {"kept"}


def test_chains_are_drawn_by_the_runtime_that_the_round_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sepiola_edge._native", reason="the native core is not built: pip install ./edge")
    monkeypatch.setitem(DATASETS, "coins", Dataset(read_coins, drawn=True))
    run = Run(parse_recipe(rounds(gate=False, runtime="native", bits=8)), tmp_path, console=QUIET)
    run.train(run.stages["first"])
    second = run.objective(run.stages["second"])
    assert isinstance(second, SelfTaught)
    questions = run.read(second.own.questions)[:4]
    spec = SelfConsistencySpec(kind="self-consistency", chains=6, temperature=0.7, seed=run.seed, shuffle=False)
    native, plain = second.drawn(questions), run.answers("first", questions, spec)
    assert native == run.answers("first", questions, spec, runtime="native", bits=8)
    found, beside = ([chain.log_probability for answer in one for chain in answer.chains] for one in (native, plain))
    assert found != beside, "weights of 8 bits round otherwise"
    assert len([*tmp_path.glob("stages/answers-*")]) == 2, "and are kept by themselves"


def test_the_spec_reads_from_a_stage() -> None:
    raw = {"name": "s", "data": {"reader": "coins"}, "steps": 1, "objective": {**SPEC, "gate": False}}
    stage = StageSpec.parse(raw, kinds=objective_specs())
    assert stage.objective.asks == ("first",) and {*stage.objective.reads_beside} == {"questions"}
