"""An endpoint that speaks chat completions: asked, tried again, refused, absent, and misbehaving."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from sepiola.errors import SepiolaError, SpecError
from sepiola.generation.endpoint import KEY, ROW, TOGETHER, Endpoint
from tests.chat_server import ChatServer


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ChatServer]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv(KEY, raising=False)
    running = ChatServer()
    yield running
    running.close()


def endpoint(server: ChatServer, **how: Any) -> Endpoint:
    return Endpoint(server.base, "teacher", **{"pause": 0.01, "timeout": 900, **how})


def test_what_passes_is_tried_again_and_a_refusal_is_not(server: ChatServer) -> None:
    answers = iter([(503, {}), (429, {}), " 好的。 "])
    server.reply = lambda prompt: next(answers)
    assert endpoint(server, key="s3cret")("Fix it") == "好的。"
    assert server.asked[0]["model"] == "teacher" and len(server.asked) == 3 and server.keys == ["Bearer s3cret"] * 3
    server.reply = lambda prompt: (401, {"error": "bad key"})
    with pytest.raises(SepiolaError, match=r"refuses the request \(status 401: .*bad key"):
        endpoint(server)("Fix it")
    assert len(server.asked) == 4 and server.keys[-1] is None
    server.reply = lambda prompt: (500, {"error": "broken"})
    with pytest.raises(SepiolaError, match=r"does not answer after 3 tries \(status 500: .*broken"):
        endpoint(server, tries=3)("Fix it")
    assert len(server.asked) == 7


def test_the_key_is_the_environment_s(server: ChatServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY, " s3cret\n")
    endpoint(server)("Hello")
    assert server.keys == ["Bearer s3cret"]


@pytest.mark.parametrize(
    "body", [b'{"choices": [{"message": {"con', {"text": "hello"}, b"[" * 100_000, {"choices": []}, b"\xff"]
)
def test_an_answer_that_is_no_completion_is_one_message(server: ChatServer, body: object) -> None:
    server.reply = lambda prompt: (200, body)
    with pytest.raises(SepiolaError, match="not as OpenAI's chat completions do"):
        endpoint(server)("Hello")


def test_halves_of_characters_and_no_content_at_all(server: ChatServer) -> None:
    server.reply = lambda prompt: "half \ud83d"
    assert endpoint(server)("Hello") == "half \ufffd"
    server.reply = lambda prompt: (200, {"choices": [{"message": {"content": None}}]})
    assert endpoint(server)("Hello") == ""


def test_a_server_that_hangs_and_one_that_is_not_there(server: ChatServer) -> None:
    server.reply = lambda prompt: server.hang()
    with pytest.raises(SepiolaError, match="does not answer after 2 tries"):
        endpoint(server, tries=2, timeout=0.05)("Hello")
    assert len(server.asked) == 2
    with pytest.raises(SepiolaError, match="does not answer after 2 tries"):
        Endpoint("http://127.0.0.1:9/v1", "teacher", tries=2, pause=0.01)("Hello")


def test_what_is_no_base_url_is_refused() -> None:
    for base in ("ftp://host/v1", "http://", "http://me:key@host/v1", "http://[::/v1", "http://host/v1?key=1"):
        with pytest.raises(SpecError, match="is no "):
            Endpoint(base, "teacher")


def test_each_of_many_questions_has_its_answer_or_its_error(server: ChatServer) -> None:
    server.reply = lambda prompt: (500, {}) if prompt.endswith("3") else prompt.upper()
    answers = list(endpoint(server, tries=1).ask_each(f"q{number}" for number in range(40)))
    assert len(answers) == 40
    for number, answer in enumerate(answers):
        assert isinstance(answer, SepiolaError) if number % 10 == 3 else answer == f"Q{number}"


def test_an_endpoint_that_answers_nothing_is_not_asked_all(server: ChatServer) -> None:
    server.reply = lambda prompt: (401, {}) if int(prompt) > 9 else "yes"
    answers = endpoint(server).ask_each(str(number) for number in range(1000))
    assert [next(answers) for _ in range(10)] == ["yes"] * 10
    with pytest.raises(SepiolaError, match="status 401"):
        list(answers)
    assert len(server.asked) <= 10 + ROW + 2 * TOGETHER
