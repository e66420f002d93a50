"""Adapters of low rank (LoRA, arXiv 2106.09685): small matrices learn beside linear layers that are frozen.

Queries, keys and values are one linear layer here, and so are gate and up; an adapter learns on each of these blocks by
itself, as others have it on layers of their own, or on those blocks alone that `targets` names. Rows of single tokens
may learn beside it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils import parametrize

from sepiola.checkpoints import adapters
from sepiola.checkpoints.adapters import HubModule
from sepiola.checkpoints.updates import LowRank, Rows, Update, merge
from sepiola.errors import SpecError
from sepiola.models.bridges.shared import AttentionPool
from sepiola.models.transformer import EncoderDecoder, LanguageModel
from sepiola.models.vision.vit import ViT
from sepiola.models.vocabulary import TOKEN_ROWS, Head
from sepiola.nn.feedforward import MixtureOfExperts
from sepiola.nn.linear import blocks_of
from sepiola.specs.model import ModelSpec
from sepiola.specs.stage import LoraSpec, StageSpec
from sepiola.training.preparation import choose_parts, parts_of

Blocks = dict[str, slice]
"""Rows of a linear layer by the full name of the block that they are."""


class AdaptedLinear(nn.Module):
    """A frozen linear layer and, for some of its blocks, the two matrices that learn beside it."""

    def __init__(self, base: nn.Linear, blocks: Blocks, spec: LoraSpec) -> None:
        super().__init__()
        self.base_layer = base
        self.rows = {name.rpartition(".")[2]: rows for name, rows in blocks.items()}
        self.scale = spec.alpha / spec.rank
        self.off = False
        self.dropout = nn.Dropout(spec.dropout)
        new = base.weight.new_empty
        self.lora_A = nn.ParameterDict({name: nn.Parameter(new(spec.rank, base.in_features)) for name in self.rows})
        self.lora_B = nn.ParameterDict(
            {name: nn.Parameter(new(rows.stop - rows.start, spec.rank)) for name, rows in self.rows.items()}
        )
        for name in self.rows:
            nn.init.kaiming_uniform_(self.lora_A[name], a=math.sqrt(5))
            nn.init.zeros_(self.lora_B[name])

    @property
    def weight(self) -> Tensor:
        return self.base_layer.weight

    def forward(self, x: Tensor) -> Tensor:
        base: Tensor = self.base_layer(x)
        if self.off:
            return base
        x, parts, end = self.dropout(x), [], 0
        for name, rows in self.rows.items():
            change = self.scale * linear(linear(x, self.lora_A[name]), self.lora_B[name])
            parts += [base[..., end : rows.start], base[..., rows] + change]
            end = rows.stop
        return torch.cat((*parts, base[..., end:]), dim=-1)


class TokenRows(nn.Module):
    """The rows of some tokens in a matrix that is frozen: they learn, and the others stay to the last bit."""

    def __init__(self, weight: Tensor, tokens: Sequence[int]) -> None:
        super().__init__()
        self.tokens = tuple(tokens)
        self.register_buffer("places", torch.tensor(self.tokens, device=weight.device), persistent=False)
        self.rows = nn.Parameter(weight.detach()[list(self.tokens)].clone())
        self.off = False

    def forward(self, weight: Tensor) -> Tensor:
        if self.off:
            return weight
        places = self.get_buffer("places")
        return weight.index_copy(0, places, self.rows.to(weight.dtype))


@dataclass(frozen=True)
class Adapter:
    """The adapted layers of a model, and the rows of tokens that learn in its other modules, by their names."""

    model: nn.Module
    layers: dict[str, AdaptedLinear]
    dropout: float = 0.0
    tokens: Mapping[str, TokenRows] = field(default_factory=dict)

    def updates(self) -> list[Update]:
        """What the adapter changes in the weights under it."""
        low = [
            LowRank(name, rows, layer.lora_A[block].detach(), layer.lora_B[block].detach(), layer.scale)
            for name, layer in self.layers.items()
            for block, rows in layer.rows.items()
        ]
        return [*low, *(Rows(f"{name}.weight", t.tokens, t.rows.detach()) for name, t in self.tokens.items())]

    def save(self, folder: Path, spec: ModelSpec, base: str | None = None, *, before: Sequence[Update] = ()) -> None:
        """Writes the adapter alone, for a model of that spec; as `sepiola.checkpoints.adapters.write`.

        `before` is the adapter that was merged into the weights under it; with that, it lies on what that lay on.
        """
        adapters.write(folder, [*before, *self.updates()], spec, base=base, dropout=self.dropout)

    def beside(self) -> list[str]:
        """Names of the parameters that learn beside the adapter, which `save` does not write: a classifier's layer."""
        own = {id(p) for part in (*self.layers.values(), *self.tokens.values()) for p in part.parameters()}
        return [name for name, p in self.model.named_parameters() if p.requires_grad and id(p) not in own]

    def merge(self) -> nn.Module:
        """Adds the adapter to the weights under it: the network as it was built, with new weights."""
        updates = self.updates()
        for name, layer in self.layers.items():
            _replace(self.model, name, layer.base_layer)
        for name in self.tokens:
            parametrize.remove_parametrizations(self.model.get_submodule(name), "weight")
        return merge(self.model, updates).requires_grad_(True)


