"""Text over the engine: examples in, texts or option likelihoods out."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from torch import Tensor

from sepiola.data.batching import Sample
from sepiola.data.example import Example
from sepiola.data.image import ImageRef
from sepiola.generation.engine import Engine, Prompt
from sepiola.generation.sampling import Sampling
from sepiola.generation.stopping import Stop
from sepiola.text.encoding import encode, placing, shown
from sepiola.text.layouts import Layout
from sepiola.text.tokenizer import Tokenizer

ImageEncoder = Callable[[Sequence[ImageRef]], Tensor]


class ExampleGenerator:
    """One model with its tokenizer. `image_encoder` turns an example's images into what the model takes; None is blind.

    `demonstrations` are solved examples that stand before an example, by its id. `qformer_tokenizer` is the tokenizer
    of an instructed bridge that has one of its own; `layout` lays messages out.
    """

    def __init__(
        self,
        engine: Engine,
        tokenizer: Tokenizer,
        image_encoder: ImageEncoder | None = None,
        *,
        source_tokens: int = 512,
        target_tokens: int = 512,
        demonstrations: Mapping[str, Sequence[Example]] = MappingProxyType({}),
        qformer_tokenizer: Tokenizer | None = None,
        layout: Layout | None = None,
    ) -> None:
        self.engine = engine
        self.tokenizer = tokenizer
        self.image_encoder = image_encoder
        self.source_tokens = source_tokens
        self.target_tokens = target_tokens
        self.demonstrations = demonstrations
        self.qformer_tokenizer = qformer_tokenizer
        self.layout = layout
        self.stop = Stop(tokenizer, strings=(layout.stop,) if layout is not None and layout.stop else ())

    def showing(self, demonstrations: Mapping[str, Sequence[Example]]) -> ExampleGenerator:
        """The same with other demonstrations."""
        return ExampleGenerator(
            self.engine,
            self.tokenizer,
            self.image_encoder,
            source_tokens=self.source_tokens,
            target_tokens=self.target_tokens,
            demonstrations=demonstrations,
            qformer_tokenizer=self.qformer_tokenizer,
            layout=self.layout,
        )

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
            stop=self.stop,
            on_done=on_done,
        )
        return [[self.stop.text(ids).strip() for ids in texts] for texts in outputs]

    def write_or_cut(
        self, examples: Sequence[Example], *, on_done: Callable[[int], None] | None = None
    ) -> list[tuple[str, bool]]:
        """For each example the text that answers its messages, and whether the limit on tokens ended it."""
        prompts = self._prompts(examples)
        outputs = self.engine.generate(prompts, max_tokens=self.target_tokens, stop=self.stop, on_done=on_done)
        return [
            (self.stop.text(ids).strip(), len(ids) == self.engine.room(prompt, self.target_tokens))
            for (ids,), prompt in zip(outputs, prompts, strict=True)
        ]

    def probabilities(self, examples: Sequence[Example], options: Sequence[Sequence[str]]) -> list[tuple[float, ...]]:
        """For each example, how likely each of its options is as the whole answer, normalised to sum to 1."""
        tokens = self.engine.tokens
        ids = [[[*i, tokens.end] for i in self.tokenizer.encode_batch(o)] for o in options]
        scored = self.engine.score(self._prompts(examples), ids)
        return [_softmax([s.log_likelihood for s in scores]) for scores in scored]

    def _prompts(self, examples: Sequence[Example]) -> list[Prompt]:
        before = [self.demonstrations.get(e.id, ()) for e in examples]
        solved = iter(self._samples([d for row in before for d in row]))
        queries = self._samples(examples)
        samples = [shown([next(solved) for _ in row], q) for row, q in zip(before, queries, strict=True)]
        return [self._prompt(s) for s in samples]

    def _samples(self, examples: Sequence[Example]) -> list[Sample]:
        samples = encode(
            examples,
            self.tokenizer,
            self.engine.tokens,
            close=not self.engine.causal,
            images=self.image_encoder is not None,
            qformer_tokenizer=self.qformer_tokenizer,
            layout=self.layout,
            **placing(self.engine.images),
        )
        return [s.cut(self.source_tokens, self.target_tokens) for s in samples]

    def _prompt(self, sample: Sample) -> Prompt:
        if self.image_encoder is None or not sample.images:
            return Prompt(list(sample.source))
        sizes = self.engine.images.sizes(sample.images) if self.engine.images is not None else None
        return Prompt(list(sample.source), self.image_encoder(sample.images), sizes, sample.instruction)


def _softmax(scores: Sequence[float]) -> tuple[float, ...]:
    most = max(scores)
    weights = [math.exp(s - most) for s in scores]
    return tuple(w / sum(weights) for w in weights)
