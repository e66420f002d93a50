"""An adapter's files read: what they change in a model, and the model that can hold it.

A head and embeddings that are tied are parted where the adapter changes them apart. A vocabulary grows or shrinks to
the embeddings that the adapter brings. The `score` of a classifier makes one of a language model.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from sepiola.checkpoints.adapter_config import CONFIG, AdapterConfig
from sepiola.checkpoints.families import classifier as classifiers
from sepiola.checkpoints.places import Place, Places
from sepiola.checkpoints.tensors import read_tensors
from sepiola.checkpoints.updates import LowRank, Rows, Update
from sepiola.checkpoints.weights import read_pickled
from sepiola.errors import CheckpointError, brief
from sepiola.models.vocabulary import TOKEN_ROWS
from sepiola.specs.classifier import ClassifierSpec
from sepiola.specs.model import ModelSpec

WEIGHTS = "adapter_model.safetensors"
PICKLED = "adapter_model.bin"  # what peft wrote before 0.5
BESIDE = "non_lora_trainables.bin"  # what LLaVA's own code trains beside an adapter
PREFIX = "base_model.model."  # what peft puts before a network's own names

_EMBEDDING, _DECODER, _HEAD, _ = TOKEN_ROWS
_NAME = r"(\.\w+)?"  # the adapter's, which old files have
# What a tensor is to a module, by how its name ends.
_ROLES = {
    "A": re.compile(rf"\.lora_A{_NAME}\.weight"),
    "B": re.compile(rf"\.lora_B{_NAME}\.weight"),
    "embedding A": re.compile(rf"\.lora_embedding_A{_NAME}"),
    "embedding B": re.compile(rf"\.lora_embedding_B{_NAME}"),
    "magnitude": re.compile(rf"\.lora_magnitude_vector{_NAME}(\.weight)?"),
    "tokens": re.compile(rf"\.token_adapter\.trainable_tokens_delta{_NAME}"),
}
_PAIRS = (("A", "B"), ("embedding A", "embedding B"))
_WRAPPED = re.compile(r"(\.token_adapter)?\.base_layer(?=\.)|\.modules_to_save(\.default)?(?=\.)")
_ORIGINAL = re.compile(r".*\.(original_module|token_adapter\.trainable_tokens_original)\..*")
_EXPERTS = re.compile(r".*\.experts(\..*)?")

log = logging.getLogger(__name__)


def read(folder: Path, spec: ModelSpec, source: str = "") -> tuple[ModelSpec, list[Update]]:
    """What the adapter of a folder changes in a model of that spec, in order, and the spec of the model it leaves.

    `source` is where the model's weights lie. Raises CheckpointError when there is no adapter, when it was made for
    another model, and for what it holds or asks for and is not supported, by name.
    """
    if not (folder / CONFIG).is_file():
        raise CheckpointError(f"{folder}: no adapter here; expected {CONFIG} and {WEIGHTS}, as peft writes them")
    return _Reading(folder, spec, source).result()


class _Reading:
    """One adapter for one model."""

    def __init__(self, folder: Path, spec: ModelSpec, source: str) -> None:
        self.folder, self.spec = folder, spec
        self.source = source or spec.name
        self.config = AdapterConfig(folder)
        old = not (folder / WEIGHTS).is_file() and (folder / PICKLED).is_file()
        stored = read_pickled(folder / PICKLED) if old else read_tensors(folder / WEIGHTS)
        self._check_values(stored)
        self.roles: dict[str, dict[str, Tensor]] = {}
        self.plain: dict[str, tuple[Tensor, bool]] = {}  # values, and whether they are of whole modules
        for name in stored:
            self._sort(name, stored)
        tokens = spec.language.vocabulary if spec.language is not None else 0
        self.spec = self._with_vocabulary(self._with_classifier(spec))
        self.resized = self.spec.language is not None and self.spec.language.vocabulary != tokens
        self.places = Places(_apart(self.spec) or self.spec)

    def result(self) -> tuple[ModelSpec, list[Update]]:
        """The model's spec with the adapter, and its changes."""
        self._check_known()
        # What lies under the adapter, what it adds, what is whole, and single rows: each on what was before.
        plain = [self._rows(name, *given) for name, given in self.plain.items() if self.places.find(name)]
        low = [self._low_rank(module, roles) for module, roles in self.roles.items() if roles.keys() != {"tokens"}]
        tokens = [
            self._token_rows(module, roles["tokens"]) for module, roles in self.roles.items() if "tokens" in roles
        ]
        updates: list[Update] = [row for row in plain if not row.whole]
        updates += [*low, *(row for row in plain if row.whole), *tokens]
        spec, updates = _settle_ties(self.spec, _once(updates, self._refused))
        self._check_rows(spec, updates)
        return spec, updates

    def _check_values(self, stored: Mapping[str, Tensor]) -> None:
        """Raises CheckpointError for tensors that are no real numbers; warns of values that are none."""
        if (self.folder / BESIDE).exists():
            raise self._refused(
                f"has weights beside it ({BESIDE}), as LLaVA's own code writes them, which are not supported; merge it "
                "with that code, and convert the model for transformers"
            )
        bad = []
        for name in stored:
            value = stored[name]
            if not value.is_floating_point():
                raise self._refused(f"holds {brief(name)} as {value.dtype}; expected floating-point numbers")
            if not value.float().sum().isfinite() and not value.float().isfinite().all():
                bad.append(name)
        if bad:
            log.warning(
                "%s: %d tensors hold values that are no numbers (NaN or infinite): %s", self.folder, len(bad), bad[:3]
            )

    def _sort(self, stored_as: str, stored: Mapping[str, Tensor]) -> None:
        """Puts a tensor to the module that its name says."""
        name = stored_as
        while name.startswith(PREFIX):
            name = name.removeprefix(PREFIX)
        for role, pattern in _ROLES.items():
            if (match := re.fullmatch(rf"(.+?){pattern.pattern}", name)) is not None:
                roles = self.roles.setdefault(match[1], {})
                if role in roles:
                    raise self._refused(f"holds several adapters ({brief(stored_as)}); save the one that is meant")
                roles[role] = stored[stored_as]
                return
        if ".lora_" in name:
            raise self._refused(f"holds {brief(stored_as)}, which is no matrix of low rank and is not supported")
        if _ORIGINAL.fullmatch(name) is None:
            whole = ".base_layer." not in name and self.config.is_whole(name.rpartition(".")[0])
            self.plain[_WRAPPED.sub("", name)] = (stored[stored_as], whole)

    def _with_classifier(self, spec: ModelSpec) -> ModelSpec:
        """The model under the `score` that the adapter brings; one that has a classifier stays as it is."""
        score = self.plain.get(f"{classifiers.HEAD}weight")
        if score is None or spec.classifier is not None or spec.family not in classifiers.FAMILIES:
            return spec
        assert spec.language is not None
        if score[0].dim() != 2 or len(score[0]) >= classifiers.MAX_LABELS:
            raise self._refused(f"{classifiers.HEAD}weight is {tuple(score[0].shape)}, no classifier's layer")
        labels = tuple(f"LABEL_{n}" for n in range(len(score[0])))
        log.warning("%s: the adapter makes a classifier; its labels are called %s …", self.folder, labels[0])
        single = ClassifierSpec(kind="reward")
        classifier = single if len(labels) == 1 else ClassifierSpec(kind="classification", labels=labels)
        language = spec.language.model_copy(update={"tied": True})
        return spec.model_copy(update={"language": language, "classifier": classifier})

    def _with_vocabulary(self, spec: ModelSpec) -> ModelSpec:
        """The model with as many tokens as the embeddings have that the adapter brings."""
        if spec.language is None:
            return spec
        places, sizes = Places(_apart(spec) or spec), {}
        for name, (value, _) in self.plain.items():
            place = places.find(name)
            if place is not None and place.tensor.removeprefix("language.") in TOKEN_ROWS and value.dim():
                sizes[name] = len(value)
        if len({*sizes.values()}) > 1:
            raise self._refused(f"its embeddings differ in their number of tokens: {sizes}; save it again")
        size = next(iter(sizes.values()), spec.language.vocabulary)
        if size == spec.language.vocabulary:
            return spec
        log.warning(
            "%s: has embeddings of %d tokens, where the model has %d", self.folder, size, spec.language.vocabulary
        )
        resized = spec.model_copy(update={"language": spec.language.model_copy(update={"vocabulary": size})})
        return ModelSpec.parse(resized.to_dict(), f"{self.folder}: embeddings of {size} tokens")

    def _check_known(self) -> None:
        modules = [*self.roles, *(name.rpartition(".")[0] for name in self.plain if self._unknown(name))]
        strange = [m for m in modules if m not in self.roles or self.places.find(f"{m}.weight") is None]
        if not strange:
            return
        if experts := next((module for module in strange if _EXPERTS.fullmatch(module)), None):
            raise self._refused(
                f"lies on a mixture's experts ({brief(experts)}), which is not supported; merge it with peft "
                "(merge_and_unload, save_pretrained), and load that"
            )
        raise self._refused(
            f"was made for another model; {len(strange)} of its modules have no counterpart, as {brief(strange[0])}"
        )

    def _unknown(self, name: str) -> bool:
        return self.places.find(name) is None and not self.places.is_left_out(name)

    def _low_rank(self, module: str, roles: Mapping[str, Tensor]) -> LowRank:
        place = self._place(f"{module}.weight")
        first, second = next((pair for pair in _PAIRS if pair[0] in roles or pair[1] in roles), _PAIRS[0])
        if first not in roles or second not in roles:
            raise self._refused(f"is damaged; {brief(module)} lacks one of its two matrices, lora_A and lora_B")
        a, b = roles[first], roles[second]
        rank = len(a) if a.dim() else 0
        if embedding := first != "A":
            a, b = b.t(), a.t()
        expected = self.places.shape(place)
        if a.dim() != 2 or b.dim() != 2 or (b.shape[0], a.shape[1]) != expected or a.shape[0] != b.shape[1]:
            raise self._refused(
                f"does not fit: {brief(module)} has matrices of {tuple(roles[first].shape)} and "
                f"{tuple(roles[second].shape)}, and is {expected} here"
            )
        if rank != self.config.rank(module):
            raise self._refused(
                f"contradicts its {CONFIG}: {brief(module)} has rank {rank}, and r or rank_pattern says "
                f"{self.config.rank(module)}; take both from the same place"
            )
        magnitude = roles.get("magnitude")
        if (magnitude is None) == self.config.dora:
            state = "lacks" if self.config.dora else "has"
            raise self._refused(
                f"contradicts its {CONFIG}: {brief(module)} {state} a lora_magnitude_vector, and use_dora is "
                f"{str(self.config.dora).lower()}; take both from the same place"
            )
        if magnitude is not None and magnitude.numel() != expected[int(embedding)]:
            raise self._refused(
                f"does not fit: the lora_magnitude_vector of {brief(module)} has {magnitude.numel()} numbers, expected "
                f"{expected[int(embedding)]}"
            )
        name = place.tensor.removesuffix(".weight")
        return LowRank(name, place.rows, a, b, self.config.scale(module), magnitude, embedding)

    def _rows(self, name: str, value: Tensor, whole: bool) -> Rows:
        place = self._place(name)
        ours = self.places.as_ours(name, value)
        if tuple(ours.shape) != self.places.shape(place):
            raise self._refused(
                f"does not fit: {brief(name)} is {tuple(value.shape)}, and {self.places.shape(place)} here"
            )
        return Rows(place.tensor, place.rows, ours, whole)

    def _token_rows(self, module: str, value: Tensor) -> Rows:
        place, ids = self._place(f"{module}.weight"), self.config.token_rows(module)
        rows, *rest = self.places.shape(place)
        if tuple(value.shape) != (len(ids), *rest) or max(ids, default=0) >= rows:
            raise self._refused(
                f"does not fit: its rows of tokens in {brief(module)} are {tuple(value.shape)}, for "
                f"{len(ids)} trainable_token_indices up to {max(ids, default=0)}; the module is {(rows, *rest)} here"
            )
        return Rows(place.tensor, tuple(place.rows.start + i for i in ids), value)

    def _place(self, name: str) -> Place:
        place = self.places.find(name)
        assert place is not None, "_check_known"
        return place

    def _check_rows(self, spec: ModelSpec, updates: list[Update]) -> None:
        """Raises CheckpointError when the vocabulary changed, and the adapter does not bring all rows of tokens."""
        shapes = Places(spec).shapes
        brought = {update.tensor for update in updates if isinstance(update, Rows) and isinstance(update.rows, slice)}
        for tensor in shapes:
            if tensor.removeprefix("language.") in TOKEN_ROWS and self.resized and tensor not in brought:
                raise self._refused(
                    f"changes the number of tokens and does not bring '{tensor}' with as many; save it with "
                    "save_embedding_layers=True"
                )

    def _refused(self, why: str) -> CheckpointError:
        base = f"'{brief(self.config.base)}'" if self.config.base else "a base that it does not name"
        return CheckpointError(f"{self.folder}: the adapter (made for {base}, loaded onto '{self.source}') {why}")