@contextmanager
def without_adapter(model: nn.Module) -> Iterator[None]:
    """The model as it is under its adapter, for a while."""
    adapted = [module for module in model.modules() if isinstance(module, AdaptedLinear | TokenRows)]
    for module in adapted:
        module.off = True
    try:
        yield
    finally:
        for module in adapted:
            module.off = False


def begin_learning(model: nn.Module, stage: StageSpec, seed: int) -> Adapter | None:
    """Freezes what the stage does not teach; where it has `lora`, lays an adapter on the rest and returns it.

    Raises TrainingError when nothing would learn, and as `attach`.
    """
    choose_parts(model, stage)
    return attach(model, stage, seed) if stage.lora is not None else None


def attach(model: nn.Module, stage: StageSpec, seed: int) -> Adapter:
    """Lays the stage's adapter, initialised from `seed`, on linears of the parts in `learn`, frozen from then on.

    The linears are replaced in place. Raises SpecError for targets that no linear answers to.
    """
    chosen, inside = linears(model, stage), _inside(model, stage)
    for module in inside:
        for parameter in module.parameters(recurse=False):
            parameter.requires_grad_(False)
        if isinstance(module, _BatchNorm | MixtureOfExperts):  # running statistics and routers belong to the base
            module.training = False
    layers = {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for name, blocks in chosen.items():
            base = model.get_submodule(name)
            assert isinstance(base, nn.Linear)
            layers[name] = AdaptedLinear(base, blocks, _spec(stage)).train(base.training)
            _replace(model, name, layers[name])
    return Adapter(model, layers, _spec(stage).dropout, _token_rows(model, stage))


def _token_rows(model: nn.Module, stage: StageSpec) -> dict[str, TokenRows]:
    """Lets the rows of the stage's tokens learn, in every matrix of the language model that has a row a token.

    What reads such a matrix, a tied head too, finds the rows in it. Raises SpecError for a token that has no row.
    """
    tokens, learning = _spec(stage).tokens, dict[str, TokenRows]()
    if not tokens:
        return learning
    language = parts_of(model)["language"]
    prefix = "" if language is model else "language."
    for name, weight in language.state_dict().items():
        if name not in TOKEN_ROWS or weight.dim() < 2:  # a bias stays
            continue
        if max(tokens) >= len(weight):
            raise SpecError(f"stage '{stage.name}': lora.tokens: {max(tokens)}; the model has {len(weight)} tokens")
        module = model.get_submodule(name := f"{prefix}{name.removesuffix('.weight')}")
        learning[name] = TokenRows(weight, tokens)
        parametrize.register_parametrization(module, "weight", learning[name])
    return learning


def linears(model: nn.Module, stage: StageSpec) -> dict[str, Blocks]:
    """The blocks of linears that bear the stage's adapter, by the linears' names; the model may be on the meta device.

    A target is the end of a name: of one of our linears or blocks, or of the Hub's in the part's family. Raises
    SpecError for a target that names none in the parts of `learn`, or one whose weights are read directly, past any
    adapter: a mixture's experts and the output head.
    """
    targets = _spec(stage).targets
    readers = (MixtureOfExperts, Head, AttentionPool)
    direct = tuple(f"{name}." for name, module in model.named_modules() if isinstance(module, readers))
    inside = _inside(model, stage)
    named = [(name, module) for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    there = {name: blocks_of(name, module) for name, module in named if module in inside}
    bearing = {name: blocks for name, blocks in there.items() if not name.startswith(direct)}
    where, parts = f"stage '{stage.name}': lora", ", ".join(stage.learn)
    if not bearing:
        raise SpecError(f"{where}: {parts} holds no linear that can bear an adapter")
    if targets is None:
        return bearing
    names = _Names(model)
    known = ", ".join(sorted({end for name, blocks in bearing.items() for end in names.ends(name, blocks)}))
    chosen: dict[str, Blocks] = {}
    for target in targets:
        hits = {name: hit for name, blocks in bearing.items() if (hit := names.hit(name, blocks, target))}
        if not hits and any(names.hit(name, blocks, target) for name, blocks in there.items()):
            raise SpecError(
                f"{where}.targets: '{target}' lies inside experts or the output head, which bear no adapter; "
                f"others: {known}"
            )
        if not hits:
            raise SpecError(f"{where}.targets: '{target}' names no linear of {parts}; there are: {known}")
        for name, blocks in hits.items():
            chosen[name] = chosen.get(name, {}) | blocks
    return {  # in the order of the model
        name: {block: rows for block, rows in blocks.items() if block in chosen[name]}
        for name, blocks in bearing.items()
        if name in chosen
    }


class _Names:
    """What a linear of a model and its blocks may be called: our names, and those of its part's family at the Hub."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model

    def hit(self, name: str, blocks: Blocks, target: str) -> Blocks:
        """The blocks of a linear that a target names."""
        if _ends(name, target):
            return blocks
        hits = {block: rows for block, rows in blocks.items() if _ends(block, target)}
        for hub, module in self._hub.get(name, ()):
            if _ends(hub, target):
                hits |= {block: rows for block, rows in blocks.items() if _overlap(rows, module.rows)}
        return hits

    def ends(self, name: str, blocks: Blocks) -> set[str]:
        """The last parts of all names of a linear."""
        return {called.rpartition(".")[2] for called in (name, *blocks, *(hub for hub, _ in self._hub.get(name, ())))}

    @cached_property
    def _hub(self) -> dict[str, list[tuple[str, HubModule]]]:
        """The Hub's modules of each of our linears."""
        modules: dict[str, list[tuple[str, HubModule]]] = {}
        for part_name, part in parts_of(self._model).items():
            prefix = "" if part is self._model else f"{part_name}."
            if isinstance(part, LanguageModel | EncoderDecoder):
                spec = ModelSpec(family=part.spec.family, language=part.spec)
            elif isinstance(part, ViT):
                spec = ModelSpec(family=part.spec.family, vision=part.spec)
            else:
                continue
            for hub, module in adapters.hub_modules(spec).items():
                modules.setdefault(f"{prefix}{module.linear}", []).append((hub, module))
        return modules


def _inside(model: nn.Module, stage: StageSpec) -> set[nn.Module]:
    """All modules of the parts that the stage names."""
    return {module for name, part in parts_of(model).items() if name in stage.learn for module in part.modules()}


def _ends(name: str, target: str) -> bool:
    return f".{name}".endswith(f".{target}")


def _overlap(one: slice, other: slice) -> bool:
    return bool(one.start < other.stop and other.start < one.stop)


def _replace(model: nn.Module, name: str, module: nn.Module) -> None:
    owner, _, last = name.rpartition(".")
    setattr(model.get_submodule(owner), last, module)


def _spec(stage: StageSpec) -> LoraSpec:
    assert stage.lora is not None
    return stage.lora
