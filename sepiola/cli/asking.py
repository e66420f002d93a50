"""The commands that ask a model: `sepiola ask`, one question about any picture, and `sepiola chat`, a talk."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.markup import escape

from sepiola.cli.options import (
    Adapter,
    AsJson,
    Bits,
    ChainsOption,
    Device,
    ModelName,
    Runtime,
    StrategyOption,
    console_of,
    print_json,
    strategy_of,
)
from sepiola.errors import SepiolaError, SpecError

if TYPE_CHECKING:
    from sepiola.data.example import Message
    from sepiola.generation.chat import ChatReply
    from sepiola.reasoning.sample_and_rank import RankedReply
    from sepiola.reasoning.toolset import Toolset
    from sepiola.specs.base import Plain

HELP = """Type a message. /image FILE shows a picture with the next one, /new begins again, /exit or Ctrl-D ends.
输入消息即可对话。/image 文件 为下一条消息附上图片，/new 重新开始，/exit 或 Ctrl-D 结束。"""


def ask(
    question: Annotated[str, typer.Argument(help="The question, in English or Chinese.")],
    model: ModelName,
    image: Annotated[
        list[Path] | None, typer.Option("--image", help="A picture: PNG, JPEG, WebP … Repeatable.")
    ] = None,
    choices: Annotated[
        list[str] | None,
        typer.Option("--choices", help="One option of the answer. Repeatable; or several at once, parted by |."),
    ] = None,
    hint: Annotated[str, typer.Option("--hint", help="Context that the question builds on.")] = "",
    strategy: StrategyOption = None,
    chains: ChainsOption = None,
    adapter: Adapter = None,
    device: Device = "cpu",
    runtime: Runtime = "torch",
    bits: Bits = None,
    as_json: AsJson = False,
) -> None:
    """Ask one question about any picture."""
    from sepiola.api import load

    options = [part.strip() for choice in choices or [] for part in choice.split("|")]
    chosen = strategy_of(strategy, chains)
    reply = load(model, adapter=adapter, device=device, runtime=runtime, bits=bits).ask(
        question, image=image, choices=options, hint=hint, strategy=chosen
    )
    probabilities = dict(zip(reply.choices, reply.probabilities, strict=True)) if reply.probabilities else None
    if as_json:
        said = {"answer": reply.answer, "rationale": reply.rationale, "probabilities": probabilities}
        drawn = {"chains": [dataclasses.asdict(chain) for chain in reply.chains]} if reply.chains else {}
        print_json({**said, "confidence": reply.confidence, **drawn})
        return
    console = console_of(False)
    if reply.rationale:
        console.print(f"[dim]{escape(reply.rationale)}[/dim]")
    console.print(f"[bold]{escape(reply.answer)}[/bold]")
    for option, probability in (probabilities or {}).items():
        console.print(f"  {100 * probability:5.1f}%  {escape(option)}")
    if reply.chains and reply.confidence is not None:
        voted = sum(chain.vote is not None for chain in reply.chains)
        summary = f"{voted} of {len(reply.chains)} chains name an answer; confidence {100 * reply.confidence:.1f}%"
        console.print(f"[dim]{summary}[/dim]")


def chat(
    model: ModelName,
    prompt: Annotated[
        str | None, typer.Argument(help="One message, in English or Chinese; without it, a talk.")
    ] = None,
    image: Annotated[
        list[Path] | None, typer.Option("--image", help="A picture for the first message. Repeatable.")
    ] = None,
    system: Annotated[str | None, typer.Option("--system", help="System prompt.")] = None,
    greeting: Annotated[
        str | None, typer.Option("--greeting", help="The model's first turn, which sets the role that it plays.")
    ] = None,
    candidates: Annotated[
        int | None,
        typer.Option(
            "--candidates",
            min=1,
            max=1024,
            help="Sample so many replies (by top-k 40 unless --temperature is given), let the model rate them, drop "
            "those below a threshold, and say the best: for a model of the objective generate-and-rate.",
        ),
    ] = None,
    show: Annotated[
        bool,
        typer.Option("--show", help="With --candidates: show each with its ratings, what was dropped, and why."),
    ] = False,
    tool: Annotated[
        list[str] | None,
        typer.Option(
            "--tool",
            help="What the model may ask by writing 'TS, …' before it answers 'User, …': calculator, "
            "translator=FILE.tsv, retrieval=FOLDER of text. Repeatable.",
        ),
    ] = None,
    functions: Annotated[
        list[str] | None,
        typer.Option(
            "--functions",
            help="What the chat template declares to the model: a Python file, a set (phone, android) or a JSON file "
            "of OpenAI's tools. Repeatable. It is shown them, and nothing is called (sepiola act calls).",
        ),
    ] = None,
    max_tokens: Annotated[
        int | None,
        typer.Option("--max-tokens", min=1, help="Tokens of a reply at most; else as the checkpoint says, or 512."),
    ] = None,
    temperature: Annotated[float, typer.Option("--temperature", min=0, help="0 is greedy.")] = 0.0,
    top_p: Annotated[
        float,
        typer.Option("--top-p", help="Nucleus sampling: the likeliest tokens of so much mass."),
    ] = 1.0,
    top_k: Annotated[int, typer.Option("--top-k", help="The so many likeliest tokens; 0 is all.")] = 0,
    min_p: Annotated[
        float, typer.Option("--min-p", help="Tokens of at least this share of the likeliest's probability.")
    ] = 0.0,
    repetition_penalty: Annotated[
        float | None,
        typer.Option(
            "--repetition-penalty",
            help="More than 1 makes tokens of prompt and reply less likely; else as the checkpoint says.",
        ),
    ] = None,
    presence_penalty: Annotated[
        float, typer.Option("--presence-penalty", help="Taken from the logit of a token that the reply has, -2 to 2.")
    ] = 0.0,
    frequency_penalty: Annotated[
        float, typer.Option("--frequency-penalty", help="The same for each time that the reply has it.")
    ] = 0.0,
    no_repeat_ngram: Annotated[
        int | None,
        typer.Option(
            "--no-repeat-ngram", help="No run of so many tokens comes twice; 0 is off; else as the checkpoint says."
        ),
    ] = None,
    stop: Annotated[
        list[str] | None,
        typer.Option("--stop", help="The reply ends before this text. Repeatable; beside the checkpoint's own."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the draws.")] = 0,
    prompt_lookup_num_tokens: Annotated[
        int,
        typer.Option(
            "--prompt-lookup-num-tokens",
            help="Guess so many tokens at most by what stood in the talk before: the same reply, in less time where it "
            "repeats (quotes, code); 0 is off.",
        ),
    ] = 0,
    precision: Annotated[
        Literal["auto", "float32", "bfloat16"],
        typer.Option("--precision", help="auto: bfloat16 where the machine has it."),
    ] = "auto",
    adapter: Adapter = None,
    device: Device = "cpu",
    runtime: Runtime = "prepacked",
    bits: Bits = None,
    as_json: Annotated[bool, typer.Option("--json", help="One message: print its reply and figures as JSON.")] = False,
) -> None:
    """Talk with a model that reads text and pictures."""
    import torch

    from sepiola.api import load
    from sepiola.data.example import Message
    from sepiola.data.image import ImageRef
    from sepiola.generation.sampling import Sampling
    from sepiola.nn.precision import resolve
    from sepiola.reasoning.grounding import Grounded, ground
    from sepiola.reasoning.sample_and_rank import REPLY as ROOM
    from sepiola.reasoning.sample_and_rank import SAMPLING
    from sepiola.reasoning.toolset import toolset_of

    if as_json and prompt is None:
        raise SpecError('--json is for one message: sepiola chat --model M --json "What is this?"')
    if show and candidates is None:
        raise SpecError("--show shows the candidates of a reply: add --candidates 16")
    if candidates is not None and (image or stop):
        raise SpecError(
            "--candidates: replies that the model rates have no pictures and no stop strings; leave out "
            f"--{'image' if image else 'stop'}"
        )
    if functions and (candidates is not None or tool):
        raise SpecError(f"--functions: a talk with --{'tool' if tool else 'candidates'} declares none; leave one out")
    if "" in (stop or []):
        raise SpecError('--stop: got an empty text, expected one that ends the reply, such as --stop "User:"')
    given = {
        "temperature": temperature,
        "top_p": top_p,
        "top_k": top_k,
        "min_p": min_p,
        "repetition_penalty": repetition_penalty,
        "presence_penalty": presence_penalty,
        "frequency_penalty": frequency_penalty,
        "no_repeat_ngram_size": no_repeat_ngram,
        "seed": seed,
        "prompt_lookup_num_tokens": prompt_lookup_num_tokens,
    }
    asked: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    toolset, tools = toolset_of(tool) if tool else None, _declared(functions or ())
    Sampling(**asked)  # what is out of bounds is said before anything is loaded
    dtype = resolve(precision, torch.device(device))
    loaded = load(model, adapter=adapter, dtype=dtype, device=device).run(runtime, bits=bits, release=True)
    sampling = dataclasses.replace(loaded.sampling, **asked)
    opening = [Message("system", (system,))] if system else []
    opening += [Message("assistant", (greeting,))] if greeting else []
    pictures = [ImageRef.of(path) for path in image or []]

    def answered(messages: list[Message], aloud: bool) -> ChatReply:
        write = (lambda piece: print(piece, end="", flush=True)) if aloud else None
        reply = loaded.chat(
            messages, tools=tools, max_tokens=max_tokens, sampling=sampling, stop=stop or (), on_text=write
        )
        if aloud:
            print()
        return reply

    def ranked(messages: Sequence[Message]) -> RankedReply:
        drawn = dataclasses.replace(sampling if temperature else SAMPLING, seed=seed)
        found = loaded.sample_and_rank(
            messages, candidates=candidates or 1, max_tokens=max_tokens or ROOM, sampling=drawn
        )
        _tell(found, show)
        return found

    def grounded(messages: Sequence[Message], tools: Toolset) -> tuple[Grounded, list[RankedReply]]:
        """The reply, and what each of the model's turns was chosen from, where it rates."""
        chosen: list[RankedReply] = []

        def write(said: Sequence[Message]) -> str:
            if candidates is None:
                return answered([*said], aloud=False).text
            chosen.append(ranked(said))
            return chosen[-1].text

        found = ground(write, messages, tools)
        for step in found.steps:
            console_of(True).print(f"[dim]TS, {escape(step.asked)} → {escape('; '.join(step.found) or '-')}[/dim]")
        return found, chosen

    def replied(messages: list[Message]) -> str:
        """The reply to a talk, which has been printed."""
        if toolset is None and candidates is None:
            return answered(messages, aloud=True).text
        text = ranked(messages).text if toolset is None else grounded(messages, toolset)[0].text
        print(text)
        return text

    if prompt is not None and (candidates is not None or toolset is not None):
        said = [*opening, Message("user", (*pictures, prompt))]
        if not as_json:
            replied(said)
        elif toolset is None:
            print_json(dataclasses.asdict(ranked(said)))
        else:
            found, chosen = grounded(said, toolset)
            turns = {"turns": [dataclasses.asdict(turn) for turn in chosen]} if chosen else {}
            print_json(dataclasses.asdict(found) | turns)
        return
    if prompt is not None:
        reply = answered([*opening, Message("user", (*pictures, prompt))], aloud=not as_json)
        if as_json:
            figures = {
                "text": reply.text,
                "prompt_tokens": reply.prompt_tokens,
                "tokens": reply.tokens,
                "first_token_seconds": round(reply.first_token_seconds, 4),
                "tokens_per_second": round(reply.tokens_per_second, 2),
            }
            print_json(figures)
        return

    print(HELP)
    messages = list(opening)
    while True:
        try:
            line = input("> ").strip()
        except (EOFError, KeyboardInterrupt):
            print()
            return
        command, _, rest = line.partition(" ")
        if command == "/exit":
            return
        try:
            if command == "/new":
                messages, pictures = list(opening), []
            elif command == "/image":  # terminals quote the name of a file that is dropped on them
                pictures.append(ImageRef.of(rest.strip().strip("'\"")))
            elif line:
                said = [*messages, Message("user", (*pictures, line))]
                text = replied(said)
                messages, pictures = [*said, Message("assistant", (text,))], []
        except (SepiolaError, KeyboardInterrupt) as error:  # the talk goes on without what was wrong or unwanted
            print(f"error: {error}" if isinstance(error, SepiolaError) else "")
            pictures = pictures if command == "/image" else []


