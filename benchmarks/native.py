"""The native core against its peers and its bound: `python benchmarks/native.py --llama FOLDER --json`.

Sides hold random weights of the same published shapes and do the same work in turn, a round after the other: `--work`

    prefill   a prompt of 512 is read           t5        T5-base reads 256 tokens and writes 64
    decode    tokens are written one by one     vit       ViT-B/16 reads pictures, four at once
    busy      so beside one busy process        smolvlm   SmolVLM-256M answers a question about a picture in 64 tokens:
    chains    8 chains of one prompt of 128               the first token and the last, import and loading, memory

Peers are `transformers` in float32 and bfloat16 (chains one after the other, T5 and SmolVLM by `generate`; `--compile`
adds compiled steps over a static cache), llama.cpp (`--llama` or SEPIOLA_LLAMA names a folder with `include` and its
libraries; `gguf` writes its models), CTranslate2, and OpenVINO with `nncf`, where they can be imported; one that is
absent is named. The bound of decoding is a pass over the same packed weights that does nothing else (`stream`).

`--json` prints a list of rows: shape, work, side, value, unit, against (a peer), ratio (how many times faster the side
is: the median over the rounds), bound (its share of the stream's rate; of `busy` its share of the quiet rate), and
`others`, the share of the processors that other processes took meanwhile. Where they took more than a tenth a ratio
would be chance, and there is none: wait, or take `--clock cpu`, which counts processor time, of one thread, of all but
`smolvlm`.
"""

from __future__ import annotations

import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from measure import parser
from native_models import answering, reading_pictures, translating
from native_sides import LlamaCpp, Native, OpenVino, Sizes, Transformers, Work, native, openvino_is_there, write_gguf

from sepiola.models.transformer import LanguageModel
from sepiola.runtime.native import THREADS
from sepiola.specs.model import TransformerSpec

STARVED = 0.1
"""Others took more than this share of the processors: a ratio would be chance."""
LLAMA = "SEPIOLA_LLAMA"
LANGUAGE = ("prefill", "decode", "chains", "busy")
WORKS = (*LANGUAGE, "t5", "vit", "smolvlm")
LLAMA_KINDS = {4: "q4_0", 8: "q8_0"}


def shape(
    vocabulary: int, width: int, layers: int, heads: int, kv_heads: int, hidden: int, bias: bool
) -> dict[str, Any]:
    return {
        "kind": "decoder",
        "vocabulary": vocabulary,
        "width": width,
        "layers": layers,
        "attention": {"heads": heads, "kv_heads": kv_heads, "bias": bias, "output_bias": False},
        "feed_forward": {"width": hidden, "activation": "silu", "gated": True},
        "norm": {"kind": "rms"},
        "positions": {"kind": "rotary"},
    }


SHAPES = {
    "smollm2-135m": shape(49152, 576, 30, 9, 3, 1536, False),
    "qwen2.5-0.5b": shape(151936, 896, 24, 14, 2, 4864, True),
}


@dataclass
class Measured:
    """Seconds a piece of a side at one work, a number a round, and what others took of the machine."""

    seconds: list[float] = field(default_factory=list)
    others: list[float] = field(default_factory=list)


Results = dict[str, dict[str, Measured]]
"""By work and side."""


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--work", nargs="+", choices=WORKS, default=list(WORKS))
    options.add_argument("--shapes", nargs="+", choices=SHAPES, default=list(SHAPES))
    options.add_argument("--bits", nargs="+", type=int, choices=(4, 8, 16), default=[4, 8])
    options.add_argument("--prompt", type=int, default=512, help="tokens of the prompt")
    options.add_argument("--tokens", type=int, default=32, help="tokens written")
    options.add_argument("--clock", choices=("wall", "cpu"), default="wall", help="cpu: processor time of one thread")
    options.add_argument("--llama", type=Path, default=os.environ.get(LLAMA), help="llama.cpp's headers and libraries")
    options.add_argument("--compile", action="store_true", help="compile transformers' steps too (a minute a shape)")
    arguments = options.parse_args()
    language_works = [work for work in LANGUAGE if work in arguments.work]
    groups = [(name, language_works) for name in arguments.shapes if language_works]
    groups += [(None, [work]) for work in WORKS if work in arguments.work and work not in LANGUAGE]
    several = len(groups) > 1
    rows = [row for name, works in groups for row in apart(name, works)] if several else here(arguments)
    text = json.dumps(rows, indent=2)
    if arguments.out:
        arguments.out.write_text(text + "\n")
    if arguments.json:
        print(text)


