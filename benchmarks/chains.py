"""What several chains cost against one: `python benchmarks/chains.py`.

One prompt of `--prompt` tokens (with a picture where the model sees) is read once, and 1, 8 and 16 chains of `--tokens`
tokens each are sampled from it, by random weights and without an end token, so that every chain runs to its end. Beside
them stands what the chains of one question cost whose prompt is read `--orders` times, as self-consistency does with
options that stand in another order. The runs take turns, and are measured in CPU seconds, which a busy machine changes
little: leave `--threads` at 1.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

import torch
from measure import parser, report
from PIL import Image

import sepiola
from sepiola.api import Model
from sepiola.data.image import ImageRef
from sepiola.generation.engine import Engine, Prompt
from sepiola.generation.sampling import Sampling
from sepiola.runtime import executor

CHAINS = (1, 8, 16)
MODELS = ("smollm2-135m", "flan-t5-small", "mm-cot-base", "smolvlm-256m")


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--models", nargs="+", default=list(MODELS))
    options.add_argument("--prompt", type=int, default=160)
    options.add_argument("--tokens", type=int, default=96)
    options.add_argument("--orders", type=int, default=4)
    options.add_argument("--dtype", choices=("bfloat16", "float32"), default="float32")
    options.set_defaults(threads=1)
    arguments = options.parse_args()
    torch.set_num_threads(arguments.threads)
    figures: dict[str, Any] = {"prompt": arguments.prompt, "tokens": arguments.tokens, "dtype": arguments.dtype}
    figures["models"] = {name: measured(name, arguments) for name in arguments.models}
    report(arguments, figures)


def measured(name: str, arguments: Any) -> dict[str, Any]:
    """Seconds of each number of chains, and their ratios to one chain, the medians over the rounds."""
    model = sepiola.build(name).to(getattr(torch, arguments.dtype))
    engine = Engine(executor("torch", model.network), ends=frozenset())
    prompt = prompt_of(engine, model, arguments.prompt)
    sampling = Sampling(temperature=0.7, top_k=40)

    def sample(chains: int, orders: int = 1) -> None:
        seeds = [list(range(turn, chains, orders)) for turn in range(orders)]
        engine.sample([prompt] * orders, seeds, max_tokens=arguments.tokens, sampling=sampling)

    works: dict[str, Any] = {str(n): lambda n=n: sample(n) for n in CHAINS}
    works |= {f"{n} in {arguments.orders} orders": lambda n=n: sample(n, arguments.orders) for n in CHAINS[1:]}
    sample(2)  # what is made once
    times: dict[str, list[float]] = {which: [] for which in works}
    for _ in range(arguments.rounds):
        for which, work in works.items():
            began = time.process_time()
            work()
            times[which].append(time.process_time() - began)
    ratios = {
        which: statistics.median(t / o for t, o in zip(found, times["1"], strict=True))
        for which, found in times.items()
        if which != "1"
    }
    for which, value in ratios.items():
        print(f"{name}: {which} chains take {value:.2f} x the time of one", flush=True)
    return {"seconds": {which: statistics.median(found) for which, found in times.items()}, "ratios": ratios}


def prompt_of(engine: Engine, model: Model, length: int) -> Prompt:
    """Random tokens, and features of one picture where the model takes them: between the tokens, or beside them."""
    random = torch.Generator().manual_seed(0)
    tokens = torch.randint(10, min(2000, engine.spec.vocabulary), (length,), generator=random).tolist()
    if model.image_encoder is None:
        return Prompt(tokens)
    if engine.images is None:
        return Prompt(tokens, torch.randn(100, 256, generator=random))  # stored features of Multimodal-CoT
    picture = [ImageRef.of(Image.new("RGB", (512, 512), "teal"))]
    places = [token for token in engine.images.image_tokens(picture)[0] if isinstance(token, int)]
    return Prompt([*places, *tokens], model.encode_images(picture))


if __name__ == "__main__":
    main()
