"""A real HTTP server that speaks OpenAI's chat completions, and misbehaves where a test wants it to."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = str | tuple[int, Any]
"""What the model says, or a status with its body: JSON data, or bytes as they are."""


class ChatServer:
    """Answers at /v1/chat/completions what `reply` makes of a question; `asked` and `keys` are what came in."""

    def __init__(self, reply: Callable[[str], Answer] = str) -> None:
        self.reply = reply
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.released = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.asked.append(body)
                outer.keys.append(self.headers["Authorization"])
                answer = outer.reply(body["messages"][-1]["content"])
                status, said = (200, outer.said(answer)) if isinstance(answer, str) else answer
                if self.path != "/v1/chat/completions":
                    status, said = 404, {"error": "no such path"}
                data = said if isinstance(said, bytes) else json.dumps(said).encode()
                with suppress(ConnectionError):  # whoever asked may have given up
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
        """A chat completion."""
        return {"choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}]}

    def hang(self) -> tuple[int, Any]:
        """An answer that does not come while the server runs."""
        self.released.wait(900)
        return 503, {}

    def close(self) -> None:
        """Ends it, and whatever hangs."""
        self.released.set()
        self.http.shutdown()
        self.http.server_close()
