"""A language model run by the native core (edge/native): packed weights of 4, 8 or 16 bits on any CPU.

The core computes the text, and what stands before it: the vision encoder and the bridge (`native_parts`).
Rows of a batch are sequences of their own there: padding is left out, and costs nothing. What rows begin alike with, or
with a text that is still held (a prefix, a conversation so far), is read once, and computed to the same bits.
"""

from __future__ import annotations

import copy
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sepiola.errors import SepiolaError, SpecError, shown
from sepiola.models.layers import NO_LAYERS, InsertedLayers
from sepiola.models.multimodal.vision_language import VisionLanguageModel
from sepiola.models.transformer import EncoderDecoder, LanguageModel
from sepiola.runtime.executor import Executor
from sepiola.runtime.native_gated import NativeLayers, NativeMedia
from sepiola.runtime.native_parts import core_model, native_parts
from sepiola.runtime.native_weights import KINDS
from sepiola.runtime.plain import TorchExecutor
from sepiola.runtime.prepacked import PrepackedExecutor
from sepiola.specs.model import TransformerSpec

log = logging.getLogger(__name__)

if TYPE_CHECKING:
    from sepiola_edge._native import Batch
    from sepiola_edge._native import Model as Core

BUILD = "pip install ./edge (in a checkout of sepiola; a C++17 compiler is needed)"
"""What builds the core."""
BITS = 8
KERNELS = "SEPIOLA_KERNELS"
"""The environment variable that names the instruction set: avx512, avx2 or scalar; the best one by default."""
THREADS = "SEPIOLA_THREADS"
"""The environment variable with the number of threads; as many as there are processors by default."""


def built() -> bool:
    """Whether the core is there."""
    try:
        import sepiola_edge._native  # noqa: F401
    except ImportError:
        return False
    return True


def native_or_torch(network: nn.Module, *, release: bool = False, bits: int | None = None) -> Executor:
    """The core's executor; where it is not built, torch's, which is said once."""
    if built():
        return NativeExecutor(network, release=release, bits=bits)
    _say_not_built()
    return PrepackedExecutor(network, release=release)


@cache
def _say_not_built() -> None:
    log.warning("the native core is not built, so PyTorch runs the model, with its weights as they are: %s", BUILD)


class NativeExecutor(TorchExecutor):
    """Runs a packed copy of the language model, which stays whole: it trains and saves as before.

    What it learns later is not seen. With `release` the network gives its matrices up as they are packed. Raises
    SepiolaError for what the core does not compute, and where it is not built.
    """

    def __init__(self, network: nn.Module, *, release: bool = False, bits: int | None = None) -> None:
        super().__init__(network)
        if (bits := BITS if bits is None else bits) not in KINDS:
            raise SpecError(f"bits: got {shown(bits)}; expected 4, 8 or 16")
        if not built():
            raise SepiolaError(f"the native core is not built: {BUILD}")
        language = self.network.language if isinstance(self.network, VisionLanguageModel) else self.network
        assert isinstance(language, LanguageModel | EncoderDecoder)
        core = made_core(self.network, bits, release=release)
        native = NativeLanguage(language.spec, core)
        self._whole: nn.Module = native
        if isinstance(self.network, VisionLanguageModel):
            seeing = copy.copy(self.network)
            seeing._modules = {**self.network._modules, "language": native, **native_parts(self.network, core)}
            self._whole = seeing
        self.network = self._whole  # type: ignore[assignment]

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    @contextmanager
    def working(self) -> Iterator[None]:
        """With one thread of PyTorch's: its others, which spin after each large tensor, would hold up the core's."""
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)

    @property
    def dtype(self) -> torch.dtype:
        return next((p.dtype for p in self.network.parameters()), torch.float32)


def made_core(network: nn.Module, bits: int, *, release: bool = False) -> Core:
    """The core of a network, with the threads and the instruction set that the environment names."""
    from sepiola_edge._native import Model as Core

    spec, tensors = core_model(network, bits, release=release)
    return Core(spec, tensors, int(os.environ.get(THREADS, "0")), os.environ.get(KERNELS, ""))


class NativeState:
    """Rows under way in the core; `real` `(batch, length)` says which positions are no padding, None where all are."""

    def __init__(self, core: Core, batch: Batch, length: int = 0, real: Tensor | None = None) -> None:
        self.core = core
        self.batch = batch
        self.length = length
        self.real = real
        self._media: NativeMedia | None = None

    @property
    def media(self) -> NativeMedia | None:
        """The pictures of the rows."""
        return self._media

    @media.setter
    def media(self, media: NativeMedia | None) -> None:
        self._media = media
        if media is not None:
            self.core.show(self.batch, media.pictures, media.rows)

    def add(self, rows: int, new: int, real: Tensor | None) -> None:
        """So many positions more in each row."""
        if real is not None or self.real is not None:
            before = torch.ones(rows, self.length, dtype=torch.bool) if self.real is None else self.real
            after = torch.ones(rows, new, dtype=torch.bool) if real is None else real
            self.real = torch.cat((before, after), dim=1)
        self.length += new

    def select(self, rows: Tensor) -> None:
        self.batch.select(rows.tolist())
        self.real = None if self.real is None else self.real[rows]
        if self.media is not None:
            self.media.select(rows)

    def rewind(self, tokens: int) -> None:
        if tokens == 0:
            return
        rows = len(self.batch.lengths)
        self.batch.rewind([tokens] * rows if self.real is None else self.real[:, -tokens:].sum(1).tolist())
        self.real = None if self.real is None else self.real[:, :-tokens]
        self.length -= tokens


