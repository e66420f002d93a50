"""The commands of an agent: `sepiola act TEXT`, which acts on a request, `sepiola act train`, which teaches one, and
`sepiola act add` and `remove`, which teach one more function and take it away.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from typer.core import TyperGroup

from sepiola.cli.options import (
    AsJson,
    Bits,
    Device,
    ModelName,
    OneCall,
    Retriever,
    Runtime,
    Set,
    Top,
    console_of,
    load_retriever,
    out_file,
    out_path,
    print_json,
)
from sepiola.errors import SpecError, shown

if TYPE_CHECKING:
    from rich.console import Console

    from sepiola.calling.policy import Acted
    from sepiola.evaluation.figures import Figures


class RequestGroup(TyperGroup):
    """What is no command's name is a request: `sepiola act "Text Anna …"` is `sepiola act run "Text Anna …"`."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        return super().resolve_command(ctx, args if args[0] in self.commands else ["run", *args])

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        options = args and args[0].startswith("-") and args[0] not in ("--help", "-h")
        return super().parse_args(ctx, ["run", *args] if options else args)


act_app = typer.Typer(
    cls=RequestGroup,
    no_args_is_help=True,
    help='Act on a request by calling functions: sepiola act "Text Anna that I am late" --model RUN.',
)


@act_app.command("run")
def run(
    text: Annotated[str, typer.Argument(help="What is to be done, in English or Chinese.")],
    model: ModelName,
    image: Annotated[list[Path] | None, typer.Option("--image", help="A picture with the request. Repeatable.")] = None,
    functions: Annotated[
        list[str] | None,
        typer.Option(
            help="A Python file or a set (phone, android): what may be called; by default what the model was taught, "
            "of which functions of a file are planned and not run. Repeatable."
        ),
    ] = None,
    today: Annotated[
        str | None, typer.Option(help="The day that «tomorrow» comes after; else --phone's, or today.")
    ] = None,
    allow: Annotated[list[str] | None, typer.Option(help="Only this function may be called. Repeatable.")] = None,
    deny: Annotated[list[str] | None, typer.Option(help="This function may not be called. Repeatable.")] = None,
    confirm: Annotated[list[str] | None, typer.Option(help="Ask before this function runs. Repeatable.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the calls and run none.")] = False,
    phone: Annotated[
        Path | None,
        typer.Option(parser=out_file, metavar="PATH", help="The phone's state, a JSON file; it is read and written."),
    ] = None,
    log: Annotated[
        Path | None,
        typer.Option(parser=out_file, metavar="PATH", help="A JSONL file that what happens is added to."),
    ] = None,
    retriever: Retriever = None,
    top: Top = None,
    one_call: OneCall = False,
    device: Device = "cpu",
    runtime: Runtime = "torch",
    bits: Bits = None,
    as_json: AsJson = False,
) -> None:
    """Act on one request."""
    from sepiola.acting.agent import Agent
    from sepiola.acting.phone import Phone
    from sepiola.acting.sets import as_taught, come_along, functions_named, set_of
    from sepiola.api import load
    from sepiola.calling.functions import Call
    from sepiola.calling.policy import Policy
    from sepiola.data.files import make_folder, write_text
    from sepiola.errors import DataError
    from sepiola.specs.safe_files import read_json
    from sepiola.training.progress import say

    console = console_of(as_json)

    def asked(call: Call) -> bool:
        return typer.confirm(f"{call}: run it?", err=as_json)

    loaded = load(model, device=device, runtime=runtime, bits=bits)
    given, known = [each for source in functions or () for each in functions_named(source)], loaded.processor.functions
    if known and not given and not come_along(known):
        given, dry_run = as_taught(known), True
        say(console_of(True), "planned, and not run: to run what is called, name its file: --functions FUNCTIONS.py")
    if not given or known:
        given = set_of(known, given)
    policy = Policy(tuple(allow) if allow else None, tuple(deny or ()), tuple(confirm or ()), dry_run)
    for written in (phone, log):
        if written is not None:
            make_folder(written.parent)
    before = read_json(phone, DataError) if phone is not None and phone.exists() else None
    state = None if phone is None else Phone.start() if before is None else Phone.from_snapshot(before)
    agent = Agent(
        loaded,
        given,
        policy,
        state,
        confirm=asked,
        log=log,
        retriever=load_retriever(retriever, top),
        one_call=one_call,
    )
    try:
        acted = agent.run(text, image, today)
    finally:  # also what was done before somebody stopped it
        if phone is not None and not dry_run and (now := agent.phone.snapshot()) != before:
            write_text(phone, json.dumps(now, ensure_ascii=False, indent=1) + "\n")
    if as_json:
        fault = {"error": acted.fault} if acted.fault else {}
        print_json(
            {"calls": [c.to_json() for c in acted.calls], "results": [r.to_json() for r in acted.results], **fault}
        )
        return
    _show(acted, console)


