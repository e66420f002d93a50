"""A tokenizer's conversations, laid out by a chat template: as text, and as tokens of which the replies are learned.

Only what the template writes is a control token: names of such tokens in a message's text are letters. What is learned
of a conversation is what the template says that the assistant wrote (`{% generation %}`), as `transformers` masks it;
where it does not say, what a reply adds to the text before it, up to the token that ends it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from sepiola.data.batching import Sample
from sepiola.data.example import Example, Message, each_reply
from sepiola.data.image import ImageRef
from sepiola.errors import DataError
from sepiola.text.chat import DEFAULT, ChatTemplate
from sepiola.text.encoding import InterleavedImages, ids_of
from sepiola.text.guard import Guard, Letters, Tools, texts_of
from sepiola.text.tokenizer import END, Tokenizer

PLAIN = (
    "{% for message in messages %}{{ message.role | capitalize }}: "
    "{% if message.content is string %}{{ message.content }}{% else %}{% for part in message.content %}"
    "{{ image_token if part.type == 'image' else part.text }}{% endfor %}{% endif %}"
    "{% for call in message.tool_calls or [] %}{{ call.function | tojson }}{% endfor %}"
    "{% if message.role == 'assistant' %}{{ eos_token }}{% endif %}{{ '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}"
)

MARKER = re.compile(r"(?=.*\w).*[^\w\s]").match
"""Whether a token's name has letters and signs: no space, no word."""


def own_template(place: str | None = None, end: str = END) -> ChatTemplate:
    """The template of a model of our own: `User: …` and `Assistant: …`, each reply closed by the end token."""
    return ChatTemplate({DEFAULT: PLAIN}, {"image_token": place or "", "eos_token": end})


class Conversations:
    """Conversations of one tokenizer. `place` is the name of the token that stands for pictures."""

    def __init__(self, tokenizer: Tokenizer, template: ChatTemplate | None, place: str | None = None) -> None:
        self.tokenizer = tokenizer
        self.place = place
        self.bare = template is None
        self.template = template or own_template(place, "")
        self.guard = Guard(tokenizer, self._controls())

    def laid_out(
        self, messages: Sequence[Message], reply: str | None = None, tools: Tools | None = None
    ) -> tuple[list[str], Letters]:
        """The conversation as text, with a reply also the text that ends with it and the reply; names are marked.

        Raises DataError where the template reads the names or changes them, so that which is whose is unknown.
        """
        turns = [*messages] if reply is None else [*messages, Message("assistant", (reply,))]

        def rendered(said: Sequence[Message], tools: Tools | None) -> list[str]:
            texts = [self.template.render(said[: len(messages)], tools)]
            if reply is not None:
                texts += [self.template.render(said, tools, add_generation_prompt=False), said[-1].text]
            return texts

        return self.marked(turns, rendered, tools)

    def check_tools(self, messages: Sequence[Message], tools: Tools | None = None) -> None:
        """Raises DataError where the template shows nothing of tools, of calls, or of what tools say."""
        renamed = [replace(m, calls=tuple({**call, "name": f"{call['name']}_"} for call in m.calls)) for m in messages]
        other = [replace(m, content=(*m.content, "_")) if m.role == "tool" else m for m in messages]
        cases = [("tools", [*messages], None), ("tool_calls", renamed, tools), ("what a tool says", other, tools)]
        for what, changed, declared in cases:
            if (changed, declared) != ([*messages], tools) and self._same((messages, tools), (changed, declared)):
                raise DataError(f"the model's chat template has no place for {what}: say it in a text, or leave it out")

    def _same(self, one: tuple[Sequence[Message], Tools | None], other: tuple[Sequence[Message], Tools | None]) -> bool:
        """Whether the template writes the same of two conversations with their tools; the other one may be none."""
        text = self.template.render(*one)
        try:
            return text == self.template.render(*other)
        except DataError:
            return False

    def whole(
        self, messages: Sequence[Message], learned: Sequence[int], tools: Tools | None = None
    ) -> tuple[str, list[tuple[int, int]], Letters]:
        """A whole conversation as marked text, and where the replies stand that are the messages `learned`.

        Raises DataError where the template lays out a conversation anew as it goes on, so that nobody knows.
        """
        spans: list[tuple[int, int]] = []

        def rendered(said: Sequence[Message], tools: Tools | None) -> list[str]:
            text, marked = self.template.render_replies(said, tools)
            replies = [at for at, message in enumerate(said) if message.role == "assistant"]
            if marked and len(marked) == len(replies):
                spans[:] = [span for at, span in zip(replies, marked, strict=True) if at in learned]
            else:
                spans[:] = [self._span(said[: at + 1], text, tools) for at in learned]
            return [text]

        turns = [*messages]
        names, named, letters = self.guard.mark(turns, tools)
        if not letters.marks:
            return rendered(turns, tools)[0], spans, letters
        (text,), letters = self.marked(turns, rendered, tools)
        rendered(names, None if tools is None else named)
        return text, spans, letters

    def _span(self, turns: Sequence[Message], whole: str, tools: Tools | None) -> tuple[int, int]:
        """Where the last of these turns stands in the whole text: what it adds to the prompt before it."""
        prompt = self.template.render(turns[:-1], tools)
        until = self.template.render(turns, tools, add_generation_prompt=False).rstrip()
        if not whole.startswith(until) or not until.startswith(prompt):
            raise DataError("the chat template lays out what was said before anew, once a conversation goes on")
        return len(prompt), len(until)

    def marked(
        self,
        turns: Sequence[Message],
        rendered: Callable[[Sequence[Message], Tools | None], list[str]],
        tools: Tools | None = None,
    ) -> tuple[list[str], Letters]:
        """What is rendered of turns and tools in which names of control tokens are marked, and the marks.

        Raises DataError where the template reads the names or changes them.
        """
        marked, named, letters = self.guard.mark(turns, tools)
        texts = rendered(marked, None if tools is None else named)
        if letters.marks and [letters.restore(text) for text in texts] != rendered(turns, tools):
            found = {name for text in texts_of(turns, tools) for name in self.guard.pattern.findall(text)}
            raise DataError(
                f"the conversation's text names control tokens ({', '.join(sorted(found))}), and the chat template "
                "changes or reads them, so that they cannot be kept as text: leave them out"
            )
        return texts, letters

    def _controls(self) -> set[str]:
        """Names that are no text where the template writes them: special tokens, and added ones around turns.

        The placeholder of pictures is not among them: a text that names it is refused.
        """
        turns = [Message(role, ("?",)) for role in ("user", "assistant", "user")]
        try:
            frame = self.template.render(turns, add_generation_prompt=False)
        except DataError:
            frame = ""
        added = self.tokenizer.backend.get_added_tokens_decoder().values()
        names = {
            token.content for token in added if token.special or (token.content in frame and MARKER(token.content))
        }
        return names - {self.place}

    def ends(self, others: Iterable[int] = ()) -> frozenset[int]:
        """The `others`, the tokenizer's end token, and the special token that the template sets after a turn."""
        ends: set[int | None] = set(others)
        if not self.bare:
            ends.add(self.tokenizer.id_of(self.template.special_tokens.get("eos_token", "")))
            after = self.tokenizer.encode(self.template.turn_end())[:1]
            ends.update(token for token in after if self.tokenizer.is_special(token))
        return frozenset(end for end in ends if end is not None)


