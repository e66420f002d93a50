"""Tokenizers: any `tokenizer.json`, and byte-level BPE trained on one's own text, English and Chinese.

Encoding adds no special tokens; who builds a prompt places them (`end` closes a T5 source, `start` opens a decoder).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from sepiola.errors import DataError

PAD, END, UNKNOWN = "<pad>", "</s>", "<unk>"


class Tokenizer:
    """Text to token ids and back, over the `tokenizers` library."""

    def __init__(self, backend: tokenizers.Tokenizer) -> None:
        backend.no_padding()
        backend.no_truncation()
        self.backend = backend

    @classmethod
    def load(cls, path: str | Path) -> Tokenizer:
        """Reads a `tokenizer.json`. Raises DataError when the file is absent or is not one."""
        path = Path(path)
        if not path.is_file():
            raise DataError(f"{path}: no such file; expected a tokenizer.json")
        try:
            return cls(tokenizers.Tokenizer.from_file(str(path)))
        except Exception as error:  # the library raises bare Exception
            raise DataError(f"{path}: not a tokenizer.json that can be read ({error})") from None

    @classmethod
    def train(cls, texts: Iterable[str], vocabulary: int, extra: Sequence[str] = ()) -> Tokenizer:
        """Byte-level BPE of `vocabulary` tokens: `<pad>` 0, `</s>` 1, `<unk>` 2, the 256 bytes, then merges.

        `extra` are special tokens that take the last ids, in their order.

        Digits stand alone, so that numbers are read by digit. Same texts in the same order, same tokenizer.
        """
        backend = tokenizers.Tokenizer(models.BPE())
        backend.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )
        backend.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=vocabulary - len(extra),
            special_tokens=[PAD, END, UNKNOWN],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        backend.train_from_iterator(texts, trainer)
        backend.add_special_tokens(list(extra))
        return cls(backend)

    @property
    def vocabulary(self) -> int:
        """How many tokens there are."""
        return self.backend.get_vocab_size()

    def id_of(self, token: str) -> int | None:
        """The id of one token by its name; None when there is none."""
        found: int | None = self.backend.token_to_id(token)
        return found

    def encode(self, text: str) -> list[int]:
        """Token ids of a text, no special tokens added."""
        return self.backend.encode(text, add_special_tokens=False).ids

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of several texts."""
        return [e.ids for e in self.backend.encode_batch(list(texts), add_special_tokens=False)]

    def decode(self, ids: Sequence[int]) -> str:
        """Text of token ids, special tokens left out."""
        return self.backend.decode(list(ids), skip_special_tokens=True)

    def to_json(self) -> str:
        """The `tokenizer.json` text."""
        return self.backend.to_str(pretty=False)
