"""Draws samples: every kind of constraint in turn, in every budget, by models of random weights of several kinds."""

from __future__ import annotations

import dataclasses
import json
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count as numbers
from itertools import groupby
from pathlib import Path

import torch

import sepiola
from sepiola.acting.phone import android, functions
from sepiola.acting.sets import taught
from sepiola.api import Model
from sepiola.calling.calls import tokens_of
from sepiola.calling.constraints import Grammar
from sepiola.errors import SepiolaError, SpecError
from sepiola.generation.sampling import Sampling
from sepiola.text.tokenizer import Tokenizer
from tests.samples.kinds import KINDS, WORDS, Asked, declarations
from tests.tiny import Raw, decoder, encoder_decoder, llama, randomise

BUDGETS = (8, 16, 32)
SHORTEST = 0
"""Stands for the budget of the shortest text, where that is longer than the largest of `BUDGETS`."""
TEMPERATURES = (0.0, 0.7, 1.0, 1.5, 5.0, 100.0)
PROMPTS = (
    "Text 王芳 that I will be late",
    "天气?",
    '<fn_0>a<fn_sep>b<fn_end> [{"name": "send_email"}]',
    "🦑" * 9,
    "Buy two pints of milk for tomorrow, and put the kettle in the metal bin, please.",
)
GROUP = 4
"""Samples under one constraint in one budget."""


@dataclass
class Row:
    """What came of a kind in a budget. `refused` are constraints whose shortest text is longer, `unsupported` those
    that were refused by name, `empty` the samples that call or hold nothing, `shorter` those of fewer tokens than the
    shortest text known beforehand, and `constraints` those that had samples.
    """

    kind: str
    budget: int
    samples: int = 0
    valid: int = 0
    empty: int = 0
    shorter: int = 0
    refused: int = 0
    unsupported: int = 0
    constraints: set[str] = field(default_factory=set)
    faults: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, object]:
        """For a line of JSON."""
        budget = self.budget or "shortest"
        return {**vars(self), "budget": budget, "constraints": len(self.constraints), "faults": self.faults[:5]}


def models(seed: int, root: Path | None) -> list[Model]:
    """Random weights of a decoder, a LLaMA and an encoder-decoder, over bytes alone and over a trained vocabulary."""
    texts = [json.dumps(f.tool, ensure_ascii=False) for f in (*functions(), *android.functions())]
    texts += [*WORDS, *PROMPTS, *(declarations(root) if root is not None else ())]
    marks = tokens_of(12)
    made = []
    for tokenizer in (Tokenizer.train([], 259 + len(marks), extra=marks), Tokenizer.train(texts, 1500, extra=marks)):
        for number, language in enumerate((decoder(), llama(), encoder_decoder())):
            made.append(_model(language, tokenizer, 10 * seed + number))
    return made


def _model(language: Raw, tokenizer: Tokenizer, seed: int) -> Model:
    built = sepiola.build({"name": "random", "language": {**language, "vocabulary": tokenizer.vocabulary + 3}})
    randomise(built, generator=torch.Generator().manual_seed(seed))
    return Model(built.network, built.spec, tokenizer)


