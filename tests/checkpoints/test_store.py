"""Our own folder: what is written can be read back, or nothing is written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

import sepiola
from sepiola.checkpoints import store
from sepiola.data import files
from sepiola.data.files import OUTDATED, REPLACING
from sepiola.errors import CheckpointError
from sepiola.specs.recipe import AnsweringSpec
from tests.tiny import byte_model, llama

LLAMA = llama(61, layers=1, heads=4, hidden=50, tied=False)


def wider(model: nn.Module) -> None:
    model.get_submodule("decoder.layers.0.feed_forward").down = nn.Linear(50, 28, bias=False)


def without_norm(model: nn.Module) -> None:
    model.get_submodule("decoder").norm = nn.Identity()


def wrapped(model: nn.Module) -> None:
    layer = model.get_submodule("decoder.layers.0.attention")
    layer.out = nn.Sequential(layer.get_submodule("out"))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (wider, r"down\.weight has shape \(28, 50\), expected \(24, 50\)"),
        (without_norm, r"missing tensor decoder\.norm\.weight \(24,\)"),
        (wrapped, r"unexpected tensor decoder\.layers\.0\.attention\.out\.0\.weight"),
    ],
)
def test_a_model_that_its_spec_does_not_describe_is_not_written(
    change: Callable[[nn.Module], None], problem: str, tmp_path: Path
) -> None:
    model = sepiola.build({"name": "small", "family": "llama", "language": LLAMA})
    model.save(tmp_path / "ours")
    before = {file.name: file.read_bytes() for file in (tmp_path / "ours").iterdir()}
    change(model.network)
    for save in (model.save, model.save_hub):
        with pytest.raises(CheckpointError, match=rf"spec 'small' says, so nothing was written(.|\n)*{problem}"):
            save(tmp_path / "ours")
        with pytest.raises(CheckpointError, match="nothing was written"):
            save(tmp_path / "new")
    assert {file.name: file.read_bytes() for file in (tmp_path / "ours").iterdir()} == before
    assert not (tmp_path / "new").exists()


def test_tensors_are_checked_by_name_and_shape_alone(tmp_path: Path) -> None:
    model = sepiola.build({"name": "small", "language": LLAMA}).to(torch.bfloat16)
    store.save(tmp_path, model.network, model.spec)
    assert sepiola.load(tmp_path, dtype=torch.bfloat16).state_dict()["embedding.weight"].dtype == torch.bfloat16


@pytest.mark.parametrize("fault", [OSError(28, "No space left on device"), RuntimeError("cannot open file")])
def test_what_fails_to_be_written_leaves_the_old_file_and_nothing_beside_it(fault: Exception, tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    store.write_text(path, "old 旧")
    with (
        pytest.raises(CheckpointError, match=r"notes\.txt: cannot be written \((No space|cannot open)"),
        files.replacing(path) as temporary,
    ):
        temporary.write_text("half")
        raise fault
    assert path.read_text(encoding="utf-8") == "old 旧" and list(tmp_path.iterdir()) == [path]
    store.write_text(path, "half a pair \ud83d")
    assert path.read_text(encoding="utf-8") == "half a pair ?"


def test_a_save_over_another_leaves_nothing_of_it(tmp_path: Path) -> None:
    first = byte_model(LLAMA)
    first.rationale, first.answering = byte_model(LLAMA), AnsweringSpec()
    first.save(tmp_path / "m")
    (tmp_path / "m" / "README.md").write_text("mine")
    second = sepiola.build({"name": "second", "language": LLAMA})
    second.save(tmp_path / "m")
    second.save(tmp_path / "alone")
    names = [{file.name for file in (tmp_path / name).iterdir()} for name in ("m", "alone")]
    assert names[0] == names[1] | {"README.md"} and sepiola.load(tmp_path / "m").rationale is None


def test_a_folder_of_an_interrupted_save_is_finished_or_refused_by_name(tmp_path: Path) -> None:
    model, other = byte_model(LLAMA), byte_model({**LLAMA, "layers": 1})
    folder = tmp_path / "run" / "checkpoint"
    left = folder / REPLACING
    for outdated in ("[]", '["rationale/../../../mine"]', None, "[", "{}"):
        (tmp_path / "mine").write_text("untouched")
        model.save(folder)
        other.save(left)
        if outdated is not None:
            (left / OUTDATED).write_text(outdated)
        if outdated is not None and outdated.endswith("]"):
            assert sepiola.load(tmp_path / "run").spec == other.spec and not left.exists()
        else:
            for place in (tmp_path / "run", folder):
                with pytest.raises(CheckpointError, match=r"a save was interrupted here.*cannot be finished"):
                    sepiola.load(place)
        model.save(folder)
        assert sepiola.load(tmp_path / "run").spec == model.spec and not left.exists()
        assert (tmp_path / "mine").read_text() == "untouched"
