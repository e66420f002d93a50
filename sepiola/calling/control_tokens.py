"""A tokenizer's control tokens under other names, which nobody can write: their own names are letters then. So both
runtimes read conversations, as one text without seams.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Collection
from functools import cached_property

import tokenizers


class ControlTokens:
    """The `names` of a tokenizer's control tokens, and what finds them in a text, the longest first."""

    def __init__(self, tokenizer: tokenizers.Tokenizer, names: Collection[str]) -> None:
        self._tokenizer = tokenizer
        self.names = sorted(filter(None, names), key=lambda name: (-len(name), name))
        self.pattern = re.compile("|".join(map(re.escape, self.names)) or r"(?!)")

    def hidden(self, text: str) -> str:
        """A text in which the names are the secret ones."""
        return self.pattern.sub(lambda name: self._secret[name.group()], text)

    @cached_property
    def _secret(self) -> dict[str, str]:
        """For each name one that no text can hold by design: it is drawn anew in each process."""
        key = secrets.token_hex(16)
        return {name: f"\U000f0000{key}{i}\U000f0001" for i, name in enumerate(self.names)}

    @cached_property
    def renamed(self) -> tokenizers.Tokenizer:
        """The tokenizer with its control tokens, ids and all, under the secret names."""
        raw, secret = json.loads(self._tokenizer.to_str()), self._secret
        for entry in raw["added_tokens"]:
            entry["content"] = secret.get(entry["content"], entry["content"])
        model = raw["model"]
        if isinstance(model["vocab"], dict):
            model["vocab"] = {secret.get(name, name): token for name, token in model["vocab"].items()}
        else:
            model["vocab"] = [[secret.get(name, name), score] for name, score in model["vocab"]]
        if isinstance(model.get("unk_token"), str):
            model["unk_token"] = secret.get(model["unk_token"], model["unk_token"])
        if "merges" in model:
            pairs = [m.split(" ") if isinstance(m, str) else m for m in model["merges"]]
            model["merges"] = [pair for pair in pairs if secret.keys().isdisjoint((*pair, "".join(pair)))]
        return tokenizers.Tokenizer.from_str(json.dumps(raw))
