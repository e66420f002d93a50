"""Calls by functional tokens against declared functions, and what the grammar costs: `python benchmarks/acting.py`.

All sides of a row hold the same random weights of the published shape, in one run, and take turns. They write the same
calls, those of Tidepool's test requests: the functional form on one side, JSON on the other. Each side draws greedily
from its own logits after the script's next token was raised (a `Sampling` of ours, a `LogitsProcessor` of
`transformers`), within what its grammar allows, and what came out must be the script. So all work is done that a model
which means these calls would do, forced and guessed tokens included.

- `overhead`: seconds a token under a grammar against decoding without one, the same tokens on both sides, by the native
  core, our fastest engine: free text, of which nothing is forced or guessed, and calls.
- `passes`: forward passes of the calls of the phone's ten functions, of a call's tokens.
- `pairs`: functional tokens against 10, 20 and 100 functions in the prompt, cold and with their keys and values kept.
- `gemma`: the same at Gemma 3 270M's shape with seven functions, and against `transformers` in every setting tried.
- `agent`: `Agent.run` from request to executed call, and the memory of its process beyond that of `import torch`.

A tokenizer is trained on the train split's requests and the declarations (words are one token: prompts are short), and
filled up with words to the shape's vocabulary, so that masks are as long as they are in earnest. Bounds are what the
project holds itself to. It refuses a machine that does something else, unless `--busy` says that figures are rough.
"""

from __future__ import annotations

import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from acting_sides import Engine, Texts, Theirs, Work, asked, declaration, functions_of, phone_as_taught, tokenizer_of
from measure import alternate, parser, report
from torch import Tensor

import sepiola
from sepiola.acting.phone.tasks import task_of
from sepiola.api import Model
from sepiola.generation.constrained_decoding import ConstrainedDecoding
from sepiola.generation.prefix import Prefix
from sepiola.generation.sampling import Sampling
from sepiola.models.build import preset
from sepiola.runtime.native import built
from sepiola.specs.base import override
from sepiola.specs.model import ModelSpec
from sepiola.tidepool.phone import requests

AGENT_TOKENS = 2400
"""Tokens of the recipe `octopus-v3/phone`."""
MAX_LOAD = 0.5
TEXT = (
    "Everything that swims at night has a reason of its own to keep away from lamps and nets, old sailors used to say"
)
SETTINGS = (
    "bfloat16 sdpa",
    "bfloat16 eager",
    "bfloat16 sdpa static",
    "float32 sdpa",
    "bfloat16 sdpa static compiled",
)
"""What is tried of `transformers`."""
AGENTS = {"mm-cot-tiny, 1.8M": "mm-cot-tiny", "t5-small's layers with a ViT-Ti/16 at 224 pixels, 58M": "mm-cot-base"}


# -------------------------------------------------------------------------------------------------------------- rows

Row = dict[str, Any]


def row(shape: str, work: str, side: str, value: float, unit: str, ratio: float, bound: str = "") -> Row:
    kept = {
        "shape": shape,
        "work": work,
        "side": side,
        "value": round(value, 4),
        "unit": unit,
        "ratio": round(ratio, 3),
    }
    return {**kept, "bound": bound, "holds": bool(eval_bound(ratio, bound))} if bound else {**kept, "bound": None}


def eval_bound(value: float, bound: str) -> bool:
    """Whether a value keeps a bound such as `<= 0.5`."""
    sign, limit = bound.split()
    return value <= float(limit) if sign == "<=" else value >= float(limit)


