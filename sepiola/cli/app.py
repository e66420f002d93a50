"""The command line: `sepiola demo | train | scale | eval | ask | chat | curate | models | data | tokenizer`.

A user's mistake ends in one message and status 2, without a traceback; figures are printed as tables, or as JSON with
`--json`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from sepiola.cli.chat import chat
from sepiola.cli.curate import curate
from sepiola.cli.tokenizer import tokenizer_app
from sepiola.errors import SepiolaError, SpecError

app = typer.Typer(
    name="sepiola",
    help="Small multimodal language models that see, reason and act on your own device.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
data_app = typer.Typer(help="Look at data before training on it.", no_args_is_help=True)
app.add_typer(data_app, name="data")
app.add_typer(tokenizer_app, name="tokenizer")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change one key of the recipe, for example --set stages.0.steps=100. Repeatable.",
    ),
]
Device = Annotated[str, typer.Option(help="Where to compute: cpu, cuda, cuda:1 …")]
Runs = Annotated[Path, typer.Option(help="The folder that runs land in.")]


def main() -> None:
    """Entry point: errors that a person can fix are printed alone, with status 2."""
    try:
        app(standalone_mode=True)
    except SepiolaError as error:
        Console(stderr=True, highlight=False).print(f"[red]error:[/red] {_escape(str(error))}", soft_wrap=True)
        sys.exit(2)


@app.command()
def demo(
    quick: Annotated[
        bool, typer.Option("--quick", help="The same path with far less training: under 90 seconds.")
    ] = False,
    as_json: AsJson = False,
    runs: Runs = Path("runs"),
) -> None:
    """Train a small two-stage model on Tidepool and its blind twin, on this machine, and compare them.

    Needs no download. A second call goes on where the first one stopped.
    """
    from sepiola.experiments.demo import run_demo

    run_demo(quick=quick, runs=runs, console=_console(as_json), as_json=as_json)


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="A shipped recipe's name (mm-cot/demo …) or the path of a YAML file.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check and explain the recipe; train nothing.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that was stopped.")] = False,
    assignments: Set = None,
    as_json: AsJson = False,
    device: Device = "cpu",
    runs: Runs = Path("runs"),
) -> None:
    """Train a recipe: its stages, then its evaluation. The run lands in runs/NAME/."""
    from sepiola.evaluation.report.tables import terminal_tables
    from sepiola.experiments.compare import compare as run_comparison
    from sepiola.experiments.compare import comparison_table
    from sepiola.experiments.costs import costs_table
    from sepiola.experiments.dry_run import explain, print_explanation
    from sepiola.experiments.recipe_files import ComparisonSpec, read_recipe
    from sepiola.experiments.run import Run

    spec = read_recipe(recipe, assignments or [])
    console = _console(as_json)
    if dry_run:
        found = explain(spec, console)
        _print_json(found) if as_json else print_explanation(found, console)
        return
    folder = runs / spec.name
    if isinstance(spec, ComparisonSpec):
        report = run_comparison(spec, folder, console=console, device=device, resume=resume)
        tables = [comparison_table(report)] if report["rows"] else list(terminal_tables(report))
        tables.append(costs_table(report["costs"]))
    else:
        report = Run(spec, folder, console=console, device=device, resume=resume).go()
        tables = list(terminal_tables(report))
    if as_json:
        _print_json(report)
        return
    for table in tables:
        console.print(table)
    console.print(f"report: {folder / 'report.html'}")


@app.command()
def compare(
    recipe: Annotated[
        str, typer.Argument(help="A comparison: a shipped one's name (compare/bridges …) or a YAML file.")
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check and explain it; train nothing.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a comparison that was stopped.")] = False,
    assignments: Set = None,
    as_json: AsJson = False,
    device: Device = "cpu",
    runs: Runs = Path("runs"),
) -> None:
    """Train one recipe under several arms and seeds: what each reaches, and what it costs, in one table.

    The runs land in runs/NAME/, one folder an arm and seed.
    """
    from sepiola.experiments.recipe_files import ComparisonSpec, read_recipe

    if not isinstance(read_recipe(recipe, assignments or []), ComparisonSpec):
        raise SepiolaError(f"{recipe} has no arms to compare; train it: sepiola train {recipe}")
    train(recipe, dry_run, resume, assignments, as_json, device, runs)


@app.command()
def scale(
    recipe: Annotated[str, typer.Argument(help="A recipe of one stage: a shipped one's name or a YAML file's path.")],
    sizes: Annotated[str, typer.Option("--sizes", help="Widths from the smallest up; the last is predicted first.")],
    tokens_per_parameter: Annotated[
        float, typer.Option("--tokens-per-parameter", help="Training tokens for each parameter that multiplies.")
    ] = 5.0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a ladder that was stopped.")] = False,
    assignments: Set = None,
    as_json: AsJson = False,
    device: Device = "cpu",
    runs: Runs = Path("runs"),
) -> None:
    """Train a ladder of small models, predict the next one's loss, then train that one and check.

    The ladder lands in runs/NAME-scale/.
    """
    from sepiola.evaluation.report.tables import terminal_tables
    from sepiola.experiments.recipe_files import read_recipe
    from sepiola.experiments.scale import ladder, parse_sizes

    spec, console = read_recipe(recipe, assignments or []), _console(as_json)
    folder = runs / f"{spec.name}-scale"
    per = tokens_per_parameter
    report = ladder(
        spec, parse_sizes(sizes), folder, tokens_per_parameter=per, console=console, device=device, resume=resume
    )
    if as_json:
        _print_json(report["scaling"])
        return
    for table in terminal_tables(report):
        console.print(table)
    console.print(f"report: {folder / 'report.html'}")


@app.command(name="eval")
def evaluate(
    benchmark: Annotated[
        str,
        typer.Argument(help="tidepool, scienceqa, easy_vqa, daquar, pope, flickr8k …; or, prompted: lambada, cmmlu …"),
    ],
    model: Annotated[str, typer.Option("--model", help="A run, a checkpoint folder or a Hub id.")],
    data: Annotated[str | None, typer.Option("--data", help="The dataset's folder (Tidepool needs none).")] = None,
    split: Annotated[str | None, typer.Option("--split", help="Which split to answer (default: test).")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write all figures to this JSON file.")] = None,
    count: Annotated[
        int | None, typer.Option("--count", min=1, help="Answer only so many questions: the first, or drawn by --seed.")
    ] = None,
    shots: Annotated[int, typer.Option("--shots", min=0, help="How many solved questions to show before each.")] = 0,
    rices: Annotated[bool, typer.Option("--rices", help="Of pictures: those most like the question's.")] = False,
    seed: Annotated[int, typer.Option("--seed", help="Prompted: draws the shots and the questions.")] = 0,
    show: Annotated[int, typer.Option("--show", min=0, help="Prompted: print so many whole prompts, judged.")] = 0,
    length: Annotated[int | None, typer.Option("--length", help="Prompted: most tokens the model reads.")] = None,
    only: Annotated[list[str] | None, typer.Option("--only", help="Prompted: one subject or task. Repeatable.")] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            "--option",
            metavar="KEY=VALUE",
            help="An option of the reader, for example --option with_image=true. Repeatable.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure a model on a benchmark: its figures with their intervals, buckets, and what baselines would earn."""
    from sepiola.api import load
    from sepiola.checkpoints.store import write_text
    from sepiola.datasets import read_spec
    from sepiola.evaluation.benchmarks.questions import BENCHMARKS, CAPTIONS
    from sepiola.evaluation.benchmarks.questions import evaluate as figures_of
    from sepiola.evaluation.prompting import TASKS
    from sepiola.evaluation.prompting.show import shown, table
    from sepiola.evaluation.report.tables import terminal_tables
    from sepiola.experiments.answer import few_shot, prompt_all
    from sepiola.experiments.evaluate import measured
    from sepiola.specs.base import nearest
    from sepiola.specs.recipe import DataSpec, FewShotSpec

    known = [*BENCHMARKS, *CAPTIONS, *TASKS]
    if benchmark not in known:
        raise SpecError(f"no benchmark is named '{benchmark}'; {nearest(benchmark, known)}")
    console = _console(as_json)
    if benchmark in TASKS:
        if option or split not in (None, TASKS[benchmark].split):
            raise SpecError(f"{benchmark} has no --option, and no --split but {TASKS[benchmark].split}")
        asked: dict[str, Any] = {"shots": shots, "count": count, "seed": seed, "only": only or [], "length": length}
        figures, results = prompt_all(load(model), benchmark, data, console, **asked)
        figures = {"title": benchmark, "model": model, **figures, "shown": [r.to_dict() for r in results[:show]]}
        for result in results[:show]:
            console.print(shown(result), markup=False, highlight=False, soft_wrap=True)
        tables = [table(figures)]
    else:
        if show or length or only:
            raise SpecError(f"--show, --length and --only are for prompted texts; '{benchmark}' has pictures")
        split = split or "test"
        spec = DataSpec(reader=benchmark, root=data, split=split, count=count, options=_options(option or []))
        loaded = load(model)
        examples = read_spec(spec)
        questions = read_spec(
            spec.model_copy(update={"split": "train", "count": 3000 if benchmark == "tidepool" else None})
        )
        if shots:
            pool = examples if any("episode" in e.metadata for e in examples) else questions
            how = FewShotSpec(shots=(shots,), choose="rices" if rices else "random", shuffled=False)
            _, examples, answers = few_shot(loaded, how, examples, pool, console, f"{benchmark} {split}")
            found = figures_of(benchmark, examples, answers, questions)
        else:
            _, _, found = measured(loaded, benchmark, split, examples, questions, console)
        figures = {"title": f"{benchmark} {split}", "model": model, "split": split, **found}
        tables = terminal_tables(figures)
    if out is not None:
        write_text(out, json.dumps(figures, ensure_ascii=False, indent=2) + "\n")
    if as_json:
        _print_json(figures)
        return
    for each in tables:
        console.print(each)