class NativeLanguage(nn.Module):
    """What bridges and executors call on a language model, by the core."""

    def __init__(self, spec: TransformerSpec, core: Core) -> None:
        super().__init__()
        self.spec = spec
        self.core = core
        self.embedding = NativeEmbedding(self)
        self.head = NativeHead(self)

    def begin(
        self,
        tokens: Tensor,
        capacity: int,
        *,
        attention_mask: Tensor | None = None,
        ahead: Tensor | None = None,
        inserted_layers: InsertedLayers = NO_LAYERS,
    ) -> NativeState:
        """As `LanguageModel.begin`, and `EncoderDecoder.begin` of a source."""
        if self.spec.kind == "encoder-decoder":
            return self.begin_from(self.encode(tokens, attention_mask=attention_mask), capacity, attention_mask)
        tokens = tokens[:, :-1]
        real, rows = _places(tokens, None if attention_mask is None else attention_mask[:, :-1])
        if tokens.is_floating_point():
            batch = self.core.read_vectors(_vectors(tokens, real), rows, len(tokens))
        else:
            media = _media_of(inserted_layers)
            pictures, seen = ([], []) if media is None else (media.pictures, media.rows)
            batch = self.core.read(_ids(tokens, real), rows, len(tokens), pictures, seen)
        return NativeState(self.core, batch, tokens.shape[1], real)

    def encode(self, source: Tensor, *, attention_mask: Tensor | None = None) -> Tensor:
        """As `EncoderDecoder.encode`."""
        real, rows = _places(source, attention_mask)
        out = np.empty((len(rows), self.spec.width), np.float32)
        if source.is_floating_point():
            self.core.encode_vectors(_vectors(source, real), rows, out)
        else:
            self.core.encode(_ids(source, real), rows, out)
        return _laid(out, source, real)

    def begin_from(self, memory: Tensor, capacity: int, attention_mask: Tensor | None = None) -> NativeState:
        """As `EncoderDecoder.begin_from`."""
        real, rows = _places(memory, attention_mask)
        return NativeState(self.core, self.core.begin_from(_vectors(memory, real), rows, len(memory)))

    def extend(
        self,
        tokens: Tensor,
        state: NativeState,
        inserted_layers: InsertedLayers = NO_LAYERS,
        attention_mask: Tensor | None = None,
    ) -> Tensor:
        """As a language model's `extend`. Raises SepiolaError for layers between its own that are torch's."""
        _media_of(inserted_layers)
        real, rows = _places(tokens, attention_mask)
        out = np.empty((len(rows), self.spec.width), np.float32)
        if tokens.is_floating_point():
            self.core.extend_vectors(state.batch, _vectors(tokens, real), rows, out)
        else:
            self.core.extend(state.batch, _ids(tokens, real), rows, out)
        state.add(len(tokens), tokens.shape[1], real)
        return _laid(out, tokens, real)


class NativeEmbedding(nn.Module):
    """Tokens to vectors, as the core holds them."""

    def __init__(self, language: NativeLanguage) -> None:
        super().__init__()
        self._language = (language,)  # in a tuple: it is no part of the embedding

    def forward(self, tokens: Tensor) -> Tensor:
        (language,) = self._language
        out = np.empty((tokens.numel(), language.spec.width), np.float32)
        language.core.embed(_ids(tokens, None), out)
        return torch.from_numpy(out).view(*tokens.shape, -1)


class NativeHead(nn.Module):
    """States to logits, or to those of some tokens alone."""

    def __init__(self, language: NativeLanguage) -> None:
        super().__init__()
        self._language = (language,)

    def forward(self, states: Tensor, tokens: Tensor | None = None) -> Tensor:
        (language,) = self._language
        flat = _vectors(states, None)
        wide = language.spec.vocabulary if tokens is None else len(tokens)
        out = np.empty((len(flat), wide), np.float32)
        if tokens is None:
            language.core.logits(flat, out)
        else:
            language.core.some_logits(flat, _ids(tokens, None), out)
        return torch.from_numpy(out).view(*states.shape[:-1], wide)


def _media_of(inserted_layers: InsertedLayers) -> NativeMedia | None:
    """What the layers between the core's own see. Raises SepiolaError for layers that are not the core's."""
    if isinstance(inserted_layers, NativeLayers):
        return inserted_layers.media
    if inserted_layers:
        raise SepiolaError("the native core runs no layers of torch between the language model's own")
    return None


def _places(tokens: Tensor, mask: Tensor | None) -> tuple[Tensor | None, NDArray[np.int32]]:
    """Which of `(batch, tokens)` are no padding, None where all are; and the row of each of those."""
    batch, length = tokens.shape[:2]
    if mask is None:
        return None, np.repeat(np.arange(batch, dtype=np.int32), length)
    real = mask != 0
    return real, real.nonzero()[:, 0].to(torch.int32).numpy()


def _ids(tokens: Tensor, real: Tensor | None) -> NDArray[np.int32]:
    return (tokens.reshape(-1) if real is None else tokens[real]).to(torch.int32).numpy()


def _vectors(vectors: Tensor, real: Tensor | None) -> NDArray[np.float32]:
    flat = vectors.reshape(-1, vectors.shape[-1]) if real is None else vectors[real]
    return flat.detach().float().contiguous().numpy()


def _laid(out: NDArray[np.float32], like: Tensor, real: Tensor | None) -> Tensor:
    """States where their tokens stand, `(batch, tokens, width)`, and zeros at padding."""
    states = torch.from_numpy(out)
    if real is None:
        return states.view(*like.shape[:2], -1)
    return states.new_zeros(*like.shape[:2], out.shape[1]).masked_scatter(real[..., None], states)
