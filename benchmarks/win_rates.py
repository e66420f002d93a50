"""How often a tuned policy's reply is preferred to that of the policy it began as, and what its tuning has cost.

The first model is the policy before (recipe align/sft), the others began as it (align/policy). Every one writes one
reply to each held-out prompt at temperature 1 (no top-k, no top-p), of the same seeds. Prompts: those of the test split
of English preferences, and Alpaca's held-out short ones. A judge is a reward model (align/judge) that the policies were
not paid by. `wins` is the share of prompts whose reply it scores higher than the first model's, where equal scores
count one half (`ties`); `alike in length` is the same of the half of prompts whose two replies differ least in length.
Intervals are 95% (bootstrap over prompts). `pairs` says how well a judge tells people's own preferences, held out.
`kl` is the mean log-probability of a reply less that of the first model, in nats a reply. `bits` are bits a byte of
Alpaca's held-out replies and of held-out plain text, and their rise in percent.

    python benchmarks/win_rates.py --models before=RUN after=RUN --judges apart=RUN --data "$SEPIOLA_DATA"
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sepiola.api import Model
from sepiola.data.example import Example
from sepiola.data.preferences import completions_of
from sepiola.datasets import read
from sepiola.evaluation.baselines.compression import bits_per_byte
from sepiola.evaluation.metrics.accuracy import wilson_interval
from sepiola.evaluation.metrics.bootstrap import mean_interval, ratio_interval
from sepiola.evaluation.metrics.text import nats
from sepiola.reasoning.reward import RewardModel

PAIRS = Path("align/preference_small/instruction_preference_en_1100.json")
SPLITS = {"held_out": 8}
LONGEST = 160
ROWS = 16
"""Documents of plain text, or pairs, at a time."""


def main() -> None:
    from measure import parser, report
    from replies import add_sides, divergence, likeness, loaded, written

    options = parser(__doc__)
    add_sides(options)
    options.add_argument("--data", type=Path, required=True, help="the folder of align/ and text/")
    options.add_argument("--split", default="test")
    options.add_argument("--prompts", type=int, default=300, help="of Alpaca")
    options.add_argument("--seed", type=int, default=0)
    arguments = options.parse_args()
    models = loaded(arguments.models)
    scorers = {name: RewardModel.of(judge) for name, judge in loaded(arguments.judges).items()}
    pairs = read("preferences", arguments.data / PAIRS, arguments.split, **SPLITS)
    alpaca = arguments.data / "align/alpaca/alpaca_en.jsonl"
    asked = {
        "preferences": [*{e.prompt: e for e in pairs}.values()],
        "alpaca": read("instructions", alpaca, arguments.split, longest=LONGEST)[: arguments.prompts],
    }
    figures: dict[str, Any] = {"prompts": {kind: len(examples) for kind, examples in asked.items()}}
    figures["pairs"] = {name: told(scorer, pairs) for name, scorer in scorers.items()}
    print(figures, flush=True)
    began = next(iter(models))
    for kind, examples in asked.items():
        drawn = {name: written(model, examples, arguments.seed) for name, model in models.items()}
        decode = models[began].require_tokenizer().decode
        texts = {name: [decode(ids).strip() for ids in replies] for name, replies in drawn.items()}
        found = {
            judge: {name: scorer.replies(examples, [(text, True) for text in own]) for name, own in texts.items()}
            for judge, scorer in scorers.items()
        }
        for name, model in models.items():
            figures[f"{name}, {kind}"] = {
                **{
                    judge: preferred(each[name], each[began], texts[name], texts[began])
                    for judge, each in found.items()
                },
                "empty": sum(not text for text in texts[name]),
                "kl": divergence(model, models[began], examples, drawn[name]),
                **likeness(texts[name]),
            }
            print(name, kind, figures[f"{name}, {kind}"], flush=True)
        for place in range(8):
            print(repr(examples[place].prompt[:80]), *(f"\n    {n}: {own[place]!r}" for n, own in texts.items()))
    figures["bits"] = {
        "alpaca": risen({name: replied(model, asked["alpaca"]) for name, model in models.items()}, asked["alpaca"]),
        "text": plain(models, arguments.data / "text/en", arguments.split),
    }
    print(figures["bits"])
    report(arguments, figures)


def told(scorer: RewardModel, pairs: Sequence[Example]) -> dict[str, Any]:
    """How many of people's own pairs a judge has in the right order."""
    right = 0
    for example in pairs:
        better, worse = sorted(completions_of(example), key=lambda one: -one.score)
        one, other = scorer.replies([example] * 2, [(better.text, True), (worse.text, True)])
        right += one > other
    low, high = wilson_interval(right, len(pairs))
    return {"pairs": len(pairs), "right": [round(100 * value, 1) for value in (right / len(pairs), low, high)]}


def preferred(
    mine: Sequence[float], first: Sequence[float], texts: Sequence[str], others: Sequence[str]
) -> dict[str, Any]:
    """How often the scores are above the first model's."""
    leads = np.array(mine) - np.array(first)
    wins = 100 * ((leads > 0) + (leads == 0) / 2)
    gaps = [abs(len(a) - len(b)) / max(len(a), len(b), 1) for a, b in zip(texts, others, strict=True)]
    alike = np.argsort(gaps, kind="stable")[: (len(gaps) + 1) // 2]
    return {
        "wins": shown(wins),
        "ties": int((leads == 0).sum()),
        "alike in length": shown(wins[alike]),
        "score": round(statistics.fmean(mine), 2),
    }


def shown(values: Any) -> list[float]:
    """A mean and its 95% interval."""
    return [round(float(value), 1) for value in (np.mean(values), *(mean_interval(values) or ()))]


def replied(model: Model, examples: Sequence[Example]) -> list[float]:
    """The nats of each example's own reply after its prompt."""
    from replies import prompt

    rows = [prompt(model, example) for example in examples]
    replies = [[model._chat.reply_ids(example.messages, example.target)] for example in examples]
    return [-row[0].log_likelihood for row in model.engine.score(rows, replies)]


def plain(models: dict[str, Model], folder: Path, split: str) -> dict[str, Any]:
    """Bits a byte of plain text, document by document."""
    documents = read("text", folder, {"val": "validation"}.get(split, split))
    lost = {}
    for name, model in models.items():
        scorer, end = model.text_scorer(128), model.engine.tokens.end
        ids = [[*ids, end] for ids in scorer.tokenizer.encode_batch([e.target for e in documents], plain=True)]
        lost[name] = [nats(scorer, [each]) for each in ids]
    return risen(lost, documents)


def risen(lost: dict[str, list[float]], examples: Sequence[Example]) -> dict[str, Any]:
    """Bits a byte under each model, and the rise over the first one, in percent, paired."""
    first = np.array(next(iter(lost.values())))
    size = sum(len(example.target.encode()) for example in examples)
    found: dict[str, Any] = {"texts": len(examples), "bytes": size}
    for name, each in lost.items():
        interval = ratio_interval(100 * (np.array(each) - first), first) or ()
        rise = 100 * (sum(each) / first.sum() - 1)
        found[name] = {
            "bits": round(bits_per_byte(sum(each), size), 4),
            "rise": [round(float(value), 2) for value in (rise, *interval)],
        }
    return found


if __name__ == "__main__":
    main()