@app.command()
def ask(
    question: Annotated[str, typer.Argument(help="The question, in English or Chinese.")],
    model: Annotated[str, typer.Option("--model", help="A run, a checkpoint folder or a Hub id.")],
    image: Annotated[
        list[Path] | None, typer.Option("--image", help="A picture: PNG, JPEG, WebP … Repeatable.")
    ] = None,
    choices: Annotated[
        list[str] | None,
        typer.Option("--choices", help="One option of the answer. Repeatable; or several at once, parted by |."),
    ] = None,
    hint: Annotated[str, typer.Option("--hint", help="Context that the question builds on.")] = "",
    as_json: AsJson = False,
) -> None:
    """Ask one question about any picture."""
    from sepiola.api import load

    options = [part.strip() for choice in choices or [] for part in choice.split("|")]
    reply = load(model).ask(question, image=image, choices=options, hint=hint)
    probabilities = dict(zip(reply.choices, reply.probabilities, strict=True)) if reply.probabilities else None
    if as_json:
        _print_json({"answer": reply.answer, "rationale": reply.rationale, "probabilities": probabilities})
        return
    console = _console(False)
    if reply.rationale:
        console.print(f"[dim]{_escape(reply.rationale)}[/dim]")
    console.print(f"[bold]{_escape(reply.answer)}[/bold]")
    for option, probability in (probabilities or {}).items():
        console.print(f"  {100 * probability:5.1f}%  {_escape(option)}")


