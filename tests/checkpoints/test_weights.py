"""Which files of a folder are its weights, and what is refused: hostile, damaged and quantised ones."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import sepiola
from sepiola.errors import CheckpointError, DataError, SepiolaError
from sepiola.text.tokenizer import Tokenizer
from tests.tiny import llama

WEIGHTS, PICKLED = "model.safetensors", "pytorch_model.bin"
INDEX = f"{WEIGHTS}.index.json"


def tiny(folder: Path, seed: int = 0, **keywords: Any) -> sepiola.Model:
    language = llama(61, 24, 2, heads=4, hidden=50, tied=False)
    model = sepiola.build({"name": "llama", "family": "llama", "language": language}, seed=seed)
    model.save_hub(folder, **keywords)
    return model


def same(one: Any, other: Any) -> bool:
    first, second = one.state_dict(), other.state_dict()
    return all(torch.equal(first[name], second[name]) for name in first)


def test_one_file_goes_before_an_index_and_safetensors_before_pickles(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tiny(tmp_path, 1, max_shard=20_000)
    shards = list(tmp_path.glob("model-*"))
    index = (tmp_path / INDEX).read_text()
    new = tiny(tmp_path / "new", 2)
    torch.save(tiny(tmp_path / "other", 3).state_dict(), tmp_path / PICKLED)
    os.replace(tmp_path / "new" / WEIGHTS, tmp_path / WEIGHTS)
    with caplog.at_level(logging.WARNING):
        assert same(sepiola.load(tmp_path), new)
    assert f"{INDEX} beside it is not" in caplog.text
    for shard in shards:
        shard.unlink()
    assert (tmp_path / INDEX).read_text() == index and same(sepiola.load(tmp_path), new)


def test_pickled_shards_with_an_index(tmp_path: Path) -> None:
    model = tiny(tmp_path)
    state = load_file(tmp_path / WEIGHTS)
    (tmp_path / WEIGHTS).unlink()
    names = sorted(state)
    files = {name: f"pytorch_model-0000{1 + n % 2}-of-00002.bin" for n, name in enumerate(names)}
    for file in set(files.values()):
        torch.save({name: state[name] for name in names if files[name] == file}, tmp_path / file)
    (tmp_path / f"{PICKLED}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": files}))
    assert same(sepiola.load(tmp_path), model)


def test_pickled_parameters_are_tensors(tmp_path: Path) -> None:
    model = tiny(tmp_path)
    state = {name: torch.nn.Parameter(value) for name, value in load_file(tmp_path / WEIGHTS).items()}
    (tmp_path / WEIGHTS).unlink()
    torch.save(state, tmp_path / PICKLED)
    assert same(sepiola.load(tmp_path), model)


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2"])
@pytest.mark.parametrize("pickled", [False, True])
def test_weights_of_any_plain_type_are_cast(dtype: str, pickled: bool, tmp_path: Path) -> None:
    tiny(tmp_path)
    stored = {name: tensor.to(getattr(torch, dtype)) for name, tensor in load_file(tmp_path / WEIGHTS).items()}
    (tmp_path / WEIGHTS).unlink()
    torch.save(stored, tmp_path / PICKLED) if pickled else save_file(stored, tmp_path / WEIGHTS)
    ours = sepiola.load(tmp_path)
    assert {tensor.dtype for tensor in ours.state_dict().values()} == {torch.float32}
    assert torch.equal(ours.state_dict()["embedding.weight"], stored["model.embed_tokens.weight"].float())


def index_of(content: object) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        (folder / WEIGHTS).unlink()
        (folder / INDEX).write_text(json.dumps(content))

    return damage


def instead(name: str, make: Callable[[Path], object]) -> Callable[[Path], None]:
    """Puts something else under a file's name."""

    def damage(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        make(folder / name)

    return damage


def pickled(content: object) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        (folder / WEIGHTS).unlink()
        torch.save(content, folder / PICKLED)

    return damage


def changed(change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        state = load_file(folder / WEIGHTS)
        save_file({name: change(tensor) for name, tensor in state.items()}, folder / WEIGHTS)

    return damage


def with_tensor(name: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        save_file({**load_file(folder / WEIGHTS), name: torch.zeros(2, dtype=torch.uint8)}, folder / WEIGHTS)

    return damage


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch /tmp/never",)


DEEP = "[" * 100_000
DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    **{
        f"index {n}": (index_of(content), "expected")
        for n, content in enumerate(
            ([], {}, {"weight_map": []}, {"weight_map": {"a": 5}}, {"weight_map": {"a": ["x"]}})
        )
    },
    "index that leaves the folder": (
        index_of({"weight_map": {"a": "../own/model.safetensors"}}),
        "no file of this folder",
    ),
    "index with a whole path": (index_of({"weight_map": {"a": "/etc/passwd"}}), "no file of this folder"),
    "index of nothing": (index_of({"weight_map": {"a": "gone.safetensors"}}), "gone.safetensors: no such file"),
    "deep config": (lambda folder: (folder / "config.json").write_text(DEEP), "nested too deeply")
    and (
        instead("config.json", lambda path: path.write_text(DEEP)),
        "not valid JSON",
    ),
    "config a list": (instead("config.json", lambda path: path.write_text("[]")), "expected a JSON object"),
    "config a folder": (instead("config.json", Path.mkdir), "config.json: a folder"),
    "config a pipe": (instead("config.json", os.mkfifo), "config.json: not a regular file"),
    "config with conflict marks": (
        instead("config.json", lambda path: path.write_text("<<<<<<< HEAD\n{}")),
        "not valid JSON",
    ),
    "weights a pipe": (instead(WEIGHTS, os.mkfifo), f"{WEIGHTS}: not a regular file"),
    "weights a folder": (instead(WEIGHTS, Path.mkdir), f"{WEIGHTS}: a folder"),
    "preprocessor a list": (
        instead("preprocessor_config.json", lambda path: path.write_text("[]")),
        "preprocessor_config.json: expected a JSON object",
    ),
    "processor a list": (
        instead("processor_config.json", lambda path: path.write_text("[]")),
        "processor_config.json: expected a JSON object",
    ),
    "a pickled list": (pickled([1, 2]), "holds list; expected tensors"),
    "a pickled tensor": (pickled(torch.zeros(2)), "holds Tensor; expected tensors"),
    "numbers for names": (pickled({1: torch.zeros(2)}), "holds Tensor under 1"),
    "a training checkpoint": (pickled({"state_dict": {"a": torch.zeros(2)}}), "holds dict under 'state_dict'"),
    "a pickle with code": (pickled({"a": Bomb()}), r"holds more than tensors \('posix.system'\)"),
    "whole numbers": (changed(lambda tensor: tensor.long()), "is stored as int64; expected float32"),
    "complex numbers": (changed(lambda tensor: tensor.to(torch.complex64)), "is stored as complex64"),
    "eight bits": (changed(lambda tensor: tensor.to(torch.int8)), "is stored as int8"),
    "bitsandbytes": (with_tensor("model.layers.0.mlp.up_proj.weight.absmax"), r"quantised by .*absmax"),
    "gptq": (with_tensor("model.layers.0.mlp.up_proj.qweight"), r"quantised by .*qweight"),
    "an adapter's wrapping": (with_tensor("model.layers.0.mlp.up_proj.base_layer.weight"), "merge it first"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_hostile_or_damaged_folder_is_one_message(name: str, tmp_path: Path) -> None:
    tiny(tmp_path)
    damage, message = DAMAGES[name]
    damage(tmp_path)
    with pytest.raises(CheckpointError, match=message) as caught:
        sepiola.load(tmp_path)
    assert "weights_only" not in str(caught.value) and len(str(caught.value)) < 1000


def test_no_damaged_pickle_advises_to_run_its_code(tmp_path: Path) -> None:
    tiny(tmp_path)
    (tmp_path / WEIGHTS).unlink()
    torch.save({"a": torch.zeros(50)}, tmp_path / PICKLED)
    whole = (tmp_path / PICKLED).read_bytes()
    torch.save({"a": torch.zeros(50)}, tmp_path / PICKLED, _use_new_zipfile_serialization=False)
    old = (tmp_path / PICKLED).read_bytes()
    for content in (b"", b"no", whole[: len(whole) // 2], old[: len(old) // 2], b"\x80\x02" + b"c" * 50):
        (tmp_path / PICKLED).write_bytes(content)
        with pytest.raises(CheckpointError, match="damaged or cut short") as caught:
            sepiola.load(tmp_path)
        assert "weights_only" not in str(caught.value)


def test_the_method_of_quantised_weights_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = tiny(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "quantization_config": {"quant_method": "awq"}}))
    with caplog.at_level(logging.WARNING):
        assert same(sepiola.load(tmp_path), model)
    assert "quantization_config (awq) is not honoured" in caplog.text
    with_tensor("model.layers.0.mlp.up_proj.qzeros")(tmp_path)
    with pytest.raises(CheckpointError, match="quantised by awq"):
        sepiola.load(tmp_path)


@pytest.mark.parametrize("key", ["layers", "width", "vocabulary"])
@pytest.mark.parametrize("value", ["1000000000000", "1000000", "1.0e+30", "-1", "x", "[]"])
def test_absurd_sizes_of_our_own_folder_are_refused_before_anything_is_built(
    key: str, value: str, tmp_path: Path
) -> None:
    if (key, value) in (("vocabulary", "1000000"), ("width", "1000000")):
        pytest.skip("large, not absurd")
    language = llama(61, 24, 2, heads=4, hidden=50)
    sepiola.build({"name": "llama", "language": language}).save(tmp_path)
    text = (tmp_path / "spec.yaml").read_text()
    old = next(line for line in text.splitlines() if line.startswith(f"  {key}:"))
    (tmp_path / "spec.yaml").write_text(text.replace(old, f"  {key}: {value}", 1))
    with pytest.raises(SepiolaError, match=f"language.{key}"):
        sepiola.load(tmp_path)


def test_weights_that_are_no_numbers_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tiny(tmp_path)
    state = load_file(tmp_path / WEIGHTS)
    state["model.norm.weight"][3] = float("nan")
    state["lm_head.weight"][0, 0] = float("inf")
    save_file(state, tmp_path / WEIGHTS)
    with caplog.at_level(logging.WARNING):
        sepiola.load(tmp_path)
    assert (
        "2 tensors" in caplog.text and "decoder.norm.weight" in caplog.text and "head.projection.weight" in caplog.text
    )


def test_a_tokenizer_of_more_tokens_than_rows_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tiny(tmp_path)
    Tokenizer.train([], 259).backend.save(str(tmp_path / "tokenizer.json"))
    with caplog.at_level(logging.WARNING):
        model = sepiola.load(tmp_path)
    assert "its tokenizer has 259 tokens, and its model 61" in caplog.text
    with pytest.raises(DataError, match="outside the model's vocabulary of 61"):
        model.generate("你", max_tokens=3)
