"""The command line as a person has it: in a process of its own, its messages, its JSON, its exit status."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

import sepiola
from sepiola.cli.app import app

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}


def run(*arguments: str, status: int = 0, folder: Path | None = None) -> str:
    """Standard output of a command that ends with this status; for a failure, its standard error."""
    done = subprocess.run(
        [sys.executable, "-m", "sepiola", *arguments], capture_output=True, text=True, env=ENVIRONMENT, cwd=folder
    )
    assert done.returncode == status, done.stderr
    if status:
        assert "Traceback" not in done.stderr
        return done.stderr
    return done.stdout


def test_models_json_lists_name_parameters_and_family() -> None:
    found = {row["name"]: row for row in json.loads(run("models", "--json"))}
    assert found["t5-small"]["parameters"] == 60_506_624 and found["t5-small"]["family"] == "t5"
    base = found["mm-cot-base"]
    assert base["parameters"] == base["parts"]["language"] == 222_903_552
    assert base["parts"]["bridge"] == 3_740_160


def test_models_shows_one_preset() -> None:
    assert "vocabulary: 32128" in run("models", "t5-small")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("models", "t5-smal"), "did you mean 't5-small'?"),
        (("train", "mm-cot/demmo"), "did you mean 'mm-cot/demo'?"),
        (("train", "mm-cot/demo", "--set", "stages.0.stepz=3"), "stages[0].stepz: unknown key; did you mean 'steps'?"),
        (("train", "mm-cot/demo", "--set", "model.nonsense"), "expected key.path=value"),
        (("eval", "scienceq", "--model", "x"), "did you mean 'scienceqa'?"),
        (("eval", "tidepool", "--model", "nowhere"), "'nowhere' is no folder here"),
        (("data", "show", "scienceqa"), "name its folder"),
    ],
)
def test_a_mistake_is_one_message_with_its_mend(arguments: tuple[str, ...], message: str) -> None:
    assert message in run(*arguments, status=2)


def test_a_dry_run_explains_and_trains_nothing(tmp_path: Path) -> None:
    counts = [f"stages.{i}.data.count=60" for i in range(3)]
    options = [part for count in counts for part in ("--set", count)]
    found = json.loads(run("train", "mm-cot/demo", "--dry-run", "--json", *options, folder=tmp_path))
    eyes, blind = found["runs"]
    assert eyes["images"] and not blind["images"]
    detection, rationale, _ = eyes["stages"]
    assert list(detection["learns"]) == ["vision"] and list(rationale["frozen"]) == ["vision"]
    assert all(stage["memory_gb"] > 0 and stage["seconds"] > 0 for stage in eyes["stages"])
    assert not list(tmp_path.iterdir())


def test_data_show_counts_and_draws(tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.png"
    found = json.loads(run("data", "show", "tidepool", "--count", "18", "--out", str(sheet), "--json"))
    assert found["rows"] == 18
    with Image.open(sheet) as image:
        assert image.width > 400


def test_the_quick_demo_runs_whole_and_its_line_answers(tmp_path: Path) -> None:
    report = json.loads(run("demo", "--quick", "--json", folder=tmp_path))
    assert [row["name"] for row in report["rows"]] == ["with eyes", "blind", "chance", "majority", "nearest neighbour"]
    assert report["count"] == 72
    assert (tmp_path / "runs" / "demo-quick" / "report.html").is_file()
    train, act = (shlex.split(line) for line in report["act"])
    assert train[:4] == ["sepiola", "act", "train", "phone"] and act[-2:] == ["--model", train[-1]]
    command = [sys.executable, "-m", *report["ask"].split(" ", 1)[:1]]
    asked = subprocess.run(
        f"{' '.join(command)} {report['ask'].split(' ', 1)[1]} --json",
        shell=True, capture_output=True, text=True, cwd=tmp_path, env=ENVIRONMENT,
    )  # fmt: skip
    reply = json.loads(asked.stdout)
    assert reply["answer"] in reply["probabilities"] and reply["rationale"] is not None
    again = json.loads(run("demo", "--quick", "--json", folder=tmp_path))
    rows = ([{k: v for k, v in row.items() if k != "first_token_ms"} for row in r["rows"]] for r in (again, report))
    assert next(rows) == next(rows)
    figures = json.loads(
        run("eval", "tidepool", "--model", "runs/demo-quick", "--count", "24", "--option", "size=64", "--out", "f.json",
            "--json", folder=tmp_path)
    )  # fmt: skip
    assert {"accuracy", "interval", "count", "unparsed", "buckets", "baselines"} <= set(figures)
    assert json.loads((tmp_path / "f.json").read_text()) == figures
    broken = tmp_path / "broken.png"
    broken.write_bytes((tmp_path / "runs" / "demo-quick" / "picture.png").read_bytes()[:200])
    line = ("ask", "--model", "runs/demo-quick", "--image", "broken.png", "Which?", "--choices", "a|b")
    assert "damaged or cut short" in run(*line, status=2, folder=tmp_path)


def test_it_says_its_version() -> None:
    shown = CliRunner().invoke(app, ["--version"])
    assert shown.exit_code == 0 and shown.stdout == f"sepiola {sepiola.__version__}\n"


def test_help_loses_no_letter_in_a_narrow_terminal() -> None:
    """Every command's, at 80 columns: a name that is cut short cannot be typed."""
    narrow = {"COLUMNS": "80", "TERMINAL_WIDTH": "80"}

    def check(command: Any, *path: str) -> int:
        shown = CliRunner().invoke(app, [*path, "--help"], env=narrow).output
        assert "Usage" in shown and not re.search(r"\w….? *│", shown), shown
        return 1 + sum(check(inner, *path, name) for name, inner in getattr(command, "commands", {}).items())

    assert check(typer.main.get_command(app)) > 15
