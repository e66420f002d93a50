"""What the engine calls on a model in its running form, whatever multiplies: plain PyTorch, prepacked weights, the
native core.

A batch under way is a `Decoding`: it holds what was read of every row, and is the executor's own affair.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import wraps
from typing import Concatenate, ParamSpec, Protocol, TypeVar

import torch
from torch import Tensor, nn

from sepiola.specs.model import TransformerSpec
from sepiola.text.encoding import InterleavedImages


class Decoding(Protocol):
    """A batch of rows that have read their prompts."""

    @property
    def length(self) -> int:
        """Positions that the decoder has read of every row."""

    def extend(self, tokens: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """States `(batch, new, width)` of new tokens `(batch, new)` after what was read before.

        `attention_mask` `(batch, new)` says which of them are no padding.
        """

    def select(self, rows: Tensor) -> None:
        """Keeps these rows, in this order; a row may be named more than once."""

    def rewind(self, tokens: int) -> None:
        """Forgets so many of the tokens that went in last."""


class Executor(Protocol):
    """A model that reads and writes text. `images` says where pictures stand in prompts; None where no prompt does."""

    @property
    def spec(self) -> TransformerSpec: ...
    @property
    def device(self) -> torch.device: ...
    @property
    def dtype(self) -> torch.dtype: ...
    @property
    def images(self) -> InterleavedImages | None: ...

    def begin(self, tokens: Tensor, capacity: int, *, attention_mask: Tensor | None, **images: Tensor) -> Decoding:
        """Reads prompts `(batch, tokens)`: an encoder's whole, a decoder's but for the last token, which goes in next.

        Up to `capacity` tokens follow. `images` are the model's own keywords for them, and a decoder's `ahead`
        `(batch,)`: how many tokens are known to follow each prompt.
        """

    def logits(self, states: Tensor, tokens: Tensor | None = None) -> Tensor:
        """Logits `(…, vocabulary)` of states `(…, width)`, or those of some `tokens` alone `(…, tokens)`."""

    def features(self, pixels: Tensor) -> Tensor:
        """The vision encoder's features `(images, patches, width)` of pixels `(images, 3, height, width)`."""

    def working(self) -> AbstractContextManager[None]:
        """Around all that is written or scored by it."""


Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class HasExecutor(Protocol):
    """Whatever writes or scores by an executor."""

    executor: Executor


Owner = TypeVar("Owner", bound=HasExecutor)


def at_work(
    method: Callable[Concatenate[Owner, Arguments], Result],
) -> Callable[Concatenate[Owner, Arguments], Result]:
    """A method that writes or scores: no gradients are kept, and the executor has what it needs of the machine."""

    @wraps(method)
    def run(self: Owner, *given: Arguments.args, **named: Arguments.kwargs) -> Result:
        with torch.inference_mode(), self.executor.working():
            return method(self, *given, **named)

    return run


class MakesExecutor(Protocol):
    """Makes an executor of a network; with `release` it may take the network's weights away as it goes.

    `bits` are those of a weight, where the executor packs weights in few bits: SpecError where it does not.
    """

    def __call__(self, network: nn.Module, *, release: bool = False, bits: int | None = None) -> Executor: ...
