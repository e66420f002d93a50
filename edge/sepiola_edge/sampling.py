"""How the next token is drawn from logits: greedily, or at random by temperature, top-k, top-p and min-p."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from numbers import Integral, Real

import numpy as np
from numpy.typing import NDArray

from sepiola_edge.errors import EdgeError


@dataclass(frozen=True)
class Sampling:
    """Temperature 0 is greedy. `top_k` 0, `top_p` 1 and `min_p` 0 keep all tokens; a `repetition_penalty` above 1 makes
    tokens of prompt and reply less likely. `prompt_lookup_num_tokens` are guessed at most, where a text repeats what it
    has read: the same tokens come, in fewer passes. Names and figures are those of `sepiola.Sampling`.
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    seed: int = 0
    prompt_lookup_num_tokens: int = 0

    def __post_init__(self) -> None:
        for key in fields(self):
            value, whole = getattr(self, key.name), key.type == "int"
            if isinstance(value, bool) or not isinstance(value, Integral if whole else Real):
                raise EdgeError(f"{key.name}: got {value!r:.200}; expected a {'whole ' if whole else ''}number")
        bounds = {
            "temperature": (self.temperature >= 0, "0 (greedy) or more"),
            "top_k": (self.top_k >= 0, "0 (keeps all tokens) or more"),
            "top_p": (0 < self.top_p <= 1, "more than 0 and at most 1"),
            "min_p": (0 <= self.min_p <= 1, "0 to 1"),
            "repetition_penalty": (self.repetition_penalty > 0, "more than 0"),
            "seed": (self.seed >= 0, "0 or more"),
            "prompt_lookup_num_tokens": (self.prompt_lookup_num_tokens >= 0, "0 (guesses nothing) or more"),
        }
        for name, (fits, expected) in bounds.items():
            if not fits:
                raise EdgeError(f"{name}: got {getattr(self, name)}; expected {expected}")

    @classmethod
    def asked(cls, given: Sampling | None, own: Sampling) -> Sampling:
        """What is asked, or a model's own. Raises EdgeError for what is no Sampling."""
        if given is not None and not isinstance(given, Sampling):
            raise EdgeError(f"sampling: got {given!r:.200}; expected sepiola_edge.Sampling(temperature=…, top_p=…)")
        return given or own

    def draw(self, logits: NDArray[np.float32], read: Sequence[int], random: np.random.Generator) -> int:
        """A token of logits `(vocabulary,)` after the tokens that were `read` and written."""
        if self.repetition_penalty != 1:
            seen = np.unique(np.asarray(read, dtype=np.int64))
            some = logits[seen]
            logits[seen] = np.where(some > 0, some / self.repetition_penalty, some * self.repetition_penalty)
        if self.temperature == 0:
            return int(logits.argmax())
        order = np.argsort(-logits, kind="stable")[: self.top_k or None]
        scaled = logits[order].astype(np.float64) / self.temperature
        likely = np.exp(scaled - scaled[0])
        likely /= likely.sum()
        before = np.concatenate(([0.0], np.cumsum(likely)[:-1]))
        kept = (before < self.top_p) & (likely >= self.min_p * likely[0])
        kept[0] = True
        likely = np.where(kept, likely, 0.0)
        return int(order[random.choice(len(order), p=likely / likely.sum())])
