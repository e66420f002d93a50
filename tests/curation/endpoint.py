"""A real HTTP server that speaks OpenAI's chat completions, and the endpoint that asks it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from sepiola.curation.repair import INSTRUCTION, Endpoint

GOOD = {"en": "A red circle stands on the left of a blue square.", "zh": "红色的圆形在蓝色的正方形的左边。"}


class Server:
    """Answers at /v1/chat/completions what `reply` makes of a text that is to be repaired: (status, answer)."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.reply: Callable[[str, str], tuple[int, Any]] = lambda text, language: (200, self.said(GOOD[language]))
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.asked.append(body)
                outer.keys.append(self.headers["Authorization"])
                prompt = body["messages"][0]["content"]
                language = "zh" if prompt.startswith(INSTRUCTION["zh"]) else "en"
                status, answer = outer.reply(prompt.removeprefix(INSTRUCTION[language]), language)
                if self.path != "/v1/chat/completions":
                    status, answer = 404, {"error": "no such path"}
                data = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: Any) -> None: ...

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.base = f"http://127.0.0.1:{self.http.server_address[1]}/v1"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    @staticmethod
    def said(text: str) -> dict[str, Any]:
        return {"choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}]}


def endpoint(server: Server, **how: Any) -> Endpoint:
    return Endpoint(server.base, "mender", **{"pause": 0.01, "timeout": 900, **how})
