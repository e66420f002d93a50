"""Curation with a real, tiny model and a real HTTP server that speaks OpenAI's chat completions."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

import sepiola
from sepiola.api import Model
from sepiola.curation.curate import Rules, curate
from sepiola.curation.describe import describe, items_of
from sepiola.curation.repair import local
from sepiola.data.example import Example, Message
from sepiola.data.image import ImageRef
from sepiola.datasets import read
from sepiola.datasets.captions import REQUEST
from sepiola.errors import DataError, SepiolaError
from sepiola.experiments.recipe_files import parse_recipe, read_recipe
from sepiola.experiments.run import Run
from sepiola.text.tokenizer import Tokenizer
from tests.curation.endpoint import GOOD, Server, endpoint
from tests.tiny import CAPTIONS, captioner, wait_until


def captions(count: int = 6) -> list[Example]:
    return read("tidepool", None, "train", count=count, **CAPTIONS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return captioner(tmp_path_factory.mktemp("curation") / "model")


@pytest.fixture
def model(folder: Path) -> Model:
    return sepiola.load(folder)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_short_descriptions_are_continued_in_a_second_turn(model: Model) -> None:
    items = items_of(captions())
    once = describe(model, items, tokens=8, continue_under=0)
    twice = describe(model, items, tokens=8, continue_under=1000)
    assert not any(record["continued"] for record in once) and any(record["continued"] for record in twice)
    for item, first, both in zip(items, once, twice, strict=True):
        (alone,) = model.example_generator(8).write([Example("", (Message("user", (item.image, item.request)),), "")])
        assert first["text"] == alone[0]
        assert both["text"].startswith(first["text"])
        talk = [Message("user", (item.image, item.request)), Message("assistant", (first["text"],))]
        talk.append(Message("user", ({"en": "Continue", "zh": "继续"}[item.language],)))
        how = model.answering.model_copy(update={"source_tokens": 1000})
        (rest,) = model.example_generator(8, how).write([Example("", tuple(talk), "")])
        between = "" if item.language == "zh" or not rest[0] else " "
        assert both["text"] == (first["text"] + between + rest[0]).strip()


def test_each_picture_is_described_once_a_language_and_a_bad_one_is_no_end(model: Model, tmp_path: Path) -> None:
    examples = captions(2)
    assert len(items_of([*examples, *examples])) == 2
    (asked,) = read("tidepool", None, "train", count=1, size=64, languages=["zh"])
    assert items_of([asked])[0].request == REQUEST["zh"]
    (tmp_path / "bad.png").write_bytes(b"no picture")
    names = ("bad.png", "absent.png")
    bad = [Example(n, (Message("user", (ImageRef(path=tmp_path / n), "What?")),), "") for n in names]
    found = describe(model, items_of([*bad, *examples]), tokens=4, continue_under=0)
    assert ["fault" in record for record in found] == [True, True, False, False]
    with pytest.raises(DataError, match="nothing to describe"):
        items_of([])


def test_a_run_that_is_cut_off_goes_on(model: Model, server: Server, tmp_path: Path) -> None:
    """The endpoint goes down after two texts; the work file's last line is cut by a kill; nothing is done twice."""
    loads: list[int] = []

    def go() -> dict[str, Any]:
        def loader() -> Model:
            loads.append(1)
            return model

        mender = ("mender", lambda: endpoint(server, tries=2))
        return curate(captions(), tmp_path, model=("tiny", loader), tokens=8, continue_under=4, repair=mender)

    good = server.repair
    server.repair = lambda text, language: good(text, language) if len(server.asked) <= 2 else (500, {})
    with pytest.raises(SepiolaError, match=r"does not answer after 2 tries \(status 500.*2 of 6 texts are repaired"):
        go()
    described, repaired = tmp_path / "described.jsonl", tmp_path / "repaired.jsonl"
    assert len(lines(described)) == 7 and len(lines(repaired)) == 3 and not (tmp_path / "pairs.jsonl").exists()
    whole = described.read_bytes()
    described.write_bytes(whole[:-9])
    server.repair, before = good, len(server.asked)
    found = go()
    assert loads == [1, 1] and described.read_bytes() == whole and len(server.asked) == before + 4
    assert found["kept"] == 6 and found["languages"] == {"en": 3, "zh": 3} and found["repaired"] == 6
    assert go() == found and len(loads) == 2 and len(server.asked) == before + 4
    with pytest.raises(DataError, match=r'was made with .*"tokens": 8.*name another --out'):
        curate(captions(), tmp_path, model=("tiny", lambda: model), tokens=9)
    repaired.write_text("{}\n")
    with pytest.raises(DataError, match="damaged; delete it"):
        go()


