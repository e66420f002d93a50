"""The endpoint that repairs texts: asked, tried again, refused, and absent."""

from __future__ import annotations

import pytest

from sepiola.curation.repair import Endpoint
from sepiola.errors import SepiolaError, SpecError
from tests.curation.endpoint import Server, endpoint


def test_the_endpoint_is_asked_in_the_text_s_language_and_tried_again(server: Server) -> None:
    answers = iter([(503, {}), (429, {}), (200, server.said(" Mended. "))])
    server.reply = lambda text, language: next(answers)
    assert endpoint(server, key="s3cret")("Fix it") == "Mended."
    assert server.asked[0]["model"] == "mender" and len(server.asked) == 3 and server.keys == ["Bearer s3cret"] * 3
    server.reply = lambda text, language: (401, {"error": "bad key"})
    with pytest.raises(SepiolaError, match=r"refuses the request \(status 401: .*bad key"):
        endpoint(server)("Fix it")
    assert len(server.asked) == 4 and server.keys[-1] is None  # a refusal is not tried again
    server.reply = lambda text, language: (200, server.said("half \ud83d"))
    assert endpoint(server)("Fix it") == "half \ufffd"
    server.reply = lambda text, language: (200, {"text": "hello"})
    with pytest.raises(SepiolaError, match="not as OpenAI's chat completions do"):
        endpoint(server)("Fix it")
    for base in ("ftp://host/v1", "http://", "http://me:key@host/v1", "http://[::/v1"):
        with pytest.raises(SpecError, match="is no "):
            Endpoint(base, "mender")


def test_nobody_listens() -> None:
    nobody = Endpoint("http://127.0.0.1:9/v1", "mender", tries=2, pause=0.01)
    with pytest.raises(SepiolaError, match="does not answer after 2 tries"):
        nobody("Fix it")