class ConversationSamples:
    """Conversations as samples: what was said is read, and the assistant's replies are learned.

    A decoder whose template closes replies by a token learns all replies of a conversation in one row; any other model
    reads a conversation anew before each of them. `images` says how the model has pictures among the words; None: it
    sees none, and they are left out, or they are fused with its states, and a conversation that shows some is refused.
    """

    def __init__(
        self,
        conversations: Conversations,
        end: int,
        *,
        decoder: bool,
        images: InterleavedImages | None = None,
        fused: bool = False,
    ) -> None:
        self.conversations = conversations
        self.tokenizer = conversations.tokenizer
        self.end = end
        self.images = images
        self.fused = fused
        self.decoder = decoder
        self.ends = conversations.ends((end,))
        closing = self.tokenizer.encode(conversations.template.turn_end())[:1]
        self.rows = decoder and not self.ends.isdisjoint(closing)

    def of(self, example: Example) -> list[Sample]:
        """The samples of a conversation. Raises DataError where the template refuses it, or nobody knows who is who."""
        if self.rows:
            return [self._row(example)]
        return [self.reply(one) for one in each_reply(example)]

    def _row(self, example: Example) -> Sample:
        """All of a conversation, its replies learned."""
        last = Message("assistant", (example.target,), tuple(example.metadata.get("calls") or ()))
        turns = [*self._seen(example.messages), last]
        replies = [*example.metadata.get("replies", ()), len(turns) - 1]
        text, spans, letters = self.conversations.whole(turns, replies, example.metadata.get("tools"))
        pictures = _pictures(turns)
        text, spans, before, special = self._with_pictures(text, spans, pictures)
        ids, learned = letters.encode_spans(text, spans, framed=self._framed(text))
        places = [at for at, known in enumerate(learned) if known]
        if not places:
            raise DataError("the chat template shows nothing of the replies")
        first, last_place = places[0], places[-1] + 1
        mask = np.asarray(learned[first:last_place])
        return Sample(
            example.id,
            (*before, *ids[:first]),
            tuple(ids[first:last_place]),
            pictures,
            self._placeholder(pictures),
            image_tokens=special,
            learned=None if bool(mask.all()) else mask,
        )

    def reply(self, example: Example) -> Sample:
        """The last reply after what was said before it, up to the token that ends it."""
        turns, tools = self._seen(example.messages), example.metadata.get("tools")
        (text,), letters = self.conversations.laid_out(turns, tools=tools)
        pictures = _pictures(turns)
        text, _, before, special = self._with_pictures(text, [], pictures)
        source = [*before, *letters.encode(text, framed=self._framed(text))]
        if not self.decoder and source[-1:] != [self.end]:
            source.append(self.end)
        target = tuple(reply_ids(self.conversations, self.ends, self.end, turns, example.target, tools))
        return Sample(example.id, source, target, pictures, self._placeholder(pictures), image_tokens=special)

    def scored(self, example: Example, *, ended: bool = True) -> Sample:
        """The last reply with all that the template sets after it, as reward models read it; without, where it did not
        come to its end. An encoder-decoder reads it as `reply` has it.
        """
        if not self.decoder:
            sample = self.reply(example)
            return sample if ended or len(sample.target) == 1 else replace(sample, target=sample.target[:-1])
        turns, render = self._seen(example.messages), self.conversations.template.render
        tools, last = example.metadata.get("tools"), Message("assistant", (example.target,))

        def rendered(said: Sequence[Message], tools: Tools | None) -> list[str]:
            whole = render(said, tools, add_generation_prompt=False, continue_final_message=not ended)
            return [whole, render(said[:-1], tools)]

        (text, prompt), letters = self.conversations.marked([*turns, last], rendered, tools)
        pictures = _pictures(turns)
        text, _, before, special = self._with_pictures(text, [], pictures)
        prompt, *_ = self._with_pictures(prompt, [], pictures)
        whole, asked = (letters.encode(one, framed=self._framed(one)) for one in (text, prompt))
        asked = asked if whole[: len(asked)] == asked and len(asked) < len(whole) else []
        source, target = (*before, *asked), tuple(whole[len(asked) :])
        return Sample(example.id, source, target, pictures, self._placeholder(pictures), image_tokens=special)

    def _seen(self, messages: Sequence[Message]) -> list[Message]:
        """The messages, without pictures for a model that sees none. Raises DataError where it fuses them."""
        if self.fused and _pictures(messages):
            raise DataError(
                "the conversation shows pictures, and this model fuses them with its states: a chat template has no "
                "place for them; use another layout, or images: false"
            )
        return [*messages] if self.images is not None else without_pictures(messages)

    def _placeholder(self, pictures: Sequence[ImageRef]) -> int | None:
        return self.images.token if self.images is not None and pictures else None

    def _framed(self, text: str) -> bool:
        """Whether the tokenizer sets its start token: where there is no template, and where it did not for a model that
        sees.
        """
        begin = self.conversations.template.special_tokens.get("bos_token")
        return self.conversations.bare or (self.images is not None and not (begin and text.startswith(begin)))

    def _with_pictures(
        self, text: str, spans: Sequence[tuple[int, int]], pictures: Sequence[ImageRef]
    ) -> tuple[str, list[tuple[int, int]], list[int], frozenset[int]]:
        """The text with the whole run of each picture in its place, and where its spans are then; what stands before
        the text; and the special tokens that are the pictures'.
        """
        place = self.conversations.place
        if self.images is None or not pictures:
            if place is not None and place in text:
                raise DataError(f"a text names {place}, which stands for pictures")
            return text, [*spans], [], frozenset()
        runs = self.images.image_tokens(pictures)
        ids = [token for run in runs for token in ids_of(run, self.tokenizer)]
        special = frozenset(ids) & self.tokenizer.special_ids()
        before = ids if self.images.first else []
        if place is None:
            return text, [*spans], before, special
        if text.count(place) != len(pictures):
            raise DataError(
                f"{len(pictures)} pictures, and {text.count(place)} places for them ({place}): no text may name the "
                "placeholder, and the chat template must know pictures"
            )
        names = ["".join(part if isinstance(part, str) else place for part in run) for run in runs]
        if self.images.first:
            names = [""] * len(pictures)
        bounds = [0, *(bound for span in spans for bound in span), len(text)]
        left, moved, pieces = iter(names), [0], list[str]()
        for begin, end in pairwise(bounds):
            first, *rest = text[begin:end].split(place)
            pieces.append(first + "".join(next(left) + piece for piece in rest))
            moved.append(moved[-1] + len(pieces[-1]))
        return "".join(pieces), list(zip(moved[1:-1:2], moved[2::2], strict=False)), before, special


