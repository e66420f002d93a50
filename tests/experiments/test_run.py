"""Recipes run whole, on Tidepool, at a size for tests: stages, files, resume, sharing, asking."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import torch
import yaml
from rich.console import Console

import sepiola
from sepiola.checkpoints.tensors import read_tensors
from sepiola.data.batching import Sample
from sepiola.datasets import read
from sepiola.errors import CheckpointError, DataError, SepiolaError, SpecError, TrainingError
from sepiola.experiments.compare import compare
from sepiola.experiments.dry_run import explain
from sepiola.experiments.recipe_files import ComparisonSpec, parse_recipe, read_recipe
from sepiola.experiments.run import Run, claimed
from sepiola.reasoning.asking import question_example
from sepiola.reasoning.strategies import TwoStage
from sepiola.specs.base import override
from sepiola.specs.recipe import RecipeSpec
from sepiola.specs.stage import StageSpec
from sepiola.training.objectives.language_modelling import LanguageModelling
from tests.tiny import QUIET, wait_until

MODEL = {
    "like": "mm-cot-tiny",
    "language": {"width": 32, "layers": 1, "feed_forward": {"width": 48}},
    "vision": {
        "backbone": {"stem_width": 8, "widths": [8, 16]},
        "width": 16,
        "layers": 1,
        "heads": 2,
        "feed_forward": 16,
    },
}
DATA = {"reader": "tidepool", "count": 48, "options": {"size": 64, "families": ["objects", "counting"]}}
COMMON = {"steps": 4, "batch": 8, "optimizer": {"learning_rate": 1e-3}, "target_tokens": 48, "precision": "float32"}
RECIPE: dict[str, Any] = {
    "name": "small",
    "model": MODEL,
    "tokenizer": {"vocabulary": 400},
    "stages": [
        {"name": "eye", "objective": "detection", "learn": ["vision"], "data": DATA, **COMMON},
        {
            "name": "rationale",
            "start": "eye",
            "data": DATA,
            "objective": {"format": "QCM-E"},
            "learn": ["language", "bridge"],
            **COMMON,
        },
        {
            "name": "answer",
            "start": "eye",
            "data": DATA,
            "objective": {"format": "QCMG-A"},
            "learn": ["language", "bridge"],
            **COMMON,
            "validation": {**DATA, "split": "val", "count": 8},
        },
    ],
    "strategy": {"kind": "two-stage", "rationale": "rationale", "answer": "answer", "by": "score"},
    "evaluation": [{**DATA, "split": "test", "count": 12}],
}


def recipe(tmp_path: Path, *changes: str) -> RecipeSpec:
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(override(RECIPE, changes)))
    spec = read_recipe(str(path))
    assert isinstance(spec, RecipeSpec)
    return spec


def samples(run: Run, stage: StageSpec) -> list[Sample]:
    """What the stage trains on."""
    objective = run.objective(stage)
    assert isinstance(objective, LanguageModelling)
    return [part for sample in objective.samples(stage.data) for part in sample.parts]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    torch.manual_seed(0)
    Run(recipe(folder), folder / "small", console=QUIET).go()
    return folder / "small"


def test_a_run_holds_recipe_metrics_report_and_checkpoint(finished: Path) -> None:
    names = {p.name for p in finished.iterdir()}
    assert {"recipe.yaml", "metrics.jsonl", "report.json", "report.html", "checkpoint"} <= names
    lines = [json.loads(line) for line in (finished / "metrics.jsonl").read_text().splitlines()]
    assert {line["stage"] for line in lines} == {"eye", "rationale", "answer"}
    report = json.loads((finished / "report.json").read_text())
    assert report["count"] == 12 and report["unparsed"] == 0
    assert {"chance", "majority", "nearest_neighbour"} == set(report["baselines"])
    assert set(report["buckets"]["language"]) == {"en", "zh"}
    assert report["hallucination"]["rationales"] == 12
    page = (finished / "report.html").read_text()
    assert "Best validation loss" in page
    assert page.count("<svg") == 1 and "Accuracy over coverage" in page, "four steps are logged once: no curve of them"


def test_loaded_answers_as_the_run_did(finished: Path) -> None:
    model = sepiola.load(finished)
    examples = read("tidepool", Path(), "test", count=12, size=64, families=["objects", "counting"])
    right = sum(
        a.choice == e.question.answer for e, a in zip(examples, model.answer(examples), strict=True) if e.question
    )
    assert right / 12 == json.loads((finished / "report.json").read_text())["accuracy"]


@pytest.mark.parametrize(
    ("question", "choices"), [("Which is it?", ("a star", "a circle")), ("这是什么？", ("星形", "圆形", "方形"))]
)
def test_ask_answers_on_any_picture(finished: Path, question: str, choices: tuple[str, ...], tmp_path: Path) -> None:
    from PIL import Image

    Image.new("CMYK", (301, 17), "red").save(tmp_path / "own.jpg")
    reply = sepiola.load(finished).ask(question, image=tmp_path / "own.jpg", choices=choices)
    assert reply.answer in choices and reply.rationale is not None
    assert reply.probabilities is not None and sum(reply.probabilities) == pytest.approx(1.0)
    assert max(reply.probabilities) == reply.probabilities[choices.index(reply.answer)]


def test_saved_is_loaded(finished: Path, tmp_path: Path) -> None:
    model = sepiola.load(finished)
    model.save(tmp_path / "copy")
    again = sepiola.load(tmp_path / "copy")
    assert again.answering == model.answering
    for one, two in ((model, again), (model.rationale, again.rationale)):
        assert one is not None and two is not None
        for name, value in one.state_dict().items():
            assert torch.equal(two.state_dict()[name], value)


def test_a_frozen_eye_stays_and_its_features_are_computed_once(finished: Path) -> None:
    folders = {p.name.rsplit("-", 1)[0]: p for p in (finished / "stages").iterdir() if p.is_dir()}
    states = {name: read_tensors(folders[name] / "checkpoint" / "model.safetensors") for name in ("eye", "answer")}
    assert states["eye"] and not any(name.startswith(("language.", "bridge.")) for name in states["eye"])
    assert all(torch.equal(value, states["answer"][f"vision.{name}"]) for name, value in states["eye"].items())
    fresh = sepiola.build(sepiola.load(finished).spec).network.vision.state_dict()
    assert any(not torch.equal(value, fresh[name]) for name, value in states["eye"].items())
    assert len(list((finished / "features").iterdir())) == 1


def test_a_folder_is_taken_once(finished: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="--resume"):
        Run(recipe(tmp_path), finished, console=QUIET).go()
    with pytest.raises(TrainingError, match="another recipe"):
        Run(recipe(tmp_path, "stages.0.steps=5"), finished, console=QUIET, resume=True).go()
    report = Run(recipe(tmp_path), finished, console=QUIET, resume=True).go()
    assert report["count"] == 12


def test_a_run_that_failed_before_its_first_step_leaves_its_folder_free(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    wrong = recipe(tmp_path, "tokenizer.vocabulary=9")
    with pytest.raises(SepiolaError):
        Run(wrong, folder, console=QUIET).go()
    assert (folder / "recipe.yaml").is_file()
    (folder / "data.json").write_text("{}")
    report = Run(recipe(tmp_path), folder, console=QUIET).go()
    assert report["count"] == 12
    with pytest.raises(TrainingError, match="another recipe"):
        Run(wrong, folder, console=QUIET).go()


def test_blind_is_blind(tmp_path: Path) -> None:
    run = Run(recipe(tmp_path, "images=false"), tmp_path / "blind", console=QUIET)
    assert all(not sample.images for sample in samples(run, run.recipe.stages[1]))
    run.go()
    model = sepiola.load(tmp_path / "blind")
    examples = read("tidepool", Path(), "test", count=4, size=64)
    seen = [replace(question_example("Which?", e.images, ("a", "b"), ""), id=e.id) for e in examples]
    first, *others = [a.probabilities for a in model.strategy(score=True).answer(seen)]
    assert all(other == first for other in others)
    with pytest.raises(DataError, match="reads text alone"):
        model.ask("Which?", image=examples[0].images[0], choices=("a", "b"))


def test_generated_rationales_are_read_in_training(tmp_path: Path) -> None:
    run = Run(
        recipe(tmp_path, "stages.2.objective.rationales=generated", "stages.2.validation=null"),
        tmp_path / "g",
        console=QUIET,
    )
    for stage in run.recipe.stages[:2]:
        run.train(stage)
    stage = run.recipe.stages[2]
    written = run.rationales(run.data.read(stage.data), generated=True)
    other = stage.objective.model_copy(update={"rationales": "gold"})
    gold = {s.id: s.source for s in samples(run, stage.model_copy(update={"objective": other}))}
    for sample in samples(run, stage):
        assert written[sample.id] in run.tokenizer.decode(sample.source)
        assert sample.source != gold[sample.id]


def test_arms_share_their_common_stages(tmp_path: Path) -> None:
    direct = {
        "name": "answer",
        "start": "eye",
        "data": DATA,
        "objective": {"format": "QCM-A"},
        "learn": ["language", "bridge"],
        **COMMON,
    }
    spec = ComparisonSpec.parse(
        {
            "name": "c",
            "base": RECIPE,
            "seeds": [0, 1],
            "arms": {
                "two-stage": {},
                "direct": {"stages": [RECIPE["stages"][0], direct], "strategy": {"answer": "answer"}},
            },
        }
    )
    report = compare(spec, tmp_path / "c", console=QUIET)
    stages = [p.name.rsplit("-", 1)[0] for p in (tmp_path / "c" / "stages").iterdir() if p.is_dir()]
    assert sorted(stages) == ["answer"] * 4 + ["eye"] * 2 + ["rationale"] * 2
    assert [row["name"] for row in report["rows"][:2]] == ["two-stage", "direct"]
    for row in report["rows"][:2]:
        assert row["image_tokens"] == 0 and row["first_token_ms"] > 0 and row["training_seconds"] > 0
        assert row["learned_parameters"] > row["bridge_parameters"] > 0
    assert len(report["rows"][0]["accuracies"]) == 2
    assert sepiola.load(tmp_path / "c").answering is not None


def test_killed_and_resumed_is_uninterrupted(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    changes = [f"stages.{i}.{key}" for i in range(3) for key in ("steps=30", "save_every=3")]
    path.write_text(yaml.safe_dump(override(RECIPE, changes)))
    command = [sys.executable, "-m", "sepiola", "train", str(path), "--runs", str(tmp_path / "killed")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    started = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    stages = tmp_path / "killed" / "small" / "stages"
    wait_until(lambda: any(stages.glob("rationale-*/state.pt")), started)  # in the middle of the second stage
    started.send_signal(signal.SIGKILL)
    started.wait()
    subprocess.run([*command, "--resume"], env=environment, check=True, capture_output=True)
    subprocess.run([*command[:-1], str(tmp_path / "whole")], env=environment, check=True, capture_output=True)
    for part in (".", "rationale"):
        ours, theirs = (
            read_tensors(tmp_path / name / "small" / "checkpoint" / part / "model.safetensors")
            for name in ("killed", "whole")
        )
        assert all(torch.equal(value, theirs[name]) for name, value in ours.items())


@pytest.mark.parametrize(("stage", "trained", "runs"), [(0, "eye", 1), (1, "rationale", 2)])
def test_arms_side_by_side_end_with_the_comparison(tmp_path: Path, stage: int, trained: str, runs: int) -> None:
    """While one process trains what the arms share, and while each trains its own."""
    base = override(RECIPE, [f"stages.{stage}.steps=100000"])
    comparison = {"name": "c", "base": base, "jobs": 2, "arms": {"with eyes": {}, "blind": {"images": False}}}
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(comparison))
    command = [sys.executable, "-m", "sepiola", "train", str(tmp_path / "c.yaml"), "--runs", str(tmp_path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    started = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    stages = tmp_path / "c" / "stages"
    try:
        wait_until(lambda: len([*stages.glob(f"{trained}-*/metrics.jsonl")]) == runs, started)
    finally:
        started.kill()
        started.wait()
    assert started.stdout is not None
    started.stdout.read()  # ends when the last process that could write to it has ended
    assert len([*stages.glob(f"{trained}-*/state.pt")]) == runs  # saved, for --resume


def test_stages_are_joined_by_id(finished: Path) -> None:
    strategy = sepiola.load(finished).strategy()
    assert isinstance(strategy, TwoStage)
    examples = read("tidepool", Path(), "test", count=6, size=64)
    forward, backward = strategy.answer(examples), strategy.answer(examples[::-1])
    assert [a.id for a in forward] == [e.id for e in examples]
    assert {a.id: a.rationale for a in forward} == {a.id: a.rationale for a in backward}
    with pytest.raises(DataError, match="1 examples share an id"):
        strategy.answer([*examples, examples[0]])


def test_what_a_model_lacks_is_one_message(tmp_path: Path) -> None:
    model = sepiola.build("mm-cot-tiny")
    with pytest.raises(CheckpointError, match=r"no tokenizer: put its tokenizer\.json"):
        model.ask("What?")
    with pytest.raises(SpecError, match="did you mean 'mm-cot-tiny'"):
        sepiola.build("mm-cot-tinny")
    with pytest.raises(CheckpointError, match="is no folder here"):
        sepiola.load(tmp_path / "nothing")


def test_sets_that_cannot_be_read_are_said_before_anything_is_trained(tmp_path: Path) -> None:
    spec = parse_recipe({**RECIPE, "evaluation": [{**DATA, "split": "tset"}]})
    for go in (Run(spec, tmp_path / "run", console=QUIET).go, lambda: explain(spec, QUIET)):
        with pytest.raises(DataError, match="unknown Tidepool split 'tset'"):
            go()
    assert not (tmp_path / "run" / "stages").exists()


def test_a_recipe_that_ends_with_its_vision_encoder_leaves_that_alone(tmp_path: Path) -> None:
    raw = {**RECIPE, "stages": RECIPE["stages"][:1]}
    path = tmp_path / "vision.yaml"
    path.write_text(yaml.safe_dump({key: raw[key] for key in ("name", "model", "tokenizer", "stages")}))
    spec = read_recipe(str(path))
    assert isinstance(spec, RecipeSpec)
    Run(spec, tmp_path / "run", console=QUIET).go()
    kept = sepiola.load(tmp_path / "run" / "checkpoint").spec
    assert kept.vision is not None and kept.language is None


def test_processes_that_race_for_a_run_end_as_one_alone(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(RECIPE))
    command = [sys.executable, "-m", "sepiola", "train", str(path), "--json", "--runs"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}

    def started(runs: str, *options: str) -> subprocess.Popen[str]:
        line = [*command, str(tmp_path / runs), *options]
        return subprocess.Popen(line, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    alone, *resumed = [started("alone"), *(started("raced", "--resume") for _ in range(2))]
    outputs = [process.communicate() for process in (alone, *resumed)]
    assert [process.returncode for process in (alone, *resumed)] == [0, 0, 0], outputs
    assert sum("another process is at it; waiting" in error.replace("\n", " ") for _, error in outputs[1:]) == 1
    for part in (".", "rationale"):
        ours, theirs = (
            read_tensors(tmp_path / name / "small" / "checkpoint" / part / "model.safetensors")
            for name in ("raced", "alone")
        )
        assert all(torch.equal(value, theirs[name]) for name, value in ours.items())
    racing = [started("new") for _ in range(2)]
    ends = sorted((process.communicate()[1], process.returncode) for process in racing)
    assert sorted(code for _, code in ends) == [0, 2], ends
    (refusal,) = [error for error, code in ends if code == 2]
    assert "another process is at this run" in " ".join(refusal.split()) or "holds this run already" in refusal


def test_a_second_process_waits_for_the_run_or_is_refused(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from sepiola.data.files import locked\n"
        "with locked(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdin is not None and holder.stdout is not None
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(TrainingError, match="another process is at this run"), claimed(tmp_path, {}, False, QUIET):
            pass

        class Ends:
            """A console that sees the other process off as soon as it is told of it."""

            said = ""

            def print(self, text: str, **how: object) -> None:
                self.said += text
                holder.communicate("")

        console = Ends()
        with claimed(tmp_path, {"name": "一"}, True, cast(Console, console)):
            assert (tmp_path / "recipe.yaml").is_file()
        assert "another process is at it; waiting" in console.said
    finally:
        holder.kill()