def apart(name: str | None, works: list[str]) -> list[dict[str, Any]]:
    """The rows of some works, by a process of its own: peers bring thread pools that do not bear each other."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "rows.json"
        given = [*sys.argv, "--work", *works, *([] if name is None else ["--shapes", name]), "--out", str(out)]
        status = subprocess.run([sys.executable, *given], stdout=subprocess.DEVNULL, check=False).returncode
        if not out.exists():
            say(f"{name or works[0]}: ended with status {status}, without figures")
            return []
        rows: list[dict[str, Any]] = json.loads(out.read_text())
        return rows


def here(arguments: Any) -> list[dict[str, Any]]:
    """The rows of this process, said as they come."""
    if arguments.clock == "cpu":
        arguments.threads = 1
    torch.set_num_threads(arguments.threads)
    os.environ[THREADS] = str(arguments.threads)
    load = f"load {os.getloadavg()[0]:.1f}"
    say(f"{arguments.threads} threads, {arguments.clock} time, {arguments.rounds} rounds; {load}")
    rows = []
    for row in run(arguments):
        rows.append(row)
        say("  ".join(f"{name} {value}" for name, value in row.items() if value is not None))
    return rows


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def run(arguments: Any) -> Iterator[dict[str, Any]]:
    """The rows, work after work."""
    works = [work for work in LANGUAGE if work in arguments.work]
    for name in arguments.shapes if works else ():
        yield from rows_of(name, language(name, works, arguments))
    if "t5" in arguments.work:
        sides = dict(translating(arguments.bits, arguments.threads, say))
        yield from rows_of("t5-base", measured({"t5": sides}, arguments))
    if "vit" in arguments.work:
        sides = dict(reading_pictures(arguments.bits))
        yield from rows_of("vit-b/16", measured({"vit": sides}, arguments), "pictures/s")
    if "smolvlm" in arguments.work:
        for work, side, unit, value, peer, ratio, others in answering(arguments):
            shown = None if ratio is None or others > STARVED else round(ratio, 2)
            row = {"shape": "smolvlm-256m", "work": work, "side": side, "value": round(value, 3), "unit": unit}
            yield {**row, "against": peer, "ratio": shown, "bound": None, "others": round(others, 2)}


def measured(works: Mapping[str, Mapping[str, Work]], arguments: Any) -> Results:
    """Every side at every work, in turn; the first round only warms up."""
    results: Results = {work: {side: Measured() for side in sides} for work, sides in works.items()}
    for round_ in range(arguments.rounds + 1):
        for work, sides in works.items():
            for side, does in sides.items():
                took = does()
                if round_:
                    one = results[work][side]
                    one.seconds.append((took.wall if arguments.clock == "wall" else took.cpu) / took.count)
                    one.others.append(took.others if arguments.clock == "wall" else 0.0)
    return results


def language(name: str, works: list[str], arguments: Any) -> Results:
    """The works of a language model's shape."""
    spec = TransformerSpec.parse(SHAPES[name])
    sizes = Sizes(arguments.prompt, arguments.tokens, arguments.threads)
    network = LanguageModel(spec).eval()
    sides: dict[str, Mapping[str, Work]] = {native(b): Native(network, b, sizes).works() for b in arguments.bits}
    del network
    for dtype in (torch.float32, torch.bfloat16):
        side = f"transformers {str(dtype).removeprefix('torch.')}"
        sides[side] = Transformers(spec, dtype, sizes).works()
        if arguments.compile:
            sides[f"{side} compiled"] = Transformers(spec, dtype, sizes, compiled=True).works()
    if "prefill" in works:
        if not openvino_is_there():
            say("OpenVINO is absent: pip install --no-deps --target FOLDER openvino nncf; PYTHONPATH=FOLDER")
        else:
            sides["openvino int8"] = OpenVino(spec, sizes).works()
    with tempfile.TemporaryDirectory() as folder:
        running = []
        if arguments.llama is None or importlib.util.find_spec("gguf") is None:
            say(f"llama.cpp is absent: --llama or {LLAMA} names its folder, and gguf must be importable")
        else:
            for bits in set(arguments.bits) & set(LLAMA_KINDS):
                path = Path(folder) / f"{LLAMA_KINDS[bits]}.gguf"
                write_gguf(path, spec, LLAMA_KINDS[bits])
                running.append(LlamaCpp(Path(arguments.llama), path, sizes))
                sides[f"llama.cpp {LLAMA_KINDS[bits]}"] = running[-1].works()
        asked = {*works, *(["stream"] if "decode" in works else []), *(["decode"] if "busy" in works else [])}
        by_work: dict[str, dict[str, Work]] = defaultdict(dict)
        for side, does in sides.items():
            for work in asked & set(does):
                by_work[work][side] = does[work]
        results = measured(by_work, arguments)
        for one in running:
            one.close()
    return results


def rows_of(name: str, results: Results, unit: str = "tokens/s") -> Iterator[dict[str, Any]]:
    """A row for each side, and of the core's sides one for each peer that computes as many bits, or plainly."""
    for work, sides in results.items():
        for side, one in sides.items():
            known = {"shape": name, "work": work, "side": side, "value": round(1 / statistics.median(one.seconds), 1)}
            known["unit"] = "passes/s" if work == "stream" else unit
            base = results.get({"decode": "stream", "busy": "decode"}.get(work, ""), {}).get(side)
            bound = None if base is None else compared(one, base)
            peers = [peer for peer in sides if side.startswith("native") and meets(side, peer)]
            for peer in peers or [None]:
                others = max(max(m.others) for m in (one, *([] if peer is None else [sides[peer]])))
                over = None if peer is None else compared(one, sides[peer])
                yield {**known, "against": peer, "ratio": over, "bound": bound, "others": round(others, 2)}


def meets(side: str, peer: str) -> bool:
    """Whether a side of the core is compared with a peer: `transformers`, and those that hold as many bits."""
    bits = {"native int4": ("q4_0",), "native int8": ("q8_0", "int8")}.get(side, ())
    return peer.startswith("transformers") or (not peer.startswith("native") and peer.endswith(bits or ("?",)))


def compared(ours: Measured, theirs: Measured) -> float | None:
    """How many times faster ours is: the median over the rounds; None where either was starved."""
    if max(*ours.others, *theirs.others) > STARVED:
        return None
    return round(statistics.median(b / a for a, b in zip(ours.seconds, theirs.seconds, strict=True)), 2)


if __name__ == "__main__":
    main()
