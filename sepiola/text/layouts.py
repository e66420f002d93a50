"""Prompt layouts: the words around images, requests and replies with which a model was trained, by name.

MiniGPT-4's are of its paper (arXiv 2304.10592, section 3.2) and, over LLaMA-2, of its code. Every layout begins with
the decoder's start token.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from sepiola.data.example import Content, Example, Message
from sepiola.data.image import ImageRef


@dataclass(frozen=True)
class Layout:
    """What stands before and after each image, each request, and each reply that was given before.

    A published model says by `stop` that its reply is over.
    """

    image: tuple[str, str]
    request: tuple[str, str]
    reply: tuple[str, str]
    stop: str | None = None

    def apply(self, example: Example) -> Example:
        """The example as one message that is laid out; its question and target are as they were."""
        content: list[Content] = []
        for message in example.messages:
            before, after = {"user": self.request, "assistant": self.reply}.get(message.role, ("", ""))
            content += [before, *self._spaced(message.content), after]
        return dataclasses.replace(example, messages=(Message("user", tuple(content)),))

    def _spaced(self, content: tuple[Content, ...]) -> list[Content]:
        """Text and images in their order, a space between an image and what follows it."""
        parts: list[Content] = []
        for place, part in enumerate(content):
            if isinstance(part, ImageRef):
                last = place == len(content) - 1
                parts += [self.image[0], part, self.image[1] + ("" if last else " ")]
            else:
                parts.append(part.lstrip() if place and isinstance(content[place - 1], ImageRef) else part)
        return parts


LAYOUTS = {
    "minigpt-4": Layout(("<Img>", "</Img>"), ("###Human: ", " ###Assistant:"), (" ", ""), "###"),
    "minigpt-4-llama-2": Layout(("<Img>", "</Img>"), ("[INST] ", " [/INST]"), (" ", " ")),
}
