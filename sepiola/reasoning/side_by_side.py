"""Members that are asked one question run side by side, as one network (`sepiola.runtime.stacked`).

Their answers are those that they give one after the other. It pays for small members alone: where the products fill
the processor, five of them take five times as long, however they are laid out.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Protocol

import torch

from sepiola.errors import SepiolaError
from sepiola.generation.engine import Engine
from sepiola.models.build import count
from sepiola.reasoning.strategies import Answers, Direct
from sepiola.runtime.plain import TorchExecutor
from sepiola.runtime.stacked import stacked
from sepiola.specs.recipe import AnsweringSpec

MOST = 20_000_000
"""Parameters of all members together, beside the vision encoder: above that their products are what takes the time, and
a second copy of them is memory for nothing.
"""

ROWS = 4096
"""Rows of a batch: all options of all members stand in one."""


class AskedDirectly(Answers, Protocol):
    """What is asked of a member."""

    @property
    def asking(self) -> AnsweringSpec: ...
    def strategy(self, *, score: bool | None = None) -> object: ...


def side_by_side(members: Sequence[AskedDirectly]) -> Direct | None:
    """A strategy that is given one question as often as there are members, and gives every member's answer to it; None
    for members that differ in more than their weights, that answer by other than the likelihood of options, or that
    are too large for it to pay.
    """
    first, *others = members
    direct = first.strategy(score=True)
    if not isinstance(direct, Direct) or direct.generator.chat is not None or not _alike(first, others):
        return None
    try:
        network = stacked([member.network for member in members])
    except SepiolaError:
        return None
    lone, generator = copy.copy(direct), copy.copy(direct.generator)
    generator.engine = Engine(TorchExecutor(network), ends=first.engine.ends, batch=ROWS)
    lone.generator = generator
    return lone


def _alike(first: AskedDirectly, others: Sequence[AskedDirectly]) -> bool:
    """Whether the members differ in their weights alone, and not in what they see by."""
    parts = [child for name, child in first.network.named_children() if name != "vision"]
    size = (1 + len(others)) * sum(map(count, parts))
    plain = all(isinstance(one.engine.executor, TorchExecutor) for one in (first, *others))
    border = first.engine.spec.positions.border is not None
    if size > MOST or border or not plain:
        return False
    seen = {name: value for name, value in first.network.state_dict().items() if name.startswith("vision.")}
    text = first.require_tokenizer().to_json()
    for one in others:
        if one.spec != first.spec or one.asking != first.asking or one.require_tokenizer().to_json() != text:
            return False
        state = one.network.state_dict()
        if not all(torch.equal(value, state[name]) for name, value in seen.items()):
            return False
    return True