def test_pairs_are_read_back_to_train_on(model: Model, server: Server, tmp_path: Path) -> None:
    examples = captions()
    on_disk = tmp_path / "one.png"
    on_disk.write_bytes(examples[0].images[0].encoded)
    examples[0] = Example("disk", (Message("user", (ImageRef(path=on_disk), "Describe.")),), "")
    replies = iter(["A <b>red</b> circle is here now.", "红色。", "A red. A red circle is", *GOOD.values(), GOOD["en"]])
    server.repair = lambda text, language: (200, server.said(next(replies)))
    out = tmp_path / "out"
    mender = ("mender", lambda: endpoint(server))
    how: dict[str, Any] = {"model": ("tiny", lambda: model), "tokens": 8, "continue_under": 0, "repair": mender}
    found = curate(examples, out, **how, rules=Rules(shortest=4))
    dropped = lines(out / "dropped.jsonl")
    assert found["kept"] + len(dropped) == 6 == found["texts"] and sum(found["dropped"].values()) == len(dropped) > 0
    pairs = read("pairs", out, "train")
    assert [e.id for e in pairs] == [line["id"] for line in lines(out / "pairs.jsonl")] and len(pairs) == found["kept"]
    first = pairs[0]
    assert first.target == "A <b>red</b> circle is here now." and first.prompt == "Describe."
    known = {item.id: item for item in items_of(examples)}
    assert all(pair.images[0].digest == known[pair.id].image.digest for pair in pairs)
    assert {e.metadata["language"] for e in read("pairs", out, "train", languages=["en"])} == {"en"}
    page = (out / "review.html").read_text(encoding="utf-8")
    assert "A &lt;b&gt;red&lt;/b&gt; circle" in page and "<b>red" not in page
    assert page.count("<article") == 6 == page.count('src="data:image/') and "http" not in page.split("</head>")[1]
    assert json.loads((out / "summary.json").read_text(encoding="utf-8")) == found
    with pytest.raises(DataError, match="no split 'test'"):
        read("pairs", out, "test")
    (out / "pairs.jsonl").write_text('{"id": "1", "image": 3}\n')
    with pytest.raises(DataError, match=r"pairs\.jsonl, pair 1: 'image' is 3"):
        read("pairs", out, "train")


def dual(folder: Path) -> Path:
    """A dual encoder of random weights."""
    small = [f"model.{part}.{key}" for part in ("vision", "language") for key in ("width=32", "layers=1")]
    spec: Any = read_recipe("eyes/dual", [*small, "model.bridge.width=32", "model.language.vocabulary=300"])
    Model(sepiola.build(spec.model).network, spec.model, Tokenizer.train(list(GOOD.values()), 300)).save(folder)
    return folder


def test_the_dual_encoder_keeps_what_agrees_best(model: Model, server: Server, tmp_path: Path) -> None:
    matcher = sepiola.load(dual(tmp_path / "dual")).matcher()
    mender = ("mender", lambda: endpoint(server))
    how: dict[str, Any] = {"model": ("tiny", lambda: model), "tokens": 4, "repair": mender, "matcher": lambda: matcher}
    found = curate(captions(8), tmp_path / "out", **how, rules=Rules(keep=0.5))
    assert found["kept"] == 4 and found["dropped"] == {"agreement": 4} and found["languages"] == {"en": 2, "zh": 2}
    kept, dropped = (lines(tmp_path / "out" / name) for name in ("pairs.jsonl", "dropped.jsonl"))
    items = {item.id: item for item in items_of(captions(8))}
    for record in [*kept, *dropped]:
        score = matcher.scores([items[record["id"]].image], [record["text"]]).item()
        assert record["agreement"] == pytest.approx(score, abs=1e-3)
    for language in ("en", "zh"):
        own = [[r["agreement"] for r in some if r["language"] == language] for some in (kept, dropped)]
        assert min(own[0]) >= max(own[1])


