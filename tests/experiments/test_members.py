"""Ensembles run whole, at a size for tests: draws, votes, out-of-fold scores, resume, saved and loaded."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import sepiola
from sepiola.data.example import Example
from sepiola.data.folds import bootstrap, group_of
from sepiola.datasets import read
from sepiola.errors import CheckpointError, SepiolaError, SpecError, TrainingError
from sepiola.experiments.compare import compare
from sepiola.experiments.dry_run import explain, print_explanation
from sepiola.experiments.members import Draw, EnsembleRun, Member, run_of
from sepiola.experiments.recipe_files import ComparisonSpec, member_recipes, parse_recipe, student_recipe
from sepiola.experiments.run import Run
from sepiola.reasoning.boosting import samme_round
from sepiola.specs.base import override, read_yaml
from sepiola.specs.ensemble import CombiningSpec, StackedSpec
from sepiola.training.objectives.distillation import Distillation, Option
from tests.tiny import QUIET, Raw, decoder, recipe, tidepool, vision_language, vit

DATA = tidepool(40, "objects", "maps")
STAGE: Raw = {"name": "answer", "data": DATA, "objective": {"format": "QCM-A"}, "steps": 3, "batch": 8}
STAGE |= {"optimizer": {"learning_rate": 3e-3}, "source_tokens": 96, "target_tokens": 16, "precision": "float32"}
RECIPE = recipe(
    "together",
    {"language": decoder(400, 32, hidden=48)},
    [STAGE],
    strategy={"answer": "answer", "by": "score"},
    evaluation=[{**DATA, "split": "test", "count": 12}],
)
KINDS: dict[str, Raw] = {
    "bagging": {"kind": "bagging", "members": 3},
    "boosting": {"kind": "boosting", "members": 3},
    "stacking": {"kind": "stacking", "folds": 2, "members": [{}, {"model.language.width": 16}]},
}


def parsed(ensemble: Raw, *changes: str) -> Any:
    return parse_recipe({**override(RECIPE, changes), "ensemble": ensemble})


def run(ensemble: Raw, folder: Path, *changes: str, resume: bool = False) -> Path:
    made = parsed(ensemble, *changes)
    run_of(made)(made, folder, console=QUIET, resume=resume).go()
    return folder


def questions(split: str = "test", count: int = 12) -> list[Example]:
    return read("tidepool", None, split, count=count, size=64, families=["objects", "maps"])


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("runs")
    return {kind: run(ensemble, folder / kind) for kind, ensemble in KINDS.items()}


def files(folder: Path) -> dict[str, bytes]:
    """What a run's checkpoint holds, but for locks."""
    found = {p for p in (folder / "checkpoint").rglob("*") if p.is_file() and not p.name.startswith(".")}
    return {str(p.relative_to(folder)): p.read_bytes() for p in found}


@pytest.mark.parametrize("kind", KINDS)
def test_loaded_answers_as_the_run_did(kind: str, finished: dict[str, Path]) -> None:
    model = sepiola.load(finished[kind])
    assert model.ensemble is not None
    answers = model.answer(questions())
    lines = (finished[kind] / "answers-tidepool-test.jsonl").read_text().splitlines()
    written = [json.loads(line) for line in lines]
    assert [a.choice for a in answers] == [line["choice"] for line in written]
    for answer, line in zip(answers, written, strict=True):
        assert answer.probabilities == pytest.approx(line["probabilities"], abs=1e-5)
    reply = model.ask("Which?", choices=["red", "green", "blue"])
    assert reply.answer in ("red", "green", "blue") and sum(reply.probabilities or ()) == pytest.approx(1)


def test_the_report_says_what_members_do_alone_and_how_often_they_differ(finished: dict[str, Path]) -> None:
    about = json.loads((finished["bagging"] / "report.json").read_text())["ensemble"]
    assert len(about["members"]) == 3 and 0 <= about["differ"] <= 1 and about["combining"] == {"kind": "mean"}
    lines = [json.loads(line) for line in (finished["bagging"] / "metrics.jsonl").read_text().splitlines()]
    assert {line["stage"] for line in lines} == {f"answer, member {n}" for n in range(3)}