def in_turn(sides: Mapping[str, Callable[[int], None]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each side in each round; round n is about request n."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds):
        some = alternate({name: lambda s=side, n=number: s(n) for name, side in sides.items()}, 1)
        for name, (seconds,) in some.items():
            times[name].append(seconds)
    return times


def share(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Ours of theirs: the median over the pairs."""
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


def overhead(made: Engine, shape: str, rounds: int) -> list[Row]:
    """Seconds a token with and without a grammar, the same tokens on both sides."""
    grammar = made.vocabulary.compiled("json", {"type": "string", "maxLength": 600})
    text = made.ids(json.dumps(TEXT))
    called = [made.functional(task, functions_of(10)) for task in asked(rounds)]
    free = [Work(work.prompt, text, grammar) for work in called]
    rows = []
    for name, works in (("free text", free), ("a call", called)):
        sides = {
            "under the grammar": lambda n, w=works: made.write(w[n]),
            "without": lambda n, w=works: made.write(dataclasses.replace(w[n], grammar=None)),
        }
        in_turn(sides, 1)
        times = in_turn(sides, rounds)
        each = {side: [t / len(works[n].script) for n, t in enumerate(some)] for side, some in times.items()}
        part = share(each["under the grammar"], each["without"])
        rows.append(row(shape, name, "without", 1000 * statistics.median(each["without"]), "ms a token", 1.0))
        value = 1000 * statistics.median(each["under the grammar"])
        rows.append(row(shape, name, "under the grammar", value, "ms a token", part, "<= 1.05"))
    return rows


def passes(made: Texts, shape: str, count: int) -> list[Row]:
    """Forward passes of calls, of their tokens, by kind of request; no pass is computed for it."""
    rows = []
    for kind in ("text", "picture", "several"):
        tokens = taken = 0
        for example in requests("test", count, seed=11, kinds=[kind]):
            work = made.functional(task_of(example), functions_of(10))
            assert work.grammar is not None
            state = _Echo(work.script, made.vocabulary.size)
            decoding = ConstrainedDecoding(
                state,  # type: ignore[arg-type]
                [work.grammar.begin(400, work.prompt)],
                Sampling(),
                torch.empty(1, 0, dtype=torch.long),
                torch.empty(0, dtype=torch.long),
            )
            assert decoding.run(state, torch.tensor([[0]]), torch.Generator()) == [work.script]
            tokens, taken = tokens + len(work.script), taken + decoding.passes
        rows.append(
            row(
                shape,
                f"calls: {kind}",
                "passes",
                taken / count,
                f"passes of {tokens / count:.1f} tokens",
                taken / tokens,
                "<= 0.6",
            )
        )
    return rows


class _Echo:
    """An executor and its batch of one row, which would write a script."""

    def __init__(self, script: list[int], vocabulary: int) -> None:
        self.script, self.length = script, 0
        self.device, self.spec = torch.device("cpu"), Namespace(vocabulary=vocabulary)

    def extend(self, tokens: Tensor) -> Tensor:
        begin, self.length = self.length, self.length + tokens.shape[1]
        return torch.tensor([*self.script, *[0] * tokens.shape[1]][begin : self.length])[None, :, None]

    def rewind(self, tokens: int) -> None:
        self.length -= tokens

    def logits(self, states: Tensor, tokens: Tensor | None = None) -> Tensor:
        logits = torch.zeros(len(states), self.spec.vocabulary).scatter_(1, states, 1.0)
        return logits if tokens is None else logits[:, tokens]


def pairs(made: Engine, shape: str, count: int, rounds: int, bounds: Mapping[str, str]) -> tuple[list[Row], Any]:
    """Functional against declared, cold and from a kept prefix. Also the sides' works, for others to join."""
    some = functions_of(count)
    tasks = asked(max(rounds, 1), min(count, 10))
    functional, declared = ([how(t, some) for t in tasks] for how in (made.functional, made.declared))
    prefix = Prefix(made.model.engine.executor, made.ids(declaration(some)))
    sides = {
        "functional": lambda n: made.write(functional[n]),
        "declared, prefix kept": lambda n: made.write(declared[n], prefix),
        "declared, cold": lambda n: made.write(declared[n]),
    }
    in_turn({name: sides[name] for name in ("functional", "declared, prefix kept")}, 1)
    times = in_turn(sides, rounds)
    work = f"{count} functions"
    lengths = [[float(len(w.prompt)) for w in works] for works in (functional, declared)]
    rows = [
        row(
            shape,
            work,
            "functional",
            statistics.median(lengths[0]),
            "prompt tokens",
            share(*lengths),
            bounds.get("prompt", ""),
        ),
        row(shape, work, "declared", statistics.median(lengths[1]), "prompt tokens", 1.0),
        row(shape, work, "functional", statistics.median(times["functional"]), "s to the finished call", 1.0),
    ]
    for side in ("declared, cold", "declared, prefix kept"):
        value, times_more = statistics.median(times[side]), share(times[side], times["functional"])
        rows.append(row(shape, work, side, value, "s to the finished call", times_more, bounds.get(side, "")))
    return rows, (sides["functional"], declared)


def gemma(made: Engine, folder: Path, rounds: int, settings: Sequence[str]) -> tuple[list[Row], dict[str, float]]:
    """Gemma 3 270M's shape with seven functions: our engine's three sides, and `transformers`' best setting."""
    shape, some = "gemma-3-270m", functions_of(7)
    bounds = {"declared, cold": ">= 3", "declared, prefix kept": ">= 1.5", "prompt": "<= 0.05"}
    rows, (functional, declared) = pairs(made, shape, 7, rounds, bounds)
    tried: dict[str, float] = {}
    best: tuple[float, Theirs] | None = None
    for setting in settings:
        peer = Theirs(setting, folder)
        peer.write(declared[0])  # warms up, and compiles
        began = time.perf_counter()
        peer.write(declared[0])
        tried[setting] = round(time.perf_counter() - began, 3)
        best = (tried[setting], peer) if best is None or tried[setting] < best[0] else best
        del peer
    assert best is not None
    peer, prefix = best[1], made.ids(declaration(some))
    kept = peer.keep(prefix)
    sides = {
        "functional": functional,
        "transformers, cold": lambda n: peer.write(declared[n]),
        "transformers, prefix kept": lambda n: peer.write(declared[n], kept),
    }
    sides["transformers, prefix kept"](0)
    times = in_turn(sides, rounds)
    for side, bound in (("transformers, cold", ">= 8"), ("transformers, prefix kept", "")):
        part = share(times[side], times["functional"])
        rows.append(
            row(shape, "7 functions", side, statistics.median(times[side]), "s to the finished call", part, bound)
        )
    return rows, tried


def agents(count: int, threads: int) -> list[Row]:
    """The agent from request to executed call, each in a process of its own (`acting_agent.py`)."""
    rows = []
    for shape, name in AGENTS.items():
        with tempfile.TemporaryDirectory() as folder:
            save_agent(name, Path(folder))
            command = [sys.executable, str(Path(__file__).with_name("acting_agent.py")), folder]
            told = subprocess.run([*command, str(count), str(threads)], check=True, stdout=subprocess.PIPE, text=True)
        figures = json.loads(told.stdout.splitlines()[-1])
        for work, bound in (("text", 150), ("picture", 300)):
            value = figures[f"{work}_ms"]
            rows.append(row(shape, f"a request: {work}", "Agent.run", value, "ms at the median", value / bound, "<= 1"))
        value = figures["memory_mb"]
        rows.append(row(shape, "memory", "process beyond `import torch`", value, "MB", value / 300, "<= 1"))
        rows.append(row(shape, "calls that were executed", "Agent.run", figures["done"], "of all", figures["done"]))
    return rows


def save_agent(name: str, folder: Path) -> None:
    """An agent of random weights that calls the phone's functions by their tokens."""
    given = preset(name).to_dict()
    if name == "mm-cot-base":
        given["language"] = preset("t5-small").to_dict()["language"] | {"vocabulary": 16384}
        vit = ["pixels.size=224", "width=192", "attention.heads=3", "feed_forward.width=768"]
        given["vision"] = override(preset("vit-base-16-224").to_dict()["vision"], vit)
    else:
        given["language"]["vocabulary"] = AGENT_TOKENS
    spec = ModelSpec.parse(given)
    assert spec.language is not None
    tokenizer = tokenizer_of(spec.language.vocabulary, 10)
    model = Model(sepiola.build(spec).network, spec, tokenizer)
    model.processor = dataclasses.replace(model.processor, functions=phone_as_taught())
    model.to(torch.bfloat16).save(folder)


DECLARED: dict[int, dict[str, str]] = {10: {"declared, cold": ">= 2"}, 20: {}, 100: {"declared, cold": ">= 10"}}
"""How many functions are declared in `pairs`, and the bounds there."""
ROWS = ("overhead", "passes", "pairs", "gemma", "agent")


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS), help="which rows")
    options.add_argument(
        "--declared", nargs="+", type=int, choices=DECLARED, default=list(DECLARED), help="functions, of pairs"
    )
    options.add_argument("--requests", type=int, default=100, help="requests of an agent, and calls of each kind")
    options.add_argument("--busy", action="store_true", help="measure on a machine that does something else, roughly")
    options.add_argument(
        "--settings", nargs="+", default=list(SETTINGS), help="settings of transformers that are tried"
    )
    arguments = options.parse_args()
    load = os.getloadavg()[0]
    if load > MAX_LOAD and not arguments.busy:
        sys.exit(f"the machine is busy: a load of {load:.1f}; wait, or take rough figures with --busy")
    if "overhead" in arguments.rows and not built():
        sys.exit("overhead: the native core is not built: make edge; or leave the row out (--rows)")
    torch.set_num_threads(arguments.threads)
    report(arguments, {"load_before": round(load, 2), **run(arguments)})


def run(arguments: Namespace) -> dict[str, Any]:
    """Every row asked for."""
    rows: list[Row] = []
    figures: dict[str, Any] = {}
    wanted, rounds = set(arguments.rows), arguments.rounds
    if "passes" in wanted:
        rows += passes(Texts(AGENT_TOKENS, 10), f"the recipe's {AGENT_TOKENS} tokens", arguments.requests)
    if wanted & {"overhead", "pairs"}:
        shape = "smollm2-135m"
        if "overhead" in wanted:
            rows += overhead(Engine(shape, 100, native=True), f"{shape}, native core, 8 bits", 2 * rounds)
        if "pairs" in wanted:
            made = Engine(shape, 100)
            for count in arguments.declared:
                bounds = {"prompt": "<= 0.05", **DECLARED[count]}
                rows += pairs(made, shape, count, rounds if count < 100 else 1, bounds)[0]
            del made
    if "gemma" in wanted:
        with tempfile.TemporaryDirectory() as folder:
            made = Engine("gemma-3-270m", 10, Path(folder))
            more, figures["transformers_tried_s"] = gemma(made, Path(folder), rounds, arguments.settings)
        rows += more
    if "agent" in wanted:
        rows += agents(arguments.requests, arguments.threads)
    for one in rows:
        print("  ".join(f"{value}" for value in one.values()), file=sys.stderr)
    return {**figures, "rows": rows, "short": [one for one in rows if one.get("holds") is False]}


if __name__ == "__main__":
    main()
