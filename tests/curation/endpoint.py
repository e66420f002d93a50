"""A chat server that is asked to repair texts, and the endpoint that asks it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sepiola.curation.repair import INSTRUCTION
from sepiola.generation.endpoint import Endpoint
from tests.chat_server import ChatServer

GOOD = {"en": "A red circle stands on the left of a blue square.", "zh": "红色的圆形在蓝色的正方形的左边。"}


class Server(ChatServer):
    """Answers what `repair` makes of a text that is to be repaired: (status, answer)."""

    def __init__(self) -> None:
        super().__init__(self._repaired)
        self.repair: Callable[[str, str], tuple[int, Any]] = lambda text, language: (200, self.said(GOOD[language]))

    def _repaired(self, prompt: str) -> tuple[int, Any]:
        language = "zh" if prompt.startswith(INSTRUCTION["zh"]) else "en"
        return self.repair(prompt.removeprefix(INSTRUCTION[language]), language)


def endpoint(server: Server, **how: Any) -> Endpoint:
    return Endpoint(server.base, "mender", **{"pause": 0.01, "timeout": 900, **how})
