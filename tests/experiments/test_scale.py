"""The ladder, whole, on generated text at a size for tests: rungs, forecast before the last one, resume, refusals."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from sepiola.cli.app import app
from sepiola.errors import SepiolaError, SpecError, TrainingError
from sepiola.experiments.recipe_files import read_recipe
from sepiola.experiments.scale import at_width, ladder, multiplied, parse_sizes
from sepiola.models.build import build, count, preset
from sepiola.specs.base import override
from sepiola.specs.model import TransformerSpec
from tests.tiny import QUIET, decoder, wait_until

SIZES, PER = [8, 16, 24, 32], 1.5


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe beside its text: English and Chinese words, each followed by one of three."""
    folder = tmp_path_factory.mktemp("ladder")
    draw = random.Random(0)
    words = [*("".join(draw.choices("abcdefgh", k=4)) + " " for _ in range(80)), *"海纳百川有容乃大壁立千仞无欲则刚"]
    after = {word: draw.sample(words, 3) for word in words}
    word, paragraphs = words[0], []
    for _ in range(500):
        paragraphs.append("".join(word := draw.choice(after[word]) for _ in range(60)))
    (folder / "text").mkdir()
    (folder / "text" / "all.txt").write_text("\n\n".join(paragraphs))
    data = {"reader": "text", "root": str(folder / "text"), "options": {"held_out": 3}}
    raw = {
        "name": "tiny",
        "model": {"language": decoder(320, hidden=32)},
        "tokenizer": {"vocabulary": 320},
        "stages": [
            {
                "name": "pretrain",
                "data": data,
                "validation": {**data, "split": "validation"},
                "epochs": 1,
                "batch": 8,
                "target_tokens": 32,
                "packed": True,
                "optimizer": {"learning_rate": 0.02, "warmup": 5},
                "precision": "float32",
            }
        ],
    }
    (folder / "tiny.yaml").write_text(yaml.safe_dump(raw))
    return folder / "tiny.yaml"


def climb(recipe: Path, folder: Path, resume: bool = False) -> dict[str, Any]:
    report = ladder(read_recipe(str(recipe)), SIZES, folder, tokens_per_parameter=PER, console=QUIET, resume=resume)
    return dict(report["scaling"])


@pytest.fixture(scope="module")
def whole(recipe: Path) -> Path:
    climb(recipe, recipe.parent / "tiny-scale")
    return recipe.parent / "tiny-scale"


def test_the_last_rung_is_predicted_before_it_is_trained(whole: Path) -> None:
    found = json.loads((whole / "scaling.json").read_text())
    prediction = json.loads((whole / "prediction.json").read_text())
    assert [rung["width"] for rung in prediction["rungs"]] == SIZES[:-1]
    assert "measured" not in prediction and prediction["predicted"] == found["predicted"]
    written = (whole / "prediction.json").stat().st_mtime_ns
    assert all(path.stat().st_mtime_ns >= written for path in (whole / "width-32").rglob("*"))
    earlier = [(whole / f"width-{size}" / "metrics.jsonl").stat().st_mtime_ns for size in SIZES[:-1]]
    assert max(earlier) <= written


def test_rungs_are_runs_in_proportion_on_the_same_text(whole: Path) -> None:
    found = json.loads((whole / "scaling.json").read_text())
    rungs = found["rungs"]
    assert [(r["layers"], r["heads"], r["feed_forward"]) for r in rungs] == [
        (1, 1, 16),
        (1, 2, 32),
        (2, 3, 48),
        (2, 4, 64),
    ]
    step = 8 * 32
    for rung in rungs:
        assert rung["tokens"] == pytest.approx(PER * rung["parameters"], abs=step)
        assert rung["steps"] == pytest.approx(rung["tokens"] / step, rel=0.01)
        assert rung["compute"] == 6 * rung["parameters"] * rung["tokens"]
        run = whole / f"width-{rung['width']}"
        last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
        assert (last["step"], last["validation_loss"]) == (rung["steps"], rung["loss"])
        assert (run / "checkpoint" / "model.safetensors").is_file()
    losses = [r["loss"] for r in rungs]
    assert losses == sorted(losses, reverse=True)
    assert abs(found["relative_error"]) < abs(found["baselines"]["last_loss"]["relative_error"])
    assert len(list((whole / "stages").glob("tokenizer-*.json"))) == 1


def test_the_command_prints_json_and_writes_the_page(recipe: Path, whole: Path) -> None:
    line = ["scale", str(recipe), "--sizes", "8,16,24,32", "--tokens-per-parameter", "1.5", "--resume", "--json"]
    done = CliRunner().invoke(app, [*line, "--runs", str(recipe.parent)])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == json.loads((whole / "scaling.json").read_text())
    assert set(json.loads(done.stdout)) == {
        "written", "rungs", "fit", "predicted", "baselines", "curve", "measured", "relative_error", "in_band",
    }  # fmt: skip
    page, plot = (whole / "report.html").read_text(), (whole / "scaling.svg").read_text()
    assert plot.startswith("<svg xmlns") and page.count("<svg") == 1 + len(SIZES)
    assert "predicted before it was trained" in page and "width 32" in page