def test_a_local_model_repairs_what_it_is_given_whole(model: Model) -> None:
    prompt = "Fix it. " + GOOD["en"] * 9
    assert len(model.tokenizer.encode(prompt)) > model.answering.source_tokens
    how = model.answering.model_copy(update={"source_tokens": 9999})
    (expected,) = model.example_generator(6, how).write([Example("", (Message("user", (prompt,)),), "")])
    assert local(model, 6)(prompt) == expected[0]


def command(folder: Path, out: Path, *more: str) -> list[str]:
    options = ["--count", "4", "--option", "task=captions", "--option", "size=64", "--max-tokens", "4"]
    program = [sys.executable, "-m", "sepiola", "curate", "tidepool", "--model", str(folder), "--out", str(out)]
    return [*program, *options, *more]


ENVIRONMENT = {**os.environ, "OPENAI_API_KEY": " k\n", "OMP_NUM_THREADS": "1", "no_proxy": "127.0.0.1"}


def test_a_killed_command_goes_on(folder: Path, server: Server, tmp_path: Path) -> None:
    """Killed while the third text is at the endpoint; the second call asks for the third and fourth alone."""
    out, good, third, release = tmp_path / "o", server.repair, threading.Event(), threading.Event()

    def stuck(text: str, language: str) -> tuple[int, Any]:
        if len(server.asked) == 3:
            third.set()
            release.wait(900)
        return good(text, language)

    server.repair = stuck
    arguments = command(folder, out, "--repair", server.base, "--repair-model", "mender", "--json")
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT) as process:
        wait_until(third.is_set, process)
        process.kill()
    assert len(lines(out / "repaired.jsonl")) == 1 + 2 and not (out / "pairs.jsonl").exists()
    server.repair = good
    release.set()
    done = subprocess.run(arguments, capture_output=True, text=True, env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["kept"] == 4 and len(server.asked) == 3 + 2
    assert set(server.keys) == {"Bearer k"} and len(read("pairs", out, "train")) == 4
    done = subprocess.run(
        command(folder, out, "--repair", server.base), capture_output=True, text=True, env=ENVIRONMENT
    )
    assert done.returncode == 2 and "belong together" in done.stderr and "Traceback" not in done.stderr


def test_a_second_stage_trains_on_pairs(model: Model, folder: Path, server: Server, tmp_path: Path) -> None:
    out, mender = tmp_path / "out", ("mender", lambda: endpoint(server))
    curate(captions(), out, model=("tiny", lambda: model), tokens=4, repair=mender)
    stage = {"name": "finetune", "data": {"reader": "pairs", "root": str(out)}, "objective": {"layout": "minigpt-4"}}
    stage |= {
        "learn": ["projection"],
        "steps": 2,
        "batch": 2,
        "optimizer": {"learning_rate": 1e-2},
        "precision": "float32",
    }
    raw = {"name": "second", "model": model.spec.to_dict(), "weights": str(folder), "stages": [stage]}
    raw["tokenizer"] = {"path": str(folder / "tokenizer.json")}
    Run(parse_recipe(raw), tmp_path / "run", console=Console(quiet=True)).go()
    before, after = model.state_dict(), sepiola.load(tmp_path / "run").state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == {"bridge.projection.weight", "bridge.projection.bias"}


def test_a_model_without_an_eye_describes_nothing(model: Model) -> None:
    with pytest.raises(SepiolaError, match="sees no pictures"):
        describe(model.blind(), items_of(captions()), tokens=4, continue_under=0)