def reply_ids(
    conversations: Conversations,
    ends: frozenset[int],
    end: int,
    messages: Sequence[Message],
    reply: str,
    tools: Tools | None = None,
) -> list[int]:
    """Token ids of a reply as the template sets it after the conversation, with the token that ends it."""
    (before, whole, reply), letters = conversations.laid_out(messages, reply, tools)
    after = whole.removeprefix(before) if whole.startswith(before) else reply
    lead, _, tail = after.partition(reply) if reply else ("", "", after)  # an empty one is closed at once
    prompt = letters.encode(before)
    ids = letters.encode(before + lead + reply)
    # Where prompt and reply melt into one token, the reply is encoded alone.
    ids = ids[len(prompt) :] if ids[: len(prompt)] == prompt else letters.encode(lead + reply)
    closing = conversations.tokenizer.encode(tail)[:1]
    return [*ids, next((token for token in closing if token in ends), end)]


def without_pictures(messages: Sequence[Message]) -> list[Message]:
    """The messages' texts alone."""
    return [replace(m, content=tuple(part for part in m.content if isinstance(part, str))) for m in messages]


def _pictures(turns: Sequence[Message]) -> tuple[ImageRef, ...]:
    return tuple(part for turn in turns for part in turn.content if isinstance(part, ImageRef))
