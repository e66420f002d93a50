"""`sepiola data`: a dataset's counts and a sheet of some pictures, before training on it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sepiola.cli.options import AsJson, DataFolder, ReaderOption, console_of, data_spec, print_json

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
