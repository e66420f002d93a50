"""Functions that go with a request, found by a sentence encoder before a model is asked: a small model then reads few
declarations where there are many functions (TinyAgent's ToolRAG, arXiv 2409.00608).

A text's vector is the mean of the encoder's final states at unit length (Sentence-BERT, arXiv 1908.10084), as
all-MiniLM-L6-v2 was trained; functions are ranked by the cosine of what they are called and described as.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import normalize

from sepiola.calling.functions import Function
from sepiola.errors import SpecError
from sepiola.specs.model import ModelSpec
from sepiola.text.tokenizer import Tokenizer

TOP = 4
"""Functions that are kept by default."""
TOGETHER = 32


class Encoder(Protocol):
    """A text encoder, as `sepiola.load` gives it."""

    @property
    def spec(self) -> ModelSpec: ...
    def __call__(self, *tensors: Tensor, **keywords: object) -> Tensor: ...
    def require_tokenizer(self) -> Tokenizer: ...


class Retrieves(Protocol):
    """Whatever chooses functions for a request."""

    def choose(self, text: str, functions: Sequence[Function]) -> list[str]:
        """The names of some of the functions."""


class FunctionRetriever:
    """The `top` functions that are nearest to a request. Raises SpecError for a model that is no encoder of texts."""

    def __init__(self, encoder: Encoder, top: int = TOP) -> None:
        language = encoder.spec.language
        if language is None or language.kind != "encoder" or language.head.kind != "none":
            raise SpecError(
                f"retriever: '{encoder.spec.name}' is no sentence encoder; name one such as all-MiniLM-L6-v2 (a BERT "
                "without a head)"
            )
        if top < 1:
            raise SpecError(f"retriever: top is {top}; expected 1 or more functions")
        self.encoder = encoder
        self.language = language
        self.top = top
        self._known: dict[str, Tensor] = {}

    def choose(self, text: str, functions: Sequence[Function]) -> list[str]:
        """The names of the nearest functions, in the functions' own order; all of them where they are no more."""
        if len(functions) <= self.top:
            return [function.name for function in functions]
        scores = self.scores(text, functions)
        nearest = {functions[int(place)].name for place in scores.topk(self.top).indices}
        return [function.name for function in functions if function.name in nearest]

    def scores(self, text: str, functions: Sequence[Function]) -> Tensor:
        """The cosine of the request and each function, `(functions,)`."""
        described = [described_as(function) for function in functions]
        new = [each for each in dict.fromkeys(described) if each not in self._known]
        self._known.update(zip(new, self.vectors(new), strict=True))
        return torch.stack([self._known[each] for each in described]) @ self.vectors([text])[0]

    @torch.inference_mode()
    def vectors(self, texts: Sequence[str]) -> Tensor:
        """Vectors `(texts, width)` of length 1; a text that is too long for the positions loses its tail."""
        rows, most = self.encoder.require_tokenizer().encode_batch(texts, special=True), self.language.positions.length
        rows = [row if most is None or len(row) <= most else [*row[: most - 1], row[-1]] for row in rows]
        found = torch.zeros(len(rows), self.language.width)
        ordered = sorted(range(len(rows)), key=lambda place: len(rows[place]))  # rows of one length need no padding
        for start in range(0, len(rows), TOGETHER):
            places = ordered[start : start + TOGETHER]
            longest = len(rows[places[-1]])
            ids = torch.full((len(places), longest), self.language.tokens.pad)
            mask = torch.zeros(len(places), longest)
            for place, row in enumerate(places):
                ids[place, : len(rows[row])] = torch.tensor(rows[row])
                mask[place, : len(rows[row])] = 1
            states = self.encoder(ids, attention_mask=mask.long()).float()
            mean = (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
            found[places] = normalize(mean, dim=-1)
        return found


def described_as(function: Function) -> str:
    """What a function is found by: its name, its description and the names of its arguments."""
    return " ".join([function.name, function.description, *(parameter.name for parameter in function.parameters)])
