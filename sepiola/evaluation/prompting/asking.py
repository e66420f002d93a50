"""How prompts reach a model: as plain text, or as a conversation in its chat template.

As lm-eval's `--apply_chat_template --fewshot_as_multiturn` has it: what opens a prompt is the system turn, each shot a
user's turn and the assistant's, and an option the assistant's reply without the space before it. Where the template has
no system turn, what opens the prompt leads the first user's turn. Plain text is the shots one after the other.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from sepiola.data.example import Message, Role
from sepiola.errors import DataError
from sepiola.evaluation.prompting.item import SEPARATOR, PromptItem
from sepiola.generation.chat import Chat
from sepiola.generation.engine import Score
from sepiola.generation.text_scorer import Context, OnDone, TextScorer


@dataclass(frozen=True)
class Asking:
    """A model as it is asked. `chat` lays prompts out as conversations; without it they are plain text."""

    text_scorer: TextScorer
    chat: Chat | None = None

    def lay_out(self, item: PromptItem, shots: Sequence[PromptItem]) -> Context:
        """The whole prompt."""
        if self.chat is None:
            return plain_text(item, shots)
        turns: list[tuple[Role, str]] = []
        for shot in shots:
            turns += [("user", shot.prompt), ("assistant", self.reply(shot.answer))]
        turns.append(("user", item.prompt))
        if item.head:
            try:
                laid_out = self.chat.text(_messages([("system", item.head), *turns]))
                if item.head.strip() in str(laid_out):
                    return laid_out
            except DataError:  # the template refuses system turns, or else the rest too
                pass
            turns[0] = ("user", item.head + turns[0][1])
        return self.chat.text(_messages(turns))

    def reply(self, answer: str) -> str:
        """An answer as it follows the prompt: after a question's end in plain text, alone as a turn."""
        return answer if self.chat is None else answer.lstrip()

    def shortened(self, item: PromptItem, room: int) -> PromptItem:
        """An item that is too long without shots: its question without its beginning, so that the template is whole.

        Plain text is left as it is, for the model reads the end of it.
        """
        tokenizer = self.text_scorer.tokenizer
        while self.chat is not None and item.prompt:
            excess = len(self.text_scorer.encode(self.lay_out(item, ()))) - room
            if excess <= 0:
                break
            ids = tokenizer.encode(item.prompt)
            item = dataclasses.replace(item, prompt=tokenizer.decode(ids[excess:]).lstrip("\ufffd"))
        return item

    def tokens(self, answer: str) -> int:
        """How many tokens an answer has."""
        return len(self.text_scorer.tokenizer.encode(self.reply(answer)))

    def score(self, pairs: Sequence[tuple[Context, str]], on_done: OnDone = None) -> list[Score]:
        """How likely each answer is after its prompt."""
        return self.text_scorer.score([(prompt, self.reply(answer)) for prompt, answer in pairs], on_done)

    def generate(
        self, prompts: Sequence[Context], *, max_tokens: int, stops: Sequence[str], on_done: OnDone = None
    ) -> list[str]:
        """What the model writes: in plain text up to one of `stops`, as a turn up to its end."""
        stops = stops if self.chat is None else ()
        return self.text_scorer.generate(prompts, max_tokens=max_tokens, stops=stops, on_done=on_done)


def plain_text(item: PromptItem, shots: Sequence[PromptItem]) -> str:
    """The whole prompt of a base model."""
    return item.head + "".join(shot.prompt + shot.answer + SEPARATOR for shot in shots) + item.prompt


def _messages(turns: Sequence[tuple[Role, str]]) -> list[Message]:
    return [Message(role, (text,)) for role, text in turns]