app.command()(chat)
app.command()(curate)


@app.command()
def models(
    name: Annotated[str | None, typer.Argument(help="Show one preset in full.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the presets with their parameter counts, or show one."""
    from rich.table import Table

    from sepiola.models.build import parameter_counts, preset, presets
    from sepiola.specs.base import write_yaml

    chosen = {name: preset(name)} if name else presets()
    rows: list[dict[str, Any]] = []
    for key, spec in chosen.items():
        counts = parameter_counts(spec)
        total = counts.pop("total")
        published = sum(counts[part] for part in counts if part in spec.counted)
        rows.append({"name": key, "parameters": published, "family": spec.family, "parts": counts, "total": total})
    if as_json:
        _print_json({**rows[0], "spec": chosen[name].to_dict()} if name else rows)
        return
    console = _console(False)
    table = Table("name", "family", "parameters", "parts")
    for row in rows:
        parts = ", ".join(f"{part} {_millions(n)}" for part, n in row["parts"].items())
        table.add_row(row["name"], row["family"], _millions(row["parameters"]), parts)
    console.print(table)
    if name:
        console.print(write_yaml(chosen[name].to_dict()), highlight=False)


@data_app.command("show")
def data_show(
    reader: Annotated[str, typer.Argument(help="tidepool, scienceqa, easy_vqa, daquar, flickr8k, coco_mini, pope …")],
    root: Annotated[str | None, typer.Option("--data", help="The dataset's folder (Tidepool needs none).")] = None,
    split: Annotated[str, typer.Option("--split", help="Which split.")] = "train",
    count: Annotated[int | None, typer.Option("--count", help="Only the first so many examples.")] = None,
    option: Annotated[
        list[str] | None, typer.Option("--option", metavar="KEY=VALUE", help="An option of the reader. Repeatable.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="Where the contact sheet goes.")] = Path("sheet.png"),
    as_json: AsJson = False,
) -> None:
    """Count a dataset's examples and draw a contact sheet of some."""
    from sepiola.data.preview import contact_sheet, counts
    from sepiola.data.sampler import spread
    from sepiola.datasets import read_spec
    from sepiola.specs.base import write_yaml
    from sepiola.specs.recipe import DataSpec

    examples = read_spec(DataSpec(reader=reader, root=root, split=split, count=count, options=_options(option or [])))
    contact_sheet(spread(examples, 16), out)
    found = {**counts(examples), "sheet": str(out)}
    if as_json:
        _print_json(found)
    else:
        _console(False).print(write_yaml(found), highlight=False)


def _options(assignments: list[str]) -> dict[str, Any]:
    from sepiola.specs.base import override

    return override({}, assignments)


def _console(as_json: bool) -> Console:
    """Where people read: standard output, or standard error when standard output carries JSON."""
    return Console(stderr=as_json)


def _print_json(value: Any) -> None:
    print(json.dumps(value, ensure_ascii=False, indent=2))


def _escape(text: str) -> str:
    from rich.markup import escape

    return escape(text)


def _millions(count: int) -> str:
    return f"{count / 1e9:.2f}B" if count >= 1e9 else f"{count / 1e6:.1f}M"
