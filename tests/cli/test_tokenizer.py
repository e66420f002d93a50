"""`sepiola tokenizer`: what it writes, prints and refuses."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from sepiola.cli.app import main
from sepiola.text.tokenizer import Tokenizer


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    """Enough for some passages of each language to be held out."""
    folder = tmp_path / "texts"
    folder.mkdir()
    english = (f"In the year {i} the squid saw {i * i} fish, and said that it was a good year.\n" for i in range(6000))
    chinese = (f"第{i}年，耳乌贼看见{i * i}条鱼，说这是很好的一年。\n" for i in range(6000))
    (folder / "en.txt").write_text("".join(english), encoding="utf-8")
    (folder / "zh.txt").write_text("".join(chinese), encoding="utf-8")
    return folder


def call(monkeypatch: pytest.MonkeyPatch, *arguments: object, status: int = 0) -> None:
    monkeypatch.setattr(sys, "argv", ["sepiola", "tokenizer", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == status


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_train_then_measure(
    kind: str, texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / f"{kind}.json"
    call(monkeypatch, "train", texts, "--vocabulary", 320, "--kind", kind, "--out", out, "--json")
    report: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert report["kind"] == kind and report["seconds"] > 0
    size = {p.stem: p.stat().st_size for p in texts.iterdir()}
    held = {k: v["bytes"] for k, v in report["held_out"]["languages"].items()}
    assert {k: report["trained_on"][k] + held[k] for k in held} == size and all(held.values())
    assert report["held_out"]["lossless"] == 1 and report["held_out"]["vocabulary"] == 320
    assert min(v["bytes_per_token"] for v in report["held_out"]["languages"].values()) > 1.5
    bytewise = tmp_path / "bytes.json"
    bytewise.write_text(Tokenizer.train([], 259).to_json())
    call(monkeypatch, "measure", out, texts, "--held-out", "--against", f"bytes={bytewise}", "--json")
    measured = json.loads(capsys.readouterr().out)
    assert measured[str(out)] == report["held_out"]
    assert measured["bytes"]["languages"]["zh"]["bytes_per_token"] == 1
    call(monkeypatch, "measure", out, texts / "zh.txt")
    table = capsys.readouterr().out
    assert "bytes per token" in table and "100.0%" in table and "zh" in table and " en " not in table


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train", "nowhere"), "nowhere: no such file or folder"),
        (("train", "{texts}", "--kind", "bep"), "did you mean 'bpe'?"),
        (("train", "{texts}", "--vocabulary", "100"), "a vocabulary of 100 tokens"),
        (("train", "{texts}/empty.txt"), "no text to train on"),
        (("measure", "{texts}/en.txt", "{texts}"), "en.txt: not valid JSON at line 1"),
        (("measure", "{tokenizer}", "{texts}", "--against", "gpt2"), "--against gpt2: expected NAME=tokenizer.json"),
    ],
)
def test_a_mistake_is_one_message(
    arguments: tuple[str, ...],
    message: str,
    texts: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (texts / "empty.txt").touch()
    tokenizer = texts / "tokenizer.json"
    tokenizer.write_text(Tokenizer.train([], 259).to_json())
    monkeypatch.setenv("COLUMNS", "200")
    call(monkeypatch, *(a.format(texts=texts, tokenizer=tokenizer) for a in arguments), status=2)
    assert message in capsys.readouterr().err
