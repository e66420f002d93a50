"""One message to a model, and its reply as it is written: `python -m sepiola_edge FOLDER "Hello"`."""

from __future__ import annotations

import argparse
import sys

from sepiola_edge import EdgeError, load
from sepiola_edge.sampling import Sampling


def main() -> None:
    """Entry point: an error that a person can fix is printed alone, with status 2."""
    options = argparse.ArgumentParser(prog="python -m sepiola_edge", description=__doc__)
    options.add_argument("folder", help="what `sepiola export MODEL --to edge` wrote")
    options.add_argument("prompt", help="a message, in English or Chinese")
    options.add_argument("--raw", action="store_true", help="continue the prompt as a text")
    options.add_argument("--max-tokens", type=int)
    options.add_argument("--temperature", type=float, default=0.0, help="0 is greedy")
    options.add_argument("--seed", type=int, default=0)
    given = options.parse_args()

    def say(piece: str) -> None:
        print(piece, end="", flush=True)

    try:
        model = load(given.folder)
        sampling = Sampling(
            temperature=given.temperature, seed=given.seed, repetition_penalty=model.sampling.repetition_penalty
        )
        if given.raw:
            model.generate(given.prompt, max_tokens=given.max_tokens, sampling=sampling, on_text=say)
        else:
            messages = [{"role": "user", "content": given.prompt}]
            model.chat(messages, max_tokens=given.max_tokens, sampling=sampling, on_text=say)
    except EdgeError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    print()


if __name__ == "__main__":
    main()
