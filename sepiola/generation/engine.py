"""The engine: token ids and image tensors in, token ids out; it knows nothing of text or datasets.

A batch's sources are encoded (or prefilled) once, several continuations of one prompt share that work, finished
rows leave the batch, and logits are computed only where they are read.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from sepiola.calling.constraints import Grammar
from sepiola.data.cutting import Ids
from sepiola.errors import DataError, SepiolaError, shown
from sepiola.generation.constrained_decoding import ConstrainedDecoding
from sepiola.generation.prefix import Prefix
from sepiola.generation.prompt_lookup import LookupDecoding
from sepiola.generation.row_decoding import RowDecoding, RowEnd
from sepiola.generation.row_draws import RowDraws
from sepiola.generation.sampling import Sampling
from sepiola.runtime.executor import Decoding, Executor, at_work
from sepiola.specs.bridge import QueryTextSpec
from sepiola.specs.model import SpecialTokens

log = logging.getLogger(__name__)

BATCH_TOKENS = 16_384
"""Prompt tokens of a batch at most, so that long prompts do not fill the memory."""

LOGITS = 2**25
"""Logits that are held at once when continuations are scored: 128 MB."""


@dataclass(frozen=True)
class Prompt:
    """Token ids, and the images: features `(patches, width)`, pixels `(images, 3, height, width)` or None.

    Features of images that the text places are `(images, patches, width)`; `sizes` are `VisionLanguageModel.sizes`, and
    `instruction` is what the model's bridge reads beside the images.
    """

    tokens: Sequence[int]
    images: Tensor | None = None
    sizes: Tensor | None = None
    instruction: Ids = ()


class Drawn(NamedTuple):
    """A continuation, how likely it was (natural logarithm), and of how many tokens, its end among them."""

    tokens: list[int]
    log_probability: float
    drawn: int


class Score(NamedTuple):
    """How likely a continuation is (natural logarithm), and whether greedy decoding would write this very one."""

    log_likelihood: float
    greedy: bool


class Engine:
    """Generates from and scores with one model in its running form, `batch` rows at a time.

    A row ends at the first of the token ids `ends`: by default at the spec's end token, at none where the set is empty.
    An empty prompt is the start token, or for an encoder the end token. `length` is how many positions the model has,
    where they are learned: no row goes past the last one. A lone prompt that begins with `prefix` goes on from there.
    """

    rewrites: ClassVar[bool] = False
    """Whether a row that is whole may be written anew, by another model."""

    def __init__(self, executor: Executor, *, ends: frozenset[int] | None = None, batch: int = 32) -> None:
        self.executor = executor
        self.batch = batch
        self.spec = executor.spec
        self.causal = self.spec.kind == "decoder"
        self.images = executor.images
        self.tokens: SpecialTokens = self.spec.tokens
        self.ends = frozenset({self.tokens.end}) if ends is None else ends
        self.length = self.spec.positions.length if self.spec.positions.kind == "learned" else None
        self.device, self.dtype = executor.device, executor.dtype
        self.prefix: Prefix | None = None

    @at_work
    def generate(
        self,
        prompts: Sequence[Prompt],
        *,
        max_tokens: int,
        sampling: Sampling | None = None,
        samples: int = 1,
        stop: Callable[[], RowEnd] | None = None,
        grammar: Grammar | Sequence[Grammar] | None = None,
        on_done: Callable[[int], None] | None = None,
        seeds: Sequence[Sequence[int]] | None = None,
    ) -> list[list[list[int]]]:
        """For each prompt, `samples` continuations, the end token left out; greedy unless `sampling` says else, which
        draws each by its seed of `seeds`, whoever shares its batch, or all by its own.

        A row is done at an end token, or when its own `stop` (one is made for each) says so of the token that it has
        just written, which is then its last; and at the model's last position. Under a `grammar`, which may be one for
        each prompt, a row is done where that is, and `stop` does not count. `on_done` is given how many prompts each
        finished batch held. Prompts of like length share a batch.

        Raises DataError, before anything is computed, for a prompt that leaves no room for a reply or names a token
        that the vocabulary does not have.
        """
        for name, value in (("max_tokens", max_tokens), ("samples", samples)):
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise SepiolaError(f"{name}: got {shown(value)}, expected at least 1, a whole number")
        prompts = self._opened(prompts)
        limits = [self.room(prompt, max_tokens) for prompt in prompts]
        sampling = sampling or Sampling()
        generator = torch.Generator(self.device).manual_seed(sampling.seed)
        results: list[list[list[int]]] = [[] for _ in prompts]
        for rows in self._batches([len(p.tokens) for p in prompts], [samples] * len(prompts)):
            asked, most = [prompts[r] for r in rows], [limits[r] for r in rows for _ in range(samples)]
            state, first = self._begin(asked, max(most)) if len(most) > 1 else self._begin_alone(asked[0], most[0])
            read = self._read(asked, sampling)
            own = None if seeds is None else RowDraws([seed for r in rows for seed in seeds[r]], self.device)
            draws = own or generator
            if samples > 1:
                fan = torch.arange(len(rows), device=self.device).repeat_interleave(samples)
                state.select(fan)
                first, read = first[fan], read[fan]
            if grammar is None and LookupDecoding.serves(self.spec, sampling, len(most)):
                guessing = LookupDecoding(self.executor, sampling, self._ends(self.ends), stop and stop())
                written = [
                    guessing.run(state, asked[0].tokens, first, read, most[0], own.each[0] if own else generator)
                ]
            elif grammar is None:
                decoding = RowDecoding(self.executor, sampling, self._ends(self.ends), most, stop)
                written = decoding.run(state, first, read, draws)
            else:
                each = [grammar if isinstance(grammar, Grammar) else grammar[row] for row in rows]
                begun = [each[i // samples].begin(limit, asked[i // samples].tokens) for i, limit in enumerate(most)]
                ends = self._ends(begun[0].vocabulary.ends)
                written = ConstrainedDecoding(self.executor, begun, sampling, read, ends).run(state, first, draws)
            for i, row in enumerate(rows):
                results[row] = written[i * samples : (i + 1) * samples]
            if on_done is not None:
                on_done(len(rows))
        ended = zip(results, limits, strict=True)
        cut = sum(len(o) == limit < max_tokens for row, limit in ended for o in row) if grammar is None else 0
        if cut:
            log.warning("%d replies ended at the last of the model's %s positions", cut, self.length)
        return results

    @at_work
    def sample(
        self,
        prompts: Sequence[Prompt],
        seeds: Sequence[Sequence[int]],
        *,
        max_tokens: int,
        sampling: Sampling,
        stop: Callable[[], RowEnd] | None = None,
        on_done: Callable[[int], None] | None = None,
    ) -> list[list[Drawn]]:
        """For each prompt, a continuation by each of its `seeds` (`sampling.seed` does not count), from one reading of
        the prompt. What a seed draws does not depend on what else is drawn. Raises as `generate`.
        """
        prompts = self._opened(prompts)
        limits = [self.room(prompt, max_tokens) for prompt in prompts]
        results: list[list[Drawn]] = [[] for _ in prompts]
        for rows in self._batches([len(p.tokens) for p in prompts], [len(row) for row in seeds]):
            asked, fan = [prompts[r] for r in rows], [i for i, r in enumerate(rows) for _ in seeds[r]]
            most = [limits[rows[i]] for i in fan]
            state, first = self._begin(asked, max(most)) if len(fan) > 1 else self._begin_alone(asked[0], most[0])
            read, chosen = self._read(asked, sampling), torch.tensor(fan, device=self.device)
            if len(fan) > len(rows):
                state.select(chosen)
            draws = RowDraws([seed for r in rows for seed in seeds[r]], self.device)
            decoding = RowDecoding(self.executor, sampling, self._ends(self.ends), most, stop, scored=True)
            written = decoding.run(state, first[chosen], read[chosen], draws)
            for i, found in zip(
                fan, zip(written, decoding.log_probabilities, decoding.drawn, strict=True), strict=True
            ):
                results[rows[i]].append(Drawn(*found))
            if on_done is not None:
                on_done(len(rows))
        return results

    def room(self, prompt: Prompt, max_tokens: int) -> int:
        """How many of `max_tokens` may follow a prompt. Raises DataError where none may."""
        taken = max(1, len(prompt.tokens)) if self.causal else 1
        self._check_fits(len(prompt.tokens), taken + 1, "a reply of at least 1")
        return max_tokens if self.length is None else min(max_tokens, self.length - taken)

    def _check_fits(self, prompt: int, decoded: int, then: str) -> None:
        """Raises DataError where the prompt, or all `decoded` tokens of it and of `then`, exceed the positions."""
        if self.length is not None and max(prompt, decoded) > self.length:
            raise DataError(
                f"a prompt of {prompt} tokens and {then} do not fit into the model's {self.length} positions; "
                "shorten the prompt"
            )

    def _opened(self, prompts: Sequence[Prompt]) -> list[Prompt]:
        """The prompts, empty ones opened. Raises DataError for a token that the vocabulary does not have."""
        opening = [self.tokens.start if self.causal else self.tokens.end]
        for prompt in prompts:
            self._check_tokens(prompt.tokens)
        return [prompt if len(prompt.tokens) else replace(prompt, tokens=opening) for prompt in prompts]

    def _check_tokens(self, tokens: Sequence[int]) -> None:
        vocabulary = self.spec.vocabulary
        if len(tokens) and not 0 <= min(tokens) <= max(tokens) < vocabulary:
            place, token = next((i, t) for i, t in enumerate(tokens) if not 0 <= t < vocabulary)
            raise DataError(
                f"token {token}, at place {place} of a row, is outside the model's vocabulary of {vocabulary}: "
                f"expected 0 to {vocabulary - 1}; the tokenizer may be another model's"
            )

    @at_work
    def score(
        self,
        prompts: Sequence[Prompt],
        options: Sequence[Sequence[Sequence[int]]],
        on_done: Callable[[int], None] | None = None,
    ) -> list[list[Score]]:
        """For each prompt, the score of each of its continuations: token ids, with the end token where it counts.

        Continuations share the prompt's work, and those that differ in their last token alone share all of it: not
        where positions go by the whole text's length, and one is longer than that matters. Raises DataError as
        `generate` does.
        """
        results: list[list[Score]] = [[] for _ in prompts]
        prompts = self._opened(prompts)
        border = self.spec.positions.border
        ends = [len(p.tokens) + len(c) - 1 for p, choices in zip(prompts, options, strict=True) for c in choices]
        if border is not None and max(ends, default=0) > border and any(len(choices) > 1 for choices in options):
            return self._score_apart(prompts, options, on_done)
        heads = [list(dict.fromkeys(tuple(c[:-1]) for c in choices)) for choices in options]
        longest = [max((len(c) for c in choices), default=0) for choices in options]
        lengths = [len(p.tokens) + most for p, most in zip(prompts, longest, strict=True)]
        for prompt, most, choices in zip(prompts, longest, options, strict=True):
            read = len(prompt.tokens) + most - 1 if self.causal else most  # the last token is only predicted
            self._check_fits(len(prompt.tokens), read, f"a continuation of {most}")
            for choice in choices:
                self._check_tokens(choice)
        for rows in self._batches(lengths, [len(h) for h in heads]):
            ahead = None if border is None else torch.tensor([max(0, longest[r] - 1) for r in rows], device=self.device)
            state, first = self._begin([prompts[r] for r in rows], max(longest[r] for r in rows), ahead)
            fan = [i for i, r in enumerate(rows) for _ in heads[r]]
            if fan != list(range(len(rows))):
                chosen = torch.tensor(fan, device=self.device)
                state.select(chosen)
                first = first[chosen]
            following = [list(head) for r in rows for head in heads[r]]
            mask = self._pad([[1] * (1 + len(head)) for head in following], left=False, pad=0)
            states = state.extend(torch.cat((first, self._pad(following, left=False)), dim=1), attention_mask=mask)
            for row, scores in zip(rows, self._scores(states, [(heads[r], options[r]) for r in rows]), strict=True):
                results[row] = scores
            if on_done is not None:
                on_done(len(rows))
        return results

    def _score_apart(
        self,
        prompts: Sequence[Prompt],
        options: Sequence[Sequence[Sequence[int]]],
        on_done: Callable[[int], None] | None,
    ) -> list[list[Score]]:
        """The scores of continuations each of which has its prompt read anew."""
        alone = [(row, prompt, choice) for row, prompt in enumerate(prompts) for choice in options[row]]
        scores = self.score([prompt for _, prompt, _ in alone], [[choice] for *_, choice in alone])
        results: list[list[Score]] = [[] for _ in prompts]
        for (row, *_), (score,) in zip(alone, scores, strict=True):
            results[row].append(score)
        if on_done is not None:
            on_done(len(prompts))
        return results

    def _scores(
        self, states: Tensor, asked: Sequence[tuple[Sequence[tuple[int, ...]], Sequence[Sequence[int]]]]
    ) -> list[list[Score]]:
        """Scores from states `(heads, positions, width)`; `asked` are each prompt's heads and its continuations."""
        real: list[int] = []  # the positions that are no padding
        places: list[int] = []  # where among those each token of each continuation is predicted
        wanted: list[int] = []  # that token
        row = 0
        for heads, choices in asked:
            begins = {}
            for head in heads:
                begins[head] = len(real)
                real += range(row * states.shape[1], row * states.shape[1] + len(head) + 1)
                row += 1
            for choice in choices:
                begin = begins[tuple(choice[:-1])]
                places += range(begin, begin + len(choice))
                wanted += choice
        at, tokens = torch.tensor(places, device=self.device), torch.tensor(wanted, device=self.device)
        flat = states.flatten(0, 1)[torch.tensor(real, device=self.device)]
        likely = torch.empty(len(places), device=self.device)
        greedy = torch.empty(len(places), dtype=torch.bool, device=self.device)
        size = max(1, LOGITS // self.spec.vocabulary)
        for start in range(0, len(flat), size):
            logits = self.executor.logits(flat[start : start + size]).float()
            inside = ((at >= start) & (at < start + size)).nonzero().flatten()
            here, token = at[inside] - start, tokens[inside]
            likely[inside] = logits[here, token] - logits.logsumexp(-1)[here]
            greedy[inside] = logits.argmax(-1)[here] == token
        counts = [len(choice) for _, choices in asked for choice in choices]
        parts = zip(likely.split(counts), greedy.split(counts), strict=True)
        scores = iter([Score(float(p.sum()), bool(g.all())) for p, g in parts])
        return [[next(scores) for _ in choices] for _, choices in asked]

    def _batches(self, lengths: Sequence[int], fans: Sequence[int]) -> list[list[int]]:
        """The rows of each batch, longest first; `fans` are how many continuations each row becomes."""
        batches: list[list[int]] = []
        room = 0
        for row in sorted(range(len(lengths)), key=lambda r: lengths[r], reverse=True):
            if not batches or fans[row] > room:
                batches.append([])
                room = min(self.batch, max(1, BATCH_TOKENS // max(1, lengths[row])))
            batches[-1].append(row)
            room -= fans[row]
        return batches

    def _begin_alone(self, prompt: Prompt, capacity: int) -> tuple[Decoding, Tensor]:
        """The row that has read the prompt, from the prefix on where it begins so."""
        if self.prefix is None or prompt.images is not None or not self.prefix.fits(prompt.tokens):
            return self._begin([prompt], capacity)
        return self.prefix.read(prompt.tokens), torch.tensor([[prompt.tokens[-1]]], device=self.device)

    def _begin(self, prompts: Sequence[Prompt], capacity: int, ahead: Tensor | None = None) -> tuple[Decoding, Tensor]:
        """The batch that has read the prompts, which `ahead` tokens are known to follow, and the tokens `(batch, 1)`
        that go in first.
        """
        rows = [list(p.tokens) for p in prompts]
        source = self._pad(rows, left=self.causal)
        lengths = torch.tensor([len(r) for r in rows], device=self.device)
        index = torch.arange(source.shape[1], device=self.device)
        real = index >= source.shape[1] - lengths[:, None] if self.causal else index < lengths[:, None]
        mask = None if bool(real.all()) else real.long()
        following = {} if ahead is None else {"ahead": ahead}
        state = self.executor.begin(source, capacity, attention_mask=mask, **self._images(prompts), **following)
        if self.causal:
            return state, source[:, -1:]
        return state, torch.full((len(rows), 1), self.tokens.start, device=self.device)

    def _read(self, prompts: Sequence[Prompt], sampling: Sampling) -> Tensor:
        """The tokens `(batch, tokens)` before those that are written, if `sampling` reads them; the vocabulary's size
        is padding.
        """
        if not sampling.reads_prompt:
            return torch.empty(len(prompts), 0, dtype=torch.long, device=self.device)
        if not self.causal:
            return torch.full((len(prompts), 1), self.tokens.start, device=self.device)
        return self._pad([list(p.tokens) for p in prompts], left=True, pad=self.spec.vocabulary)

    def _images(self, prompts: Sequence[Prompt]) -> dict[str, Tensor]:
        """The batch's images: in one line where the text places them, or else stacked, rows with fewer (or none) filled
        with zeros that no token sees.
        """
        given = [p.images for p in prompts]
        first = next((i for i in given if i is not None), None)
        if first is None:
            return {}
        if self.images is not None:
            line = torch.cat([i.to(self.device, self.dtype) for i in given if i is not None])
            sizes = [p.sizes for p in prompts if p.sizes is not None]
            keywords = {"images": line, **self._instructions(prompts, self.images.instructed)}
            return {**keywords, "image_sizes": torch.cat(sizes)} if sizes else keywords
        most = max(len(i) for i in given if i is not None)
        stacked = torch.zeros(len(given), most, *first.shape[1:], dtype=self.dtype, device=self.device)
        mask = torch.zeros(len(given), most, dtype=torch.long, device=self.device)
        for row, images in enumerate(given):
            if images is not None:
                stacked[row, : len(images)] = images.to(self.device, self.dtype)
                mask[row, : len(images)] = 1
        return {"images": stacked, "image_mask": mask}

    def _instructions(self, prompts: Sequence[Prompt], spec: QueryTextSpec | None) -> dict[str, Tensor]:
        """What the bridge reads beside each image of the batch, if anything."""
        rows = [list(p.instruction) for p in prompts if p.images is not None for _ in p.images if len(p.instruction)]
        if not rows or spec is None:
            return {}
        return {"instructions": self._pad(rows, left=False, pad=spec.pad)}

    def _ends(self, ends: Iterable[int]) -> Tensor:
        return torch.tensor([e for e in ends if 0 <= e < self.spec.vocabulary], dtype=torch.long, device=self.device)

    def _pad(self, rows: Sequence[list[int]], *, left: bool, pad: int | None = None) -> Tensor:
        longest = max(len(r) for r in rows)
        pad = self.tokens.pad if pad is None else pad
        full = [[pad] * (longest - len(r)) + r if left else r + [pad] * (longest - len(r)) for r in rows]
        return torch.tensor(full, dtype=torch.long, device=self.device)
