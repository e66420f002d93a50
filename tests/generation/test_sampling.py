"""The next token drawn from logits made by hand."""

from __future__ import annotations

import pytest
import torch

from sepiola.errors import SepiolaError
from sepiola.generation.sampling import Sampling


def test_top_k_top_p_and_repetition_penalty() -> None:
    logits = torch.tensor([[3.0, 2.0, 1.0, -1.0]])
    none, generator = torch.empty(1, 0, dtype=torch.long), torch.Generator().manual_seed(0)
    drawn = {int(Sampling(1.0, top_k=2).draw(logits, none, generator)) for _ in range(200)}
    assert drawn == {0, 1}
    drawn = {int(Sampling(1.0, top_p=0.7).draw(logits, none, generator)) for _ in range(200)}
    assert drawn == {0, 1}  # 0.66 alone is under 0.7, so the next one still belongs
    assert int(Sampling(repetition_penalty=2.0).draw(logits, torch.tensor([[0]]), generator)) == 1


def test_a_wrong_sampling_is_refused() -> None:
    with pytest.raises(SepiolaError, match="top_p"):
        Sampling(top_p=0.0)
