"""The pipelines of the tokenizer classes that `transformers` 5 builds from words and merges.

A class decides how a text is cut, read and written whatever pipeline stands in `tokenizer.json`; which class it is
say `tokenizer_config.json`, `config.json`, or the model's type.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers, processors

from sepiola.checkpoints.config import Config
from sepiola.checkpoints.store import TOKENIZER
from sepiola.errors import CheckpointError, shown
from sepiola.text.backend import check_ids

_MOST_BLANKS = 10_000
ENDOFTEXT = "<|endoftext|>"
_QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_CLIP = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
_EDGES = Regex(r"\A[\s\x1c-\x1f]+|[\s\x1c-\x1f]+\z")  # what Python's strip takes


@dataclass(frozen=True)
class Vocabulary:
    """The words of a tokenizer with their ids or scores, its merges if it has any, and its `tokenizer.json`."""

    words: Any
    merges: list[tuple[str, str]] = field(default_factory=list)
    content: Config = field(default_factory=dict)

    @classmethod
    def of(cls, content: Config) -> Vocabulary:
        model = content["model"]
        merges = [tuple(m.split(" ")) if isinstance(m, str) else tuple(m) for m in model.get("merges", ())]
        words = model["vocab"]
        return cls([tuple(w) for w in words] if isinstance(words, list) else words, merges, content)  # type: ignore[arg-type]

    @classmethod
    def read(cls, paths: Sequence[Path]) -> Vocabulary:
        """From `vocab.json` and `merges.txt`, or `vocab.txt`, whose lines may end in any way."""
        if len(paths) == 1:
            return cls(models.WordPiece.read_file(str(paths[0])))
        words, merges = models.BPE.read_file(*map(str, paths))
        check_ids(words, str(paths[0]))
        return cls(words, merges)


@dataclass(frozen=True)
class Kind:
    """One class: its files where there is no `tokenizer.json`, its special tokens, its pipeline."""

    model: str
    build: Callable[[Vocabulary, Config], tokenizers.Tokenizer]
    special: Mapping[str, str]
    files: tuple[str, ...] = ("vocab.json", "merges.txt")
    frame: tuple[str, ...] = ()
    """Which tokens stand around a text, the last one behind it, whatever `tokenizer.json` says."""
    extra: Callable[[Config], list[str]] = lambda settings: []
    """Special tokens that it has besides."""
    all_special: bool = False
    """Whether its special tokens are found before a text is normalised, whatever their entries say."""

    def around(self, texts: Sequence[str], ids: Sequence[int]) -> Any:
        """What sets its tokens around a text, or around two."""
        *starts, end = [f"{text}:0" for text in texts]
        behind = {"WordPiece": f"$B:1 {texts[-1]}:1", "BPE": f"{end} $B:0 {end}"}.get(self.model, f"$B:0 {end}")
        return processors.TemplateProcessing(
            single=" ".join([*starts, "$A:0", end]),
            pair=" ".join([*starts, "$A:0", end, behind]),
            special_tokens=list(dict(zip(texts, ids, strict=True)).items()),
        )


def kind_of(config: Config, settings: Config, content: Config | None) -> Kind | None:
    """The class that reads a folder; None where its `tokenizer.json` counts as it stands, or none is known.

    `settings` are those of `tokenizer_config.json`, `content` is the `tokenizer.json` if there is one.
    """
    stated = str(settings.get("tokenizer_class") or config.get("tokenizer_class") or "").removesuffix("Fast")
    model = str(config.get("model_type"))
    if stated and model in _AS_IT_STANDS:
        return None
    registered = _BY_MODEL.get(model, "")
    name = registered if not stated or (model == "qwen2" and stated not in _PLAIN) else stated
    kind = BY_CLASS.get(name)
    if kind is None or content is None:
        return kind
    if content["model"]["type"] != kind.model or (name == "LlamaTokenizer" and _bytewise(content)):
        return None
    return kind


def class_of(kind: Kind | None) -> str:
    """The name of a class at the Hub; of none, that which reads a `tokenizer.json` as it stands."""
    return next((name for name, known in BY_CLASS.items() if known is kind), "PreTrainedTokenizerFast")


def _bytewise(content: Config) -> bool:
    steps = content["pre_tokenizer"] or {}
    return any(step["type"] == "ByteLevel" for step in steps.get("pretokenizers", [steps]) if step)


def _bpe(vocabulary: Vocabulary, **options: object) -> tokenizers.Tokenizer:
    return tokenizers.Tokenizer(models.BPE(vocabulary.words, vocabulary.merges, **options))


def _gpt2(vocabulary: Vocabulary, settings: Config) -> tokenizers.Tokenizer:
    backend = _bpe(vocabulary, continuing_subword_prefix="", end_of_word_suffix="")
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=bool(settings.get("add_prefix_space")))
    backend.decoder = decoders.ByteLevel()
    return backend


def _qwen2(vocabulary: Vocabulary, settings: Config) -> tokenizers.Tokenizer:
    backend = _gpt2(vocabulary, settings)
    backend.normalizer = normalizers.NFC()
    bytewise = pre_tokenizers.ByteLevel(add_prefix_space=bool(settings.get("add_prefix_space")), use_regex=False)
    backend.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(_QWEN2), "isolated"), bytewise])
    return backend


def _clip(vocabulary: Vocabulary, settings: Config) -> tokenizers.Tokenizer:
    unknown = settings["unk_token"]
    backend = _bpe(vocabulary, continuing_subword_prefix="", end_of_word_suffix="</w>", unk_token=unknown)
    backend.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    split = pre_tokenizers.Split(Regex(_CLIP), "removed", invert=True)
    backend.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    words = decoders.Replace("</w>", " ")
    backend.decoder = decoders.Sequence([decoders.ByteLevel(), words, decoders.Replace(_EDGES, "")])
    return backend


def _gpt1(vocabulary: Vocabulary, settings: Config) -> tokenizers.Tokenizer:
    unknown = settings["unk_token"]
    backend = _bpe(vocabulary, continuing_subword_prefix="", end_of_word_suffix="</w>", unk_token=unknown)
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.BPEDecoder(suffix="</w>")
    return backend


def _bert(vocabulary: Vocabulary, settings: Config) -> tokenizers.Tokenizer:
    backend = tokenizers.Tokenizer(models.WordPiece(vocabulary.words, unk_token=settings["unk_token"]))
    backend.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=settings.get("tokenize_chinese_chars", True),
        strip_accents=settings.get("strip_accents"),
        lowercase=settings.get("do_lower_case", True),
    )
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece(prefix="##")
    return backend


def _llama(vocabulary: Vocabulary, settings: Config) -> tokenizers.Tokenizer:
    prefix = settings.get("add_prefix_space")
    prefix = True if prefix is None else prefix
    scheme = ("always" if settings.get("legacy") else "first") if prefix else "never"
    backend = _bpe(vocabulary, fuse_unk=True, byte_fallback=True)
    backend.pre_tokenizer = pre_tokenizers.Metaspace("▁", scheme, split=False)
    strip = [decoders.Strip(" ", 1, 0)] if prefix else []
    backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *strip])
    return backend


def _gemma(vocabulary: Vocabulary, settings: Config) -> tokenizers.Tokenizer:
    backend = _bpe(vocabulary, fuse_unk=True, byte_fallback=True, unk_token=settings["unk_token"])
    backend.normalizer = normalizers.Replace(" ", "▁")
    backend.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    return backend


def _t5(vocabulary: Vocabulary, settings: Config) -> tokenizers.Tokenizer:
    """T5's; of the normaliser in `tokenizer.json` the table of characters alone counts."""
    state = vocabulary.content["normalizer"] or {}
    tables = [step for step in state.get("normalizers", [state]) if step.get("type") == "Precompiled"]
    empty: dict[str, object] = {"model": {"type": "BPE", "vocab": {}, "merges": []}, "added_tokens": []}
    table = tokenizers.Tokenizer.from_str(json.dumps({**empty, "normalizer": tables[0] if tables else None}))
    backend = tokenizers.Tokenizer(models.Unigram(vocabulary.words, 2, False))
    if table.normalizer is not None:
        backend.normalizer = table.normalizer
    spaces = pre_tokenizers.Metaspace("▁", "always", split=True)
    backend.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), spaces])
    backend.decoder = decoders.Metaspace("▁", "always", split=True)
    return backend


