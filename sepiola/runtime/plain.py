"""A network as it is, run by PyTorch on any device."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from sepiola.errors import SepiolaError, SpecError, shown
from sepiola.models.multimodal.cross import CrossModel
from sepiola.models.multimodal.fused import FusedModel
from sepiola.models.multimodal.interleaved import interleaved
from sepiola.models.multimodal.prefix import PrefixModel
from sepiola.models.transformer import DecodingState, EncoderDecoder, LanguageModel
from sepiola.specs.model import TransformerSpec
from sepiola.text.encoding import InterleavedImages

TextNetwork = LanguageModel | EncoderDecoder | PrefixModel | CrossModel | FusedModel


class TorchDecoding:
    """A batch under way in a network, and the state that holds it."""

    def __init__(self, network: TextNetwork, state: DecodingState) -> None:
        self.network = network
        self.state = state

    @property
    def length(self) -> int:
        return self.state.length

    def extend(self, tokens: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        return self.network.extend(tokens, self.state, attention_mask=attention_mask)

    def select(self, rows: Tensor) -> None:
        self.state.select(rows)

    def rewind(self, tokens: int) -> None:
        self.state.rewind(tokens)


class TorchExecutor:
    """Runs `network` itself, so that what it learns counts at once; there is nothing to `release`.

    Raises SepiolaError for a network that writes no text, and SpecError for `bits`: weights run as they are.
    """

    def __init__(self, network: nn.Module, *, release: bool = False, bits: int | None = None) -> None:
        if bits is not None:
            raise SpecError(f"bits: got {shown(bits)}; only runtime 'native' packs weights in few bits")
        if not isinstance(network, TextNetwork):
            raise SepiolaError(
                f"a {type(network).__name__} writes no text; give a language model, with vision or without"
            )
        self.network: TextNetwork = network
        network.eval()

    @property
    def spec(self) -> TransformerSpec:
        spec: TransformerSpec = self.network.spec
        return spec

    @property
    def device(self) -> torch.device:
        return next(self.network.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        return next(self.network.parameters()).dtype

    @property
    def images(self) -> InterleavedImages | None:
        return interleaved(self.network)

    def begin(self, tokens: Tensor, capacity: int, *, attention_mask: Tensor | None, **images: Tensor) -> TorchDecoding:
        begin: Callable[..., DecodingState] = self.network.begin
        state = begin(tokens, capacity, attention_mask=attention_mask, **images)
        return TorchDecoding(self.network, state)

    def logits(self, states: Tensor, tokens: Tensor | None = None) -> Tensor:
        logits: Tensor = self.network.head(states) if tokens is None else self.network.head(states, tokens)
        return logits

    def working(self) -> AbstractContextManager[None]:
        return nullcontext()

    def features(self, pixels: Tensor) -> Tensor:
        if isinstance(self.network, LanguageModel | EncoderDecoder) or self.network.vision is None:
            raise SepiolaError("this model has no vision encoder: it makes no features of pixels")
        features: Tensor = self.network.vision(pixels)
        return features
