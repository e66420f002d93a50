"""A checkpoint is the same model from every layout that it may lie in."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import sepiola
from sepiola.api import Model
from sepiola.checkpoints.loading import load
from sepiola.errors import SpecError
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
