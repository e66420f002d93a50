"""Tokenizers: any `tokenizer.json`, and byte-level BPE or Unigram trained on one's own text, English and Chinese.

BPE is Sennrich et al. 2016 (arXiv:1508.07909) over bytes, as in GPT-2; Unigram is `sepiola.text.unigram`, over bytes
too, so both give back any text as it was. Encoding adds no special tokens; who builds a prompt places them (`end`
closes a T5 source, `start` opens a decoder).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from sepiola.errors import DataError, SpecError
from sepiola.specs.base import nearest
from sepiola.specs.safe_files import read_text
from sepiola.text.backend import library_errors, read_backend, reading
from sepiola.text.unigram import LONGEST, SEEDS, train_pieces

KINDS = ("bpe", "unigram")
PAD, END, UNKNOWN = "<pad>", "</s>", "<unk>"
SPECIAL = [PAD, END, UNKNOWN]
AT_ONCE = 1000  # texts that are encoded together
SHORT = 2000  # letters in all: so few are encoded sooner than threads are woken for them
MOST = 1 << 28  # bytes of a tokenizer.json
ALPHABET = sorted(pre_tokenizers.ByteLevel.alphabet())

# The words that no token reaches across, after the patterns of GPT-4 and Qwen2: English contractions; a run of Chinese,
# or of other letters, with the space before it; a digit; a run of punctuation with the line ends after it; line ends;
# spaces. Unlike theirs, no punctuation is glued to the letters that follow it.
WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
    r"| ?\p{Han}+"
    r"| ?[\p{L}\p{M}&&[^\p{Han}]]+"
    r"|\p{N}"
    r"| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+"
    r"|\s+(?!\S)"
    r"|\s+"
)


class Tokenizer:
    """Text to token ids and back, over the `tokenizers` library.

    Threads may share one: no setting of a backend changes between calls.
    """

    def __init__(self, backend: tokenizers.Tokenizer) -> None:
        backend.no_padding()
        backend.no_truncation()
        self.backend = backend
        self._plain: tokenizers.Tokenizer | None = None

    @classmethod
    def load(cls, path: str | Path) -> Tokenizer:
        """Reads a `tokenizer.json`. Raises DataError when the file is absent or is not one."""
        path = Path(path)
        text = read_text(path, DataError, most=MOST, absent="; expected a tokenizer.json")
        return cls(read_backend(text, str(path)))

    @classmethod
    def train(cls, texts: Iterable[str], vocabulary: int, kind: str = "bpe", extra: Sequence[str] = ()) -> Tokenizer:
        """A tokenizer of `vocabulary` tokens: `<pad>` 0, `</s>` 1, `<unk>` 2, the 256 bytes and what was learned.

        `extra` are special tokens that take the last ids, in their order. Digits stand alone, so that numbers are read
        by digit. Any text comes back as it was, but for the names of special tokens written out in it. Same texts, same
        tokenizer, to the byte; little text may yield fewer tokens. Raises SpecError for an unknown kind, and for a
        vocabulary that does not hold the bytes.
        """
        if kind not in KINDS:
            raise SpecError(f"no kind of tokenizer is named '{kind}'; {nearest(kind, KINDS)}")
        least = len(SPECIAL) + len(ALPHABET) + len(extra)
        if vocabulary < least:
            raise SpecError(
                f"a vocabulary of {vocabulary} tokens; the 256 bytes and {least - 256} special tokens need {least}"
            )
        vocabulary -= len(extra)
        if kind == "bpe":
            backend = _train_bpe(texts, vocabulary, special_tokens=SPECIAL)
            backend.add_special_tokens(list(extra))
            return cls(backend)
        texts = list(texts)
        seeds = _train_bpe(texts, SEEDS * vocabulary, max_token_length=LONGEST)
        words = Counter(word for text in texts for word, _ in seeds.pre_tokenizer.pre_tokenize_str(text))
        ids = seeds.get_vocab()
        pieces = train_pieces(words, seeds.model, sorted(ids, key=ids.__getitem__), vocabulary - len(SPECIAL))
        backend = _byte_level(models.Unigram([*((name, 0.0) for name in SPECIAL), *pieces], SPECIAL.index(UNKNOWN)))
        backend.add_special_tokens([*SPECIAL, *extra])
        return cls(backend)

    @property
    def vocabulary(self) -> int:
        """How many tokens there are."""
        return self.backend.get_vocab_size()

    def id_of(self, token: str) -> int | None:
        """The id of one token by its name; None when there is none."""
        number: int | None = self.backend.token_to_id(token)
        return number

    def with_token(self, name: str) -> Tokenizer:
        """This tokenizer, with a special token of that name after its own unless it has one."""
        if self.id_of(name) is None:
            self.backend.add_special_tokens([name])
            self._plain = None
        return self

    def name_of(self, token: int) -> str | None:
        """The name of one token by its id; None when there is none."""
        name: str | None = self.backend.id_to_token(token)
        return name

    def is_special(self, token: int) -> bool:
        """Whether a token is a special one, which `decode` leaves out."""
        return token in self.special_ids()

    def special_ids(self) -> frozenset[int]:
        """The ids of all special tokens."""
        added = self.backend.get_added_tokens_decoder()
        return frozenset(token for token, entry in added.items() if entry.special)

    def encode(self, text: str, *, framed: bool = False) -> list[int]:
        """Token ids of a text; `framed` adds the special tokens that the file sets around texts."""
        with reading(text):
            return self.backend.encode(text, add_special_tokens=framed).ids

    def encode_batch(self, texts: Sequence[str], *, plain: bool = False, special: bool = False) -> list[list[int]]:
        """Token ids of several texts; in `plain` ones the names of special tokens are letters like others.

        With `special`, the special tokens that the `tokenizer.json` adds to a text stand around it.
        """
        backend = self._plain_backend() if plain else self.backend
        distinct, rows = list(dict.fromkeys(texts)), list[list[int]]()
        for start in range(0, len(distinct), AT_ONCE):  # an encoding takes many times the memory of its ids
            some = distinct[start : start + AT_ONCE]
            with reading(*some):
                if sum(map(len, some)) < SHORT:
                    rows += [backend.encode(text, add_special_tokens=special).ids for text in some]
                else:
                    rows += [e.ids for e in backend.encode_batch_fast(some, add_special_tokens=special)]
        known = dict(zip(distinct, rows, strict=True))
        return [[*known[text]] for text in texts]

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Which letters of a text each of its tokens stands for: the first one's place, and that after the last."""
        with reading(text):
            return [(start, end) for start, end in self.backend.encode(text, add_special_tokens=False).offsets]

    def _plain_backend(self) -> tokenizers.Tokenizer:
        """A copy that reads the names of special tokens as letters, made when it is first asked for."""
        plain = self._plain
        if plain is None:
            plain = tokenizers.Tokenizer.from_str(self.backend.to_str())
            plain.encode_special_tokens = True
            self._plain = plain  # whole already: two threads may each make one
        return plain

    def opening(self) -> list[int]:
        """What the file's post-processor puts before every text; nothing in a tokenizer of our own."""
        letter = self.encode("a")
        framed = self.encode("a", framed=True)
        starts = (i for i in range(len(framed)) if framed[i : i + len(letter)] == letter)
        return framed[: next(starts, 0)]

    def decode(self, ids: Sequence[int], *, special_tokens: bool = False) -> str:
        """Text of token ids, special tokens left out unless they are asked for."""
        with library_errors("the tokenizer cannot write these token ids"):
            return self.backend.decode(list(ids), skip_special_tokens=not special_tokens)

    def to_json(self) -> str:
        """The `tokenizer.json` text."""
        return self.backend.to_str(pretty=False)


def _byte_level(model: models.Model) -> tokenizers.Tokenizer:
    backend = tokenizers.Tokenizer(model)
    split = pre_tokenizers.Split(tokenizers.Regex(WORDS), "isolated")
    bytewise = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.pre_tokenizer = pre_tokenizers.Sequence([split, bytewise])
    backend.decoder = decoders.ByteLevel()
    return backend


def _train_bpe(
    texts: Iterable[str], vocabulary: int, *, special_tokens: Sequence[str] = (), max_token_length: int | None = None
) -> tokenizers.Tokenizer:
    backend = _byte_level(models.BPE())
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        initial_alphabet=ALPHABET,
        show_progress=False,
        special_tokens=list(special_tokens),
        max_token_length=max_token_length,
    )
    backend.train_from_iterator(texts, trainer)
    return backend