def _blanks(settings: Config) -> list[str]:
    count = settings.get("extra_ids", 100)
    if not isinstance(count, int) or not 0 <= count <= _MOST_BLANKS:
        raise CheckpointError(
            f"tokenizer_config.json: extra_ids is {shown(count)}; expected a number from 0 to {_MOST_BLANKS}"
        )
    return [f"<extra_id_{i}>" for i in range(count)]


_ROBERTA = {"bos_token": "<s>", "eos_token": "</s>", "sep_token": "</s>", "cls_token": "<s>"}
_LLAMA = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
_GPT2 = dict.fromkeys(["bos_token", "eos_token", "unk_token"], ENDOFTEXT)
_gpt2_kind = Kind("BPE", _gpt2, _GPT2)
_roberta_kind = Kind(
    "BPE",
    _gpt2,
    {**_ROBERTA, "unk_token": "<unk>", "pad_token": "<pad>", "mask_token": "<mask>"},
    frame=("cls_token", "sep_token"),
)
_bert_kind = Kind(
    "WordPiece",
    _bert,
    {f"{name.lower()}_token": f"[{name}]" for name in ("UNK", "SEP", "PAD", "CLS", "MASK")},
    files=("vocab.txt",),
    frame=("cls_token", "sep_token"),
)
BY_CLASS: dict[str, Kind] = {
    "GPT2Tokenizer": _gpt2_kind,
    "RobertaTokenizer": _roberta_kind,
    "BartTokenizer": _roberta_kind,
    "Qwen2Tokenizer": Kind(
        "BPE", _qwen2, dict.fromkeys(["unk_token", "eos_token", "pad_token"], ENDOFTEXT), all_special=True
    ),
    "CLIPTokenizer": Kind(
        "BPE",
        _clip,
        {**_GPT2, "bos_token": "<|startoftext|>", "pad_token": ENDOFTEXT},
        frame=("bos_token", "eos_token"),
    ),
    "OpenAIGPTTokenizer": Kind("BPE", _gpt1, {"unk_token": "<unk>"}),
    "BertTokenizer": _bert_kind,
    "LlamaTokenizer": Kind("BPE", _llama, _LLAMA, files=(TOKENIZER,)),
    "GemmaTokenizer": Kind(
        "BPE",
        _gemma,
        {
            "unk_token": "<unk>",
            "bos_token": "<bos>",
            "eos_token": "<eos>",
            "pad_token": "<pad>",
            "mask_token": "<mask>",
        },
        files=(TOKENIZER,),
    ),
    "T5Tokenizer": Kind(
        "Unigram",
        _t5,
        {"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"},
        files=(TOKENIZER,),
        frame=("eos_token",),
        extra=_blanks,
    ),
}
_BY_MODEL = {
    **dict.fromkeys(["gpt2", "opt", "blip-2", "instructblip"], "GPT2Tokenizer"),
    **dict.fromkeys(["bart", "roberta"], "RobertaTokenizer"),
    **dict.fromkeys(["qwen2", "qwen3", "qwen2_moe", "qwen3_moe"], "Qwen2Tokenizer"),
    **dict.fromkeys(["bert", "blip"], "BertTokenizer"),
    **dict.fromkeys(["gemma", "gemma2", "gemma3", "gemma3_text"], "GemmaTokenizer"),
    "clip": "CLIPTokenizer",
    "openai-gpt": "OpenAIGPTTokenizer",
    "t5": "T5Tokenizer",
}
# Models whose configs name a class that is not theirs.
_AS_IT_STANDS = {"mistral", "mistral3", "mixtral", "llava", "llava_next", "vipllava", "smolvlm", "phi3", "olmo2"}
_PLAIN = {"PreTrainedTokenizer", "TokenizersBackend"}
