"""How a model that generates and rates reads a dialogue (LaMDA, arXiv 2201.08239, section 5).

Every turn ends with the end token. A reply stands after `<response>`, and one rating after the reply and the special
token of an attribute: `What's up?</s><response>not much.<SENSIBLE>1`. Nothing but these tokens is a control token: what
people write is text, names of such tokens too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sepiola.data.example import Message
from sepiola.errors import CheckpointError, DataError
from sepiola.specs.rating import AttributeSpec
from sepiola.text.chat import DEFAULT, ChatTemplate
from sepiola.text.tokenizer import END, Tokenizer

RESPONSE = "<response>"
"""What a reply stands after."""

TEMPLATE = (
    "{% for message in messages %}{{ message.content }}{{ eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}" + RESPONSE + "{% endif %}"
)


def dialogue_template(end: str) -> ChatTemplate:
    """The same layout as a chat template, so that all that talks with a model reads as it was trained to."""
    return ChatTemplate({DEFAULT: TEMPLATE}, {"eos_token": end})


@dataclass(frozen=True)
class RatedDialogue:
    """Token ids of dialogues, replies and ratings. `ratings` are the tokens of `0` and of `1`."""

    tokenizer: Tokenizer
    end: int
    response: int
    ratings: tuple[int, int]
    attributes: dict[str, int]

    @classmethod
    def of(cls, tokenizer: Tokenizer, attributes: Sequence[AttributeSpec], end: int) -> RatedDialogue:
        """By a tokenizer that has the special tokens. Raises CheckpointError for another."""
        names = [RESPONSE, *(attribute.token for attribute in attributes)]
        found = {name: tokenizer.id_of(name) for name in names}
        missing = [name for name, token in found.items() if token is None]
        digits = [tokenizer.encode(digit)[-1:] for digit in "01"]
        if missing or not all(digits) or digits[0] == digits[1]:
            lacks = ", ".join(missing) or "a token for each of 0 and 1"
            raise CheckpointError(f"the tokenizer lacks {lacks}: train with the objective generate-and-rate")
        ids = {attribute.name: found[attribute.token] or 0 for attribute in attributes}
        return cls(tokenizer, end, found[RESPONSE] or 0, (digits[0][0], digits[1][0]), ids)

    def context(self, messages: Sequence[Message]) -> list[int]:
        """What a reply stands after. Raises DataError for a dialogue without a turn, and for pictures."""
        if not messages:
            raise DataError("a reply follows a turn, and this dialogue has none")
        if any(not isinstance(part, str) for message in messages for part in message.content):
            raise DataError("the dialogue shows pictures; a model that generates and rates reads text alone")
        turns = self.tokenizer.encode_batch([message.text for message in messages], plain=True)
        return [token for turn in turns for token in (*turn, self.end)] + [self.response]

    def reply(self, text: str) -> list[int]:
        """A reply, without the end token that closes it where it is written."""
        return self.tokenizer.encode_batch([text], plain=True)[0]

    def texts(self, texts: Sequence[str]) -> list[list[int]]:
        """Several replies."""
        return self.tokenizer.encode_batch(list(texts), plain=True)


def end_token(tokenizer: Tokenizer, end: int) -> str:
    """The end token's name."""
    return tokenizer.name_of(end) or END
