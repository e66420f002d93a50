"""Vectors of texts from a frozen encoder: the mean of a text's last states, of length 1 (Sentence-BERT, arXiv
1908.10084).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from sepiola.models.transformer import LanguageModel
from sepiola.nn.precision import autocast, resolve
from sepiola.text.tokenizer import Tokenizer

LONGEST = 128  # tokens that are read of a text
ROWS = 64  # texts that are read at once


class TextStates:
    """Encodes texts, each text once; longer ones are cut."""

    def __init__(self, language: LanguageModel, tokenizer: Tokenizer) -> None:
        self.language = language
        self.tokenizer = tokenizer
        self._known: dict[str, NDArray[np.float32]] = {}

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of texts `(texts, width)`."""
        new = sorted(dict.fromkeys(text for text in texts if text not in self._known), key=len)
        for start in range(0, len(new), ROWS):
            some = new[start : start + ROWS]
            self._known.update(zip(some, self._encoded(some), strict=True))
        return np.stack([self._known[text] for text in texts])

    @torch.inference_mode()
    def _encoded(self, texts: Sequence[str]) -> NDArray[np.float32]:
        rows = [ids[:LONGEST] for ids in self.tokenizer.encode_batch(texts, special=True)]
        device = next(self.language.parameters()).device
        tokens = torch.full((len(rows), max(map(len, rows))), self.language.spec.tokens.pad, device=device)
        mask = torch.zeros_like(tokens)
        for row, ids in enumerate(rows):
            tokens[row, : len(ids)] = torch.tensor(ids, device=device)
            mask[row, : len(ids)] = 1
        with autocast(device, resolve("auto", device)):
            states = self.language.states(tokens, attention_mask=mask).float()
        means = (states * mask[..., None]).sum(dim=1) / mask.sum(dim=1, keepdim=True).clamp(min=1)
        return torch.nn.functional.normalize(means, dim=-1).cpu().numpy()
