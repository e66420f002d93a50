"""Reading and writing tokens by the native core, against our torch engine and the bound: `python benchmarks/native.py`.

All sides hold the same random weights of a published shape and do the same work, in turn: a prompt is read
(`prefill`), then tokens are written one by one, greedily (`decode`), or 8 rows of them at once (`chains`). The bound of
decoding is a pass over the same packed weights that multiplies and does nothing else (`stream`). `ratio` is a side's
rate over the faster torch engine's, `bound` its rate over that of the stream, both medians over the rounds.

`--json` prints a list of rows: shape, work, side, value, unit, ratio, bound, and `others`, the share of the processors
that other processes took meanwhile. Where they took more than a tenth, a ratio would be chance, and there is none:
wait, or take `--clock cpu`, which counts the processor time of one thread.
"""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from measure import parser

from sepiola.models.transformer import LanguageModel
from sepiola.runtime.native import THREADS, NativeExecutor, NativeLanguage
from sepiola.runtime.plain import TorchExecutor
from sepiola.runtime.prepacked import PrepackedExecutor
from sepiola.specs.model import TransformerSpec

PASSES = 20
STARVED = 0.1
"""Others took more than this share of the processors: a ratio would be chance."""


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


class Side:
    """An executor at work."""

    def __init__(self, executor: TorchExecutor, prompt: int, tokens: int) -> None:
        self.executor = executor
        draw = torch.Generator().manual_seed(0)
        self.prompt = torch.randint(0, executor.spec.vocabulary, (1, prompt), generator=draw)
        self.tokens = tokens

    @torch.inference_mode()
    def prefill(self) -> int:
        self.executor.begin(self.prompt, 1, attention_mask=None)
        return self.prompt.shape[1]

    def decode(self) -> Iterator[int]:
        return self._write(1)

    def chains(self) -> Iterator[int]:
        return self._write(8)

    @torch.inference_mode()
    def _write(self, rows: int) -> Iterator[int]:
        """Reads a short prompt, and then, while the clock runs, writes."""
        state = self.executor.begin(self.prompt[:, :16], self.tokens, attention_mask=None)
        state.select(torch.zeros(rows, dtype=torch.long))
        following = self.prompt[:, 15:16].expand(rows, 1)
        yield 0
        for _ in range(self.tokens):
            following = self.executor.logits(state.extend(following)[:, -1]).argmax(-1, keepdim=True)
        yield rows * self.tokens


@dataclass
class Measured:
    """Rates of a side at one work, a number a round, and what others took of the machine."""

    rates: list[float] = field(default_factory=list)
    others: list[float] = field(default_factory=list)


class Clock:
    """Seconds by the clock, or of this process's processor time, and what others took of the processors."""

    def __init__(self, kind: str) -> None:
        self.now: Callable[[], float] = time.perf_counter if kind == "wall" else time.process_time
        self.others_count = kind == "wall"

    def measure(self, into: Measured, work: Callable[[], int]) -> None:
        """The rate of one run of `work`, which says how much it did."""
        wall, own, busy, began = time.perf_counter(), time.process_time(), _busy(), self.now()
        count = work()
        into.rates.append(count / (self.now() - began))
        others = (_busy() - busy) - (time.process_time() - own)
        share = others / ((time.perf_counter() - wall) * (os.cpu_count() or 1))
        into.others.append(max(0.0, share) if self.others_count else 0.0)


def _busy() -> float:
    """Seconds that all processors were busy since the machine began."""
    user, nice, system, _, _, irq, softirq, steal = map(int, Path("/proc/stat").read_text().split("\n")[0].split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--shapes", nargs="+", choices=SHAPES, default=list(SHAPES))
    options.add_argument("--bits", nargs="+", type=int, choices=(4, 8, 16), default=[4, 8])
    options.add_argument("--prompt", type=int, default=512, help="tokens of the prompt")
    options.add_argument("--tokens", type=int, default=32, help="tokens written")
    options.add_argument("--clock", choices=("wall", "cpu"), default="wall", help="cpu: processor time of one thread")
    arguments = options.parse_args()
    if arguments.clock == "cpu":
        arguments.threads = 1
    torch.set_num_threads(arguments.threads)
    os.environ[THREADS] = str(arguments.threads)
    rows = [row for name in arguments.shapes for row in run(name, arguments)]
    text = json.dumps(rows, indent=2)
    if arguments.out:
        arguments.out.write_text(text + "\n")
    if arguments.json:
        print(text)
        return
    print(
        f"{arguments.threads} threads, {arguments.clock} time, {arguments.rounds} rounds; load {os.getloadavg()[0]:.1f}"
    )
    for row in rows:
        print("  ".join(f"{name} {value}" for name, value in row.items() if value is not None))


def run(name: str, arguments: Any) -> list[dict[str, Any]]:
    """The rows of one shape."""
    network = LanguageModel(TransformerSpec.parse(SHAPES[name])).eval()
    natives = {f"native int{b}" if b < 16 else "native bf16": NativeExecutor(network, bits=b) for b in arguments.bits}
    executors: dict[str, TorchExecutor] = {"torch float32": TorchExecutor(network)}
    packed = PrepackedExecutor(LanguageModel(network.spec).to(torch.bfloat16), release=True)
    executors |= {"torch bfloat16 prepacked": packed, **natives}
    sides = {side: Side(executor, arguments.prompt, arguments.tokens) for side, executor in executors.items()}
    clock = Clock(arguments.clock)
    measured: dict[tuple[str, str], Measured] = {}
    for warm in (True, *[False] * arguments.rounds):
        for side, at_work in sides.items():
            works: dict[str, Callable[[], int]] = {"prefill": at_work.prefill}
            for work, begin in (("decode", at_work.decode), ("chains", at_work.chains)):
                works[work] = partial(next, begin())
            if side in natives:
                works["stream"] = partial(_stream, natives[side].network)
            for work, does in works.items():
                if work in ("decode", "chains"):
                    does()  # reads the prompt
                clock.measure(Measured() if warm else measured.setdefault((work, side), Measured()), does)
    return list(rows_of(name, measured))


def _stream(network: NativeLanguage) -> int:
    for _ in range(PASSES):
        network.core.stream()
    return PASSES


def rows_of(name: str, measured: dict[tuple[str, str], Measured]) -> Iterator[dict[str, Any]]:
    middle = {key: statistics.median(one.rates) for key, one in measured.items()}
    for (work, side), one in measured.items():
        plain = max(
            (s for w, s in measured if w == work and s.startswith("torch")), key=lambda s: middle[work, s], default=None
        )
        stream = measured.get(("stream", side))
        others = max(max(m.others) for m in (one, *([] if plain is None else [measured[work, plain]])))
        starved = others > STARVED
        yield {
            "shape": name,
            "work": work,
            "side": side,
            "value": round(middle[work, side], 1),
            "unit": "passes/s" if work == "stream" else "tokens/s",
            "ratio": None if plain is None or starved else _over(one, measured[work, plain]),
            "bound": None if stream is None or work != "decode" or starved else _over(one, stream),
            "others": round(others, 2),
        }


def _over(ours: Measured, theirs: Measured) -> float:
    return round(statistics.median(a / b for a, b in zip(ours.rates, theirs.rates, strict=True)), 2)


if __name__ == "__main__":
    main()