def test_bagging_averages_members_that_have_seen_bootstraps(finished: dict[str, Path]) -> None:
    model = sepiola.load(finished["bagging"])
    assert model.ensemble is not None
    each = [member.answer(questions()) for member in model.ensemble.members]
    for joint, *own in zip(model.answer(questions()), *each, strict=True):
        mean = [sum(p) / 3 for p in zip(*(a.probabilities or () for a in own), strict=True)]
        assert joint.probabilities == pytest.approx(mean)
    made = parsed(KINDS["bagging"])
    ensemble = run_of(made)(made, finished["bagging"], console=QUIET)
    assert isinstance(ensemble, EnsembleRun)
    whole = ensemble.read(ensemble.answering.data)
    member = ensemble.member(1, Draw(("b",), lambda examples: bootstrap(examples, 7)))
    drawn = member.read(ensemble.answering.data)
    assert [e.id for e in drawn] == [e.id for e in bootstrap(whole, 7)] != [e.id for e in whole]
    assert member.tokenizer.to_json() == ensemble.tokenizer.to_json(), "members share the tokenizer of the whole data"


def test_boosting_votes_by_samme(finished: dict[str, Path]) -> None:
    folder = finished["boosting"]
    plain = Run(parse_recipe(RECIPE), folder, console=QUIET)
    first = plain.stage_folder(plain.recipe.stages[0])
    assert (first / "checkpoint" / "spec.yaml").is_file(), "the first member is the recipe's own model"
    combining = CombiningSpec.parse(read_yaml(folder / "checkpoint" / "ensemble.yaml"))
    model = sepiola.load(folder)
    assert model.ensemble is not None and len(model.ensemble.members) == combining.members
    asked = questions("train", 40)
    weights: tuple[float, ...] = (1 / 40,) * 40
    alphas: Sequence[dict[int, float]] = combining.by.alphas  # type: ignore[union-attr]
    for member, alpha in zip(model.ensemble.members, alphas, strict=True):
        answers = member.strategy(score=True).answer(asked)
        right = [a.choice == e.question.answer for a, e in zip(answers, asked, strict=True) if e.question]
        one = samme_round(weights, [len(e.question.choices) for e in asked if e.question], right)
        assert alpha == pytest.approx(one.alphas)
        weights = one.weights


def test_stacking_scores_no_example_that_a_member_was_trained_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: dict[str, set[str]] = {}
    asked: list[tuple[set[str], set[str]]] = []
    original = EnsembleRun.trained_member

    def spy(self: EnsembleRun, name: str, member: Run) -> Any:
        model = original(self, name, member)
        trained[name] = {group_of(e) for e in member.read(member.recipe.stages[-1].data)}
        if "without" in name:
            answer = model.strategy(score=True).answer

            class Spied:
                def answer(self, examples: Sequence[Example], on_done: Any = None) -> Any:
                    asked.append((trained[name], {group_of(e) for e in examples}))
                    return answer(examples)

            monkeypatch.setattr(model, "strategy", lambda score: Spied())
        return model

    monkeypatch.setattr(EnsembleRun, "trained_member", spy)
    folder = run(KINDS["stacking"], tmp_path / "run")
    assert len(asked) == 4, "two folds of two members"
    everything = {group_of(e) for e in questions("train", 40)}
    for known, held_out in asked:
        assert known and held_out and not known & held_out
        assert known | held_out == everything
    by = CombiningSpec.parse(read_yaml(folder / "checkpoint" / "ensemble.yaml")).by
    assert isinstance(by, StackedSpec) and len(by.weights) == 2
    model = sepiola.load(folder)
    assert model.ensemble is not None
    assert [m.spec.language.width for m in model.ensemble.members if m.spec.language] == [32, 16]
    assert trained["member 0"] == everything, "the members that answer have seen everything"


