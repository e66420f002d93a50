"""`sepiola curate`: raw pictures to a small well-made set of pictures and texts, on which a second stage trains."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sepiola.cli.options import (
    Bits,
    DataFolder,
    Device,
    ReaderOption,
    Runtime,
    console_of,
    data_spec,
    out_path,
    print_json,
)
from sepiola.errors import SpecError


def curate(
    reader: Annotated[str, typer.Argument(help="Whose pictures: tidepool, flickr8k, coco_mini …")],
    model: Annotated[str, typer.Option("--model", help="What describes them: a run, a checkpoint folder or a Hub id.")],
    out: Annotated[
        Path, typer.Option("--out", parser=out_path, metavar="PATH", help="The folder to make, or to go on with.")
    ],
    data: DataFolder = None,
    split: Annotated[str, typer.Option("--split", help="Which split.")] = "train",
    count: Annotated[int | None, typer.Option("--count", min=1, help="Only the first so many examples.")] = None,
    option: ReaderOption = None,
    max_tokens: Annotated[int, typer.Option("--max-tokens", min=1, help="Tokens of a turn at most.")] = 256,
    continue_under: Annotated[
        int, typer.Option("--continue-under", min=0, help="Texts of fewer tokens are continued once; 0: none.")
    ] = 80,
    repair: Annotated[
        str | None,
        typer.Option("--repair", help="What fixes the texts: an endpoint (http://HOST/v1) or a model as in --model."),
    ] = None,
    repair_model: Annotated[
        str | None, typer.Option("--repair-model", help="The model's name at the endpoint; its key: OPENAI_API_KEY.")
    ] = None,
    shortest: Annotated[int, typer.Option("--shortest", min=0, help="Words of a text (Chinese: characters).")] = 5,
    longest: Annotated[int, typer.Option("--longest", min=1, help="Words of a text at most.")] = 400,
    matcher: Annotated[
        str | None, typer.Option("--matcher", help="A dual encoder that scores how text and picture agree.")
    ] = None,
    keep: Annotated[
        float | None, typer.Option("--keep", help="With --matcher: the best share (0 to 1) of each language is kept.")
    ] = None,
    threshold: Annotated[
        float | None, typer.Option("--threshold", help="With --matcher: the lowest score that is kept.")
    ] = None,
    device: Device = "cpu",
    runtime: Runtime = "torch",
    bits: Bits = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Describe pictures, continue and repair the texts, drop what is no good: a set to train on.

    A second call goes on where the first one stopped.
    """
    from rich.progress import Progress, TaskID
    from rich.table import Table

    from sepiola.api import load
    from sepiola.curation.curate import Rules
    from sepiola.curation.curate import curate as make
    from sepiola.curation.repair import Repair, local
    from sepiola.curation.rules import REASONS
    from sepiola.datasets import read_spec
    from sepiola.evaluation.report.tables import whole
    from sepiola.generation.endpoint import Endpoint
    from sepiola.training.progress import say

    remote = repair is not None and repair.startswith(("http://", "https://"))
    if remote != (repair_model is not None):
        raise SpecError("--repair http://HOST/v1 and --repair-model NAME belong together")
    if (matcher is None) != (keep is None and threshold is None):
        raise SpecError("--matcher needs --keep SHARE or --threshold SCORE, and these need it")
    if keep is not None and not 0 < keep <= 1:
        raise SpecError(f"--keep {keep}: expected a share above 0 and up to 1")
    if shortest > longest:
        raise SpecError(f"--shortest {shortest} is above --longest {longest}")
    endpoint = Endpoint(repair, repair_model) if repair and repair_model else None
    examples = read_spec(data_spec(reader, data, split, count, option))

    def repairer() -> Repair:
        return endpoint or local(load(str(repair), device=device, runtime=runtime, bits=bits), 2 * max_tokens)

    console = console_of(as_json)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        steps: dict[str, TaskID] = {}

        def advance(step: str, done: int, of: int) -> None:
            if step not in steps:
                steps[step] = progress.add_task(step, total=of)
            progress.update(steps[step], completed=done)

        summary = make(
            examples,
            out,
            model=(model, lambda: load(model, device=device, runtime=runtime, bits=bits)),
            tokens=max_tokens,
            continue_under=continue_under,
            repair=(f"{repair} {repair_model or ''}".rstrip(), repairer) if repair else None,
            matcher=(lambda: load(matcher, device=device).matcher()) if matcher else None,
            rules=Rules(shortest, longest, keep, threshold),
            advance=advance,
        )
    if as_json:
        print_json(summary)
        return
    table = Table("texts", "", title=f"{summary['kept']} of {summary['texts']} kept", title_justify="left")
    for name in ("continued", "repaired"):
        table.add_row(name, str(summary[name]))
    for language, number in summary["languages"].items():
        table.add_row(f"kept, {language}", str(number))
    for reason, number in summary["dropped"].items():
        table.add_row(f"dropped: {REASONS[reason]}", str(number))
    console.print(whole(table))
    say(console, f"pairs: {out / 'pairs.jsonl'}; look through them: {out / 'review.html'}")
