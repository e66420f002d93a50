"""A tokenizer in llama.cpp's form: byte-level BPE by its merges and the name of how texts are cut, SentencePiece's by
scores.

llama.cpp cuts and merges by rules of its own, which know a few pipelines. What they do otherwise everywhere is refused;
what they do otherwise in some texts is said.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sepiola.errors import SepiolaError, shown
from sepiola.text.tokenizer import WORDS, Tokenizer

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
"""Types of tokens."""
BYTEWISE, SENTENCEPIECE = "gpt2", "llama"
"""llama.cpp's names of the two models of text."""
_SPACE = "▁"
_CUT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
# How texts are cut, by llama.cpp's name of it, and whether words of the vocabulary are then taken before any merge.
_CUTS: dict[str, tuple[tuple[str, ...], bool]] = {
    "gpt-2": (("gpt-2",), False),
    "smollm": (("digits", "gpt-2"), False),
    "qwen2": ((_CUT % r"\p{N}", "bytes"), False),
    "llama-bpe": ((_CUT % r"\p{N}{1,3}", "bytes"), True),
    "qwen35": ((WORDS, "bytes"), False),  # makes its words of whole ones of ours
}
# Tokens that end a text in llama.cpp by their names, whatever a file says.
ENDS_BY_NAME = frozenset(
    [
        *("<|eot_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<|flush|>", "<|calls|>"),
        *("<end_of_turn>", "<|endoftext|>", "</s>", "<|eom_id|>", "<EOT>", "_<EOT>", "[EOT]", "[EOS]"),
        *("<|end_of_text|>", "<end_of_utterance>", "<eos>", "<|fim_pad|>", "<|repo_name|>", "<|file_sep|>"),
    ]
)


@dataclass
class GgufTokenizer:
    """What a GGUF file says of a tokenizer. `opening` and `closing` stand around a text; `notes` say where llama.cpp
    reads it otherwise.
    """

    model: str
    cut: str
    tokens: list[str]
    types: list[int]
    scores: list[float] | None = None
    merges: list[str] | None = None
    space: bool = False
    unknown: int | None = None
    opening: int | None = None
    closing: int | None = None
    notes: list[str] = field(default_factory=list)


def gguf_tokenizer(tokenizer: Tokenizer, rows: int) -> GgufTokenizer:
    """The tokenizer of a model whose vocabulary has so many rows. Raises SepiolaError where llama.cpp has none such."""
    content = json.loads(tokenizer.to_json())
    model = content["model"]
    if model["type"] != "BPE":
        raise _refusal(f"is of kind {model['type']}")
    for key in ("dropout", "continuing_subword_prefix", "end_of_word_suffix"):
        if model.get(key):
            raise _refusal(f"has {key} {shown(model[key])}")
    added = {entry["id"]: entry for entry in content["added_tokens"]}
    words = {index: word for word, index in model["vocab"].items()}
    largest = max([*words, *added], default=0)
    if largest >= rows:
        raise _refusal(f"has a token {largest}, and the model {rows} rows")
    merges = [tuple(m.split(" ")) if isinstance(m, str) else tuple(m) for m in model["merges"]]
    steps = list(_steps(content["pre_tokenizer"], "pretokenizers"))
    normalisers = list(_steps(content["normalizer"], "normalizers"))
    if any(step["type"] == "ByteLevel" for step in steps):
        found = _bytewise(model, merges, steps, normalisers)
        spelled = {}
    else:
        found = _sentencepiece(model, merges, steps, normalisers, {entry["content"] for entry in added.values()})
        spelled = {f"<0x{byte:02X}>": BYTE for byte in range(256)}
    unknown = model["vocab"].get(model.get("unk_token"))
    taken = {*words.values(), *(entry["content"] for entry in added.values())}
    for index in range(rows):
        if (entry := added.get(index)) is not None:
            text, kind = entry["content"], CONTROL if entry["special"] else USER_DEFINED
            text = text.replace(_SPACE, " ") if kind == USER_DEFINED and found.model == SENTENCEPIECE else text
        elif index in words:
            text, kind = words[index], spelled.get(words[index], NORMAL)
        else:
            text, kind = _unused(index, taken), UNUSED
        found.tokens.append(text)
        found.types.append(UNKNOWN if index == unknown else kind)
    if len(set(found.tokens)) < rows:
        raise _refusal("has two tokens of one name")
    found.unknown = unknown
    if found.scores is not None:
        found.scores = _scores(found.tokens, merges)
    stripping = sorted(e["content"] for e in added.values() if e["lstrip"] or e["rstrip"] or e["single_word"])
    if stripping:
        found.notes.append(f"llama.cpp reads {', '.join(stripping)} without regard to the spaces beside it")
    found.opening, found.closing = _frame(tokenizer)
    return found


