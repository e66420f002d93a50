"""From an example's text to a sample of token ids."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol, TypedDict

from torch import Tensor

from sepiola.data.batching import Sample
from sepiola.data.cutting import Ids
from sepiola.data.example import Example
from sepiola.data.image import ImageRef
from sepiola.data.pairs import Pair
from sepiola.errors import DataError
from sepiola.specs.bridge import QueryTextSpec
from sepiola.specs.model import SpecialTokens, TransformerSpec
from sepiola.text.layouts import Layout
from sepiola.text.tokenizer import Tokenizer

IMAGE = "<image>"
"""The placeholder in a tokenizer of our own."""

ImageTokens = Callable[[Sequence[ImageRef]], Sequence[Sequence[int | str]]]
"""What stands for each image of a prompt: token ids, and text in which the names of special tokens count."""


class InterleavedImages(Protocol):
    """How a model has images among the words: `token` is the placeholder's id, and `instructed` what its bridge reads
    of the messages beside them, if it reads them. Where they come `first`, they stand before all of a prompt's text.
    """

    token: int | None

    @property
    def first(self) -> bool: ...

    @property
    def instructed(self) -> QueryTextSpec | None: ...

    def image_tokens(self, images: Sequence[ImageRef]) -> Sequence[Sequence[int | str]]:
        """What stands for each of one prompt's images. Raises DataError where the spec names no placeholder."""

    def sizes(self, images: Sequence[ImageRef]) -> Tensor | None:
        """Heights and widths `(images, 2)` of one prompt's images, if the model must know them."""


def encode(
    examples: Sequence[Example],
    tokenizer: Tokenizer,
    tokens: SpecialTokens,
    *,
    close: bool,
    images: bool = True,
    image_tokens: ImageTokens | None = None,
    placeholder: int | None = None,
    instructed: QueryTextSpec | None = None,
    qformer_tokenizer: Tokenizer | None = None,
    layout: Layout | None = None,
) -> list[Sample]:
    """The examples as samples. Targets end with the end token; `close` ends sources with it too (encoders).

    Without `images` the images are left out. With `image_tokens` each image has its tokens where it stands among the
    text, `placeholder` among them, which are never cut. Where the bridge is `instructed` it reads the messages too, as
    `qformer_tokenizer` (by default the tokenizer) encodes them. A `layout` lays messages out anew.
    """
    ending = (tokens.end,) if close else ()
    instructions: Sequence[Ids] = [()] * len(examples)
    if instructed is not None and images:
        own = qformer_tokenizer is not None
        instructions = _instructions(examples, qformer_tokenizer or tokenizer, instructed, framed=own)
    beginning: tuple[int, ...] = ()
    if layout is not None:
        examples = [layout.apply(example) for example in examples]
        beginning = () if close else (tokens.start,)
    if image_tokens is not None and images:
        sources, uncut = _interleaved(examples, tokenizer, image_tokens)
        kept, uncut = placeholder, uncut | ({placeholder} if placeholder is not None else set())
    else:
        texts = tokenizer.encode_batch([e.prompt for e in examples], plain=True)  # what users write stays text
        sources, kept, uncut = texts, None, frozenset()
    targets = tokenizer.encode_batch([e.target for e in examples])
    return [
        Sample(
            e.id,
            (*beginning, *source, *ending),
            (*target, tokens.end),
            e.images if images else (),
            kept,
            instruction,
            uncut,
        )
        for e, source, target, instruction in zip(examples, sources, targets, instructions, strict=True)
    ]


def encode_whole(texts: Sequence[str], tokenizer: Tokenizer, language: TransformerSpec) -> list[tuple[int, ...]]:
    """Texts as a text tower reads them: with the special tokens that the tokenizer adds, the end token always last.

    A text that is too long for the positions loses its tail, but not its end.
    """
    room = language.positions.length - 1 if language.positions.length else None
    end = language.tokens.end
    ids = tokenizer.encode_batch(texts, special=True)
    return [(*(row[:-1] if row and row[-1] == end else row)[:room], end) for row in ids]


def encode_pairs(examples: Sequence[Example], tokenizer: Tokenizer, language: TransformerSpec) -> list[Pair]:
    """Each example's image with its target for a caption; those without exactly one image, or a target, are left out.

    Raises DataError when none is left.
    """
    captioned = [example for example in examples if example.target and len(example.images) == 1]
    if not captioned:
        raise DataError("contrastive learning needs examples with one image and a caption each; there is none")
    texts = encode_whole([example.target for example in captioned], tokenizer, language)
    return [Pair.of(example.id, text, example.images[0]) for example, text in zip(captioned, texts, strict=True)]


