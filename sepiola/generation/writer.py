"""Text over the engine: examples in, texts or option likelihoods out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from torch import Tensor

from sepiola.data.example import Example
from sepiola.data.image import ImageRef
from sepiola.generation.engine import Engine, Prompt
from sepiola.generation.sampling import Sampling
from sepiola.text.encoding import encode, placing
from sepiola.text.layouts import Layout
from sepiola.text.tokenizer import Tokenizer

Look = Callable[[Sequence[ImageRef]], Tensor]


class Writer:
    """One model with its tokenizer. `look` turns an example's images into what the model takes; None is blind.

    `reader` is the tokenizer of an instructed bridge that has one of its own; `layout` lays messages out.
    """

    def __init__(
        self,
        engine: Engine,
        tokenizer: Tokenizer,
        look: Look | None = None,
        *,
        source_tokens: int = 512,
        target_tokens: int = 512,
        reader: Tokenizer | None = None,
        layout: Layout | None = None,
    ) -> None:
        self.engine = engine
        self.tokenizer = tokenizer
        self.look = look
        self.source_tokens = source_tokens
        self.target_tokens = target_tokens
        self.reader = reader
        self.layout = layout
        self.stop = layout.stop if layout is not None else None

    def write(
        self,
        examples: Sequence[Example],
        *,
        sampling: Sampling | None = None,
        samples: int = 1,
        on_done: Callable[[int], None] | None = None,
    ) -> list[list[str]]:
        """For each example, `samples` texts that answer its messages."""
        outputs = self.engine.generate(
            self._prompts(examples),
            max_tokens=self.target_tokens,
            sampling=sampling,
            samples=samples,
            stop=self._over if self.stop else None,
            on_done=on_done,
        )
        return [[self._text(ids) for ids in texts] for texts in outputs]

    def _over(self, written: Sequence[int]) -> bool:
        return (self.stop or "") in self.tokenizer.decode(written)

    def _text(self, written: Sequence[int]) -> str:
        text = self.tokenizer.decode(written)
        return (text.partition(self.stop)[0] if self.stop else text).strip()

    def probabilities(self, examples: Sequence[Example], options: Sequence[Sequence[str]]) -> list[tuple[float, ...]]:
        """For each example, how likely each of its options is as the whole answer, normalised to sum to 1."""
        tokens = self.engine.tokens
        ids = [[[*i, tokens.end] for i in self.tokenizer.encode_batch(o)] for o in options]
        scored = self.engine.score(self._prompts(examples), ids)
        return [_softmax([s.log_likelihood for s in scores]) for scores in scored]

    def _prompts(self, examples: Sequence[Example]) -> list[Prompt]:
        samples = encode(
            examples,
            self.tokenizer,
            self.engine.tokens,
            close=not self.engine.causal,
            eyes=self.look is not None,
            reader=self.reader,
            layout=self.layout,
            **placing(self.engine.model),
        )
        cut = (s.cut(self.source_tokens, self.target_tokens) for s in samples)
        return [Prompt(list(s.source), self._images(s.images), s.instruction) for s in cut]

    def _images(self, images: Sequence[ImageRef]) -> Tensor | None:
        return self.look(images) if self.look is not None and images else None


def _softmax(scores: Sequence[float]) -> tuple[float, ...]:
    most = max(scores)
    weights = [math.exp(s - most) for s in scores]
    return tuple(w / sum(weights) for w in weights)
