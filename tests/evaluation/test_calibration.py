"""Calibration by any dataset: what is loaded, measured and exported with it holds the same rounded matrices."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import sepiola
from sepiola.api import Model
from sepiola.cli.app import app
from sepiola.errors import SepiolaError, SpecError
from sepiola.runtime.calibration import text_linears
from tests.tiny import byte_model, encoder_decoder, llama

TIDEPOOL: dict[str, Any] = {"reader": "tidepool", "count": 4, "options": {"size": 64}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A decoder and an encoder-decoder, and a text in two languages."""
    place = tmp_path_factory.mktemp("calibration")
    byte_model(llama(tied=False)).save(place / "decoder")
    byte_model(encoder_decoder()).save(place / "encoder-decoder")
    (place / "text").mkdir()
    lines = [f"The sea is wide, and squid {n} is small.\n\n海很宽，乌贼{n}很小。\n\n" for n in range(60)]
    (place / "text" / "sea.txt").write_text("".join(lines), encoding="utf-8")
    return place


def on_grid(model: Model) -> bool:
    """Whether the rows of all matrices hold few values, group by group."""
    return all(
        len(set(row[:32].abs().tolist())) <= 9 for linear in text_linears(model.network) for row in linear.weight[:4]
    )


@pytest.mark.parametrize("name", ["decoder", "encoder-decoder"])
def test_matrices_are_rounded_alike_each_time(name: str, folder: Path) -> None:
    text = {"reader": "text", "root": str(folder / "text"), "options": {"characters": 60, "held_out": 10}}
    data = text if name == "decoder" else TIDEPOOL
    models = [sepiola.load(folder / name, calibrate=data) for _ in range(2)]
    plain = sepiola.load(folder / name)
    assert on_grid(models[0]) and not on_grid(plain)
    for first, second in zip(models[0].network.parameters(), models[1].network.parameters(), strict=True):
        assert torch.equal(first, second)


def test_what_is_exported_is_what_was_measured(folder: Path, tmp_path: Path, capsys: Any) -> None:
    pytest.importorskip("sepiola_edge._native", reason="the native core is not built: pip install ./edge")
    import sepiola_edge

    model, data = str(folder / "encoder-decoder"), json.dumps(TIDEPOOL)
    command = ["export", model, "--to", "edge", "--bits", "4", "--calibrate", data, "--out", str(tmp_path / "edge")]
    app(command, standalone_mode=False)
    loaded = sepiola.load(model, runtime="native", bits=4, calibrate=TIDEPOOL)
    edge = sepiola_edge.load(tmp_path / "edge")
    for prompt in ("The sea", "海很大"):
        assert edge.generate(prompt, max_tokens=8) == loaded.generate(prompt, max_tokens=8)
    capsys.readouterr()
    command = ["eval", "tidepool", "--model", model, "--option", "size=64", "--count", "3", "--json"]
    app([*command, "--runtime", "native", "--bits", "4", "--calibrate", data], standalone_mode=False)
    assert json.loads(capsys.readouterr().out)["count"] == 3


def test_what_cannot_be_calibrated_is_refused(folder: Path) -> None:
    command = ["eval", "tidepool", "--model", str(folder / "decoder"), "--calibrate", "tidepool"]
    with pytest.raises(SpecError, match="--calibrate rounds to 4 bits: add --bits 4"):
        app([*command, "--runtime", "native"], standalone_mode=False)
    with pytest.raises(SepiolaError, match="unknown dataset 'tidepol'"):
        app([*command[:-1], "tidepol", "--runtime", "native", "--bits", "4"], standalone_mode=False)
