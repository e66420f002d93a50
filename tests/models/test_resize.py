"""A model fitted to a tokenizer: both know the bridge's tokens; a tokenizer that is too large is refused."""

from __future__ import annotations

import pytest

from sepiola.errors import SpecError
from sepiola.models.resize import READ, WRITE, bridge_tokens, fitted
from sepiola.specs.bridge import ProjectionSpec, QFormerSpec
from sepiola.specs.model import ModelSpec
from sepiola.text.encoding import IMAGE
from sepiola.text.tokenizer import Tokenizer
from tests.tiny import decoder, qformer, vision_language


def tokenizer_for(model: ModelSpec) -> Tokenizer:
    return Tokenizer.train(["the sea is deep", "海很深"], 270, extra=bridge_tokens(model))


def test_a_trained_tokenizer_gives_the_model_its_vocabulary() -> None:
    model = ModelSpec.parse(vision_language({"kind": "projection"}))
    tokenizer = tokenizer_for(model)
    changed = fitted(model, tokenizer, trained=True)
    assert bridge_tokens(model) == [IMAGE] and changed.language is not None
    assert changed.language.vocabulary == tokenizer.vocabulary < 400
    assert isinstance(changed.bridge, ProjectionSpec) and changed.bridge.token == tokenizer.id_of(IMAGE)


def test_a_qformer_that_reads_knows_the_tokens_that_open_its_texts() -> None:
    model = ModelSpec.parse(vision_language(qformer(text={"vocabulary": 400})))
    tokenizer = tokenizer_for(model)
    bridge = fitted(model, tokenizer, trained=True).bridge
    assert bridge_tokens(model) == [IMAGE, READ, WRITE]
    assert isinstance(bridge, QFormerSpec) and bridge.text is not None
    assert (bridge.text.start, bridge.text.decode) == (tokenizer.id_of(READ), tokenizer.id_of(WRITE))
    assert bridge.text.vocabulary == tokenizer.vocabulary


def test_a_given_tokenizer_may_be_smaller_than_the_model_but_not_larger() -> None:
    tokenizer = Tokenizer.train(["海很深"], 262)
    large, small = (ModelSpec.parse({"language": decoder(size)}) for size in (300, 20))
    assert bridge_tokens(large) == [] and fitted(large, tokenizer, trained=False) is large
    with pytest.raises(SpecError, match=rf"{tokenizer.vocabulary} tokens, but model\.language\.vocabulary is 20"):
        fitted(small, tokenizer, trained=False)
