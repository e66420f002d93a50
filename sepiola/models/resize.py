"""A model fitted to the tokenizer that a recipe trains: the tokens that its bridge needs, and all ids that it knows."""

from __future__ import annotations

from sepiola.errors import SpecError
from sepiola.models.vision.tiles import tiling
from sepiola.specs.bridge import QFormerSpec
from sepiola.specs.model import ModelSpec
from sepiola.text.encoding import IMAGE
from sepiola.text.tokenizer import Tokenizer

READ, WRITE = "[CLS]", "[DEC]"
"""What opens a text that a Q-Former reads, and one that it writes."""


def bridge_tokens(model: ModelSpec, qformer: Tokenizer | None = None) -> list[str]:
    """The names of the tokens that seeing needs in the text, beside a tokenizer's usual ones; a Q-Former with a
    tokenizer of its own (`qformer`) needs none.
    """
    if not model.interleaved:
        return []
    special_tokens = tiling(model.vision.pixels).special_tokens if model.vision is not None else ()
    reads = qformer is None and isinstance(model.bridge, QFormerSpec) and model.bridge.text is not None
    return [IMAGE, *special_tokens, *([READ, WRITE] if reads else [])]


def fitted(model: ModelSpec, tokenizer: Tokenizer, *, trained: bool, qformer: Tokenizer | None = None) -> ModelSpec:
    """The model with a tokenizer's vocabulary: of one `trained` for it, or of another with the bridge's tokens added.

    A Q-Former that reads by a tokenizer of its own (`qformer`) keeps its vocabulary.
    Raises SpecError when another tokenizer has more tokens of its own than the model or its Q-Former.
    """
    assert model.language is not None
    bridge, language, known = model.bridge, model.language, tokenizer.vocabulary
    reads = bridge.text if isinstance(bridge, QFormerSpec) and qformer is None else None
    added = len(bridge_tokens(model, qformer))
    for part, spec in (("language", language), ("bridge.text", reads)):
        if spec is not None and not trained and known > spec.vocabulary + added:
            raise SpecError(
                f"tokenizer: {known} tokens, but model.{part}.vocabulary is {spec.vocabulary}; raise it to {known}, or "
                "train a tokenizer (tokenizer.vocabulary)"
            )
    if not trained and not added:
        return model
    room = known if trained else max(known, language.vocabulary)
    changed: dict[str, object] = {"language": language.model_copy(update={"vocabulary": room})}
    if bridge is not None and model.interleaved:
        bridge_change: dict[str, object] = {"token": tokenizer.id_of(IMAGE)}
        if reads is not None:
            ids = {"start": tokenizer.id_of(READ), "decode": tokenizer.id_of(WRITE)}
            ids |= {"vocabulary": known, "pad": language.tokens.pad, "end": language.tokens.end}
            bridge_change["text"] = reads.model_copy(update=ids)
        changed["bridge"] = bridge.model_copy(update=bridge_change)
    return model.model_copy(update=changed)
