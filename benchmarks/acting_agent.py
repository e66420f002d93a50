"""The process of an agent that `acting.py` measures: `python benchmarks/acting_agent.py FOLDER REQUESTS THREADS`.

It loads a saved agent of random weights and acts on Tidepool's test requests, text and pictures, each with a phone of
its own. The agent draws greedily after the right call's next token was raised above all others, under its grammar, so
that it does what a trained agent does. Memory is what the process holds in the end beyond what it held after
`import torch`.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from pathlib import Path

import torch


def resident_mb() -> float:
    """Memory that this process holds."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024


def main(folder: str, count: int) -> dict[str, float]:
    before = resident_mb()  # what is imported here is the agent's, and not torch's
    from scripted import Scripted

    import sepiola
    from sepiola.acting.agent import KeptGenerator
    from sepiola.acting.phone import functions
    from sepiola.acting.phone.tasks import task_of
    from sepiola.calling import calls
    from sepiola.tidepool.phone import requests

    loaded = sepiola.load(folder, dtype=torch.bfloat16).prepack(release=True)
    model, encode = KeptGenerator(loaded), loaded.require_tokenizer().backend.encode
    done, figures = list[bool](), dict[str, float]()
    for kind in ("text", "picture"):
        times = []
        for example in requests("test", count + 1, seed=5, kinds=[kind]):
            task = task_of(example)
            agent = sepiola.Agent(model, functions(), phone=task.phone())
            call = calls.write(task.calls, functions(), task.today)
            model.generator.sampling = Scripted(script=tuple(encode(call, add_special_tokens=False).ids))
            picture = next((part for part in example.messages[0].content if not isinstance(part, str)), None)
            began = time.perf_counter()
            acted = agent.run(task.request, picture, today=task.today)
            times.append(1000 * (time.perf_counter() - began))
            assert acted.log[1]["written"] == call, "the grammar does not allow the call"
            done += [result.status == "done" for result in acted.results]
        figures[f"{kind}_ms"] = statistics.median(times[1:])  # the first warms up
    return {**figures, "memory_mb": resident_mb() - before, "done": sum(done) / len(done)}


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[3]))
    print(json.dumps(main(sys.argv[1], int(sys.argv[2]))))
