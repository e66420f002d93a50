"""Universal self-consistency (Chen et al., arXiv 2311.17311): the model reads its own chains side by side and names the
one that most of them agree with, so that answers of which no two are spelled alike can be voted on too.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

from sepiola.data.example import Example, Message
from sepiola.reasoning.answer import Chain
from sepiola.reasoning.least_to_most import Writes

WORDS = {
    "en": (
        "Response {n}:",
        "Evaluate these responses. Select the most consistent response based on majority consensus. Start your answer "
        'with "The most consistent response is Response X" (without quotes).',
    ),
    "zh": ("回答{n}：", "请比较这些回答，选出与多数回答最一致的一个。先写“最一致的回答是回答X”（不带引号）。"),
}
"""By language what stands before each chain, and what asks for the most consistent one; in English the paper's."""
CHOICE_TOKENS = 32
"""Room for the sentence that names one."""
_NAMED = re.compile(r"(?:response|回答)\s*[(（]?\s*(\d+)", re.IGNORECASE)


class Chooser:
    """Asks the model which of its chains is the most consistent one."""

    def __init__(self, writer: Writes) -> None:
        self.writer = writer

    def choose(self, examples: Sequence[Example], rows: Sequence[Sequence[Chain]]) -> list[int | None]:
        """For each question the number of one of its chains that name an answer; None where the model names none of
        them, and where there is nothing to choose because all answer alike.
        """
        voting = [[number for number, chain in enumerate(row) if chain.vote is not None] for row in rows]
        open_ones = [
            i for i, (row, some) in enumerate(zip(rows, voting, strict=True)) if len({row[n].vote for n in some}) > 1
        ]
        asked = [_asked(examples[i], [rows[i][number] for number in voting[i]]) for i in open_ones]
        found: list[int | None] = [None] * len(rows)
        for i, (text,) in zip(open_ones, self.writer.write(asked), strict=True):
            named = _NAMED.search(text)
            place = int(named[1]) - 1 if named is not None and len(named[1]) < 5 else -1
            if 0 <= place < len(voting[i]):
                found[i] = voting[i][place]
        return found


def _asked(example: Example, chains: Sequence[Chain]) -> Example:
    """The question, what the chains say, and which of them is wanted."""
    before, words = WORDS["zh" if example.metadata.get("language") == "zh" else "en"]
    question = example.question
    text = question.text if question is not None else example.prompt
    said = [f"{before.format(n=number)} {chain.whole}" for number, chain in enumerate(chains, start=1)]
    message = Message("user", (*example.images, "\n".join([text, *said, words])))
    return dataclasses.replace(example, messages=(message,))
