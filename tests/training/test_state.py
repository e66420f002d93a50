"""The state of a run on disk: every damage is one message, and nothing of it is executed."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import torch

from sepiola.data.batching import Sample
from sepiola.errors import CheckpointError
from sepiola.models.build import build
from sepiola.specs.model import ModelSpec
from sepiola.training import state
from sepiola.training.trainer import Trainer
from tests.tiny import encoder_decoder
from tests.trainers import stage_of, text_trainer


def test_a_state_comes_back_and_is_still_a_file_of_torch(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    state.save({"step": 3, "weights": torch.arange(6.0)}, path)
    assert torch.equal(state.load(path)["weights"], torch.load(path, weights_only=True)["weights"])
    assert [file.name for file in tmp_path.iterdir()] == ["state.pt"]


def test_every_damaged_byte_is_refused_without_torchs_advice(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    state.save({"step": 3, "weights": torch.arange(6.0)}, path)
    whole = path.read_bytes()
    for place in [0, len(whole) - 1, len(whole) - 40, *random.sample(range(len(whole)), 40)]:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :])
        with pytest.raises(CheckpointError, match=r"state\.pt: damaged") as caught:
            state.load(path)
        assert "weights_only" not in str(caught.value)
    torch.save([1], tmp_path / "other.pt")
    for content in (
        b"",
        b"hello",
        whole[:-1],
        whole + b"!",
        whole[: len(whole) // 2],
        (tmp_path / "other.pt").read_bytes(),
    ):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=r"state\.pt: damaged"):
            state.load(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(CheckpointError, match=r"state\.pt: cannot be read \(Is a directory\)"):
        state.load(path)


def trainer(folder: Path, **changes: Any) -> Trainer:
    samples = [Sample(f"s{i}", [3 + i, 4], [20 + i, 1]) for i in range(8)]
    network = build(ModelSpec.parse({"language": encoder_decoder(30)}), seed=1)
    return text_trainer(network, stage_of(batch=4, steps=2), samples, folder=folder, **changes)


@pytest.mark.parametrize(
    "change",
    [
        lambda saved: saved.pop("run"),
        lambda saved: saved.pop("model"),
        lambda saved: saved["progress"].update(extra=1),
        lambda saved: saved["progress"].update(step=99),
        lambda saved: saved["data"].update(position=99),
        lambda saved: saved["random"].update(torch=saved["random"]["torch"][:9]),
        lambda saved: saved.update(optimizer=[]),
        lambda saved: saved.update(progress="text"),
    ],
)
def test_a_state_of_other_content_is_refused_by_name(tmp_path: Path, change: Any) -> None:
    trainer(tmp_path).run()
    saved = state.load(tmp_path / "state.pt")
    change(saved)
    state.save(saved, tmp_path / "state.pt")
    with pytest.raises(CheckpointError, match=r"state\.pt: does not fit this stage"):
        trainer(tmp_path).run(resume=True)


def test_damaged_best_weights_are_refused(tmp_path: Path) -> None:
    run = trainer(tmp_path, validation=[Sample("v", [3, 4], [20, 1])])
    run.run()
    content = bytearray(run.best_file.read_bytes())
    content[-5] ^= 1
    run.best_file.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"best\.safetensors: damaged"):
        run.load_best()
