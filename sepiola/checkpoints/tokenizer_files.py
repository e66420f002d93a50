"""A checkpoint's tokenizer, read as `transformers` 5 reads it from whatever files the Hub has.

With `tokenizer.json`: its words and merges, in the pipeline of the class that the other files name. Without: the
same from `vocab.json` and `merges.txt`, or from `vocab.txt`. Special tokens are those of `tokenizer_config.json`'s
`added_tokens_decoder`, or, where it has none, of `special_tokens_map.json` and `added_tokens.json`. All that the
configs say is settled in the tokenizer, so that a folder of our own holds it in its `tokenizer.json`.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from pathlib import Path

import tokenizers
from tokenizers import AddedToken, decoders, models, processors

from sepiola.checkpoints.config import JSON, Config
from sepiola.checkpoints.files import check_file, read_json
from sepiola.checkpoints.store import TOKENIZER
from sepiola.checkpoints.tokenizer_kinds import Kind, Vocabulary, class_of, kind_of
from sepiola.errors import CheckpointError, shown
from sepiola.text.backend import library_errors
from sepiola.text.chat import CONFIG
from sepiola.text.tokenizer import Tokenizer

SPECIAL_TOKENS, ADDED_TOKENS = "special_tokens_map.json", "added_tokens.json"
NAMED = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
_OTHERS = ("spiece.model", "tokenizer.model", "sentencepiece.bpe.model", "tekken.json", "vocab.json", "vocab.txt")
# What is tidied in a written text where a config asks for it: the space before a mark, or before an ending.
_TIDY = [(f" {end}", end) for end in (".", "?", "!", ",")]
_TIDY += [(" ' ", "'"), (" n't", "n't"), (" 'm", "'m"), (" 's", "'s"), (" 've", "'ve"), (" 're", "'re")]
_INDEX = re.compile("[0-9]{1,9}")
log = logging.getLogger(__name__)


def read(folder: Path, config: Config | None) -> Tokenizer | None:
    """The tokenizer of a folder: one in the Hub's layout with its `config`, or one of our own without.

    None, with a warning, where the files hold one that cannot be read. Raises CheckpointError when a file is damaged.
    """
    file = folder / TOKENIZER
    if config is None:
        return Tokenizer.load(file) if file.is_file() else None
    settings = read_json(folder / CONFIG) if (folder / CONFIG).exists() else {}
    if file.is_file():
        tokenizer = Tokenizer.load(file)
        if not settings and not (folder / SPECIAL_TOKENS).exists() and not (folder / ADDED_TOKENS).exists():
            return tokenizer
        content = json.loads(tokenizer.to_json())
        kind = kind_of(config, settings, content)
        settings = {key: value for key, value in settings.items() if key not in ("add_bos_token", "add_eos_token")}
        if kind is None:
            return Tokenizer(_finished(tokenizer.backend, folder, settings, None, content))
        backend = _built(folder, kind, settings, content)
        if tokenizer.backend.post_processor is not None:
            backend.post_processor = tokenizer.backend.post_processor
        return Tokenizer(_finished(backend, folder, settings, kind, content))
    kind = kind_of(config, settings, None)
    if kind is None or not all((folder / name).exists() for name in kind.files):
        _report_unread(folder, kind)
        return None
    backend = _built(folder, kind, settings, None)
    return Tokenizer(_finished(backend, folder, settings, kind, None))


def settings_of(folder: Path, config: Config | None) -> JSON:
    """The `tokenizer_config.json` of a folder; of one of the Hub's that has none, the class that reads it (by `config`)
    and the special tokens that it names.
    """
    if (folder / CONFIG).exists():
        return read_json(folder / CONFIG)
    if config is None:
        return {}
    file = folder / TOKENIZER
    content = read_json(file) if file.is_file() else None
    kind = kind_of(config, {}, content)
    if content is None and (kind is None or not all((folder / name).exists() for name in kind.files)):
        return {}
    named = {**(kind.special if kind is not None else {}), **_texts(_stated(folder, {}, None)[0])}
    return {"tokenizer_class": class_of(kind), **named} if named else {}


def _built(folder: Path, kind: Kind, settings: Config, content: Config | None) -> tokenizers.Tokenizer:
    names = [TOKENIZER] if content is not None else list(kind.files)
    options = {**settings, **kind.special, **_texts(_stated(folder, settings, content)[0])}
    for name in names:
        check_file(folder / name)
    with library_errors(f"{folder}: its {' and '.join(names)} cannot be read as {CONFIG} says", CheckpointError):
        vocabulary = Vocabulary.of(content) if content is not None else Vocabulary.read([folder / n for n in names])
        return kind.build(vocabulary, options)


def _report_unread(folder: Path, kind: Kind | None) -> None:
    found = [name for name in _OTHERS if (folder / name).exists()]
    if found:
        log.warning(
            "%s: its tokenizer is in %s alone, which is not read%s: it takes and gives token ids. To convert it, run "
            "transformers.AutoTokenizer.from_pretrained(folder).save_pretrained(folder) once, which writes %s",
            folder,
            ", ".join(found),
            "" if kind is None else f" (its class needs {' and '.join(kind.files)})",
            TOKENIZER,
        )


def _finished(
    backend: tokenizers.Tokenizer, folder: Path, settings: Config, kind: Kind | None, content: Config | None
) -> tokenizers.Tokenizer:
    """The tokenizer with its special tokens, what stands around a text, and how a written text is tidied."""
    with library_errors(f"{folder}: its special tokens cannot be read as {CONFIG} says", CheckpointError):
        return _with_special_tokens(backend, folder, settings, kind, content)


def _with_special_tokens(
    backend: tokenizers.Tokenizer, folder: Path, settings: Config, kind: Kind | None, content: Config | None
) -> tokenizers.Tokenizer:
    stated, added = _stated(folder, settings, content)
    named: JSON = {**(kind.special if kind is not None else {}), **stated}
    extra = [*named.pop("extra_special_tokens"), *(kind.extra(settings) if kind is not None else [])]
    tokens = [added[index] for index in sorted(added)]
    known = {token.content for token in backend.get_added_tokens_decoder().values()} | {t.content for t in tokens}
    special = {_text(value) for value in named.values() if value is not None}
    for value in [*named.values(), *extra]:
        if value is not None and _text(value) not in known:
            tokens.append(_token(value))
            known.add(_text(value))
    for token in tokens:
        token.special = token.special or token.content in special
    backend.add_tokens(tokens)
    for index, token in added.items():
        if backend.token_to_id(token.content) != index:
            log.warning(
                "%s: its files give %s the id %d, its tokenizer %s: the tokenizer counts",
                *(folder, shown(token.content), index, backend.token_to_id(token.content)),
            )
    if kind is not None and kind.all_special:
        backend.add_tokens([AddedToken(_text(v), special=True) for v in [*named.values(), *extra] if v is not None])
    texts = _texts(named)
    if kind is not None and kind.frame:
        around = [text for name in kind.frame if (text := texts.get(name)) is not None]
        if len(around) < len(kind.frame):
            raise CheckpointError(f"{folder}: its tokenizer has no {' or no '.join(kind.frame)}; name it in {CONFIG}")
        backend.post_processor = kind.around(around, [backend.token_to_id(text) or 0 for text in around])
    elif content is None:
        starts = [texts.get("bos_token")] if settings.get("add_bos_token") else []
        ends = [texts.get("eos_token")] if settings.get("add_eos_token") else []
        opening, closing = ([text for text in side if text is not None] for side in (starts, ends))
        if opening or closing:
            backend.post_processor = processors.TemplateProcessing(
                single=[*opening, "$A", *closing],
                pair=[*opening, "$A", *closing, *(f"{t}:1" for t in opening), "$B:1", *(f"{t}:1" for t in closing)],
                special_tokens=[(text, backend.token_to_id(text)) for text in {*opening, *closing}],
            )
    by_force = settings.get("clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output")
    if settings.get("clean_up_tokenization_spaces") and (by_force or not isinstance(backend.model, models.BPE)):
        _tidy(backend)
    if settings.get("split_special_tokens"):
        log.warning("%s: its split_special_tokens is not honoured: special tokens in a text are read whole", folder)
    return backend


def _tidy(backend: tokenizers.Tokenizer) -> None:
    """Lets the decoder tidy the whole text, unless it does already."""
    state = json.loads(backend.to_str())["decoder"] or {}
    last = {"type": "Replace", "pattern": {"String": _TIDY[-1][0]}, "content": _TIDY[-1][1]}
    if backend.decoder is not None and last not in state.get("decoders", []):
        steps = [decoders.Replace(*pair) for pair in _TIDY]
        backend.decoder = decoders.Sequence([backend.decoder, decoders.Fuse(), *steps])


def _stated(folder: Path, settings: Config, content: Config | None) -> tuple[JSON, dict[int, AddedToken]]:
    """The special tokens that the files name, and the added ones by their id."""
    named: JSON = {
        key: value
        for key, value in settings.items()
        if key in NAMED or (key.endswith("_token") and isinstance(value, str | Mapping))
    }
    extra = settings.get("extra_special_tokens") or settings.get("additional_special_tokens") or []
    added: dict[int, AddedToken] = {}
    if "added_tokens_decoder" in settings:
        entries = settings["added_tokens_decoder"]
        if not isinstance(entries, Mapping) or not all(_INDEX.fullmatch(str(index)) for index in entries):
            raise CheckpointError(
                f"{folder / CONFIG}: added_tokens_decoder is {shown(entries)}; expected tokens by their ids"
            )
        added = {int(index): _token(entry, special=False) for index, entry in entries.items()}
    else:
        if (folder / SPECIAL_TOKENS).exists():
            more = dict(read_json(folder / SPECIAL_TOKENS))
            extra = more.pop("extra_special_tokens", None) or more.pop("additional_special_tokens", None) or extra
            more.pop("additional_special_tokens", None)
            named |= more
        if (folder / ADDED_TOKENS).exists():
            special = {_text(v) for v in [*named.values(), *_listed(extra)] if v is not None}
            for text, index in read_json(folder / ADDED_TOKENS).items():
                if not isinstance(index, int) or isinstance(index, bool) or index < 0:
                    raise CheckpointError(f"{folder / ADDED_TOKENS}: {shown(text)} is {shown(index)}; expected an id")
                added[index] = AddedToken(text, normalized=text not in special, special=text in special)
        for entry in (content or {}).get("added_tokens", ()):
            added[entry["id"]] = _token({k: v for k, v in entry.items() if k != "id"}, special=False)
    return {**named, "extra_special_tokens": _listed(extra)}, added


def _listed(extra: object) -> list[object]:
    if isinstance(extra, Mapping):
        return list(extra.values())
    return list(extra) if isinstance(extra, list) else []


def _texts(named: Config) -> dict[str, str | None]:
    return {key: None if value is None else _text(value) for key, value in named.items() if key in NAMED}


def _text(value: object) -> str:
    text = value.get("content") if isinstance(value, Mapping) else value
    if not isinstance(text, str):
        raise CheckpointError(f"a special token is {shown(value)}; expected a text, or an object with its 'content'")
    return text


def _token(value: object, *, special: bool = True) -> AddedToken:
    """A token as a file writes it: a text, or an object with its flags."""
    if not isinstance(value, Mapping):
        return AddedToken(_text(value), special=True)
    special = bool(value.get("special", special))
    flags = {key: bool(value[key]) for key in ("lstrip", "rstrip", "single_word", "normalized") if key in value}
    return AddedToken(_text(value), special=special, **flags)
