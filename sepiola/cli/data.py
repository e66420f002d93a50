"""`sepiola data`: a dataset's counts and a sheet of some pictures, before training; and turns that a model rates."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sepiola.cli.options import AsJson, DataFolder, ModelName, ReaderOption, console_of, data_spec, print_json

data_app = typer.Typer(help="Show data before training on it.", no_args_is_help=True)


@data_app.callback()
def data() -> None:
    """Show data before training on it."""


@data_app.command("show")
def data_show(
    reader: Annotated[str, typer.Argument(help="tidepool, scienceqa, easy_vqa, daquar, flickr8k, coco_mini, pope …")],
    root: DataFolder = None,
    split: Annotated[str, typer.Option("--split", help="Which split.")] = "train",
    count: Annotated[int | None, typer.Option("--count", min=1, help="Only the first so many examples.")] = None,
    option: ReaderOption = None,
    out: Annotated[Path, typer.Option("--out", help="Where the contact sheet goes.")] = Path("sheet.png"),
    as_json: AsJson = False,
) -> None:
    """Count a dataset's examples and draw a contact sheet of some."""
    from sepiola.data.preview import contact_sheet, counts
    from sepiola.data.sampler import spread
    from sepiola.datasets import read_spec
    from sepiola.specs.base import write_yaml

    examples = read_spec(data_spec(reader, root, split, count, option))
    contact_sheet(spread(examples, 16), out)
    summary = {**counts(examples), "sheet": str(out)}
    if as_json:
        print_json(summary)
    else:
        console_of(False).print(write_yaml(summary), highlight=False)


@data_app.command("rate")
def data_rate(
    reader: Annotated[str, typer.Argument(help="cdial, dialogues, turns …: examples whose target is a turn.")],
    model: ModelName,
    out: Annotated[Path, typer.Option("--out", help="A folder for turns.jsonl, which the reader 'turns' reads.")],
    root: DataFolder = None,
    split: Annotated[str, typer.Option("--split", help="Which split.")] = "train",
    count: Annotated[int | None, typer.Option("--count", min=1, help="Only the first so many examples.")] = None,
    option: ReaderOption = None,
    keep: Annotated[
        float,
        typer.Option("--keep", help="Of the turns above the model's thresholds, the best so many: a share."),
    ] = 1.0,
    as_json: AsJson = False,
) -> None:
    """Let a model that generates and rates clean dialogues: drop what is below its thresholds, keep the best."""
    from sepiola.api import load
    from sepiola.experiments.rated_data import rate_data
    from sepiola.specs.base import write_yaml

    data = data_spec(reader, root, split, count, option)
    found = rate_data(load(model), data, out, keep=keep, console=console_of(as_json))
    if as_json:
        print_json(found)
    else:
        console_of(False).print(write_yaml(found), highlight=False)
