"""`python -m tests.edge.fuzz --count 100000`: damaged folders of the edge runtime, each refused by an EdgeError or run.

Bytes are cut and changed, and values of both JSON texts are replaced. Children try them, so that a crash or a hang ends
a child and is one more fault, and the rest goes on.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import random
import resource
import signal
import struct
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from PIL import Image

CONFIG, WEIGHTS, FUNCTIONS = "edge.json", "weights.safetensors", "functions.json"
SOME = 500
"""Folders that a child tries."""
SECONDS = 300
"""A trial that takes longer hangs."""
MEMORY = 8 << 30
NASTY: list[Any] = [
    *(
        0,
        -1,
        1,
        2,
        3,
        7,
        15,
        16,
        17,
        31,
        64,
        255,
        1024,
        2**15,
        2**24,
        2**24 + 1,
        2**31 - 1,
        2**31,
        2**63,
        2**64,
        10**30,
    ),
    *(0.0, -0.5, 1e-40, 1e38, 1e308, float("nan"), float("inf"), True, False, None, "", "x", "pre", "post", "parallel"),
    *("sandwich", "f32", "packed int4", "packed int8", "packed f32", "gelu", "\ud800", [], [0], [-1], [2**40], {}),
    *({"a": 1}, [[]], [None], ["x"], [1, 2, 3]),
]


def whole(folder: Path) -> list[Path]:
    """Folders as `sepiola export` writes them, of every kind of model that it lets out."""
    from sepiola.generation.edge import save_edge
    from tests.edge.test_acting import agent_of
    from tests.edge.test_asking import flamingo
    from tests.runtime.test_native_prompts import seeing
    from tests.tiny import byte_model, decoder, encoder_decoder, llama

    window = {"heads": 4, "kv_heads": 2, "head_width": 6, "qk_norm": True, "window": 4, "full_every": 2}
    mixture = {"width": 40, "activation": "silu", "gated": True, "experts": 3, "renormalise": False}
    mixture |= {"shared": 24, "dense": (1,), "dense_width": 70}
    specs = {
        "llama": llama(tied=False),
        "gemma": llama(norm={"kind": "rms", "place": "sandwich"}, attention=window),
        "opt": decoder(positions={"kind": "learned", "length": 64}, attention={"heads": 2, "bias": True}),
        "t5": encoder_decoder(),
        "mixtral": llama(feed_forward={"width": 40, "activation": "silu", "gated": True, "experts": 3}),
        "qwen2's mixture": llama(feed_forward=mixture, attention={"heads": 4, "kv_heads": 2, "qk_norm": "joined"}),
    }
    made = []
    models = {name: byte_model(spec) for name, spec in specs.items()}
    models |= {"smolvlm": seeing(), "flamingo": flamingo(llama(layers=2))}
    for number, (name, model) in enumerate(models.items()):
        save_edge(folder / name, model, (4, 8, 16)[number % 3])
        made.append(folder / name)
    agent_of(folder / "agent", encoder_decoder())
    return [*made, folder / "agent"]


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container in a JSON value with every key or index of it."""
    for key in list(value) if isinstance(value, dict) else range(len(value)):
        yield value, key
        if isinstance(value[key], dict | list):
            yield from places(value[key])


def replaced(text: bytes, rng: random.Random) -> bytes:
    """A JSON text of which some values are others, are gone, or have changed places."""
    value = json.loads(text)
    try:
        for _ in range(rng.choice((1, 1, 1, 2, 4))):
            found = list(places(value))
            if not found:
                break
            holder, key = rng.choice(found)
            match rng.randrange(8):
                case 0:
                    del holder[key]
                case 1:
                    other, place = rng.choice(found)
                    holder[key], other[place] = other[place], holder[key]
                case 2 if isinstance(holder[key], int):
                    holder[key] += rng.choice((-1, 1, 16, -16, 64))
                case _:
                    holder[key] = copy.deepcopy(rng.choice(NASTY))
        return json.dumps(value).encode("utf-8", "surrogatepass")
    except (ValueError, RecursionError):  # a container has come to hold itself
        return text


def bytes_changed(data: bytes, rng: random.Random, within: int) -> bytes:
    changed = bytearray(data)
    match rng.randrange(4):
        case 0:
            return data[: rng.randrange(len(data))]
        case 1:
            for _ in range(rng.choice((1, 3, 30))):
                changed[rng.randrange(min(len(data), within))] = rng.randrange(256)
        case 2:
            place = rng.randrange(min(len(data), within))
            changed[place : place + 4] = rng.choice((b"9999", b"\xff\xff\xff\xff", b"-999", struct.pack("<f", 1e38)))
        case _:
            first, last = sorted(rng.randrange(len(data)) for _ in range(2))
            del changed[first:last]
    return bytes(changed)


