"""What may well follow in a text, guessed: where the last tokens stood before, what followed there (prompt-lookup
decoding, Saxena 2023). Both runtimes read a guess in one pass, and keep it as far as the model itself writes it.
"""

from __future__ import annotations

from collections.abc import Sequence

LONGEST, SHORTEST = 5, 3
"""So many of the last tokens are looked for, the most first."""
FIRST = 3
"""Tokens of the first guess at most; those after it are twice as long as long as all come true."""


class TokenLookup:
    """A text's tokens, and where each run of them stood last. `most` are the tokens of a guess at most."""

    def __init__(self, tokens: Sequence[int], most: int) -> None:
        self.most = most
        self.length = min(FIRST, most)
        self.tokens: list[int] = []
        self._after: dict[tuple[int, ...], int] = {}
        for token in tokens:
            self.add(token)

    def add(self, token: int) -> None:
        """The token that follows. What ends with the one before it is known from now on."""
        for count in range(SHORTEST, min(LONGEST, len(self.tokens)) + 1):
            self._after[tuple(self.tokens[-count:])] = len(self.tokens)
        self.tokens.append(token)

    def guess(self, most: int) -> list[int]:
        """What may follow, of at most `most` tokens; none where the last tokens are new."""
        for count in range(min(LONGEST, len(self.tokens)), SHORTEST - 1, -1):
            place = self._after.get(tuple(self.tokens[-count:]))
            if place is not None:
                period = len(self.tokens) - place  # what repeats itself goes on so
                return [self.tokens[place + i % period] for i in range(max(0, min(self.length, most)))]
        return []

    def judged(self, guessed: int, right: int) -> None:
        """How many tokens of a guess came true."""
        if guessed:
            self.length = min(self.most, 2 * self.length if right == guessed else right + 1)
