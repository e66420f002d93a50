"""The server that repairs texts while a test runs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.curation.endpoint import Server


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    running = Server()
    yield running
    running.close()
