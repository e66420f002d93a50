"""`sepiola act`: a request on the command line, in both languages."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from sepiola.acting.phone import functions
from sepiola.acting.sets import functions_named
from sepiola.cli.app import app
from sepiola.errors import CheckpointError, DataError
from tests.acting.test_agent import acting_model
from tests.tiny import encoder_decoder


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("agent") / "model"
    acting_model(encoder_decoder()).save(folder)
    return folder


def run(*arguments: str) -> dict[str, list[dict[str, object]]]:
    done = CliRunner().invoke(app, ["act", *arguments, "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


@pytest.mark.parametrize("text", ["Search for squid", "给王芳发短信"])
def test_a_request_acts_on_a_phone_that_is_kept(agent: Path, tmp_path: Path, text: str) -> None:
    phone, log = tmp_path / "phone.json", tmp_path / "log.jsonl"
    arguments = (text, "--model", str(agent), "--phone", str(phone), "--log", str(log), "--today", "2024-05-01")
    said = run(*arguments)
    names = {function.name for function in functions()}
    assert len(said["calls"]) == len(said["results"]) and all(call["name"] in names for call in said["calls"])
    assert json.loads(log.read_text(encoding="utf-8").splitlines()[0])["request"] == text
    first = json.loads(phone.read_text(encoding="utf-8"))
    assert run(*arguments)["calls"] == said["calls"] and set(json.loads(phone.read_text())) == set(first)


def test_where_the_phone_and_the_log_cannot_be_written_nothing_is_done(agent: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    other = {"--phone": ("--log", str(tmp_path / "l.jsonl")), "--log": ("--phone", str(tmp_path / "p.json"))}
    for option, more in other.items():
        for path, said in ((tmp_path, "folder"), (tmp_path / "file" / "x", "file")):
            with pytest.raises(CheckpointError, match=f"no file can be written there, for .* is a {said}"):
                run("Search for squid", "--model", str(agent), option, str(path), *more)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    new = tmp_path / "new 文件夹"
    run("Search for squid", "--model", str(agent), "--phone", str(new / "p.json"), "--log", str(new / "l" / "l.jsonl"))
    assert (new / "l" / "l.jsonl").is_file()


def test_the_policy_of_the_command_line(agent: Path) -> None:
    said = run("Search", "--model", str(agent), "--allow", "google_search", "--dry-run")
    assert all(call["name"] == "google_search" for call in said["calls"])
    assert all(result["status"] == "planned" for result in said["results"])
    assert run("--model", str(agent), "Search", "--dry-run")["calls"] is not None


OWN = '''
import sepiola

@sepiola.function
def feed(animal: str) -> str:
    """Feed an animal. 喂动物。"""
    open("fed", "w").close()
    return animal

@sepiola.function
def rest() -> str:
    """Rest. 休息。"""
    return "z"
'''


def test_functions_of_a_file_that_is_not_named_are_planned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(OWN, encoding="utf-8")
    acting_model(encoder_decoder(), functions=functions_named("own.py")).save(tmp_path / "model")
    for text in ("Feed the cat", "喂猫"):
        request = (text, "--model", "model", "--one-call")
        planned = run(*request)
        assert [result["status"] for result in planned["results"]] == ["planned"]
        assert not (tmp_path / "fed").exists()
        done = run(*request, "--functions", "own.py")
        assert done["calls"] == planned["calls"] and [result["status"] for result in done["results"]] == ["done"]
        (tmp_path / "fed").unlink(missing_ok=True)
    said = CliRunner().invoke(app, ["act", *request])
    assert said.exit_code == 0 and "name its file: --functions FUNCTIONS.py" in said.stderr


def test_a_picture_that_the_agent_does_not_see_is_refused(agent: Path, tmp_path: Path) -> None:
    picture, log = tmp_path / "picture.png", tmp_path / "log.jsonl"
    Image.new("RGB", (8, 8)).save(picture)
    with pytest.raises(DataError, match="reads text alone; leave them out"):
        run("这是谁？", "--model", str(agent), "--image", str(picture), "--log", str(log))
    assert not log.exists()


def test_mistakes_are_one_message(agent: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (
        ["x", "--model", str(agent), "--deny", "nothing"],
        ["x", "--model", str(agent), "--functions", "missing.py"],
        ["x", "--model", str(agent), "--today", "soon"],
        ["x", "--model", str(agent), "--top", "3"],
        ["x", "--model", str(agent), "--retriever", str(agent)],
        ["  ", "--model", str(agent)],
    ):
        done = CliRunner().invoke(app, ["act", *arguments])
        assert done.exception is not None and getattr(done.exception, "status", None) == 2, done.output