def test_killed_and_resumed_is_uninterrupted_and_the_forecast_stays(recipe: Path, whole: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sepiola", "scale", str(recipe), "--sizes", "8,16,24,32"]
    started = subprocess.Popen(
        [*command, "--tokens-per-parameter", "1.5", "--runs", str(tmp_path)],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    folder = tmp_path / "tiny-scale"
    wait_until((folder / "prediction.json").is_file, started)
    started.send_signal(signal.SIGKILL)
    started.wait()
    assert not (folder / "scaling.json").exists()
    forecast = (folder / "prediction.json").read_bytes()
    weights = {p: p.stat().st_mtime_ns for p in folder.glob("stages/*/checkpoint/model.safetensors")}
    assert len(weights) == len(SIZES) - 1
    with pytest.raises(TrainingError, match="--resume"):
        climb(recipe, folder)
    found = climb(recipe, folder, resume=True)
    assert (folder / "prediction.json").read_bytes() == forecast
    assert {p: p.stat().st_mtime_ns for p in weights} == weights
    losses = [rung["loss"] for rung in json.loads((whole / "scaling.json").read_text())["rungs"]]
    assert [rung["loss"] for rung in found["rungs"]] == pytest.approx(losses, abs=0.01)

    prediction = json.loads(forecast)
    prediction["rungs"][0]["loss"] += 0.1
    (folder / "prediction.json").write_text(json.dumps(prediction))
    with pytest.raises(TrainingError, match="other losses"):
        climb(recipe, folder, resume=True)
    (folder / "prediction.json").unlink()
    with pytest.raises(TrainingError, match="the last rung was begun"):
        climb(recipe, folder, resume=True)


@pytest.mark.parametrize(
    ("sizes", "changes", "message"),
    [
        ("8,16,24", [], "3 widths; expected at least 4"),
        ("8,16,28,32", [], "28 is no multiple of 8, .* the nearest that is: 32"),
        ("8,24,16,32", [], "from the smallest up"),
        ("8,16,24,x", [], "parted by commas"),
        ("8,16,24,32", ["stages.0.validation=null"], r"stages\[0\].validation"),
        ("8,16,24,32", ["stages.0.validation.count=1"], "tokens, too few"),
        ("8,16,24,32", ["model.language.kind=encoder-decoder"], "a ladder is of decoders"),
        ("8,16,24,32", ["stages.0.objective=dpo", "stages.0.packed=false"], "got dpo; a ladder is of"),
    ],
)
def test_what_makes_no_ladder_is_refused(
    sizes: str, changes: list[str], message: str, recipe: Path, tmp_path: Path
) -> None:
    path = tmp_path / "changed.yaml"
    path.write_text(yaml.safe_dump(override(yaml.safe_load(recipe.read_text()), changes)))
    with pytest.raises(SpecError, match=message):
        ladder(
            read_recipe(str(path)), parse_sizes(sizes), tmp_path / "l", tokens_per_parameter=PER, console=QUIET
        )  # fmt: skip


def test_scipy_is_missed_before_anything_is_trained(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "scipy.stats", None)
    with pytest.raises(SepiolaError, match="SciPy"):
        climb(recipe, tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_width_keeps_heads_ratios_and_root_scales() -> None:
    spec = preset("gemma-3-270m").language
    assert spec is not None
    scaled = at_width(spec, spec.width * 2)
    assert (scaled.layers, scaled.feed_forward.width) == (2 * spec.layers, 2 * spec.feed_forward.width)
    assert (scaled.attention.heads, scaled.attention.kv_heads) == (
        2 * spec.attention.heads,
        2 * (spec.attention.kv_heads or 0),
    )
    assert scaled.embedding_scale == pytest.approx(scaled.width**0.5)


@pytest.mark.parametrize("tied", [True, False])
def test_a_table_multiplies_only_as_the_head(tied: bool) -> None:
    spec = {
        "kind": "decoder", "vocabulary": 100, "width": 16, "layers": 2, "attention": {"heads": 2}, "tied": tied,
        "feed_forward": {"width": 32}, "positions": {"kind": "learned", "length": 50}, "norm": {"kind": "rms"},
    }  # fmt: skip
    model = build(preset("gpt2").model_copy(update={"language": TransformerSpec.parse(spec)}))
    assert multiplied(model) == 2 * (4 * 16 * 16 + 2 * 16 * 32) + 100 * 16
    assert count(model) == multiplied(model) + 5 * 16 + 50 * 16 + (0 if tied else 100 * 16)
