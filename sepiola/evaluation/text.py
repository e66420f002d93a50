"""What a language model makes of held-out text: bits per byte of each language beside its baselines, and samples.

Long documents are read in windows of the model's length, each half of which the last one has read too, so that every
token but a document's first ones is predicted from at least half a window.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from rich.console import Console
from rich.progress import track

from sepiola.data.example import Example, Message
from sepiola.evaluation.compression import baselines, bits_per_byte, text_bytes
from sepiola.generation.sampling import Sampling
from sepiola.generation.writer import Writer
from sepiola.nn.loss import linear_cross_entropy

WINDOW = 512  # where the model's positions have no end
AT_ONCE = 16  # windows in a batch
CONTINUED = 3  # documents of each language whose beginning the model goes on from
PROMPT_CHARACTERS = {"en": 160, "zh": 40}
TEMPERATURE, TOP_P = 0.8, 0.95


def text_figures(
    writer: Writer, held_out: Sequence[Example], train: Sequence[Example], console: Console | None = None
) -> dict[str, Any]:
    """Bits per byte of each language: the model's (`model`), then `baselines` that learned from `train`.

    `continuations` show how the model goes on from the beginning of some documents, up to the writer's
    `target_tokens`. Only for a decoder: other models do not predict the next token of a text.
    """
    texts = {language: _texts(held_out, language) for language in sorted({_language(e) for e in held_out})}
    known = {language: _texts(train, language) for language in texts}
    tokenizer, end = writer.tokenizer, writer.engine.tokens.end

    def encode(documents: Sequence[str]) -> list[list[int]]:
        return [[*ids, end] for ids in tokenizer.encode_batch(documents, plain=True)]

    found: dict[str, dict[str, Any]] = {}
    for language, documents in texts.items():
        ids = encode(documents)
        size = text_bytes(documents)
        found[language] = {
            "model": bits_per_byte(nats(writer.engine.model, ids, console), size),
            "documents": len(documents),
            "bytes": size,
            "tokens": sum(map(len, ids)),
        }
    others = baselines(known, texts, encode, tokenizer.vocabulary)
    return {
        "bits_per_byte": {language: {**figures, "baselines": others[language]} for language, figures in found.items()},
        "continuations": _continuations(writer, texts),
    }


@torch.inference_mode()
def nats(model: Any, documents: Sequence[Sequence[int]], console: Console | None = None) -> float:
    """The summed loss of documents' tokens (natural logarithms); the first is predicted from the start token."""
    special, device = model.spec.tokens, next(model.parameters()).device
    window = model.spec.positions.length or WINDOW
    pieces = sorted(
        (piece for ids in documents for piece in _windows([special.start, *ids], window)), key=lambda p: len(p[0])
    )
    total = 0.0
    groups = [pieces[i : i + AT_ONCE] for i in range(0, len(pieces), AT_ONCE)]
    for group in track(groups, "reading held-out text", console=console, transient=True, disable=console is None):
        longest = max(len(read) for read, _ in group)
        inputs = torch.full((len(group), longest), special.pad)
        labels = torch.full((len(group), longest), -100)
        for row, (read, wanted) in enumerate(group):
            inputs[row, : len(read)] = torch.tensor(read)
            labels[row, : len(wanted)] = torch.tensor(wanted)
        states, matrix = model.head.operands(model.states(inputs.to(device)))
        total += float(linear_cross_entropy(states, matrix, labels.to(device))[0])
    return total


def _windows(ids: list[int], window: int) -> list[tuple[list[int], list[int]]]:
    """Inputs and labels of a document's windows; a token is labelled in the first window that predicts it."""
    pieces = []
    labelled = 1  # the first token, the start, is predicted by nothing
    for begin in range(0, max(1, len(ids) - 1), window // 2):
        read, wanted = ids[begin : begin + window], ids[begin + 1 : begin + window + 1]
        if begin + 1 + len(wanted) > labelled:
            pieces.append((read[: len(wanted)], [-100] * (labelled - begin - 1) + wanted[labelled - begin - 1 :]))
            labelled = begin + 1 + len(wanted)
    return pieces


def _continuations(writer: Writer, texts: dict[str, list[str]]) -> list[dict[str, str]]:
    """How the model goes on from the beginning of some held-out documents, and how they went on."""
    found = []
    for language, documents in texts.items():
        step = max(1, len(documents) // CONTINUED)
        for seed, document in enumerate(documents[::step][:CONTINUED]):
            cut = PROMPT_CHARACTERS.get(language, 80)
            how = Sampling(temperature=TEMPERATURE, top_p=TOP_P, seed=seed)
            prompt = Example("prompt", (Message("user", (document[:cut],)),), "")
            written = writer.write([prompt], sampling=how)[0][0]
            read = {"prompt": document[:cut], "text": document[cut : 4 * cut]}
            found.append({"language": language, **read, "written": written})
    return found


def _language(example: Example) -> str:
    return str(example.metadata.get("language", "en"))


def _texts(examples: Sequence[Example], language: str) -> list[str]:
    return [e.target for e in examples if _language(e) == language]
