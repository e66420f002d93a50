"""The command line's `tokenizer`: train one on one's own text, and measure how well one packs English and Chinese."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from sepiola.cli.options import AsJson, console_of, out_file, print_json
from sepiola.errors import DataError, SpecError

if TYPE_CHECKING:
    from sepiola.text.measure import Packing

tokenizer_app = typer.Typer(help="Train a tokenizer, or measure one.", no_args_is_help=True)

Texts = Annotated[
    list[Path], typer.Argument(help="Files (.txt, .jsonl with a field 'text'; also .gz) or folders of them.")
]


@tokenizer_app.command("train")
def train(
    texts: Texts,
    vocabulary: Annotated[int, typer.Option("--vocabulary", help="How many tokens.")] = 16384,
    kind: Annotated[str, typer.Option("--kind", help="bpe or unigram; both are lossless.")] = "bpe",
    out: Annotated[Path, typer.Option("--out", parser=out_file, metavar="PATH", help="The file to write.")] = Path(
        "tokenizer.json"
    ),
    as_json: AsJson = False,
) -> None:
    """Train a tokenizer on text, and measure it on one passage in fifty, which training leaves out."""
    from sepiola.data.corpus import held_out, passages, text_files
    from sepiola.data.files import make_folder, write_text
    from sepiola.data.language import language_of
    from sepiola.text.measure import measure
    from sepiola.text.tokenizer import Tokenizer
    from sepiola.training.progress import say

    make_folder(out.parent)
    console = console_of(as_json)
    learned: list[str] = []
    kept: list[str] = []
    with console.status("reading") as status:
        for file in text_files(texts):
            for passage in passages(file):
                (kept if held_out(passage) else learned).append(passage)
        if not learned:
            raise DataError(f"{', '.join(map(str, texts))}: no text to train on")
        sizes: Counter[str] = Counter()
        for passage in learned:
            sizes[language_of(passage)] += len(passage.encode())
        total = sum(sizes.values())
        status.update(f"training on {total / 1e6:.1f} MB")
        began = time.perf_counter()
        tokenizer = Tokenizer.train(learned, vocabulary, kind)
        seconds = time.perf_counter() - began
        write_text(out, tokenizer.to_json())
        status.update("measuring")
        figures = measure(tokenizer, kept)
    found = {"tokenizer": str(out), "kind": kind, "seconds": seconds, "trained_on": dict(sorted(sizes.items()))}
    if as_json:
        print_json({**found, "held_out": figures})
        return
    console.print(_table({str(out): figures}))
    read = ", ".join(
        f"{size / 1e6:.1f} MB {language}" for language, size in sorted(sizes.items()) if size > total / 1e3
    )
    say(console, f"{kind}, trained in {seconds:.0f} s on {read}; measured on {len(kept)} passages held out")


@tokenizer_app.command("measure")
def measure_command(
    tokenizer: Annotated[Path, typer.Argument(help="A tokenizer.json.")],
    texts: Texts,
    against: Annotated[
        list[str] | None,
        typer.Option("--against", metavar="NAME=tokenizer.json", help="Another one beside it. Repeatable."),
    ] = None,
    only_held_out: Annotated[
        bool, typer.Option("--held-out", help="Only what `train` on the same texts leaves out.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Measure bytes per token, by language: how much text a model sees in as many tokens."""
    from sepiola.data.corpus import held_out, passages, text_files
    from sepiola.text.measure import measure
    from sepiola.text.tokenizer import Tokenizer

    named = {str(tokenizer): Tokenizer.load(tokenizer)}
    for pair in against or []:
        name, sign, path = pair.partition("=")
        if not (name and sign and path):
            raise SpecError(f"--against {pair}: expected NAME=tokenizer.json")
        named[name] = Tokenizer.load(path)
    console = console_of(as_json)
    with console.status("measuring"):
        chosen = [p for f in text_files(texts) for p in passages(f) if not only_held_out or held_out(p)]
        figures = {name: measure(loaded, chosen) for name, loaded in named.items()}
    if as_json:
        print_json(figures)
    else:
        console.print(_table(figures))


def _table(figures: dict[str, Packing]) -> Table:
    from sepiola.evaluation.report.tables import whole

    languages = sorted({language for row in figures.values() for language in row["languages"]})
    table = Table("tokenizer", "vocabulary", *languages, "lossless", title="bytes per token")
    for name, row in figures.items():
        packed = [f"{row['languages'][language]['bytes_per_token']:.3f}" for language in languages]
        share = "–" if row["lossless"] is None else f"{row['lossless']:.1%}"
        table.add_row(escape(name), f"{row['vocabulary']:,}", *packed, share)
    return whole(table)
