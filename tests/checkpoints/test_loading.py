"""A checkpoint is the same model from every layout that it may lie in."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

import sepiola
from sepiola.api import Model
from sepiola.checkpoints.loading import load
from sepiola.errors import CheckpointError, SpecError
from sepiola.text.tokenizer import Tokenizer
from tests.tiny import clip, llama, randomise


@pytest.mark.parametrize("layout", ["run", "folder", "hub"])
def test_a_model_is_the_same_from_a_run_a_folder_and_the_hubs_layout(tmp_path: Path, layout: str) -> None:
    tokenizer = Tokenizer.train([], 259)
    built = sepiola.build({"name": "bytes", "family": "llama", "language": llama(tokenizer.vocabulary)})
    model = Model(randomise(built.network), built.spec, tokenizer)
    if layout == "hub":
        model.save_hub(tmp_path)
    else:
        model.save(tmp_path / "checkpoint" if layout == "run" else tmp_path)
    read = load(tmp_path)
    ids = torch.tensor([[5, 9, 200]])
    assert read.folder == (tmp_path / "checkpoint" if layout == "run" else tmp_path)
    assert torch.equal(read.network(ids), model(ids))
    assert read.answering is None
    assert read.processor.tokenizer is not None
    assert read.processor.tokenizer.encode("sepia 耳乌贼") == tokenizer.encode("sepia 耳乌贼")


def test_the_vision_encoder_alone_comes_without_a_tokenizer(tmp_path: Path) -> None:
    built = sepiola.build({"name": "eye", "vision": clip()})
    Model(built.network, built.spec, Tokenizer.train([], 259)).save(tmp_path)
    whole, alone = load(tmp_path), load(tmp_path, vision_only=True)
    assert whole.processor.tokenizer is not None and alone.processor.tokenizer is None
    assert alone.spec.vision == built.spec.vision


def test_a_device_that_is_not_there_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="device"):
        load(tmp_path / "nothing", device="abacus")


def test_an_adapter_alone_is_loaded_with_its_base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a path from here, or from the adapter's own folder; the tokenizer and template beside it go first."""
    tokenizer = Tokenizer.train([], 259)
    built = sepiola.build({"name": "bytes", "family": "llama", "language": llama(tokenizer.vocabulary)})
    model = Model(randomise(built.network), built.spec, tokenizer)
    model.save_hub(tmp_path / "base")
    tensors = {
        f"base_model.model.model.layers.0.mlp.down_proj.lora_{name}.weight": torch.randn(shape)
        for name, shape in (("A", (2, 40)), ("B", (24, 2)))
    }
    ids = torch.tensor([[5, 9, 200]])
    folder = tmp_path / "adapter" / "checkpoint-5"
    folder.mkdir(parents=True)
    save_file(tensors, folder / "adapter_model.safetensors")

    def named(base: str | None) -> None:
        config = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "base_model_name_or_path": base}
        (folder / "adapter_config.json").write_text(json.dumps(config))

    named(None)
    wanted = load(tmp_path / "base", adapter=tmp_path / "adapter")  # the only one in the folder
    assert (wanted.network(ids) - model(ids)).abs().max() > 0.1
    assert wanted.processor.tokenizer is not None and wanted.processor.template is None
    with pytest.raises(CheckpointError, match=r"names no base_model_name_or_path; give it: .* --model BASE --adapter"):
        load(folder)
    monkeypatch.chdir(folder)
    for base in ("../base", "base", str(tmp_path / "nothing")):
        named(base)
        with pytest.raises(CheckpointError, match=r"'.*', is no folder here; give it" if "/" in base else "Hub id"):
            load(folder)
    for base in ("../../base", "here", str(tmp_path / "base")):
        named(base)
        monkeypatch.chdir(tmp_path)
        (tmp_path / "here").unlink(missing_ok=True)
        (tmp_path / "here").symlink_to(tmp_path / "base")
        read = load(folder)
        assert torch.equal(read.network(ids), wanted.network(ids))
    (folder / "tokenizer.json").write_text(tokenizer.with_token("<鱿鱼>").to_json())
    (folder / "chat_template.jinja").write_text("{{ messages[0].content }}")
    processor = load(folder).processor
    assert processor.tokenizer is not None and processor.tokenizer.id_of("<鱿鱼>") is not None
    assert processor.template is not None
    with pytest.raises(CheckpointError, match="an adapter, and no model; for an adapter on an adapter merge the first"):
        load(folder, adapter=folder)
    shutil.copytree(folder, tmp_path / "adapter" / "checkpoint-6")
    with pytest.raises(CheckpointError, match=r"holds several adapters \(checkpoint-5, checkpoint-6\)"):
        load(tmp_path / "base", adapter=tmp_path / "adapter")


def test_an_adapter_beside_a_models_weights_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    built = sepiola.build({"name": "tiny", "family": "llama", "language": llama()})
    Model(randomise(built.network), built.spec).save_hub(tmp_path)
    (tmp_path / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    assert torch.equal(load(tmp_path).network.embedding.weight, built.network.embedding.weight)
    assert "holds an adapter beside its weights, which is not merged" in caplog.text


@pytest.mark.parametrize("name", ["", None, 3])
def test_what_names_no_model_is_refused(name: Any) -> None:
    with pytest.raises(CheckpointError, match=f"a model is named by a run, a folder or a Hub id; got {name!r}"):
        sepiola.load(name)


@pytest.mark.parametrize("dtype", ["bfloat16", torch.int8])
def test_what_is_no_dtype_is_refused_before_anything_is_read(tmp_path: Path, dtype: Any) -> None:
    with pytest.raises(SpecError, match=rf"dtype: got .*{dtype}.*; expected torch\.float32, torch\.bfloat16 or"):
        sepiola.load(tmp_path, dtype=dtype)