def _declared(sources: Sequence[str]) -> list[Plain]:
    """The functions of `--functions`, as OpenAI's `tools` list them."""
    from sepiola.acting.constraint import tools_of
    from sepiola.acting.sets import functions_named
    from sepiola.checkpoints.processor import FUNCTIONS
    from sepiola.errors import DataError
    from sepiola.specs.safe_files import read_json

    found: list[Plain] = []
    for source in map(Path, sources):
        listed = source.suffix == ".json" and source.name != FUNCTIONS
        found += tools_of(read_json(source, DataError) if listed else functions_named(source))
    return found


def _tell(reply: RankedReply, show: bool) -> None:
    """What a reply was chosen from, on standard error so that the reply alone stands on standard output."""
    from rich.table import Table

    from sepiola.evaluation.report.tables import whole

    console = console_of(True)
    if reply.note:
        console.print(f"[yellow]{escape(reply.note)}[/yellow]")
    if not show:
        return
    names = [*reply.candidates[0].ratings]
    table = Table(*("score", *names, "times", "reply", "dropped"), caption=f"tokens read: {dict(reply.tokens)}")
    for candidate in reply.candidates:
        ratings = (f"{candidate.ratings[name]:.3f}" for name in names)
        style = "dim" if candidate.dropped else None
        said = (escape(candidate.text), escape(candidate.dropped or ""))
        table.add_row(f"{candidate.score:.3f}", *ratings, str(candidate.times), *said, style=style)
    console.print(whole(table))
