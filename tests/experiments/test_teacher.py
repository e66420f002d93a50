"""A teacher paraphrases requests: an honest one, one that changes values, and one that fails, over a real server."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field
from rich.console import Console
from typer.testing import CliRunner

from sepiola.acting.functions import functions_of
from sepiola.acting.synthesis import synthesize
from sepiola.cli.app import app
from sepiola.datasets import read
from sepiola.errors import DataError, SepiolaError
from sepiola.experiments.agent import described, write_requests
from sepiola.experiments.teacher import SOURCE, Teacher, paraphrase
from sepiola.generation.endpoint import KEY, Endpoint
from tests.chat_server import Answer, ChatServer
from tests.experiments.test_agent import FILE


def feed_pet(pet: Literal["cat", "dog"], grams: Annotated[int, Field(ge=10, le=500)] = 100) -> None:
    """Feeds a pet.

    Examples:
        feed the {pet} {grams} grams
        给{pet}喂{grams}克
    """


def play_song(title: Annotated[str, Field(min_length=1, max_length=40)]) -> None:
    """Plays a song."""


FUNCTIONS = functions_of([feed_pet, play_song])
Records = list[dict[str, Any]]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ChatServer]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    running = ChatServer()
    yield running
    running.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for split, count in {"train": 160, "test": 40}.items():
        write_requests(tmp_path / f"{split}.jsonl", synthesize(described(FUNCTIONS), split, count))
    return tmp_path


def records_of(folder: Path, split: str) -> Records:
    return [json.loads(line) for line in (folder / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()]


def teacher(server: ChatServer, requests: int = 80, verify: bool = True, **how: Any) -> Teacher:
    return Teacher(Endpoint(server.base, "big", **{"pause": 0.01, "timeout": 900, "tries": 2, **how}), requests, verify)


def honest(folder: Path) -> Callable[[str], Answer]:
    """Adds words to a request, and knows the calls of all that it has rewritten."""
    known = {r["text"].split("\n")[-1]: r["calls"] for split in ("train", "test") for r in records_of(folder, split)}

    def reply(prompt: str) -> Answer:
        english, chinese = prompt.rpartition("Request: ")[2], prompt.rpartition("请求：")[2]
        if prompt.startswith("Functions"):
            return json.dumps(next(calls for said, calls in known.items() if said in english), ensure_ascii=False)
        if "Request: " in prompt:
            return f"1. well now {english} and quickly\n2. {english}"
        return f"1. 麻烦你{chinese}快一点\n2. {chinese}"

    return reply


def run(folder: Path, made: Teacher) -> str:
    console = Console(record=True, width=300, file=io.StringIO())
    paraphrase(folder, FUNCTIONS, made, console=console)
    return console.export_text()


def test_paraphrases_keep_values_calls_and_splits(folder: Path, server: ChatServer) -> None:
    server.reply = honest(folder)
    before = {split: records_of(folder, split) for split in ("train", "test")}
    said = run(folder, teacher(server))
    for split, count in {"train": 80, "test": 20}.items():
        after = records_of(folder, split)
        assert after[: len(before[split])] == before[split]
        added, own = after[len(before[split]) :], {r["id"]: r for r in before[split]}
        assert 0.7 * count < len(added) <= count, said
        for record in added:
            source = own[record[SOURCE]]
            assert record["calls"] == source["calls"] and record["text"] != source["text"]
            assert ("\n" in record["text"]) == ("\n" in source["text"]), "the line with the day stays"
        assert {r["language"] for r in added} == {"en", "zh"} and any(not r["calls"] for r in added)
        assert len(read("requests", folder, split)) == len(after)
    assert "no new words" in said and all(body["model"] == "big" for body in server.asked)
    asked = len(server.asked)
    assert "those of" in run(folder, teacher(server)) and len(server.asked) == asked, "it is done once"


def test_changed_values_and_meanings_are_dropped_and_said(folder: Path, server: ChatServer) -> None:
    wrong = honest(folder)
    server.reply = lambda p: wrong(p) if p.startswith("Functions") else "do something else entirely\n做点完全不同的事情"
    said = run(folder, teacher(server, requests=160, verify=False))
    assert "0 kept" in said and "a value is missing" in said and "requests could be checked, of 160 wanted" in said
    assert not any(SOURCE in record for record in records_of(folder, "train"))
    (folder / "paraphrases-train.jsonl").unlink()
    (folder / "paraphrases-test.jsonl").unlink()
    honestly = honest(folder)
    server.reply = lambda p: '[{"name": "eval", "arguments": {}}]' if p.startswith("Functions") else honestly(p)
    said = run(folder, teacher(server))
    assert "0 kept" in said and "the teacher reads other calls in it" in said


def test_without_verification_only_what_can_be_checked_is_asked(folder: Path, server: ChatServer) -> None:
    server.reply = honest(folder)
    run(folder, teacher(server, requests=160, verify=False))
    added = [record for record in records_of(folder, "train") if SOURCE in record]
    assert added and all(record["calls"] for record in added)
    assert not any(body["messages"][0]["content"].startswith("Functions") for body in server.asked)


def test_a_phrasing_of_another_split_is_dropped(folder: Path, server: ChatServer) -> None:
    server.reply = honest(folder)
    line = {"id": "t", "text": "well now feed the dog 33 grams and quickly", "language": "en", "calls": []}
    line["calls"] = [{"name": "feed_pet", "arguments": {"pet": "dog", "grams": 33}}]
    source = {"id": "s", "text": "feed the cat 250 grams", "language": "en", "calls": []}
    source["calls"] = [{"name": "feed_pet", "arguments": {"pet": "cat", "grams": 250}}]
    for split, record in {"test": line, "train": source}.items():
        (folder / f"{split}.jsonl").write_text(json.dumps(record) + "\n", encoding="utf-8")
    assert "dropped 1: a phrasing of another split" in run(folder, teacher(server, verify=False))
    assert len(records_of(folder, "train")) == 1


def test_failures_are_said_and_a_killed_run_goes_on(folder: Path, server: ChatServer) -> None:
    good = honest(folder)
    server.reply = lambda prompt: (500, {"error": "broken"}) if len(server.asked) % 7 == 0 else good(prompt)
    said = run(folder, teacher(server, tries=1))
    assert "no answer for" in said and "broken" in said
    for split in ("train", "test"):
        kept = [record for record in records_of(folder, split) if SOURCE not in record]
        text = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in kept)
        (folder / f"{split}.jsonl").write_text(text, encoding="utf-8")
    answered = {line["id"] for line in records_of(folder, "paraphrases-train")[1:]}
    server.asked.clear()
    server.reply = lambda prompt: (401, {"error": "no more credit"})
    with pytest.raises(SepiolaError, match=r"the teacher: .*no more credit.*\d+ of 80 requests .* same command again"):
        run(folder, teacher(server))
    server.asked.clear()
    server.reply = good
    run(folder, teacher(server))
    asked = {line["id"] for line in records_of(folder, "paraphrases-train")[1:]}
    first = [body for body in server.asked if not body["messages"][0]["content"].startswith("Functions")]
    assert answered < asked and len(first) < 80, "what was answered is not asked again"
    with pytest.raises(DataError, match="was made with"):
        text = "".join(json.dumps(r) + "\n" for r in records_of(folder, "train") if SOURCE not in r)
        (folder / "train.jsonl").write_text(text, encoding="utf-8")
        run(folder, teacher(server, verify=False))


@pytest.mark.parametrize("body", [b'{"choices": [{"mess', {"choices": [{"message": {"content": None}}]}])
def test_answers_that_say_nothing(folder: Path, server: ChatServer, body: object) -> None:
    server.reply = lambda prompt: (200, body)
    if isinstance(body, bytes):
        with pytest.raises(SepiolaError, match="not as OpenAI's chat completions do"):
            run(folder, teacher(server))
    else:
        assert "no text" in run(folder, teacher(server))


def test_a_server_that_hangs(folder: Path, server: ChatServer) -> None:
    server.reply = lambda prompt: server.hang()
    with pytest.raises(SepiolaError, match=r"does not answer after 1 tries.*\n?.*0 of 80 requests"):
        run(folder, teacher(server, timeout=0.05, tries=1))


def test_the_command_line(tmp_path: Path, server: ChatServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY, "s3cret")
    (tmp_path / "pets.py").write_text(FILE, encoding="utf-8")
    out = tmp_path / "agent"
    server.reply = lambda prompt: "[]" if prompt.startswith("Functions") else "well then, do nothing at all"
    small = ("stages.0.steps=1", "stages.0.batch=4", "tokenizer.vocabulary=400", "model.language.layers=1",
             "evaluation.0.count=8")  # fmt: skip
    arguments = ["act", "train", str(tmp_path / "pets.py"), "--out", str(out), "--count", "100", "--json"]
    arguments += [part for one in small for part in ("--set", one)]
    asked = ["--teacher", server.base, "--teacher-model", "big", "--teacher-requests", "20"]
    done = CliRunner().invoke(app, [*arguments, *asked], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert server.keys[0] == "Bearer s3cret" and (out / "requests" / "paraphrases-train.jsonl").is_file()
    for path in out.rglob("*"):
        assert not path.is_file() or b"s3cret" not in path.read_bytes(), f"{path} holds the key"
    for wrong in (["--teacher", server.base], [*asked, "x"], ["--teacher", "nowhere", "--teacher-model", "big"]):
        assert CliRunner().invoke(app, [*arguments, *wrong]).exit_code != 0
