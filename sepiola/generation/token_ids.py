"""Prompts as a tensor of token ids with a mask, as `transformers`' `generate` takes them: which of the ids are padding.

Padding is left out, so a row reads as it does alone, wherever the padding stands.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection

import torch
from torch import Tensor, nn

from sepiola.calling.constraints import Grammar
from sepiola.errors import DataError
from sepiola.generation.engine import Engine, Prompt
from sepiola.generation.sampling import Sampling
from sepiola.generation.stopping import Ending, Stop
from sepiola.text.processor import Processor

log = logging.getLogger(__name__)


def generate_ids(
    engine: Engine,
    ids: Tensor,
    attention_mask: Tensor | None,
    images: object,
    ending: Ending,
    *,
    processor: Processor,
    room: Callable[[int], int],
    sampling: Sampling | None,
    grammar: Grammar | None = None,
) -> Tensor:
    """New ids `(batch, new tokens)`, padded after the end, for ids `(batch, tokens)`; `images` has one for each row.

    `room` says how many tokens may follow a prompt of so many. The processor's stop strings end a row where it has a
    tokenizer to read them by; those of `ending` do, and need one.

    Raises DataError as `unpadded` and the engine do, for images of another number, and where pieces of text are asked.
    """
    ending.check_free(grammar)
    if ending.on_text is not None:
        raise DataError("on_text is given the pieces of a text, and the prompt is token ids: give it as a text")
    if ending.strings and processor.tokenizer is None:
        raise DataError("stop holds texts, and the model has no tokenizer to read its own by: leave stop out")
    given = unpadded(ids, attention_mask, pad=processor.pad, ends=engine.ends, causal=engine.causal)
    if images is not None and not (isinstance(images, Tensor) and len(images) == len(given)):
        raise DataError(f"for {len(given)} rows of ids, images are a tensor of as many; pictures go with a text")
    prompts = [Prompt(row, _one_row(images[i]) if isinstance(images, Tensor) else None) for i, row in enumerate(given)]
    max_tokens = room(max(map(len, given), default=0))
    strings = (*processor.generation.stop_strings, *ending.strings)
    tokenizer = processor.tokenizer
    stop = Stop(tokenizer, strings=strings) if strings and tokenizer is not None else None
    rows = engine.generate(prompts, max_tokens=max_tokens, sampling=sampling, stop=stop, grammar=grammar)
    written = [row for (row,) in rows]
    if not written:
        return torch.zeros(0, 0, dtype=torch.long)
    tensors = [torch.tensor(row, dtype=torch.long) for row in written]
    pad = engine.tokens.pad if processor.pad is None else processor.pad
    return nn.utils.rnn.pad_sequence(tensors, batch_first=True, padding_value=pad)


def unpadded(
    ids: Tensor, attention_mask: Tensor | None, *, pad: int | None, ends: Collection[int], causal: bool
) -> list[list[int]]:
    """The tokens of each row of `ids` `(batch, tokens)`, those left out whose mask is 0.

    Without a mask the `pad` tokens are padding, unless that token is one of `ends` too: then all are text, as in
    `transformers`, which does so for decoders alone. Warns of padding on the right of a decoder's prompts. Raises
    DataError for what are no such ids, and for a mask of another shape.
    """
    if not isinstance(ids, Tensor) or ids.dim() != 2 or ids.is_floating_point() or ids.dtype == torch.bool:
        given = f"a {type(ids).__name__}"
        if isinstance(ids, Tensor):
            given = f"{ids.dtype} of shape {tuple(ids.shape)}"
        raise DataError(
            f"the prompt is {given}; expected a text, or whole numbers of shape (batch, tokens): one row is ids[None]"
        )
    if attention_mask is not None:
        if not isinstance(attention_mask, Tensor) or attention_mask.shape != ids.shape:
            shape = tuple(attention_mask.shape) if isinstance(attention_mask, Tensor) else type(attention_mask).__name__
            raise DataError(f"attention_mask: got {shape}, expected a tensor of the ids' shape {tuple(ids.shape)}")
        real = attention_mask != 0
    elif pad is None or pad in ends:
        real = torch.ones_like(ids, dtype=torch.bool)
        if causal and len(ids) > 1 and ids.shape[1] and pad in ids[:, -1].tolist():
            log.warning(
                "rows end with token %s, which is the padding and an end token: it is read as text; "
                "give an attention_mask, 0 where it is padding",
                pad,
            )
    else:
        real = ids != pad
    if causal and ids.shape[1] and not bool(real[:, -1].all()):
        log.warning(
            "rows are padded on the right; it is left out, and each reply follows the last token of its row "
            "(transformers would read on after the padding)"
        )
    return [row[keep].tolist() for row, keep in zip(ids, real, strict=True)]


def _one_row(images: Tensor) -> Tensor:
    """A row of a batch as the engine takes it: features `(patches, width)` or pixels `(images, 3, height, width)`."""
    return images[None] if images.dim() == 3 else images
