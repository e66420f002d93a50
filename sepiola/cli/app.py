"""The command line: `sepiola demo`, `train`, `compare`, `scale`, `eval`, `ask`, `chat`, `act`, `curate`, `models`,
`export`, `data` and `tokenizer`.

A user's mistake ends in one message and status 2, without a traceback; figures are printed as tables, or as JSON with
`--json`. Each group of commands is a file; what it needs is imported when it runs, so that `--help` is quick.
"""

from __future__ import annotations

import io
import os
import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from sepiola import __version__
from sepiola.cli import acting, asking, curate, data, evaluation, export, models, tokenizer, training
from sepiola.errors import SepiolaError, brief

app = typer.Typer(
    name="sepiola",
    help="Small multimodal language models that see, reason and act on your own device.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.command()(training.demo)
app.command()(training.train)
app.command()(training.compare)
app.command()(training.scale)
app.command(name="eval", cls=evaluation.EvalCommand)(evaluation.evaluate)
app.command()(asking.ask)
app.command()(asking.chat)
app.command()(curate.curate)
app.command()(models.models)
app.command()(export.export)
app.add_typer(acting.act_app, name="act")
app.add_typer(data.data_app, name="data")
app.add_typer(tokenizer.tokenizer_app, name="tokenizer")


def _version(asked: bool) -> None:
    if asked:
        print(f"sepiola {__version__}")
        raise typer.Exit


Version = Annotated[
    bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
]


@app.callback()
def started(context: typer.Context, version: Version = False) -> None:
    """Raises SepiolaError where torchrun starts several processes of a command that is for one."""
    ranks, command = os.environ.get("WORLD_SIZE", "1"), context.invoked_subcommand
    if "RANK" in os.environ and ranks != "1" and command != "train":
        raise SepiolaError(
            f"sepiola {command} is for one process, and torchrun started {ranks}: run it without torchrun"
        )


def main() -> None:
    """Entry point: errors that a person can fix are printed alone, with status 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # names of files, and letters, that the terminal cannot show
            stream.reconfigure(errors="backslashreplace")
    try:
        app(standalone_mode=True)
    except SepiolaError as error:
        _fail(str(error), error.status)
    except OSError as error:  # what the system refuses: a folder without permission, a name too long
        if error.filename is None:
            raise
        _fail(f"{brief(str(error.filename))}: {error.strerror}", SepiolaError.status)


def _fail(message: str, status: int) -> None:
    rank = os.environ.get("RANK", "0")  # torchrun's, whose processes speak through one terminal
    error = "error:" if rank == "0" else f"error on rank {rank}:"
    Console(stderr=True, highlight=False).print(f"[red]{error}[/red] {escape(message)}", soft_wrap=True)
    sys.exit(status)
