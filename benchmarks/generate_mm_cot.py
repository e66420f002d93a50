"""Two-stage inference on 64 ScienceQA questions against `transformers`: `python benchmarks/generate_mm_cot.py`.

Both sides hold the same random weights in the same dtype and write, greedily and batched, a rationale of `--rationale`
tokens for each question and then an answer of `--answer` tokens from question and rationale. Every row runs to its
end, so nothing is gained here from rows that end early (ours leave the batch then, which only widens the gap). The
peer is `generate` with its static and its dynamic cache, whichever is faster, on batches of like length, as a careful
user would.
"""

from __future__ import annotations

import statistics
from abc import ABC, abstractmethod
from typing import Any

import torch
from measure import alternate, matmul_rate, parser, peak_memory_gb, ratio, report
from mm_cot import PATCHES, WIDTH, ReferenceModel, both, padded, questions, samples_of, tokenizer_of

from sepiola.data.batching import Sample
from sepiola.generation.engine import Engine, Prompt
from sepiola.runtime.plain import TorchExecutor

QUESTIONS = 64


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--preset", default="mm-cot-base")
    options.add_argument("--batch", type=int, default=32)
    options.add_argument("--rationale", type=int, default=96)
    options.add_argument("--answer", type=int, default=12)
    options.add_argument("--dtype", choices=("bfloat16", "float32"), default="bfloat16")
    arguments = options.parse_args()
    torch.set_num_threads(arguments.threads)
    report(arguments, run(arguments))


class TwoStages(ABC):
    """A rationale for each question, then an answer; `written` keeps the tokens of both."""

    def __init__(self, samples: list[Sample], images: torch.Tensor, arguments: Any) -> None:
        self.samples, self.images, self.arguments = samples, images, arguments
        self.written: list[list[int]] = []

    def __call__(self) -> None:
        first = self._write([list(s.source) for s in self.samples], self.arguments.rationale)
        second = [[*s.source, *w] for s, w in zip(self.samples, first, strict=True)]
        self.written = [a + b for a, b in zip(first, self._write(second, self.arguments.answer), strict=True)]

    @abstractmethod
    def _write(self, sources: list[list[int]], tokens: int) -> list[list[int]]: ...


class Ours(TwoStages):
    """Our engine."""

    def __init__(self, model: torch.nn.Module, samples: list[Sample], images: torch.Tensor, arguments: Any) -> None:
        super().__init__(samples, images, arguments)
        self.engine = Engine(TorchExecutor(model), batch=arguments.batch)

    def _write(self, sources: list[list[int]], tokens: int) -> list[list[int]]:
        prompts = [Prompt(source, image) for source, image in zip(sources, self.images, strict=True)]
        return [o[0] for o in self.engine.generate(prompts, max_tokens=tokens)]


class Theirs(TwoStages):
    """`transformers`' generate over the same batches."""

    def __init__(
        self, model: ReferenceModel, samples: list[Sample], images: torch.Tensor, arguments: Any, cache: str | None
    ) -> None:
        super().__init__(samples, images, arguments)
        self.model = model.eval()
        self.cache = {"cache_implementation": cache} if cache else {}

    def _write(self, sources: list[list[int]], tokens: int) -> list[list[int]]:
        order = sorted(range(len(sources)), key=lambda i: len(sources[i]), reverse=True)
        results: list[list[int]] = [[] for _ in sources]
        for start in range(0, len(order), self.arguments.batch):
            rows = order[start : start + self.arguments.batch]
            source = padded([sources[i] for i in rows], max(len(sources[i]) for i in rows), 0)
            with torch.inference_mode():
                ids = self.model.generate(
                    source,
                    (source != 0).long(),
                    self.images[rows],
                    max_new_tokens=tokens,
                    do_sample=False,
                    **self.cache,
                )
            for i, row in zip(rows, ids[:, 1:].tolist(), strict=True):
                results[i] = row
        return results


def run(arguments: Any) -> dict[str, Any]:
    """One comparison; every number that is printed."""
    examples = questions()[: 20 * QUESTIONS : 20]
    samples = samples_of(examples, "QCM-LE", tokenizer_of(questions()), arguments.preset)
    model, reference = both(arguments.preset)
    dtype = getattr(torch, arguments.dtype)
    model, reference = model.to(dtype), reference.to(dtype)
    reference.t5.generation_config.eos_token_id = None  # every row runs to its end, and below ours too
    images = torch.randn(QUESTIONS, PATCHES, WIDTH).to(dtype)
    ours = Ours(model, samples, images, arguments)
    ours.engine.ends = frozenset()
    sides: dict[str, Any] = {
        "sepiola": ours,
        "transformers": Theirs(reference, samples, images, arguments, None),
        "transformers, static cache": Theirs(reference, samples, images, arguments, "static"),
    }
    alternate(sides, 1)  # warms up
    times = alternate(sides, arguments.rounds)
    best = min((n for n in times if n != "sepiola"), key=lambda n: statistics.median(times[n]))
    same = sum(a == b for a, b in zip(ours.written, sides[best].written, strict=True))
    tokens = QUESTIONS * (arguments.rationale + arguments.answer)
    return {
        "preset": arguments.preset,
        "dtype": arguments.dtype,
        "questions": QUESTIONS,
        "batch": arguments.batch,
        "peer": best,
        "ratio": round(ratio(times[best], times["sepiola"]), 2),
        "seconds": {n: round(statistics.median(t), 2) for n, t in times.items()},
        "tokens_per_second": {n: round(tokens / statistics.median(t), 1) for n, t in times.items()},
        "questions_written_alike": same,
        "matmul_tflops": round(matmul_rate() / 1e12, 3),
        "peak_memory_gb_of_all": round(peak_memory_gb(), 1),
    }


if __name__ == "__main__":
    main()