@pytest.mark.parametrize("kind", ["boosting", "stacking"])
def test_resumed_is_as_if_it_had_never_stopped(
    kind: str, finished: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = 0
    original = Member.train

    def dies(self: Member, stage: Any) -> None:
        nonlocal count
        count += 1
        if count == 3:
            raise KeyboardInterrupt
        original(self, stage)

    monkeypatch.setattr(Member, "train", dies)
    with pytest.raises(KeyboardInterrupt):
        run(KINDS[kind], tmp_path / "run")
    monkeypatch.undo()
    assert files(run(KINDS[kind], tmp_path / "run", resume=True)) == files(finished[kind])


def test_a_distilled_run_leaves_one_model_beside_its_teacher(tmp_path: Path) -> None:
    folder = run({**KINDS["bagging"], "members": 2, "distilled": True}, tmp_path / "run")
    model, teacher = sepiola.load(folder), sepiola.load(folder / "teacher")
    assert model.ensemble is None and teacher.ensemble is not None and len(teacher.ensemble.members) == 2
    assert [a.choice for a in model.answer(questions())] == [
        json.loads(line)["choice"] for line in (folder / "answers-tidepool-test.jsonl").read_text().splitlines()
    ]
    stages = {json.loads(line)["stage"] for line in (folder / "metrics.jsonl").read_text().splitlines()}
    assert stages == {"answer, member 0", "answer, member 1", "answer, distilled"}


def test_a_student_learns_from_questions_that_its_teacher_alone_answers(tmp_path: Path) -> None:
    """It is taught what the ensemble says of the recipe's questions, and of others whose answers nobody reads."""
    more = {**DATA, "count": 10, "options": {**DATA["options"], "seed": 5}}
    ensemble = {**KINDS["bagging"], "members": 2, "distilled": {"weight": 0.25, "questions": more, "steps": 5}}
    folder = run(ensemble, tmp_path / "run")
    own = parsed(ensemble)
    stage = student_recipe(own, str(folder / "teacher")).stages[0]
    objective = Run(student_recipe(own, str(folder / "teacher")), folder, console=QUIET).objective(stage)
    assert isinstance(objective, Distillation) and stage.steps == 5
    rows = objective.taught()
    assert len(rows) == 50 and sum(row.id.endswith("#unanswered") for row in rows) == 10
    asked = read("tidepool", None, "train", count=10, size=64, families=["objects", "maps"], seed=5)
    teacher = sepiola.load(folder / "teacher").answer(asked)
    for row, answer in zip(rows[40:], teacher, strict=True):
        assert answer.probabilities is not None
        assert [part.share for part in row.parts if isinstance(part, Option)] == pytest.approx(
            answer.probabilities, rel=1e-4
        )
    digests = json.loads((folder / "data.json").read_text())
    assert "ensemble.distilled: questions" in digests


SEEING = recipe(
    "seeing",
    vision_language({"kind": "projection", "shuffle": 2}, vision=vit(64, 16, class_token=False)),
    [
        {**STAGE, "name": "align", "learn": ["bridge"]},
        {**STAGE, "start": "align", "learn": ["language"]},
    ],
    strategy={"answer": "answer", "by": "score"},
    evaluation=[{**DATA, "split": "test", "count": 6}],
)


def test_a_student_that_sees_learns_from_a_teacher_of_another_tokenizer(tmp_path: Path) -> None:
    teacher = run({**KINDS["bagging"], "members": 2}, tmp_path / "teacher", "tokenizer.vocabulary=300")
    taught = {"objective": {"kind": "distillation", "format": "QCM-A", "teacher": str(teacher)}}
    first, last = SEEING["stages"]
    Run(parse_recipe({**SEEING, "stages": [first, {**last, **taught}]}), tmp_path / "student", console=QUIET).go()
    sizes = [sepiola.load(path).require_tokenizer().vocabulary for path in (teacher, tmp_path / "student")]
    assert sizes[0] != sizes[1]


def test_a_shared_stage_is_trained_once_and_must_not_have_seen_what_is_asked_out_of_fold(tmp_path: Path) -> None:
    bagged = parse_recipe({**SEEING, "ensemble": {**KINDS["bagging"], "members": 2, "shared": ["align"]}})
    run_of(bagged)(bagged, tmp_path / "bagged", console=QUIET).go()
    names = sorted(p.name.split("-")[0] for p in (tmp_path / "bagged" / "stages").iterdir() if p.is_dir())
    assert names == ["align", "answer", "answer"]
    model = sepiola.load(tmp_path / "bagged")
    example = questions()[0]
    assert example.question is not None
    seen = model.ask(example.question.text, image=example.images[0], choices=example.question.choices)
    assert seen.probabilities != model.blind().answer([example])[0].probabilities
    stacked = {"kind": "stacking", "members": [{}, {}], "folds": 2, "shared": ["align"]}
    with pytest.raises(TrainingError, match=r"'align' reads .* answer out of fold"):
        EnsembleRun(parse_recipe({**SEEING, "ensemble": stacked}), tmp_path / "stacked", console=QUIET).go()


def test_arms_share_members_and_a_table_says_what_they_cost(tmp_path: Path) -> None:
    arms = {"one": {}, "bagging": {"ensemble": {"kind": "bagging", "members": 2, "bootstrap": False}}}
    spec = ComparisonSpec.parse({"name": "c", "base": {k: v for k, v in RECIPE.items() if k != "name"}, "arms": arms})
    report = compare(spec, tmp_path / "c", console=QUIET)
    stages = [p for p in (tmp_path / "c" / "stages").iterdir() if p.is_dir()]
    assert len(stages) == 2, "the first member without a bootstrap is the other arm's model"
    one, bagging = report["rows"][:2]
    assert bagging["learned_parameters"] == 2 * one["learned_parameters"]


def test_another_strategy_goes_over_every_member(finished: dict[str, Path]) -> None:
    model = sepiola.load(finished["bagging"])
    assert model.ensemble is not None
    chains = {"kind": "self-consistency", "chains": 4, "temperature": 2.0}
    joint = model.by(chains).answer(questions())
    each = [member.by(chains).answer(questions()) for member in model.ensemble.members]
    for example, answer, *own in zip(questions(), joint, *each, strict=True):
        count = len(example.question.choices) if example.question else 0
        said = [a.probabilities or (1 / count,) * count for a in own]
        if all(a.probabilities is None for a in own):
            assert answer.choice is None, "nobody says anything"
        else:
            assert answer.probabilities == pytest.approx([sum(p) / 3 for p in zip(*said, strict=True)])


def test_what_an_ensemble_cannot_do_is_refused(finished: dict[str, Path]) -> None:
    model = sepiola.load(finished["bagging"])
    with pytest.raises(SepiolaError, match="writes no text"):
        model.generate("a")
    with pytest.raises(SepiolaError, match=r"open question|choices"):
        model.ask("Which?")
    with pytest.raises(SepiolaError, match="holds one model"):
        model.save_hub(finished["bagging"] / "hub")
    with pytest.raises(CheckpointError, match="an ensemble of several models; name one of them"):
        sepiola.load(finished["bagging"], vision_only=True)
    begun = parse_recipe({**RECIPE, "weights": str(finished["bagging"])})
    with pytest.raises(SpecError, match=r"weights: .* is an ensemble"):
        Run(begun, finished["bagging"].parent / "begun", console=QUIET).go()


def test_a_dry_run_says_how_often_members_are_trained() -> None:
    found = [explain(parsed(ensemble), QUIET)["runs"][0]["ensemble"] for ensemble in KINDS.values()]
    assert [one["trainings"] for one in found] == [3, 3, 6]
    print_explanation(explain(parsed({**KINDS["bagging"], "distilled": True}), QUIET), QUIET)
    assert explain(parse_recipe(RECIPE), QUIET)["runs"][0]["ensemble"] is None


@pytest.mark.parametrize(
    ("ensemble", "changes", "fault"),
    [
        ({"kind": "bagging", "members": 1}, [], "ensemble.members: .*greater than or equal to 2"),
        ({"kind": "begging"}, [], "ensemble"),
        ({"kind": "stacking", "members": [{}]}, [], "ensemble.members"),
        ({"kind": "stacking", "members": [{}, {"model.langage.width": 3}]}, [], r"ensemble.members\[1\]: .*langage"),
        ({**KINDS["bagging"], "distilled": {"wieght": 1}}, [], "ensemble.distilled.wieght"),
        ({**KINDS["bagging"], "distilled": {"questions": {"reader": "tidepol"}}}, [], "no dataset is named 'tidepol'"),
        ({**KINDS["bagging"], "distilled": True}, ["stages.0.objective.format=QCM-LE"], "ends in an answer"),
        (
            {**KINDS["bagging"], "distilled": {"questions": DATA}},
            ["stages.0.objective.format=QCM-EA", "strategy.kind=one-stage"],
            "nobody has explained the 'questions'",
        ),
        (KINDS["bagging"], ["strategy.by=generate"], "set strategy.by: score"),
        (KINDS["bagging"], ["strategy=null"], "give the recipe a 'strategy'"),
        ({**KINDS["bagging"], "shared": ["answr"]}, [], "no stage is named 'answr'; did you mean 'answer'"),
        ({**KINDS["bagging"], "shared": ["answer"]}, [], "what the members answer by"),
        (KINDS["bagging"], ["few_shot={shots: [0, 1]}"], "of no ensemble"),
    ],
)
def test_bad_specs_are_refused_by_name(ensemble: Raw, changes: list[str], fault: str) -> None:
    with pytest.raises(SpecError, match=fault):
        parsed(ensemble, *changes)


def test_members_are_recipes_of_their_own() -> None:
    plain, narrow = member_recipes(parsed(KINDS["stacking"]))
    assert plain == parse_recipe(RECIPE)
    assert narrow.model.language is not None and narrow.model.language.width == 16
    assert member_recipes(parse_recipe(RECIPE)) == []
