"""A conditional logit (McFadden, 1974), which chooses among a question's options: `P(option) = softmax(Σ weight ·
feature)`.

Its features are hashed pairs of what a question and an option say (`sepiola.text.option_features`), and the votes of
training questions with similar pictures (`picture_votes`) and similar texts (`text_votes`); how much a vote counts
depends on the kind of question. Votes on a training question are those of all others that do not repeat it, so that
weights are learned on votes such as a new question gets (stacking on scores out of the sample).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sepiola.data.image import ImageRef
from sepiola.models.hashed_linear import Features, HashedLinear
from sepiola.models.picture_votes import Known, PictureVotes
from sepiola.models.text_votes import Encode, TextVotes
from sepiola.specs.conditional_logit import ConditionalLogitSpec, Shape
from sepiola.specs.model import ModelSpec
from sepiola.text.option_features import Asked, buckets_of, hashes, option_features

_SALT = 101


class ConditionalLogit(HashedLinear):
    """The table of weights `(buckets,)`, the hashes of the words that templates are made of (`common`), what votes, and
    the encoder by which votes compare texts, if there is one.
    """

    common: Tensor

    def __init__(self, spec: ConditionalLogitSpec, language: nn.Module | None = None) -> None:
        super().__init__(spec.buckets)
        self.spec = spec
        self.language = language
        self.register_buffer("common", torch.zeros(spec.shapes.get("common", (0,)), dtype=torch.int64))
        self.pictures = PictureVotes(spec.pictures, _of(spec, "pictures")) if spec.pictures is not None else None
        self.texts = nn.ModuleList(TextVotes(own, _of(spec, f"texts.{n}")) for n, own in enumerate(spec.texts))
        self.register_state_dict_post_hook(_stored)

    def parts(self) -> dict[str, nn.Module]:
        """The encoder, if there is one; the table belongs to no part."""
        return {} if self.language is None else {"language": self.language}

    @property
    def words(self) -> frozenset[int]:
        """The words of templates, as hashes."""
        return frozenset(self.common.tolist())

    def features(
        self, asked: Asked, image: ImageRef | None, *, learning: bool = False, encode: Encode | None = None
    ) -> list[Features]:
        """Features of each option. When `learning`, the question itself and what repeats it has no vote."""
        votes: dict[str, NDArray[np.float32]] = {}
        if self.pictures is not None:
            said = self.pictures.votes(asked, image, learning=learning)
            votes |= dict(zip(self.pictures.names, said.T, strict=True))
        for own in self.texts:
            assert isinstance(own, TextVotes)
            said = own.votes(asked, learning=learning, encode=encode)
            votes |= {f"{own.spec.by} {name}": vote for name, vote in zip(own.names, said.T, strict=True)}
        # How much a vote counts depends on the kind of question, and on no kind: the first and the last but one.
        kinds = asked.kinds[[0, 3]]
        trust = {name: buckets_of(kinds, hashes([f"R:{name}"]), _SALT, self.spec.buckets) for name in votes}
        found = []
        for option, places in enumerate(option_features(asked, self.spec.families, self.spec.buckets)):
            values = [np.full(len(places), max(len(places), 1) ** -0.5, np.float32)]
            values += [np.full(len(trust[name]), vote[option], np.float32) for name, vote in votes.items()]
            found.append((np.concatenate([places, *trust.values()]), np.concatenate(values)))
        return found


def remembering(network: ConditionalLogit, known: Sequence[Known], encode: Encode | None) -> Mapping[str, Tensor]:
    """All that a network is to remember of its training questions, by the names of its buffers."""
    found = {"common": torch.tensor(sorted(known[0].asked.common) if known else [], dtype=torch.int64)}
    if network.pictures is not None:
        found |= {f"pictures.{name}": value for name, value in network.pictures.remember(known).items()}
    for number, own in enumerate(network.texts):
        assert isinstance(own, TextVotes)
        found |= {f"texts.{number}.{name}": value for name, value in own.remember(known, encode).items()}
    return found


def with_memory(spec: ModelSpec, memory: Mapping[str, Tensor]) -> ModelSpec:
    """The spec of a model that remembers so."""
    assert spec.options is not None
    shapes = {name: tuple(value.shape) for name, value in memory.items()}
    return spec.model_copy(update={"options": spec.options.model_copy(update={"shapes": shapes})})


def filled(network: ConditionalLogit, memory: Mapping[str, Tensor]) -> ConditionalLogit:
    """The network with what it remembers in place."""
    for name, value in memory.items():
        module, _, buffer = name.rpartition(".")
        setattr(network.get_submodule(module), buffer, value)
    return network


def halve(language: nn.Module) -> None:
    """Rounds a frozen encoder's weights to half precision, which a checkpoint stores as such; computing stays as it is.

    A tensor with values that half precision does not reach stays.
    """
    for tensor in language.state_dict().values():
        half = tensor.half()
        if tensor.is_floating_point() and bool(half.isfinite().all()):
            tensor.copy_(half)


def _stored(network: nn.Module, state: dict[str, Tensor], prefix: str, _: object) -> None:
    """Stores in half precision what loses nothing by it, but for the table: a load makes float32 of all again."""
    for name, tensor in state.items():
        if tensor.dtype != torch.float32 or tensor.is_meta or name == f"{prefix}weight":
            continue
        half = tensor.half()
        if torch.equal(half.float(), tensor):
            state[name] = half


def _of(spec: ConditionalLogitSpec, part: str) -> dict[str, Shape]:
    """The shapes of one part's buffers, by their names within it."""
    return {name.removeprefix(f"{part}."): s for name, s in spec.shapes.items() if name.startswith(f"{part}.")}
