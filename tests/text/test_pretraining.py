"""Plain text as samples of pretraining."""

from __future__ import annotations

import numpy as np

from sepiola.data.batching import Collator, Row
from sepiola.data.example import Example
from sepiola.models.build import build
from sepiola.nn.loss import linear_cross_entropy
from sepiola.specs.model import ModelSpec, SpecialTokens
from sepiola.text.pretraining import documents, is_plain, pretraining_samples
from sepiola.text.tokenizer import Tokenizer
from tests.tiny import decoder

TOKENS = SpecialTokens()
TEXTS = [
    "春眠不觉晓。处处闻啼鸟！",
    "The squid hides. It waits; then it moves.",
    "He wrote </s> and <unk> on the wall.",
]
EXAMPLES = [Example(f"d{i}", (), text * 3) for i, text in enumerate(TEXTS)]


def tokenizer() -> Tokenizer:
    return Tokenizer.train(TEXTS * 20, 380)


def test_documents_come_back_as_their_text() -> None:
    trained = tokenizer()
    assert is_plain(EXAMPLES)
    for example, (name, ids) in zip(EXAMPLES, documents(EXAMPLES, trained, TOKENS), strict=True):
        assert name == example.id and ids[-1] == TOKENS.end
        assert trained.decode(list(ids[:-1])) == example.target  # what is written like a special token is none
        assert not set(ids[:-1].tolist()) & {0, 1, 2}


def test_windows_and_rows_hold_every_token_once() -> None:
    trained = tokenizer()
    whole = {name: ids.tolist() for name, ids in documents(EXAMPLES, trained, TOKENS)}
    for packed in (False, True):
        made = pretraining_samples(EXAMPLES, trained, TOKENS, window=16, packed=packed)
        assert all(isinstance(item, Row) for item in made) is packed
        parts = [part for item in made for part in item.parts]
        assert all(len(part.target) <= 16 for part in parts)
        back: dict[str, list[int]] = {}
        for part in parts:
            back.setdefault(part.id.partition("+")[0], []).extend(part.target)
        assert back == whole


def test_rows_lose_what_their_documents_lose_alone() -> None:
    """Packed documents do not see each other: the loss of a filled row is that of its pieces, one by one."""
    trained = tokenizer()
    language = decoder(380, layers=2)
    model = build(ModelSpec.parse({"language": language}), seed=0)
    collate = Collator(TOKENS, kind="decoder")

    def loss(items: list[object]) -> tuple[float, int]:
        batch = collate(items)  # type: ignore[arg-type]
        states, matrix = model.head.operands(model.states(batch.target, attention_mask=batch.target_mask))
        return linear_cross_entropy(states, matrix, batch.labels)[0].item(), batch.labelled

    rows = pretraining_samples(EXAMPLES, trained, TOKENS, window=24, packed=True)
    alone = [loss([part]) for row in rows for part in row.parts]
    together = loss(list(rows))
    assert together[1] == sum(count for _, count in alone)
    np.testing.assert_allclose(together[0], sum(value for value, _ in alone), rtol=1e-5)