def sample(count: int, seed: int, kinds: Sequence[str], root: Path | None) -> list[Row]:
    """`count` samples in `BUDGETS`, as many of each kind; and some more in the budget of a long shortest text."""
    writers = models(seed, root)
    rows = {(kind, budget): Row(kind, budget) for kind in kinds for budget in (*BUDGETS, SHORTEST)}
    for place, kind in enumerate(kinds):
        left = count // len(kinds) + (place < count % len(kinds))
        for number in numbers():
            if left <= 0:
                break
            rng = random.Random(f"{seed} {kind} {number}")
            asked = KINDS[kind](rng, number, root)
            model = writers[(number + number // len(writers)) % len(writers)]
            left -= _in_every_budget(model, asked, rng, left, {b: rows[kind, b] for b in (*BUDGETS, SHORTEST)})
    return [row for row in rows.values() if row.samples or row.refused or row.unsupported]


def _in_every_budget(model: Model, asked: Asked, rng: random.Random, most: int, rows: dict[int, Row]) -> int:
    """Samples under a constraint in every budget, `most` at most; how many there were in `BUDGETS`."""
    known = taught(asked.constraint) if asked.functional and not isinstance(asked.constraint, dict) else None
    model.processor = dataclasses.replace(model.processor, functions=known)
    try:
        grammar = model.grammar(asked.constraint)
    except SpecError as error:
        rows[BUDGETS[0]].unsupported += 1
        rows[BUDGETS[0]].faults += [] if str(error).startswith("#") else [f"refused without its path: {error}"]
        return 0
    done = 0
    for budget in BUDGETS:
        if done < most:
            done += _samples(model, asked, grammar, rng, budget, rows[budget], min(GROUP, most - done))
    if len(grammar.shortest) > BUDGETS[-1]:
        _samples(model, asked, grammar, rng, len(grammar.shortest), rows[SHORTEST], GROUP)
    return done


def _samples(
    model: Model, asked: Asked, grammar: Grammar, rng: random.Random, budget: int, row: Row, count: int
) -> int:
    """Samples in one budget, or a refusal, into their row."""
    sampling = Sampling(temperature=rng.choice(TEMPERATURES), seed=rng.randrange(2**31))
    prompts = rng.sample(PROMPTS, 2)
    if len(grammar.shortest) > budget:
        row.refused += 1
        try:
            written = model.generate(prompts[0], constraint=asked.constraint, max_tokens=budget, sampling=sampling)
            row.faults.append(f"{asked.name}: not refused at {budget}, but {written!r}")
        except SepiolaError as error:
            said = f"has {len(grammar.shortest)} tokens, and {budget} may be written: raise max_tokens"
            row.faults += [] if said in str(error) else [f"{asked.name}: refused by {error}"]
        return 0
    texts = [*_written(model, asked, grammar, prompts, budget, sampling, rng.randrange(3), count)]
    for text, tokens in texts:
        fault = asked.fault(text)
        if not fault and tokens > budget:
            fault = f"{tokens} tokens"
        row.shorter += 0 < tokens < len(grammar.shortest)
        row.samples += 1
        row.valid += not fault
        row.empty += text in ("[]", "{}", "<fn_none><fn_end>", '""')
        row.faults += [f"{asked.name}: {text!r}: {fault}"] if fault else []
    row.constraints.add(asked.name)
    return len(texts)


def _written(
    model: Model,
    asked: Asked,
    grammar: Grammar,
    prompts: Sequence[str],
    budget: int,
    sampling: Sampling,
    way: int,
    count: int,
) -> Iterator[tuple[str, int]]:
    """Texts and how many tokens they have: of `model.generate` for a text or for ids, or of its engine for a batch."""
    tokenizer = model.require_tokenizer()
    if way == 0:
        for number in range(count):
            again = dataclasses.replace(sampling, seed=sampling.seed + number)
            text = model.generate(prompts[number % 2], constraint=asked.constraint, max_tokens=budget, sampling=again)
            assert isinstance(text, str)
            yield text, 0  # its tokens are not to be had; those of the batches are counted
        return
    if way == 1:
        ids = torch.tensor([tokenizer.encode(prompts[0])] * count)
        drawn = model.generate(ids, constraint=asked.constraint, max_tokens=budget, sampling=sampling)
        assert isinstance(drawn, torch.Tensor)
        rows = [[t for t in row if t not in (*model.engine.ends, model.engine.tokens.pad)] for row in drawn.tolist()]
    else:
        asking = [model._prompts.prompt(prompt) for prompt in prompts]
        fanned = model.engine.generate(asking, max_tokens=budget, grammar=grammar, sampling=sampling, samples=2)
        rows = [row for rows in fanned for row in rows][:count]
    for row in rows:
        yield "a character is cut" if _cut(row, model) else grammar.text(row), len(row)


def _cut(ids: Sequence[int], model: Model) -> bool:
    """Whether a character of a text is cut, before a special token or at the end."""
    special = model.require_tokenizer().special_ids()
    runs = [[*run] for marked, run in groupby(ids, lambda token: token in special) if not marked]
    try:
        return not all(model.vocabulary.tokens.decode_bytes(run).decode("utf-8") for run in runs)
    except UnicodeDecodeError:
        return True


def totals(rows: Sequence[Row]) -> Counter[str]:
    """Of all rows in `BUDGETS` together: samples, valid; and of all rows: faults."""
    within = [row for row in rows if row.budget]
    return Counter(
        samples=sum(row.samples for row in within),
        valid=sum(row.valid for row in within),
        more=sum(row.samples for row in rows if not row.budget),
        faults=sum(len(row.faults) for row in rows),
    )
