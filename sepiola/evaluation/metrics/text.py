"""What a language model makes of held-out text: bits per byte of each language beside its baselines, and samples.

Long documents are read in windows of the model's length, each half of which the last one has read too, so that every
token but a document's first ones is predicted from half a window at least.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from sepiola.data.example import Example
from sepiola.evaluation.baselines.compression import baselines, bits_per_byte, text_bytes
from sepiola.evaluation.figures import Cell, Column, Figures, Headline, Line, Table
from sepiola.evaluation.metrics.divergence import divergence, divergence_tables
from sepiola.generation.sampling import Sampling
from sepiola.generation.text_scorer import TextScorer, windows

CONTINUED = 3  # documents of each language whose beginning the model goes on from
PROMPT_CHARACTERS = {"en": 160, "zh": 40, "other": 80}
CONTINUATION_TOKENS = 96
TEMPERATURE, TOP_P = 0.8, 0.95


def text_figures(
    text_scorer: TextScorer, held_out: Sequence[Example], train: Sequence[Example], base: TextScorer | None = None
) -> Figures:
    """Bits per byte of each language: the model's (`model`) with its `perplexity`, then `baselines` that learned from
    `train`, if any. Only for a decoder: other models do not predict the next token of a text.

    With `base`, `kl_divergence` is how far the model is from that one (`divergence`), by language. `continuations` show
    how the model goes on from the beginning of some documents.
    """
    texts = {language: _texts(held_out, language) for language in sorted({e.metadata["language"] for e in held_out})}
    known = {language: _texts(train, language) for language in texts}
    tokenizer, end = text_scorer.tokenizer, text_scorer.engine.tokens.end

    def encode(documents: Sequence[str]) -> list[list[int]]:
        return [[*ids, end] for ids in tokenizer.encode_batch(documents, plain=True)]

    found: dict[str, Figures] = {}
    apart: dict[str, Figures] = {}
    for language, documents in texts.items():
        ids = encode(documents)
        size, loss = text_bytes(documents), nats(text_scorer, ids)
        found[language] = {
            "model": bits_per_byte(loss, size),
            "perplexity": math.exp(loss / sum(map(len, ids))),
            "documents": len(documents),
            "bytes": size,
            "tokens": sum(map(len, ids)),
        }
        if base is not None:
            apart[language] = divergence(text_scorer, base, ids)
    others = baselines(known, texts, encode, tokenizer.vocabulary) if train else dict[str, dict[str, float]]()
    return {
        "bits_per_byte": {
            language: {**figures, "baselines": others.get(language, {})} for language, figures in found.items()
        },
        **({"kl_divergence": apart} if apart else {}),
        "continuations": [
            c for language, documents in texts.items() for c in _continuations(text_scorer, language, documents)
        ],
    }


def nats(text_scorer: TextScorer, documents: Sequence[Sequence[int]]) -> float:
    """The summed loss of documents' tokens (natural logarithms); the first is predicted from the start token."""
    start, length = text_scorer.engine.tokens.start, text_scorer.length
    pairs = [pair for ids in documents for pair in windows(ids, start, length, fresh=max(1, length // 2))]
    return -sum(score.log_likelihood for score in text_scorer.score_tokens(pairs))


def _continuations(text_scorer: TextScorer, language: str, documents: Sequence[str]) -> list[dict[str, str]]:
    """How the model goes on from the beginning of some held-out documents, and how they went on."""
    step, most = max(1, len(documents) // CONTINUED), min(CONTINUATION_TOKENS, text_scorer.length // 2)
    found = []
    for seed, document in enumerate(documents[::step][:CONTINUED]):
        cut = PROMPT_CHARACTERS[language]
        cut = max(cut // 2, document.rfind(" ", 0, cut)) if language == "en" else cut  # between words
        how = Sampling(temperature=TEMPERATURE, top_p=TOP_P, seed=seed)
        (written,) = text_scorer.generate([document[:cut]], max_tokens=most, sampling=how)
        found.append(
            {"language": language, "prompt": document[:cut], "text": document[cut : 4 * cut], "written": written}
        )
    return found


def _texts(examples: Sequence[Example], language: str) -> list[str]:
    return [e.target for e in examples if e.metadata["language"] == language]


def text_tables(measured: Figures) -> list[Table]:
    """Bits per byte of held-out text: this model and its baselines in lines, languages in columns. Then its distance
    from another model, where that was measured.
    """
    languages: Figures = measured.get("bits_per_byte") or {}
    if not languages:
        return []
    names = ["model", *dict.fromkeys(name for figures in languages.values() for name in figures["baselines"])]
    lines: list[Line] = []
    for name in names:
        bits = [{"model": f["model"], **f["baselines"]}.get(name) for f in languages.values()]
        cells: list[Cell | None] = [None if b is None else {"value": f"{b:.3f}", "note": ""} for b in bits]
        own = name == "model"
        lines.append({"name": "This model" if own else name, "own": own, "published": False, "cells": cells})
    columns: list[Column] = [
        {"name": language, "notes": [f"{f['documents']:,} documents", f"{f['bytes']:,} bytes"]}
        for language, f in languages.items()
    ]
    note = "Bits for each byte of UTF-8; lower is better. The n-grams count the model's own tokens of the same text."
    apart: Figures = measured.get("kl_divergence") or {}
    return [
        {"title": "Held-out bits per byte", "columns": columns, "lines": lines, "note": note},
        *(divergence_tables(apart) if apart else []),
    ]


def text_headlines(measured: Figures) -> list[Headline]:
    """Bits per byte of each language beside the best baseline's, as the report's head shows figures."""
    headlines: list[Headline] = []
    for language, bits in (measured.get("bits_per_byte") or {}).items():
        best = min(bits["baselines"].values(), default=None)
        note = "" if best is None else f"best baseline {best:.3f}"
        headlines.append({"name": f"Bits per byte, {language}", "value": f"{bits['model']:.3f}", "note": note})
    return headlines
