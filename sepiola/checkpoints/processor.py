"""A checkpoint's processor, read from every place where the Hub keeps a part of it, and written back.

Where files contradict each other the order is `transformers`'. The special ids: `generation_config.json`, then
`config.json`, then its `text_config`, then the tokenizer's own tokens; null is none. The settings of writing:
`generation_config.json`, or, where there is none, `config.json` (BART's). What a text is framed by:
`tokenizer.json`, or the tokenizer's class (`tokenizer_files`).
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from sepiola.checkpoints import files, tokenizer_files
from sepiola.checkpoints.config import JSON, Config
from sepiola.checkpoints.store import TOKENIZER
from sepiola.data.files import make_folder, write_text
from sepiola.errors import CheckpointError, shown
from sepiola.specs import safe_files
from sepiola.specs.generation import GenerationSpec
from sepiola.specs.model import ModelSpec, TransformerSpec
from sepiola.specs.rating import AttributeSpec
from sepiola.text.chat import CONFIG as TOKENIZER_CONFIG
from sepiola.text.chat import ChatTemplate
from sepiola.text.encoding import IMAGE
from sepiola.text.processor import Processor, special_token
from sepiola.text.tokenizer import Tokenizer

GENERATION = "generation_config.json"
FUNCTIONS = "functions.json"  # what the model was taught to call, by the order of its tokens
ATTRIBUTES = "attributes.json"  # what the model was taught to rate replies by
QFORMER_TOKENIZER = "qformer_tokenizer"  # as the Hub has it: what an instructed Q-Former reads by
log = logging.getLogger(__name__)

_NAMES = {"end": "eos", "start": "bos", "pad": "pad"}
_UNLIMITED = 10**9  # tokenizers that know no limit state a number beyond it
# What a `generation_config.json` may say besides, and with which value it changes nothing.
_NEUTRAL: Config = {
    "num_beams": 1,
    "num_beam_groups": 1,
    "diversity_penalty": 0.0,
    "penalty_alpha": 0.0,
    "typical_p": 1.0,
    "epsilon_cutoff": 0.0,
    "eta_cutoff": 0.0,
    "encoder_repetition_penalty": 1.0,
    "encoder_no_repeat_ngram_size": 0,
    "bad_words_ids": [],
    "force_words_ids": [],
    "sequence_bias": {},
    "exponential_decay_length_penalty": None,
    "guidance_scale": 1.0,
    "watermarking_config": None,
    "dola_layers": None,
    "num_return_sequences": 1,
    "max_time": None,
    "token_healing": False,
    "top_h": None,
}


def read(folder: Path, spec: ModelSpec, config: Config | None = None, adapter: Path | None = None) -> Processor:
    """The processor of a folder: one in the Hub's layout with its `config`, or one of our own without.

    A tokenizer and a chat template that lie beside an `adapter` go before the folder's. Raises CheckpointError when a
    file is damaged or says what cannot be.
    """
    sees = spec.vision is not None
    words, layout, template = folder, config, None
    if adapter is not None:
        template = ChatTemplate.load(adapter, sees=sees)
        if any((adapter / name).is_file() for name in (TOKENIZER, "vocab.json", "vocab.txt")):
            log.info("%s: read by the tokenizer of the adapter, in %s", folder, adapter)
            words, layout = adapter, config or {"model_type": spec.family}
    tokenizer = tokenizer_files.read(words, layout)
    if tokenizer is not None and tokenizer.vocabulary == getattr(spec.bridge, "token", None):
        tokenizer = tokenizer.with_token(IMAGE)  # as the Hub's processors set it behind the other tokens
    tokenizer_config = tokenizer_files.settings_of(words, layout)
    generation_config = read_json(folder / GENERATION)
    settings = generation_config or _nested(config or {})
    base = Processor.of(
        spec,
        tokenizer,
        template or ChatTemplate.load(folder, sees=sees),
        read_qformer_tokenizer(folder),
    )
    processor = dataclasses.replace(
        base,
        generation=_generation(settings, str(folder / (GENERATION if generation_config else "config.json"))),
        tokenizer_config={key: value for key, value in tokenizer_config.items() if key != "chat_template"},
        generation_config=generation_config or {key: settings[key] for key in _settings(settings)},
        functions=read_functions(folder),
        attributes=read_attributes(folder),
    )
    if spec.language is None:
        return processor
    for place, name in ((generation_config, GENERATION), *((level, "config.json") for level in _levels(config or {}))):
        _check_ids(place, str(folder / name))
    given = Ids(generation_config, config, spec.language, processor)
    return dataclasses.replace(
        processor,
        ends=given.ends,
        start=given.start,
        pad=given.pad,
        context=_context(spec.language, config or {}, tokenizer_config),
    )


def report(processor: Processor, spec: ModelSpec, folder: Path) -> None:
    """Warns of what a checkpoint asks for and does not get, by name."""
    settings = processor.generation_config
    ignored = [f"{k} {settings[k]}" for k, v in _NEUTRAL.items() if settings.get(k) is not None and settings[k] != v]
    if processor.generation.do_sample:
        ignored.append("do_sample (greedy unless a sampling is given)")
    if processor.generation.stop_strings and processor.tokenizer is None:
        ignored.append("stop_strings (there is no tokenizer to read them by)")
    if processor.tokenizer is not None and spec.language is not None:
        tokens, rows = processor.tokenizer.vocabulary, spec.language.vocabulary
        if tokens > rows:
            log.warning(
                "%s: its tokenizer has %d tokens, and its model %d: the others cannot be read", folder, tokens, rows
            )
    if ignored:
        log.warning("%s: its settings of writing that are not honoured: %s", folder, ", ".join(ignored))


class Ids:
    """The special ids of a checkpoint, as its files state them."""

    def __init__(
        self, generation_config: Config, config: Config | None, language: TransformerSpec, processor: Processor
    ) -> None:
        self.places = [generation_config, *_levels(config or {})]
        self.language = language
        self.processor = processor

    @property
    def ends(self) -> tuple[int, ...]:
        """All end tokens; those of the file that comes first."""
        stated = next((ids for place in self.places if (ids := as_ids(place.get("eos_token_id")))), ())
        return self._inside(stated) or self._fallback("end")

    @property
    def start(self) -> int | None:
        """What opens a text. A tokenizer whose config says that it has none has none."""
        config = self.processor.tokenizer_config
        if self.language.kind != "decoder" or ("bos_token" in config and config["bos_token"] is None):
            return None
        own = self.processor.named("bos_token")
        return own if own is not None else self._stated("start")

    @property
    def pad(self) -> int | None:
        return self._stated("pad")

    def _stated(self, name: str) -> int | None:
        key = f"{_NAMES[name]}_token_id"
        stated = next((ids for place in self.places if (ids := as_ids(place.get(key)))), ())
        return next(iter(self._inside(stated) or self._fallback(name)), None)

    def _fallback(self, name: str) -> tuple[int, ...]:
        """The tokenizer's own token; else, where no file says null, what the family has."""
        own = self.processor.named(f"{_NAMES[name]}_token")
        if own is not None:
            return (own,)
        key = f"{_NAMES[name]}_token_id"
        silent = all(key not in place for place in self.places)
        return (getattr(self.language.tokens, name),) if silent else ()

    def _inside(self, ids: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(dict.fromkeys(i for i in ids if i < self.language.vocabulary))


def settle_ids(spec: ModelSpec, config: Config, folder: Path) -> ModelSpec:
    """A Hub checkpoint's spec, its special tokens taken from the other files where `config.json` names none.

    What an encoder-decoder's replies begin with is first of all what `generation_config.json` says, as in
    `transformers`.
    A spec's tokens are numbers, so where no file names one the family's stays; the processor says that there is none.
    """
    language = spec.language
    if language is None or spec.writes_no_text is not None:
        return spec
    if language.kind != "decoder" and spec.vision is None:
        stated = read_json(folder / GENERATION)
        starts = (as_ids(stated.get(key)) for key in ("decoder_start_token_id", "bos_token_id"))
        start = next((ids[0] for ids in starts if ids and ids[0] < language.vocabulary), language.tokens.start)
        language = language.model_copy(update={"tokens": language.tokens.model_copy(update={"start": start})})
        spec = spec.model_copy(update={"language": language})
    missing = [n for n, key in _NAMES.items() if not any(as_ids(p.get(f"{key}_token_id")) for p in _levels(config))]
    if language.kind != "decoder" and "start" in missing:
        missing.remove("start")  # it is the decoder's, which `decoder_start_token_id` names
    if not missing:
        return spec
    processor = read(folder, spec, config)
    end = next(iter(processor.ends), None)
    candidates = {
        "end": [end],
        "start": [processor.start, processor.prefix],
        "pad": [processor.pad, end],
    }
    found = {name: next((i for i in candidates[name] if i is not None), None) for name in missing}
    tokens = language.tokens.model_copy(update={name: i for name, i in found.items() if i is not None})
    return spec.model_copy(update={"language": language.model_copy(update={"tokens": tokens})})


def settle_placeholder(spec: ModelSpec, config: Config, folder: Path) -> ModelSpec:
    """A Hub checkpoint's spec whose images stand among the words, with the placeholder that its config does not name.

    It is the tokenizer's own, which `transformers`' processor sets behind the other tokens where there is none.
    """
    bridge, language = spec.bridge, spec.language
    if bridge is None or language is None or not bridge.interleaved or getattr(bridge, "token", None) is not None:
        return spec
    processor = read(folder, spec, config)
    if processor.tokenizer is None:
        return spec
    name = special_token(processor.tokenizer_config, "image_token") or IMAGE
    token = processor.tokenizer.with_token(name).id_of(name)
    if token is None or token >= language.vocabulary:
        log.warning("%s: config.json names no image_token_index, and %s has no row among its embeddings", folder, name)
        return spec
    return spec.model_copy(update={"bridge": bridge.model_copy(update={"token": token})})


def plain_ids(config: Config) -> JSON:
    """A config in which each special id is one number: of several end tokens the first; null ones are left out."""
    plain = dict(config)
    for key in [key for key in plain if key in {f"{name}_token_id" for name in _NAMES.values()}]:
        ids = as_ids(plain.pop(key))
        plain |= {key: ids[0]} if ids else {}
    if isinstance(plain.get("text_config"), Mapping):
        plain["text_config"] = plain_ids(plain["text_config"])
    return plain


def _check_ids(config: Config, source: str) -> None:
    """Raises CheckpointError for a special id that is neither a number, nor a list of them, nor null."""
    for key in (f"{name}_token_id" for name in _NAMES.values()):
        value = config.get(key)
        ids = value if isinstance(value, list) else [] if value is None else [value]
        if not all(isinstance(i, int) and not isinstance(i, bool) for i in ids):
            raise CheckpointError(f"{source}: {key} is {shown(value)}; expected a token's id, or a list of them")


def as_ids(value: object) -> tuple[int, ...]:
    """The ids that a config states under one key: one, a list, or none; what is below 0 is none."""
    ids = value if isinstance(value, list | tuple) else [value]
    return tuple(i for i in ids if isinstance(i, int) and not isinstance(i, bool) and i >= 0)


def save(folder: Path, processor: Processor, *, writes: bool) -> None:
    """Writes the files of a folder of our own, beside its `tokenizer.json`; how a model `writes` if it does."""
    config = {**processor.tokenizer_config, **(processor.template.to_config() if processor.template else {})}
    if config:
        config.setdefault("tokenizer_class", "PreTrainedTokenizerFast")  # tokenizer.json as it stands
        config |= {} if processor.context is None else {"model_max_length": processor.context}
        write_text(folder / TOKENIZER_CONFIG, json.dumps(config, ensure_ascii=False, indent=2) + "\n")
    if writes:
        write_text(folder / GENERATION, json.dumps(generation_file(processor), indent=2) + "\n")
    save_qformer_tokenizer(folder, processor)
    save_functions(folder, processor)
    if processor.attributes is not None:
        write_text(folder / ATTRIBUTES, attributes_file(processor.attributes))


def save_functions(folder: Path, processor: Processor) -> None:
    """Writes what the model was taught to call, if it was."""
    if processor.functions is not None:
        write_text(folder / FUNCTIONS, functions_file(processor.functions))


def functions_file(functions: Sequence[Mapping[str, object]]) -> str:
    """The `functions.json` of what a model was taught to call."""
    return json.dumps(list(functions), ensure_ascii=False, indent=1) + "\n"


def read_functions(folder: Path) -> tuple[Mapping[str, object], ...] | None:
    """What the model was taught to call; None where it was taught nothing. Raises CheckpointError for another file."""
    path = folder / FUNCTIONS
    if not os.path.lexists(path):
        return None
    said = safe_files.read_json(path, CheckpointError)
    if not isinstance(said, list) or not all(isinstance(f, dict) and {"name", "signature"} <= set(f) for f in said):
        raise CheckpointError(f"{path}: expected a list of functions, each with its name and signature")
    return tuple(said)


def attributes_file(attributes: Sequence[AttributeSpec]) -> str:
    """The `attributes.json` of what a model was taught to rate replies by."""
    return json.dumps([attribute.to_dict() for attribute in attributes], ensure_ascii=False, indent=1) + "\n"


def read_attributes(folder: Path) -> tuple[AttributeSpec, ...] | None:
    """What the model was taught to rate replies by; None where it was not. Raises CheckpointError for another file."""
    path = folder / ATTRIBUTES
    if not os.path.lexists(path):
        return None
    said = safe_files.read_json(path, CheckpointError)
    if not isinstance(said, list):
        raise CheckpointError(f"{path}: expected a list of attributes, got {shown(said)}")
    return tuple(AttributeSpec.parse(each, f"{path}, attribute {number}") for number, each in enumerate(said, start=1))


def generation_file(processor: Processor) -> JSON:
    """The `generation_config.json` of a processor: the checkpoint's own settings, and the ids that count."""
    ends = list(processor.ends)
    ids = {
        "bos_token_id": processor.start,
        "eos_token_id": ends[0] if len(ends) == 1 else ends or None,
        "pad_token_id": processor.pad,
    }
    stated = {key: value for key, value in processor.generation_config.items() if value is not None or key not in ids}
    return {**ids, **stated, "eos_token_id": ids["eos_token_id"]}


def save_qformer_tokenizer(folder: Path, processor: Processor) -> None:
    """Writes the tokenizer of an instructed Q-Former, where there is one."""
    if processor.qformer_tokenizer is not None:
        make_folder(folder / QFORMER_TOKENIZER)
        write_text(folder / QFORMER_TOKENIZER / TOKENIZER, processor.qformer_tokenizer.to_json())


def read_qformer_tokenizer(folder: Path) -> Tokenizer | None:
    """The tokenizer of an instructed Q-Former, where a checkpoint has one."""
    file = folder / QFORMER_TOKENIZER / TOKENIZER
    return Tokenizer.load(file) if file.is_file() else None


def read_json(path: Path) -> JSON:
    """A JSON object, or nothing where there is no such file. Raises CheckpointError when it is damaged."""
    return files.read_json(path) if os.path.lexists(path) else {}


def _levels(config: Config) -> list[Config]:
    inner = config.get("text_config")
    return [config, *([inner] if isinstance(inner, Mapping) else [])]


def _nested(config: Config) -> JSON:
    """A config's settings, its `text_config`'s where it is silent itself."""
    merged: JSON = {}
    for level in reversed(_levels(config)):
        merged |= {key: value for key, value in level.items() if value is not None}
    return merged


def _settings(config: Config) -> list[str]:
    return [key for key in config if key in GenerationSpec.model_fields or key in _NEUTRAL or key in _BEAMS]


_BEAMS = ("length_penalty", "early_stopping", "decoder_start_token_id")


def _generation(settings: Config, source: str) -> GenerationSpec:
    """The settings that we honour."""
    known = {key: settings[key] for key in GenerationSpec.model_fields if settings.get(key) is not None}
    if isinstance(strings := known.get("stop_strings"), str):
        known["stop_strings"] = (strings,)
    return GenerationSpec.parse(known, source)


def _context(language: TransformerSpec, config: Config, tokenizer_config: Config) -> int | None:
    if language.positions.length is not None:
        return language.positions.length
    limits = [config.get("n_positions"), tokenizer_config.get("model_max_length")]
    return next((int(n) for n in limits if isinstance(n, int | float) and 0 < n < _UNLIMITED), None)