def _apart(spec: ModelSpec) -> ModelSpec | None:
    """The model with nothing tied: a head of its own and, of an encoder-decoder, a decoder's embedding; None where
    nothing is tied.
    """
    language = spec.language
    if language is None or language.head.kind == "none" or spec.classifier is not None:
        return None
    change = {"tied": False, "decoder_embedding": language.kind == "encoder-decoder"}
    apart = spec.model_copy(update={"language": language.model_copy(update=change)})
    return None if apart == spec else apart


def _once(updates: list[Update], refused: Callable[[str], CheckpointError]) -> list[Update]:
    """The changes without those that stand there twice, of tensors that have two names at the Hub.

    Raises CheckpointError where such two differ.
    """
    kept: list[Update] = []
    for update in updates:
        twins = [
            one for one in kept if type(one) is type(update) and (one.tensor, one.rows) == (update.tensor, update.rows)
        ]
        if any(not one.equals(update) for one in twins):
            raise refused(
                f"changes two modules of the Hub's model apart that are one here, '{update.tensor}': not supported"
            )
        kept += [] if twins else [update]
    return kept


def _settle_ties(spec: ModelSpec, updates: list[Update]) -> tuple[ModelSpec, list[Update]]:
    """The model, and the changes to it, in which what is tied stays so if it changes alike.

    What lies under the adapter, and single rows of tokens, change all that is tied; what is added and whole modules
    change themselves alone.
    """
    if _apart(spec) is None:
        return spec, updates
    assert spec.language is not None
    prefix = "language." if spec.bridge is not None else ""
    sides = spec.language.kind == "encoder-decoder"
    tied = {_EMBEDDING: True, _DECODER: sides and not spec.language.decoder_embedding, _HEAD: spec.language.tied}
    ends = [f"{prefix}{end}" for end, is_tied in tied.items() if is_tied]
    rest = [update for update in updates if update.tensor not in ends]
    changes = {end: [update for update in updates if update.tensor == end] for end in ends}
    shared = _of_all(next((held for held in changes.values() if held), []))
    changes = {end: held or shared for end, held in changes.items()}
    first = changes[ends[0]]
    others = [end for end in ends[1:] if not _alike(first, changes[end])]
    for end in (ends[0], *others):
        rest += [_moved(update, end) for update in changes[end]]
    made = {
        "tied": spec.language.tied and f"{prefix}{_HEAD}" not in others,
        "decoder_embedding": spec.language.decoder_embedding or f"{prefix}{_DECODER}" in others,
    }
    return spec.model_copy(update={"language": spec.language.model_copy(update=made)}), rest


def _of_all(updates: list[Update]) -> list[Update]:
    return [update for update in updates if isinstance(update, Rows) and not update.whole]


def _alike(some: list[Update], others: list[Update]) -> bool:
    return len(some) == len(others) and all(one.equals(other) for one, other in zip(some, others, strict=True))


def _moved(update: Update, tensor: str) -> Update:
    if isinstance(update, Rows):
        return replace(update, tensor=tensor)
    return replace(update, module=tensor.removesuffix(".weight"))
