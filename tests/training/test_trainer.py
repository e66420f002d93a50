"""The trainer: it learns, resumes bit for bit after any stop, and says what is wrong."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from sepiola.data.batching import Sample
from sepiola.data.image import ImageRef
from sepiola.data.metrics_log import read_metrics
from sepiola.errors import CheckpointError, TrainingError
from sepiola.models.build import build
from sepiola.specs.model import ModelSpec
from sepiola.specs.stage import StageSpec
from sepiola.training.signals import InterruptedTrainingError
from sepiola.training.trainer import Trainer
from tests import tiny
from tests.tiny import wait_until
from tests.trainers import stage_of, text_trainer

LANGUAGE = tiny.encoder_decoder(30, 32, hidden=48)
FUSED = {"language": LANGUAGE, "bridge": {"kind": "gated-fusion", "image_width": 6}}


def model(dropout: float = 0.0, raw: dict[str, Any] = FUSED) -> nn.Module:
    raw = {**raw, "language": {**raw["language"], "dropout": dropout}}
    return build(ModelSpec.parse(raw), seed=1)


def stage(**changes: Any) -> StageSpec:
    return stage_of(**{"batch": 8, "learning_rate": 1e-2, "steps": 12, **changes})


def samples(count: int = 40, seed: int = 0) -> list[Sample]:
    """The token of the source, then a token that the image alone tells."""
    generator = np.random.default_rng(seed)
    made = []
    for i in range(count):
        source, colour = generator.integers(2, 6, 1).tolist() * (2 + i % 5), int(generator.integers(0, 6))
        made.append(Sample(f"s{i}", source, [*source[:1], 20 + colour, 1], (ImageRef(data=bytes([colour])),)))
    return made


def features(images: Any) -> list[torch.Tensor]:
    return [torch.eye(6)[[image.encoded[0] for image in row]] * 3 for row in images]


def trainer(folder: Path, **changes: Any) -> Trainer:
    given = {
        "model": model(),
        "stage": stage(),
        "samples": samples(),
        "features": features,
        "log_every": 1,
        **changes,
    }
    return text_trainer(given.pop("model"), given.pop("stage"), given.pop("samples"), folder=folder, **given)


def weights(trained: Trainer) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in trained.model.state_dict().items()}


def assert_same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert first.keys() == second.keys()
    different = [name for name in first if not torch.equal(first[name], second[name])]
    assert not different, f"not bit for bit the same: {different}"


@pytest.mark.parametrize("packed", [False, True])
def test_learns_what_it_sees(tmp_path: Path, packed: bool) -> None:
    run = trainer(
        tmp_path,
        samples=samples(200),
        stage=stage(steps=80, packed=packed, validate_every=30),
        log_every=10,
        validation=samples(20, seed=1),
    )
    result = run.run()
    assert result.steps == 80
    assert result.loss is not None and result.loss < 0.4
    assert result.validation_loss is not None and result.validation_loss < 0.4
    lines = read_metrics(run.folder / "metrics.jsonl")
    assert [line["step"] for line in lines] == list(range(0, 81, 10))
    assert lines[0]["samples"] == 200 and lines[0]["truncated_sources"] == 0
    assert {
        "loss",
        "learning_rate",
        "gradient_norm",
        "tokens_per_second",
        "samples",
        "seconds",
        "epoch",
    } <= lines[1].keys()
    best = min((line for line in lines if "validation_loss" in line), key=lambda line: line["validation_loss"])
    assert (result.best_step, result.best_loss) == (best["step"], best["validation_loss"])
    run.load_best()
    assert run.validation_loss() == pytest.approx(result.best_loss, rel=1e-6)


def test_blind_it_cannot_know_the_colour(tmp_path: Path) -> None:
    run = trainer(
        tmp_path,
        samples=samples(200),
        features=None,
        stage=stage(steps=80),
        validation=samples(20, seed=1),
        log_every=10,
    )
    result = run.run()
    assert result.validation_loss is not None and result.validation_loss > 0.5


def test_decoder_learns(tmp_path: Path) -> None:
    raw = {"language": {**LANGUAGE, "kind": "decoder", "positions": {"kind": "rotary"}}}
    run = trainer(tmp_path, model=model(raw=raw), features=None, stage=stage(steps=40, accumulate=2))
    run.run()
    lines = read_metrics(tmp_path / "metrics.jsonl")
    assert lines[-1]["loss"] < 0.6 * lines[1]["loss"]


@pytest.mark.parametrize("accumulate", [2, 4])
def test_accumulated_batches_are_one_large_batch(tmp_path: Path, accumulate: int) -> None:
    """Weighed by tokens: the samples' targets differ in length."""
    few = [Sample(s.id, s.source, (*s.target[:1], *[5] * i, 1), s.images) for i, s in enumerate(samples(8))]
    whole = trainer(tmp_path / "a", samples=few, stage=stage(steps=1, precision="float32"))
    parts = trainer(
        tmp_path / "b",
        samples=few,
        stage=stage(steps=1, precision="float32", batch=8 // accumulate, accumulate=accumulate),
    )
    for run in (whole, parts):
        run.optimizer = torch.optim.SGD(run.learning, lr=1.0)
        run.run()
    torch.testing.assert_close(weights(parts), weights(whole), rtol=1e-5, atol=1e-6)


def test_what_does_not_learn_does_not_move(tmp_path: Path) -> None:
    """Weights and the running statistics of a frozen vision encoder with BatchNorm; the bridge moves."""
    vision = {
        "kind": "resnet",
        "pixels": {"size": 32},
        "widths": [8, 12],
        "depths": [1, 1],
        "stem_width": 8,
        "block": "basic",
    }
    seeing = model(raw={"language": LANGUAGE, "bridge": {"kind": "gated-fusion"}, "vision": vision})
    run = trainer(
        tmp_path,
        model=seeing,
        features=None,
        stage=stage(learn=["bridge"], steps=2),
        pixels=lambda images: [torch.full((3, 32, 32), float(i.encoded[0])) for i in images],
    )
    before = weights(run)
    run.run()
    moved = {name for name, value in weights(run).items() if not torch.equal(value, before[name])}
    assert moved and all(name.startswith("bridge.") for name in moved)
    with pytest.raises(TrainingError, match=r"nothing would learn; learn names vision, the model has language, bridge"):
        trainer(tmp_path, stage=stage(learn=["vision"]))


KILLED = """
import sys, torch; sys.path[:0] = sys.argv[1].split(":"); torch.set_num_threads(int(sys.argv[3]))
import test_trainer as t; from pathlib import Path
t.resumable(Path(sys.argv[2])).run()
"""


def resumable(folder: Path, **changes: Any) -> Trainer:
    changes = {
        "steps": 40,
        "save_every": 7,
        "accumulate": 2,
        "batch": 4,
        "warmup": 5,
        "validate_every": 9,
        **changes,
    }
    return trainer(folder, model=model(dropout=0.2), stage=stage(**changes), validation=samples(9, seed=1), log_every=2)


@pytest.mark.parametrize("after", [5, 25])
def test_killed_and_resumed_is_bit_for_bit_the_same(tmp_path: Path, after: int) -> None:
    """A real SIGKILL, with dropout, accumulation, warmup and validation; the metrics hold each step once."""
    whole = resumable(tmp_path / "whole")
    whole.run()
    arguments = [
        f"{Path(__file__).parent}:{Path(__file__).parents[2]}",
        str(tmp_path / "cut"),
        str(torch.get_num_threads()),
    ]
    with subprocess.Popen([sys.executable, "-c", KILLED, *arguments], stderr=subprocess.DEVNULL) as process:
        log = tmp_path / "cut" / "metrics.jsonl"
        wait_until(lambda: log.exists() and (lines := read_metrics(log)) and lines[-1]["step"] >= after, process)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    left = tmp_path / "cut" / f".{16 * '0'}.saving"
    left.mkdir()
    (left / "state.pt").write_bytes(b"cut short")
    resumed = resumable(tmp_path / "cut")
    resumed.run(resume=True)
    assert_same(weights(resumed), weights(whole))
    assert not list((tmp_path / "cut").glob(".*.saving"))
    wall = ("seconds", "tokens_per_second", "peak_memory_gb")
    logs = [
        [{k: v for k, v in line.items() if k not in wall} for line in read_metrics(run.folder / "metrics.jsonl")]
        for run in (whole, resumed)
    ]
    assert logs[1] == logs[0]
    assert resumed.run(resume=True).steps == 40, "a finished run resumes to its end at once"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_asked_to_stop_it_saves_and_says_how_to_go_on(tmp_path: Path, number: signal.Signals) -> None:
    whole = resumable(tmp_path / "whole", steps=20)
    whole.run()
    stopped = resumable(tmp_path / "cut", steps=20)
    calls, loss = iter(range(1000)), stopped.loss

    def stop_in_step_five(model: Any, batch: Any) -> Any:
        if next(calls) == 9:
            os.kill(os.getpid(), number)
        return loss(model, batch)

    stopped.loss = stop_in_step_five
    with pytest.raises(InterruptedTrainingError, match=r"after step 5 of 20.*--resume"):
        stopped.run()
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    resumed = resumable(tmp_path / "cut", steps=20)
    resumed.run(resume=True)
    assert_same(weights(resumed), weights(whole))


@pytest.mark.parametrize("moment", ["loss", "validation_loss", "_save"])
def test_a_signal_at_the_very_end_is_honoured(tmp_path: Path, moment: str) -> None:
    """In the last step, the last validation and the last save: what follows the stage is not begun."""
    run = resumable(tmp_path, steps=4)
    whole = getattr(run, moment)

    def stopped(*arguments: Any) -> Any:
        if run.at.step >= 4 - (moment == "loss"):
            os.kill(os.getpid(), signal.SIGTERM)
        return whole(*arguments)

    setattr(run, moment, stopped)
    with pytest.raises(InterruptedTrainingError, match=r"stopped by SIGTERM after step 4 of 4.*--resume") as caught:
        run.run()
    assert caught.value.status == 128 + signal.SIGTERM
    assert resumable(tmp_path, steps=4).run(resume=True).steps == 4


def test_a_step_with_nothing_to_predict_changes_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    nothing = [Sample(f"n{i}", [3, 4], [20, 1]) for i in range(4)]
    run = trainer(
        tmp_path,
        samples=nothing,
        features=None,
        stage=stage(batch=2, steps=3),
        noise=lambda sample, generator: Sample(sample.id, sample.source, [-100]),
    )
    before = weights(run)
    assert run.run().loss is None
    assert_same(weights(run), before)
    assert caplog.text.count("hold nothing to predict (n") == 1
    held_out = trainer(tmp_path / "v", features=None, stage=stage(steps=1), validation=samples(4))
    held_out.validation.collate = run.batches.collate  # type: ignore[union-attr, attr-defined]
    with pytest.raises(TrainingError, match="the validation samples hold nothing to predict"):
        held_out.run()


@pytest.fixture
def small_files() -> Iterator[None]:
    """No file of this process may grow past 20 kB, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_keeps_the_old_state(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    whole = resumable(tmp_path / "whole", steps=12)
    whole.run()
    run = resumable(tmp_path / "cut", steps=12)
    saves = iter(range(10))
    save = run._save

    def full_at_the_second(snapshot: dict[str, Any]) -> None:
        if next(saves) == 1:
            request.getfixturevalue("small_files")
        save(snapshot)

    run._save = full_at_the_second  # type: ignore[method-assign]
    with pytest.raises(CheckpointError, match=r"state\.pt: cannot be written .* is unharmed; .* make room.*--resume"):
        run.run()
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    assert not list(run.folder.glob(".*.saving"))
    resumed = resumable(tmp_path / "cut", steps=12)
    resumed.run(resume=True)
    assert_same(weights(resumed), weights(whole))


def test_a_loss_that_is_no_number_names_module_and_samples(tmp_path: Path) -> None:
    def poisoned(images: Any) -> list[torch.Tensor]:
        return [row * float("nan") if row[0, 4] else row for row in features(images)]

    bad = [s.id for s in samples() if s.images[0].data == bytes([4])]
    run = trainer(tmp_path, features=poisoned, stage=stage(batch=1, steps=60))
    with pytest.raises(TrainingError, match=r"the loss is not finite, first in the output of bridge") as error:
        run.run()
    assert any(f"samples {identity}." in str(error.value) for identity in bad)
    assert all(bool(torch.isfinite(value).all()) for value in weights(run).values())
    saved = torch.load(run.state_file, weights_only=True)
    assert_same(saved["model"], weights(run))
    assert saved["progress"]["step"] == run.at.step
    fixed = trainer(tmp_path, stage=stage(batch=1, steps=60))
    assert fixed.run(resume=True).steps == 60


def test_a_gradient_that_is_no_number_names_the_parameter(tmp_path: Path) -> None:
    run = trainer(tmp_path)
    run.model.bridge.gate.weight.register_hook(lambda g: g * float("inf") if run.at.step == 3 else g)
    with pytest.raises(
        TrainingError, match=r"step 4: the gradient is not finite, first in the gradient of bridge.gate"
    ):
        run.run()
    assert run.at.step == 3


def test_a_folder_that_holds_another_run_is_refused(tmp_path: Path) -> None:
    trainer(tmp_path).run()
    with pytest.raises(TrainingError, match="already holds a run"):
        trainer(tmp_path).run()
    with pytest.raises(
        TrainingError, match=r"optimizer: .*'learning_rate': 0\.01.* then, .*'learning_rate': 0\.02.* now"
    ):
        trainer(tmp_path, stage=stage(learning_rate=0.02)).run(resume=True)
    with pytest.raises(TrainingError, match="samples"):
        trainer(tmp_path, samples=samples(39)).run(resume=True)
    (tmp_path / "state.pt").write_bytes((tmp_path / "state.pt").read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="damaged"):
        trainer(tmp_path).run(resume=True)


def test_samples_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="sample x: token 30 is outside the model's vocabulary of 30"):
        trainer(tmp_path, samples=[Sample("x", [30], [1])])
    raw = {"language": {**LANGUAGE, "positions": {"kind": "learned", "length": 4}}}
    with pytest.raises(TrainingError, match="sample x: 5 tokens, and the model has 4 positions"):
        trainer(tmp_path, model=model(raw=raw), samples=[Sample("x", [3] * 5, [1])])
    with pytest.raises(TrainingError, match="no samples"):
        trainer(tmp_path, samples=[])


def test_cut_samples_are_counted(tmp_path: Path) -> None:
    run = trainer(tmp_path, stage=stage(steps=1, source_tokens=3, target_tokens=2))
    run.run()
    first = json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[0])
    assert (first["truncated_sources"], first["truncated_targets"]) == (sum(i % 5 > 1 for i in range(40)), 40)


def test_tensorboard(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    trainer(tmp_path, stage=stage(steps=2), tensorboard=True).run()
    assert list((tmp_path / "tensorboard").glob("events.*"))
