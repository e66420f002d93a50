"""`sepiola data`: a dataset's counts and a sheet of some pictures, before training; turns that a model rates; and
rationales that a teacher writes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from sepiola.cli.options import (
    AsJson,
    Bits,
    DataFolder,
    Device,
    ModelName,
    ReaderOption,
    Runtime,
    console_of,
    data_spec,
    out_file,
    out_path,
    print_json,
)
from sepiola.errors import SpecError

data_app = typer.Typer(help="Show data before training on it, and make more of it.", no_args_is_help=True)
By = Annotated[str, typer.Option("--by", help="The key of the examples' metadata that says a question's skill.")]


@data_app.callback()
def data() -> None:
    """Show data before training on it, and make more of it."""


@data_app.command("show")
def data_show(
    reader: Annotated[str, typer.Argument(help="tidepool, scienceqa, easy_vqa, daquar, flickr8k, coco_mini, pope …")],
    root: DataFolder = None,
    split: Annotated[str, typer.Option("--split", help="Which split.")] = "train",
    count: Annotated[int | None, typer.Option("--count", min=1, help="Only the first so many examples.")] = None,
    option: ReaderOption = None,
    out: Annotated[
        Path, typer.Option("--out", parser=out_file, metavar="PATH", help="Where the contact sheet goes.")
    ] = Path("sheet.png"),
    as_json: AsJson = False,
) -> None:
    """Count a dataset's examples and draw a contact sheet of some."""
    from sepiola.data.preview import contact_sheet, counts
    from sepiola.data.sampler import spread
    from sepiola.datasets import read_spec

    examples = read_spec(data_spec(reader, root, split, count, option))
    contact_sheet(spread(examples, 16), out)
    summary = {**counts(examples), "sheet": str(out)}
    _print(summary, as_json)


@data_app.command("rate")
def data_rate(
    reader: Annotated[str, typer.Argument(help="cdial, dialogues, turns …: examples whose target is a turn.")],
    model: ModelName,
    out: Annotated[
        Path,
        typer.Option(
            "--out", parser=out_path, metavar="PATH", help="A folder for turns.jsonl, which the reader 'turns' reads."
        ),
    ],
    root: DataFolder = None,
    split: Annotated[str, typer.Option("--split", help="Which split.")] = "train",
    count: Annotated[int | None, typer.Option("--count", min=1, help="Only the first so many examples.")] = None,
    option: ReaderOption = None,
    keep: Annotated[
        float,
        typer.Option("--keep", help="Of the turns above the model's thresholds, the best so many: a share."),
    ] = 1.0,
    device: Device = "cpu",
    runtime: Runtime = "torch",
    bits: Bits = None,
    as_json: AsJson = False,
) -> None:
    """Let a model that generates and rates clean dialogues: drop what is below its thresholds, keep the best."""
    from sepiola.api import load
    from sepiola.experiments.rated_data import rate_data

    data = data_spec(reader, root, split, count, option)
    loaded = load(model, device=device, runtime=runtime, bits=bits)
    found = rate_data(loaded, data, out, keep=keep, console=console_of(as_json))
    _print(found, as_json)


@data_app.command("teach")
def data_teach(
    reader: Annotated[str, typer.Argument(help="scienceqa, tidepool …: questions whose answers are known.")],
    teacher: Annotated[str, typer.Option("--teacher", help="An endpoint (http://HOST/v1), or a model as in --model.")],
    out: Annotated[
        Path, typer.Option("--out", parser=out_path, metavar="PATH", help="The folder to make, or to go on with.")
    ],
    teacher_model: Annotated[
        str | None, typer.Option("--teacher-model", help="The model's name at the endpoint; its key: OPENAI_API_KEY.")
    ] = None,
    kind: Annotated[
        str, typer.Option("--kind", help="cot: a chain of thought; plan: first a lecture and a plan for each skill.")
    ] = "cot",
    tell: Annotated[bool, typer.Option("--tell", help="Tell the teacher the right answer, as T-SciQ does.")] = False,
    by: By = "skill",
    root: DataFolder = None,
    split: Annotated[str, typer.Option("--split", help="Which split.")] = "train",
    count: Annotated[int | None, typer.Option("--count", min=1, help="Only the first so many examples.")] = None,
    option: ReaderOption = None,
    max_tokens: Annotated[int, typer.Option("--max-tokens", min=1, help="Tokens that a local teacher writes.")] = 512,
    device: Device = "cpu",
    runtime: Runtime = "torch",
    bits: Bits = None,
    as_json: AsJson = False,
) -> None:
    """Ask a teacher for rationales, and keep those that come to the right answer: `rationales:` of a recipe's data.

    A second call goes on where the first one stopped.
    """
    from sepiola.api import load
    from sepiola.curation.teaching import KINDS, Teaching, local, remote, teach
    from sepiola.datasets import read_spec
    from sepiola.generation.endpoint import Endpoint
    from sepiola.specs.base import nearest

    far = teacher.startswith(("http://", "https://"))
    if far != (teacher_model is not None):
        raise SpecError("--teacher http://HOST/v1 and --teacher-model NAME belong together")
    kinds = [each for each in KINDS if each == kind]
    if not kinds:
        raise SpecError(f"--kind {kind}: {nearest(kind, KINDS)}")
    examples = read_spec(data_spec(reader, root, split, count, option))
    asked = (
        remote(Endpoint(teacher, teacher_model))
        if teacher_model is not None
        else local(teacher, lambda: load(teacher, device=device, runtime=runtime, bits=bits), max_tokens)
    )
    found = teach(examples, out, asked, Teaching(kinds[0], tell, by), console=console_of(as_json))
    _print(found, as_json)


@data_app.command("mix")
def data_mix(
    reader: Annotated[str, typer.Argument(help="The dataset whose validation questions the students have answered.")],
    taught: Annotated[
        list[str],
        typer.Option(
            "--taught",
            metavar="RATIONALES=ANSWERS",
            help="A file of `sepiola data teach`, and the answers of the run that learned it. Twice or more.",
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", parser=out_file, metavar="PATH", help="The file of rationales to write.")
    ],
    by: By = "skill",
    root: DataFolder = None,
    split: Annotated[str, typer.Option("--split", help="The split that the students have answered.")] = "val",
    count: Annotated[int | None, typer.Option("--count", min=1, help="Only the first so many examples.")] = None,
    option: ReaderOption = None,
    as_json: AsJson = False,
) -> None:
    """Choose the kind of rationales for each skill, by what students of each kind answer right on validation data."""
    from sepiola.curation.mixing import Taught, mix
    from sepiola.datasets import read_spec

    if "test" in split:
        raise SpecError(f"--split {split}: what is chosen on test cannot be measured on it; give val")
    pairs = [tuple(each.split("=", 1)) for each in taught]
    if any(len(pair) < 2 for pair in pairs):
        raise SpecError(
            f"--taught {taught[0]}: expected RATIONALES=ANSWERS, such as cot.jsonl=runs/cot/answers-….jsonl"
        )
    kinds = [Taught(Path(pair[0]), Path(pair[1])) for pair in pairs]
    found = mix(read_spec(data_spec(reader, root, split, count, option)), kinds, out, by=by)
    _print(found, as_json)


def _print(found: Mapping[str, object], as_json: bool) -> None:
    """Figures as YAML, or as JSON."""
    from sepiola.specs.base import write_yaml

    if as_json:
        print_json(found)
    else:
        console_of(False).print(write_yaml(dict(found)), highlight=False)
