"""`sepiola export`: a model as other runtimes read it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.markup import escape

from sepiola.cli.options import Adapter, AsJson, Calibrate, calibration, console_of, out_path, print_json
from sepiola.errors import SpecError


def export(
    model: Annotated[str, typer.Argument(help="A run, a checkpoint folder, an adapter's or a Hub id.")],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            parser=out_path,
            metavar="PATH",
            help="The folder that is written, in place of one that is there; or a .gguf file.",
        ),
    ],
    to: Annotated[
        Literal["edge", "hf", "gguf"],
        typer.Option(
            "--to",
            help="edge: the runtime without torch (sepiola_edge). hf: the Hub's layout. gguf: llama.cpp's, of decoders "
            "of LLaMA's, Qwen2's, Qwen3's or Gemma 3's shape.",
        ),
    ] = "edge",
    bits: Annotated[
        int | None,
        typer.Option(
            "--bits",
            help="Of a weight, with --to edge or gguf: 4, 8 (default) or 16. In GGUF these are Q4_0, Q8_0 and BF16.",
        ),
    ] = None,
    calibrate: Calibrate = None,
    adapter: Adapter = None,
    as_json: AsJson = False,
) -> None:
    """Write a model for another runtime.

    Example: sepiola export runs/chat --to edge --bits 4 --out edge/chat; python -m sepiola_edge edge/chat "Hello"

    With 4 bits that cost less: sepiola export runs/demo --to edge --bits 4 --calibrate tidepool --out edge/demo

    An agent: sepiola export runs/agent --out edge/agent; python -m sepiola_edge act edge/agent "Text Anna I am late"
    """
    from sepiola.api import load
    from sepiola.training.progress import say

    if to == "hf" and bits is not None and calibrate is None:
        raise SpecError("--bits is for --to edge and gguf; the Hub's layout holds weights as they are")
    loaded = load(model, adapter=adapter, calibrate=calibration(calibrate, bits))
    notes: list[str] = []
    if to == "hf":
        loaded.save_hub(out)
    elif to == "gguf":
        from sepiola.checkpoints.gguf_model import KINDS, save_gguf
        from sepiola.generation.chat import Chat
        from sepiola.generation.keeping import check_alone

        check_alone(loaded.kept, "GGUF")
        tokenizer = loaded.require_tokenizer()
        out = out if out.suffix == ".gguf" else out / f"model-{KINDS.get(bits or 8)}.gguf"
        ends = Chat(loaded.engine, loaded.processor, tokenizer).ends
        notes = save_gguf(out, loaded.network, loaded.processor, tokenizer, bits or 8, ends)
    else:
        from sepiola.generation.edge import save_edge

        notes = save_edge(out, loaded, bits or 8)
    files = [out] if out.is_file() else [path for path in out.rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    if as_json:
        print_json({"out": str(out), "to": to, "bytes": size, "notes": notes})
        return
    console = console_of(False)
    say(console, f"{out}: {size / 1e6:.1f} MB")
    for note in notes:
        console.print(f"[yellow]{escape(note)}[/yellow]")
