"""Command lines of any command, by its own table of options: wrong types, missing files, folders in place of files."""

from __future__ import annotations

import contextlib
import io
import random
import sys
from collections.abc import Callable
from pathlib import Path

import click
import typer

from sepiola.cli.app import app
from sepiola.errors import SepiolaError
from tests.fuzz.mutations import NASTY

WORDS = (
    *(
        "",
        " ",
        "x",
        "0",
        "-1",
        "1",
        "2",
        "999999999999",
        "1e999",
        "nan",
        "inf",
        "-0.5",
        "0.5",
        "true",
        "[",
        "{a: 1}",
        "a=b",
    ),
    *(
        "=",
        "x=[",
        "size=0",
        "size=1e9",
        "stages.0.steps=x",
        "name=../x",
        "__class__.x=1",
        "图",
        "\udcff",
        "\ud800",
        "a" * 5000,
    ),
    *(
        "..",
        "/",
        ".",
        "/dev/null",
        "/etc/passwd",
        "/nope/x",
        "../../x",
        "cuda",
        "cuda:99",
        "meta",
        "|",
        "http://x",
        "[red]x[/]",
    ),
)
COMMON = ("tidepool", "pairs", "coco_mini", "text", "mm-cot/demo", "pretrain/bilingual", "t5-small", "bpe", "unigram")
NEVER = ("demo", "scale")  # they train whatever is asked


def commands() -> dict[tuple[str, ...], click.Command]:
    """Every command by its words."""
    found: dict[tuple[str, ...], click.Command] = {}
    left: list[tuple[tuple[str, ...], click.Command]] = [((), typer.main.get_command(app))]
    while left:
        words, command = left.pop()
        inner = getattr(command, "commands", None)
        if inner is None:
            found[words] = command
        else:
            left += [((*words, name), child) for name, child in inner.items() if name not in NEVER]
    return found


def command_line(rng: random.Random, folder: Path, source: Path) -> Callable[[], object]:
    """A command line whose values may be anything, run in its folder; training ones explain alone."""
    (folder / "empty").mkdir()
    (folder / "file.txt").write_text("A squid. 耳乌贼。\n" * 9, encoding="utf-8")
    (folder / "bytes").write_bytes(rng.randbytes(500))
    known = commands()
    words = rng.choice(sorted(known))
    places = [str(source / name) for name in ("hub", "ours", "data", "hub/tokenizer.json", "data/images/1.png")]
    places += [str(folder / name) for name in ("empty", "file.txt", "bytes", "absent")]

    def value() -> str:
        kind = rng.random()
        text = rng.choice(places) if kind < 0.45 else rng.choice(COMMON) if kind < 0.65 else rng.choice(WORDS)
        text = text if rng.random() < 0.9 else str(rng.choice(NASTY))[:6000]
        return text.replace("\0", "")

    line = list(words)
    for parameter in known[words].params:
        if isinstance(parameter, click.Argument):
            line += [value() for _ in range(rng.choice([0, 1, 1, 1, 1, 2]))]
        elif parameter.name == "help" or (not parameter.required and rng.random() < 0.7):
            continue
        elif getattr(parameter, "is_flag", False):
            line.append(parameter.opts[0])
        else:
            line += [parameter.opts[0], value()]
    if any(parameter.name == "count" for parameter in known[words].params) and "--count" not in line:
        line += ["--count", "3"]
    if words[0] in ("train", "compare"):
        line.append("--dry-run")
    if "--out" in line:
        line[line.index("--out") + 1] = str(folder / rng.choice(["out", "file.txt", "empty", "a/b/c", "x" * 300]))
    return lambda: run(line, folder)


def run(line: list[str], folder: Path) -> None:
    """Runs a line as `sepiola.cli.app.main` does; every end but status 0 and 2 and every foreign error is a fault."""
    with contextlib.chdir(folder), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        before, sys.stdin = sys.stdin, io.StringIO("hello\n/image nope\n\udcff\n/exit\n")
        try:
            app(line, standalone_mode=True)
        except SystemExit as end:
            if end.code not in (0, 2):
                raise AssertionError(f"status {end.code}") from None
        except OSError as error:
            if error.filename is None:
                raise
            raise SepiolaError(f"{error.filename}: {error.strerror}") from None
        finally:
            sys.stdin = before
