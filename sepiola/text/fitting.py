"""A model fitted to the tokenizer that a recipe trains: the tokens that its bridge needs, and all ids that it knows."""

from __future__ import annotations

from typing import Any

from sepiola.errors import SpecError
from sepiola.specs.bridge import QFormerSpec
from sepiola.specs.model import ModelSpec
from sepiola.text.encoding import IMAGE
from sepiola.text.tokenizer import Tokenizer

READ, WRITE = "[CLS]", "[DEC]"
"""What opens a text that a Q-Former reads, and one that it writes."""


def places(model: ModelSpec) -> bool:
    """Whether the text has placeholders for images."""
    return model.bridge is not None and model.bridge.kind != "gated-fusion"


def bridge_tokens(model: ModelSpec) -> list[str]:
    """The names of the tokens that the model's bridge needs, beside a tokenizer's usual ones."""
    reads = isinstance(model.bridge, QFormerSpec) and model.bridge.text is not None
    return [IMAGE] * places(model) + [READ, WRITE] * reads


def fitted(model: ModelSpec, tokenizer: Tokenizer, *, trained: bool) -> ModelSpec:
    """The model with the vocabulary of a tokenizer that was `trained` for it.

    Raises SpecError for another tokenizer, when it has more tokens than the model or its Q-Former.
    """
    assert model.language is not None
    bridge, language = model.bridge, model.language
    reads = bridge.text if isinstance(bridge, QFormerSpec) else None
    if not trained:
        for part, known in (("language", language), ("bridge.text", reads)):
            if known is not None and tokenizer.vocabulary > known.vocabulary:
                raise SpecError(
                    f"tokenizer: {tokenizer.vocabulary} tokens, but model.{part}.vocabulary is {known.vocabulary}"
                )
        return model
    changed: dict[str, Any] = {"language": language.model_copy(update={"vocabulary": tokenizer.vocabulary})}
    if bridge is not None and places(model):
        told: dict[str, Any] = {"token": tokenizer.id_of(IMAGE)}
        if reads is not None:
            ids = {"start": tokenizer.id_of(READ), "decode": tokenizer.id_of(WRITE)}
            ids |= {"vocabulary": tokenizer.vocabulary, "pad": language.tokens.pad, "end": language.tokens.end}
            told["text"] = reads.model_copy(update=ids)
        changed["bridge"] = bridge.model_copy(update=told)
    return model.model_copy(update=changed)
