"""The grammar of calls in functional tokens, for one request."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from .calls import lark
from .constraints import ConstraintVocabulary, Grammar
from .errors import SepiolaError
from .functions import Function
from .spans import words

log = logging.getLogger(__name__)


def functional(
    functions: Sequence[Function],
    vocabulary: ConstraintVocabulary,
    allowed: Sequence[str] | None = None,
    said: str | None = None,
    *,
    one_call: bool = False,
    denied: Sequence[str] = (),
) -> Grammar:
    """The grammar of calls in functional tokens; see `calling.calls.lark`. Where a request is so long that its
    spans make no grammar, copied arguments may be any text, which is said.
    """
    whole = vocabulary.compiled("lark", lark(functions, allowed, one_call=one_call, denied=denied))
    if said is None or not any(parameter.copied for f in functions for parameter in f.parameters):
        return whole
    longest = max((len(word.encode()) for word in words(said)), default=0)  # what has begun a word must end it
    try:
        return whole.narrowed(lark(functions, allowed, said, one_call=one_call, denied=denied), longest)
    except SepiolaError:
        log.warning("the request of %d characters is too long to hold arguments to its words", len(said))
        return whole