@act_app.command("train")
def train(
    out: Annotated[
        Path, typer.Option("--out", parser=out_path, metavar="PATH", help="The folder that the agent lands in.")
    ],
    functions: Annotated[
        str | None,
        typer.Argument(
            help="A Python file with functions under @sepiola.function, or a set (phone, android). Absent: the agent "
            "learns to read whatever functions a request declares."
        ),
    ] = None,
    count: Annotated[int, typer.Option(min=100, help="Requests that are made to train on.")] = 60_000,
    seed: Annotated[int, typer.Option(help="Of the requests and the weights.")] = 0,
    assignments: Set = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a training that was stopped.")] = False,
    teacher: Annotated[
        str | None,
        typer.Option(
            help="An endpoint that speaks OpenAI's chat completions (http://HOST/v1, its key in OPENAI_API_KEY): it "
            "paraphrases some of the requests."
        ),
    ] = None,
    teacher_model: Annotated[str | None, typer.Option(help="The model's name at the endpoint.")] = None,
    teacher_requests: Annotated[
        int, typer.Option(min=1, help="Requests that the teacher is given, to be paraphrased three times each.")
    ] = 2000,
    verify: Annotated[
        bool,
        typer.Option(help="Keep a paraphrase only where the teacher, asked again, reads the same calls in it."),
    ] = True,
    device: Device = "cpu",
    as_json: AsJson = False,
) -> None:
    """Teach a small model to call your functions, from requests that are made for them, in English and Chinese.

    Without functions it learns to read those that a request declares, from made-up ones.
    """
    from sepiola.evaluation.report.tables import terminal_tables
    from sepiola.experiments.agent import train_agent
    from sepiola.experiments.declared import train_declared
    from sepiola.experiments.teacher import Teacher
    from sepiola.generation.endpoint import Endpoint
    from sepiola.training.progress import say

    if (teacher is None) != (teacher_model is None):
        raise SpecError("--teacher http://HOST/v1 and --teacher-model NAME belong together")
    if teacher is not None and functions is None:
        raise SpecError("--teacher paraphrases requests for functions of yours: name the file, FUNCTIONS.py")
    console = console_of(as_json)
    asked = Teacher(Endpoint(teacher, teacher_model), teacher_requests, verify) if teacher and teacher_model else None
    teach = train_declared if functions is None else partial(train_agent, functions, teacher=asked)
    report = teach(
        out, console=console, count=count, changes=assignments or [], seed=seed, device=device, resume=resume
    )
    if as_json:
        print_json(report)
        return
    for table in terminal_tables(report):
        console.print(table)
    say(console, f'Try it: sepiola act "…" --model {out} --functions {functions or "FUNCTIONS.py"}')


@act_app.command("add")
def add(
    run: Annotated[str, typer.Argument(help="The agent: a run of `act train`, or of `act add`.")],
    functions: Annotated[
        str, typer.Argument(help="A Python file with functions under @sepiola.function, or a set (phone, android).")
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out", parser=out_path, metavar="PATH", help="The folder that the agent with more functions lands in."
        ),
    ],
    only: Annotated[
        list[str] | None, typer.Option(help="Add this function of the file alone. Repeatable; by default all new ones.")
    ] = None,
    count: Annotated[int, typer.Option(min=10, help="Requests that are made for each new function.")] = 5000,
    seed: Annotated[int, typer.Option(help="Of the requests and the training.")] = 0,
    assignments: Set = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a training that was stopped.")] = False,
    device: Device = "cpu",
    as_json: AsJson = False,
) -> None:
    """Teach an agent one more function, and no other thing: `sepiola act add RUN more.py --out RUN2`.

    A copy of the agent learns, from requests that are made for the new function, among requests of the old ones. What
    the agent was is kept beside it, and writes all replies that call nothing new, or not surely. Several functions are
    added one after the other. The agent before each lies whole in RUN2/earlier, and `sepiola act remove` gives it back.
    """
    from sepiola.experiments.grow import add_functions
    from sepiola.training.progress import say

    console = console_of(as_json)
    added = add_functions(
        run,
        functions,
        out,
        console=console,
        only=only or (),
        count=count,
        changes=assignments or [],
        seed=seed,
        device=device,
        resume=resume,
    )
    if as_json:
        print_json({"added": added})
        return
    for one in added:
        console.print(f"[bold]{one['function']}[/bold] was learned: {_percent(one['new'])} of its calls are exact")
        console.print(f"  the old functions: {_percent(one['before'])} before, {_percent(one['old'])} now")
    say(console, f'Try it: sepiola act "…" --model {out} (--functions FILE for each file of its functions)')


@act_app.command("remove")
def remove(
    run: Annotated[str, typer.Argument(help="The agent: a run of `act add`.")],
    name: Annotated[str, typer.Argument(help="The function that was added last.")],
    out: Annotated[
        Path,
        typer.Option("--out", parser=out_path, metavar="PATH", help="The folder that the earlier agent lands in."),
    ],
    as_json: AsJson = False,
) -> None:
    """Take the last function that was added away again: the agent before it, bit for bit.

    Those that were added after a function learned with it there, so they go first.
    """
    from sepiola.experiments.grow import remove_function
    from sepiola.training.progress import say

    left = remove_function(run, name, out)
    if as_json:
        print_json({"removed": name, "functions": left, "folder": str(out)})
        return
    say(console_of(as_json), f"{out}: the agent without {name}; it knows {', '.join(left)}")


def _percent(figures: Figures) -> str:
    exact = figures["exact"]
    if not exact["count"]:
        return "none measured"
    low, high = exact["interval"]
    return f"{100 * exact['value']:.1f}% ({100 * low:.1f} to {100 * high:.1f}, of {exact['count']})"


def _show(acted: Acted, console: Console) -> None:
    """A line a call, and what became of it."""
    if not acted.calls and not acted.fault:
        console.print("[dim]nothing to call[/dim]")
    for result in acted.results:
        console.print(f"[bold]{escape(str(result.call))}[/bold]")
        said: object = result.value if result.status == "done" else result.error
        colour = {"done": "green", "failed": "red", "refused": "yellow"}.get(result.status, "dim")
        console.print(f"  [{colour}]{result.status}[/{colour}] {escape(shown(said)) if said else ''}".rstrip())
    if acted.fault:
        console.print(f"[yellow]nothing called[/yellow]: {escape(acted.fault)}")
