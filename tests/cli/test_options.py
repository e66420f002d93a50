"""Options of several commands: values are read as YAML, JSON stands alone on standard output."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import sepiola
from sepiola.cli.app import app
from sepiola.cli.options import console_of, data_spec, out_file, print_json, reader_options
from sepiola.errors import CheckpointError, SepiolaError, SpecError


def test_reader_options_are_read_as_yaml() -> None:
    given = ["size=64", "with_image=true", "languages=[en, zh]", "name=图"]
    assert reader_options(given) == {"size": 64, "with_image": True, "languages": ["en", "zh"], "name": "图"}
    assert reader_options(None) == {}
    with pytest.raises(SpecError, match="size"):
        reader_options(["size"])


def test_with_json_people_read_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert console_of(True).file is sys.stderr and console_of(False).file is sys.stdout
    console_of(True).print("训练")
    print_json({"回答": [1, "红色"]})
    streams = capsys.readouterr()
    assert json.loads(streams.out) == {"回答": [1, "红色"]} and "红色" in streams.out
    assert streams.err == "训练\n"


@pytest.mark.parametrize("device", ["meta", "x", "", "cuda:99"])
@pytest.mark.parametrize(
    "command",
    [
        ["train", "mm-cot/demo"],
        ["compare", "mm-cot/demo"],
        ["scale", "pretrain/bilingual", "--sizes", "64"],
        ["chat", "hi", "--model", "/no/model"],
        ["curate", "tidepool", "--model", "/no/model", "--out", "/no/out"],
        ["ask", "hi", "--model", "/no/model"],
        ["eval", "tidepool", "--model", "/no/model"],
    ],
)
def test_a_device_that_is_not_there_is_refused_before_all_else(command: list[str], device: str) -> None:
    with pytest.raises(SpecError, match="there is: cpu"):
        app([*command, "--device", device], standalone_mode=False)


@pytest.mark.parametrize(
    "command",
    [
        ["ask", "hi", "--model", "m"],
        ["act", "hi", "--model", "m"],
        ["eval", "tidepool", "--model", "m"],
        ["curate", "tidepool", "--model", "m", "--out", "o", "--count", "1"],
        ["data", "rate", "tidepool", "--model", "m", "--out", "o", "--count", "1"],
        ["data", "teach", "tidepool", "--teacher", "m", "--out", "o", "--count", "1"],
    ],
)
def test_what_runs_a_model_runs_it_by_any_runtime(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, object] = {}

    def load(name: str, **options: object) -> None:
        asked.update(options, name=name)
        raise SepiolaError("no such model")

    monkeypatch.setattr("sepiola.api.load", load)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SepiolaError, match="no such model"):
        app([*command, "--runtime", "native", "--bits", "4"], standalone_mode=False)
    assert asked.items() >= {"name": "m", "device": "cpu", "runtime": "native", "bits": 4}.items()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("a/b", None, "train", None, None), "the name 'a/b' holds"),
        (("tidepool", None, "../x", None, None), "the name '../x' holds"),
        (("tidepool", None, "train", 0, None), "count: input should be greater than 0"),
        (("tidepool", None, "train", None, ["size=["]), "--option size=[: not valid YAML"),
        (("tidepool", None, "train", None, ["size=abc"]), "size: input should be a valid integer"),
        (("tidepool", None, "train", None, ["split=1"]), "no option 'split'"),
    ],
)
def test_a_dataset_is_checked_as_it_is_named(given: tuple[Any, ...], message: str) -> None:
    with pytest.raises(SepiolaError) as error:
        data_spec(*given)
    assert message in str(error.value)


def test_a_file_that_cannot_be_written_is_said_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "a file").write_text("", encoding="utf-8")
    for out in (tmp_path, tmp_path / "a file" / "figures.json"):
        for command in (["eval", "tidepool", "--model", "/nowhere"], ["tokenizer", "train", "/nowhere"]):
            done = CliRunner().invoke(app, [*command, "--out", str(out)])
            assert isinstance(done.exception, CheckpointError) and "no file can be written there" in str(done.exception)
    named = tmp_path / "一个 new" / "figures.json"
    assert out_file(named) == named and not named.parent.exists()


@pytest.mark.parametrize("name", ["/nowhere/模型", "./runs/none", "runs/none/checkpoint", __file__])
def test_a_path_that_is_no_folder_is_not_asked_of_the_hub(name: str) -> None:
    with pytest.raises(CheckpointError, match="no folder here") as error:
        sepiola.load(name)
    assert "Hub" not in str(error.value)


RUNS = ["train", "mm-cot/demo", "--dry-run", "--runs", ""]


def test_an_empty_path_is_not_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model = sepiola.build("mm-cot-tiny")
    for write in (model.save, model.save_hub):
        with pytest.raises(CheckpointError, match="the path to write to is an empty text"):
            write("")
    for command in (["export", "model", "--to", "hf", "--out", ""], ["data", "show", "tidepool", "--out", ""], RUNS):
        done = CliRunner().invoke(app, command)
        assert isinstance(done.exception, CheckpointError) and "is an empty text" in str(done.exception)
    assert not [*tmp_path.iterdir()]
