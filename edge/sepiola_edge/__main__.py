"""A question about a picture, or a message: `python -m sepiola_edge FOLDER "What is this?" --image FILE`.

`python -m sepiola_edge demo` shows the model that comes along and what it says of pictures that it has never seen;
with a question it answers that. A chat model replies as it writes; another model, and any with choices or a hint,
answers a question, after its rationale if it has one. `python -m sepiola_edge act FOLDER REQUEST` shows what an agent
calls (`act --help`).
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from sepiola_edge import EdgeError, load
from sepiola_edge.acting_command import act
from sepiola_edge.demonstration import MODEL, asked
from sepiola_edge.sampling import Sampling


def main() -> None:
    """Entry point: an error that a person can fix is printed alone, with status 2; a reader that has seen enough, and
    Ctrl-C, end it quietly.
    """
    try:
        if sys.argv[1:2] == ["act"] and not Path("act", "edge.json").is_file():
            act(sys.argv[2:])
        else:
            answer(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left, Python would write at its end
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except EdgeError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def answer(arguments: Sequence[str]) -> None:
    """Answers a question, replies to a message, continues a text, or shows the model that comes along."""
    options = argparse.ArgumentParser(
        prog="python -m sepiola_edge", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument(
        "folder", help="what `sepiola export MODEL --to edge` wrote, or demo: the model that comes along"
    )
    options.add_argument("prompt", nargs="?", help="a question or a message, in English or Chinese")
    options.add_argument("--image", action="append", default=[], metavar="FILE", help="a picture of it; repeatable")
    options.add_argument(
        "--choice", action="append", default=[], metavar="TEXT", help="an answer to choose; repeatable"
    )
    options.add_argument("--hint", default="", help="what else is known")
    options.add_argument("--raw", action="store_true", help="continue the prompt as a text")
    options.add_argument("--json", action="store_true", help="print JSON")
    options.add_argument("--max-tokens", type=int, help="of a reply or a text")
    options.add_argument("--temperature", type=float, default=0.0, help="of a reply or a text; 0 is greedy")
    options.add_argument("--seed", type=int, default=0, help="of a reply or a text")
    options.add_argument(
        "--prompt-lookup-num-tokens",
        type=int,
        default=0,
        help="guessed at most: the same text in less time if it repeats",
    )
    given = options.parse_args(arguments)

    def say(piece: str) -> None:
        if not given.json:
            print(piece, end="", flush=True)

    comes_along = given.folder == "demo" and not Path("demo", "edge.json").is_file()
    if given.prompt is None:
        if not comes_along:
            options.error("a question or a message is needed")
        show(as_json=given.json)
        return
    model = load(MODEL if comes_along else given.folder)
    penalty = model.sampling.repetition_penalty
    sampling = Sampling(
        temperature=given.temperature,
        seed=given.seed,
        repetition_penalty=penalty,
        prompt_lookup_num_tokens=given.prompt_lookup_num_tokens,
    )
    drawn = {"max_tokens": given.max_tokens, "sampling": sampling, "on_text": say}
    asks = given.choice or given.hint
    chats = not asks and (model.asking is None or model.asking.layout == "chat")
    if given.raw and asks:
        raise EdgeError("--raw continues a text, which has no --choice and no --hint")
    if not given.raw and not chats and drawn != {"max_tokens": None, "sampling": model.sampling, "on_text": say}:
        raise EdgeError(
            "a question is answered greedily and as long as the model was taught: --max-tokens, --temperature, --seed "
            "and --prompt-lookup-num-tokens are for a reply or, with --raw, a text"
        )
    if given.raw:
        said: dict[str, object] = {"text": model.generate(given.prompt, images=given.image, **drawn)}
    elif chats:
        content = [
            *({"type": "image", "image": name} for name in given.image),
            {"type": "text", "text": given.prompt},
        ]
        said = dataclasses.asdict(model.chat([{"role": "user", "content": content}], **drawn))
    else:
        answer = model.ask(given.prompt, image=given.image, choices=given.choice, hint=given.hint)
        said = dataclasses.asdict(answer)
        say(f"{answer.rationale}\n\n{answer.answer}" if answer.rationale else answer.answer)
    print(json.dumps(said, ensure_ascii=False) if given.json else "")


def show(*, as_json: bool) -> None:
    """The questions that come along, each with its picture's place, the answer and its rationale."""
    lines = []
    for one in asked():
        lines.append(dataclasses.asdict(one))
        if not as_json:
            right = "right" if one.said.answer == one.right else f"wrong, {one.right} is right"
            print(f"{one.image}\n{one.question} ({' / '.join(one.choices)})")
            print(f"  {one.said.rationale}\n  {one.said.answer} ({right}, {1000 * one.seconds:.0f} ms)\n", flush=True)
    if as_json:
        print(json.dumps(lines, ensure_ascii=False))


if __name__ == "__main__":
    main()