def shown(demonstrations: Sequence[Sample], query: Sample) -> Sample:
    """The query after its demonstrations, solved, each with the end token that closes it: a few-shot prompt."""
    read = [token for sample in demonstrations for token in (*sample.source, *sample.target)]
    images = tuple(image for sample in (*demonstrations, query) for image in sample.images)
    return replace(query, source=(*read, *query.source), images=images)


def in_rows(examples: Sequence[Example], samples: Sequence[Sample], shots: int) -> list[Sample]:
    """The samples, `shots` and one in a row, in their order; all that follows a row's first prompt is learned.

    A row holds one episode (`metadata["episode"]`), or, where the data has none, one family in one language.
    """
    groups: dict[object, list[Sample]] = {}
    for example, sample in zip(examples, samples, strict=True):
        about = example.metadata
        groups.setdefault(about.get("episode") or (about.get("family"), about.get("language")), []).append(sample)
    rows = [group[at : at + shots + 1] for group in groups.values() for at in range(0, len(group), shots + 1)]
    return [_row(row) for row in rows]


def _row(samples: Sequence[Sample]) -> Sample:
    first, *rest = samples
    written = [token for sample in rest for token in (*sample.source, *sample.target)]
    images = tuple(image for sample in samples for image in sample.images)
    return replace(first, target=(*first.target, *written), images=images)


class Placing(TypedDict, total=False):
    """Keywords of `encode`."""

    image_tokens: ImageTokens
    placeholder: int | None
    instructed: QueryTextSpec | None


def placing(images: InterleavedImages | None) -> Placing:
    """What `encode` must know of a model that has images in its text; nothing for another."""
    if images is None:
        return {}
    return {"image_tokens": images.image_tokens, "placeholder": images.token, "instructed": images.instructed}


def instruction(text: str, tokenizer: Tokenizer, spec: QueryTextSpec, *, framed: bool) -> tuple[int, ...]:
    """A text for the bridge, no longer than it may be: between the tokens that the tokenizer sets around texts, if it
    is a `framed` one that does, or else between the spec's.
    """
    bare = tokenizer.encode(text)
    return _closed(bare, tokenizer.encode(text, framed=True) if framed else bare, spec)


def _instructions(examples: Sequence[Example], tokenizer: Tokenizer, spec: QueryTextSpec, *, framed: bool) -> list[Ids]:
    """The messages' text for the bridge, as `instruction` has it; a special token's name is text."""
    prompts = [example.prompt for example in examples]
    bare = tokenizer.encode_batch(prompts, plain=True)
    whole = tokenizer.encode_batch(prompts, plain=True, special=True) if framed else bare
    return [_closed(*ids, spec) for ids in zip(bare, whole, strict=True)]


def _closed(bare: list[int], framed: list[int], spec: QueryTextSpec) -> tuple[int, ...]:
    ids = [spec.start, *bare, spec.end] if framed == bare else framed
    return tuple(ids) if len(ids) <= spec.length else (*ids[: spec.length - 1], ids[-1])


def _interleaved(
    examples: Sequence[Example], tokenizer: Tokenizer, image_tokens: ImageTokens
) -> tuple[list[list[int]], frozenset[int]]:
    """Text and images in their order, and the special tokens of the images; what a user writes is text."""
    parts = [_parts(example) for example in examples]
    encoded = iter(tokenizer.encode_batch([p for row in parts for p in row if isinstance(p, str)], plain=True))
    rows, theirs, special = [], set[int](), tokenizer.special_ids()
    for example, row in zip(examples, parts, strict=True):
        runs = [ids_of(run, tokenizer) for run in image_tokens(example.images)] if example.images else []
        theirs.update(token for run in runs for token in run if token in special)
        left = iter(runs)
        pieces = (next(left) if isinstance(part, ImageRef) else next(encoded) for part in row)
        rows.append([token for piece in pieces for token in piece])
    return rows, frozenset(theirs)


def ids_of(run: Sequence[int | str], tokenizer: Tokenizer) -> list[int]:
    """The ids of a run that stands for an image."""
    return [token for part in run for token in (tokenizer.encode(part) if isinstance(part, str) else (part,))]


def _parts(example: Example) -> list[str | ImageRef]:
    """The messages' content, one turn after the other on lines of their own; neighbouring texts are one."""
    parts: list[str | ImageRef] = []
    for number, message in enumerate(example.messages):
        for part in (*(("\n",) if number else ()), *message.content):
            if isinstance(part, str) and parts and isinstance(last := parts[-1], str):
                parts[-1] = last + part
            else:
                parts.append(part)
    return parts
