"""What the tests of judges share."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest

from sepiola.generation import endpoint
from tests.chat_server import ChatServer


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ChatServer]:
    """A chat model behind an endpoint, asked again without long pauses."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(endpoint, "Retry", partial(endpoint.Retry, backoff_max=0.01))
    running = ChatServer()
    yield running
    running.close()