def damage(source: Path, home: Path, rng: random.Random) -> None:
    """Writes a damaged copy of a folder."""
    for path in source.iterdir():
        (home / path.name).write_bytes(path.read_bytes())
    config, weights, functions = (source / name for name in (CONFIG, WEIGHTS, FUNCTIONS))
    if functions.exists() and rng.random() < 0.5:
        data = functions.read_bytes()
        changed = replaced(data, rng) if rng.random() < 0.8 else bytes_changed(data, rng, 1 << 30)
        (home / FUNCTIONS).write_bytes(changed)
        return
    match rng.randrange(5):
        case 0 | 1:
            (home / CONFIG).write_bytes(replaced(config.read_bytes(), rng))
        case 2:
            (home / CONFIG).write_bytes(bytes_changed(config.read_bytes(), rng, 1 << 30))
        case 3:
            data = weights.read_bytes()
            length = int.from_bytes(data[:8], "little")
            header = replaced(data[8 : 8 + length], rng)
            (home / WEIGHTS).write_bytes(len(header).to_bytes(8, "little") + header + data[8 + length :])
        case _:
            (home / WEIGHTS).write_bytes(bytes_changed(weights.read_bytes(), rng, rng.choice((8, 4000, 1 << 30))))


def tried(home: Path) -> str:
    """ "loaded", "refused", or what went wrong."""
    import sepiola_edge

    try:
        model = sepiola_edge.load(home, threads=1)
        model.generate("ab 海", max_tokens=2)
        pictures = [] if model.images is None else [{"type": "image", "image": Image.new("RGB", (9, 7))}]
        if model.frame is not None:
            model.chat([{"role": "user", "content": [*pictures, {"type": "text", "text": "ab"}]}], max_tokens=1)
        if model.asking is not None:
            model.ask("ab", choices=["a", "b"])
        if model.functions:
            model.act("ab 海", today="2026-11-27")
    except sepiola_edge.EdgeError:
        return "refused"
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__} at {Path(where.filename).name}:{where.lineno}: {error}"[:300]
    return "loaded"


def in_a_child(numbers: range, attempt: Callable[[int], str]) -> Iterator[tuple[int, str]]:
    """The outcome of every number, tried in a forked process, up to one that ends it."""
    read, write = os.pipe()
    if (child := os.fork()) == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        if "asan" not in os.environ.get("LD_PRELOAD", ""):
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        os.close(read)
        try:
            with os.fdopen(write, "w", encoding="utf-8") as out:
                for number in numbers:
                    signal.alarm(SECONDS)
                    out.write(json.dumps(attempt(number)) + "\n")
                    out.flush()
            os._exit(0)
        finally:  # the parent's folders are not the child's to clean
            os._exit(1)
    os.close(write)
    number = numbers.start
    with os.fdopen(read, encoding="utf-8") as lines:
        for number, line in enumerate(lines, numbers.start):
            yield number, json.loads(line)
            number += 1
    _, status = os.waitpid(child, 0)
    if number < numbers.stop:
        yield number, f"the process ended: {signal.Signals(status & 127).name if status & 127 else status >> 8}"


def fuzz(count: int, seed: int, folder: Path) -> tuple[Counter[str], list[tuple[int, str]]]:
    """How many of so many damaged folders were loaded and refused, and the faults."""
    sources = whole(folder / "whole")

    def attempt(number: int) -> str:
        with tempfile.TemporaryDirectory(dir=folder) as home:
            damage(sources[number % len(sources)], Path(home), random.Random(f"{seed} {number}"))
            return tried(Path(home))

    outcomes: Counter[str] = Counter()
    faults: list[tuple[int, str]] = []
    done = 0
    while done < count:
        for number, outcome in in_a_child(range(done, min(count, done + SOME)), attempt):
            done = number + 1
            outcomes[outcome if outcome in ("loaded", "refused") else "faults"] += 1
            if outcome not in ("loaded", "refused"):
                faults.append((number, outcome))
        print(f"{done} of {count}: {dict(outcomes)}", file=sys.stderr, flush=True)
    return outcomes, faults


def main() -> None:
    """Tries the folders and prints each fault once, with how often and for which folder first."""
    parser = argparse.ArgumentParser(prog="python -m tests.edge.fuzz")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        outcomes, faults = fuzz(given.count, given.seed, Path(folder))
    print(dict(outcomes))
    for fault, often in Counter(fault for _, fault in faults).most_common():
        print(f"{next(number for number, each in faults if each == fault)} ({often} times): {fault}")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