def _bytewise(
    model: Mapping[str, Any],
    merges: Sequence[tuple[str, ...]],
    steps: Sequence[Mapping[str, Any]],
    normalisers: Sequence[Mapping[str, Any]],
) -> GgufTokenizer:
    notes: list[str] = []
    for step in normalisers:
        if step["type"] != "NFC":
            raise _refusal(f"normalises texts ({step['type']})")
        notes.append("llama.cpp does not normalise texts (NFC): letters with combining marks of their own may differ")
    if any(step.get("add_prefix_space") for step in steps):
        raise _refusal("sets a space before a text (add_prefix_space)")
    cut = tuple(name for step in steps for name in _cut(step))
    whole = bool(model.get("ignore_merges"))
    name = next((name for name, known in _CUTS.items() if known == (cut, whole)), None)
    if name is None:
        raise _refusal(f"cuts texts as none of llama.cpp's that are known here ({', '.join(_CUTS)})")
    if WORDS in cut:
        notes.append("llama.cpp may group the bytes of a sign that no token spells with those of the letters after it")
    return GgufTokenizer(BYTEWISE, name, [], [], merges=[" ".join(merge) for merge in merges], notes=notes)


def _cut(step: Mapping[str, Any]) -> Iterator[str]:
    """A step of cutting, by the names of `_CUTS`."""
    match step:
        case {"type": "ByteLevel", "use_regex": used}:
            yield "gpt-2" if used else "bytes"
        case {"type": "Digits", "individual_digits": True}:
            yield "digits"
        case {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}:
            yield pattern
        case {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Removed", "invert": True}:
            yield pattern
        case _:
            yield f"other: {step['type']}"


def _sentencepiece(
    model: Mapping[str, Any],
    merges: Sequence[tuple[str, ...]],
    steps: Sequence[Mapping[str, Any]],
    normalisers: Sequence[Mapping[str, Any]],
    added: set[str],
) -> GgufTokenizer:
    notes: list[str] = []
    match [*normalisers, *steps]:
        case [{"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]:
            space = True
        case [{"type": "Replace", "pattern": {"String": " "}, "content": "▁"}, *rest] if not rest or (
            [step["type"] for step in rest] == ["Split"] and rest[0]["pattern"] == {"String": " "}
        ):
            space = False
        case [{"type": "Metaspace", "replacement": "▁", "split": False, "prepend_scheme": scheme}]:
            space = scheme != "never"
            if space:
                notes.append("llama.cpp sets a space before a text that begins with one")
            if scheme == "first":
                notes.append("llama.cpp sets a space after each special token, where this tokenizer sets none")
        case kinds:
            raise _refusal(f"cuts texts by {', '.join(step['type'] for step in kinds) or 'nothing'}")
    vocabulary = model["vocab"]
    if not model.get("byte_fallback") or not all(f"<0x{byte:02X}>" in vocabulary for byte in range(256)):
        raise _refusal("has no tokens of bytes for the letters that it does not know (byte_fallback)")
    _check_merges(vocabulary, merges, added)
    return GgufTokenizer(SENTENCEPIECE, "default", [], [], scores=[], space=space, notes=notes)


def _check_merges(vocabulary: Mapping[str, int], merges: Sequence[tuple[str, ...]], added: set[str]) -> None:
    """Raises SepiolaError where merging by the score of what results, in whatever two parts, is not what merges say."""
    order = [token for left, right in merges if (token := left + right) not in added]
    runs = sum(token != before for token, before in zip(order, [None, *order], strict=False))
    known = set(merges)
    split = next(
        (
            (token[:at], token[at:])
            for token in vocabulary
            if token not in added and not (token.startswith("<0x") and token.endswith(">"))
            for at in range(1, len(token))
            if (at == 1 or token[:at] in vocabulary) and (at == len(token) - 1 or token[at:] in vocabulary)
            if (token[:at], token[at:]) not in known
        ),
        None,
    )
    if split is not None:
        raise _refusal(f"has merges that are not SentencePiece's: {shown(split[0])} and {shown(split[1])} do not merge")
    if runs != len(set(order)):
        raise _refusal("has merges that are not SentencePiece's: those of one token do not follow each other")


def _scores(tokens: Sequence[str], merges: Sequence[tuple[str, ...]]) -> list[float]:
    """Scores by which what merges first has the highest."""
    places = {token: place for place, token in enumerate(dict.fromkeys(left + right for left, right in merges))}
    return [-float(places.get(token, len(places))) for token in tokens]


def _frame(tokenizer: Tokenizer) -> tuple[int | None, int | None]:
    """The tokens that stand before and after every text."""
    letter, framed = tokenizer.encode("a"), tokenizer.encode("a", framed=True)
    opening = tokenizer.opening()
    closing = framed[len(opening) + len(letter) :]
    if len(opening) > 1 or len(closing) > 1 or framed != [*opening, *letter, *closing]:
        raise _refusal(f"sets {len(framed) - len(letter)} tokens around a text")
    return next(iter(opening), None), next(iter(closing), None)


def _steps(step: Mapping[str, Any] | None, inner: str) -> Iterator[Mapping[str, Any]]:
    """The steps of a pipeline, one after the other."""
    if step is not None:
        if step["type"] == "Sequence":
            for one in step[inner]:
                yield from _steps(one, inner)
        else:
            yield step


def _unused(index: int, taken: set[str]) -> str:
    name = f"[PAD{index}]"
    while name in taken:
        name = f"[{name}]"
    return name


def _refusal(reason: str) -> SepiolaError:
    return SepiolaError(f"llama.cpp has no tokenizer such as this model's, which {reason}; export it --to edge or hf")
