"""The third step of MiniGPT-4's curation (arXiv 2304.10592, section 3.2): a language model fixes each text.

It answers at an endpoint that speaks OpenAI's chat completions, or is loaded here.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from urllib.parse import urlsplit

from urllib3 import PoolManager, Retry
from urllib3.exceptions import HTTPError, MaxRetryError

from sepiola.api import Model
from sepiola.curation.describe import replies
from sepiola.data.example import Message
from sepiola.errors import SepiolaError, SpecError

KEY = "OPENAI_API_KEY"
"""The environment variable that holds the endpoint's key; many local servers need none."""

Repair = Callable[[str], str]
INSTRUCTION = {
    "en": (
        "Fix the errors in the given paragraph. Remove any repeated sentences, meaningless characters, sentences that "
        "are not English, and so on. Remove unnecessary repetition. Rewrite any incomplete sentences. Return the "
        "result alone, without an explanation. If the paragraph is already correct, return it as it is, without an "
        "explanation.\n\n"
    ),
    "zh": (
        "请修正下面这段文字中的错误。删去重复的句子、无意义的字符、不是中文的句子等，去掉不必要的重复，"
        "把不完整的句子改写完整。只返回结果，不要解释。如果这段文字已经正确，请原样返回，不要解释。\n\n"
    ),
}
_PASSING = (408, 425, 429, *range(500, 600))


def request_of(text: str, language: str) -> str:
    """What the repairer is asked, in the text's language."""
    return INSTRUCTION[language] + text


class Endpoint:
    """A chat model behind `base` (such as http://localhost:8000/v1), asked one message at a time.

    What passes (no connection, a timeout, statuses 408, 425, 429 and 5xx) is tried `tries` times, with a `pause` in
    seconds that doubles, or as long as the endpoint asks for. Raises SepiolaError when that does not help, and at once
    for another refusal.
    """

    def __init__(
        self,
        base: str,
        model: str,
        key: str | None = None,
        *,
        timeout: float = 120.0,
        tries: int = 4,
        pause: float = 1.0,
    ) -> None:
        try:
            parts = urlsplit(base)
        except ValueError as error:
            raise SpecError(f"'{base}' is no URL ({error}); expected http://HOST/v1") from None
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
            raise SpecError(f"'{base}' is no base URL of an endpoint; expected http://HOST/v1, with the key in {KEY}")
        self.url = base.rstrip("/") + "/chat/completions"
        self.model = model
        self.key = key
        self.tries = tries
        again = Retry(
            tries - 1,
            status_forcelist=_PASSING,
            allowed_methods=None,  # a POST that only asks can be sent twice
            backoff_factor=pause,
            raise_on_status=False,
        )
        self.pool = PoolManager(timeout=timeout, retries=again)

    def __call__(self, prompt: str) -> str:
        body = {"model": self.model, "messages": [{"role": "user", "content": prompt}], "temperature": 0}
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        try:
            response = self.pool.request("POST", self.url, json=body, headers=headers)
        except HTTPError as error:
            reason = error.reason if isinstance(error, MaxRetryError) else error
            raise SepiolaError(f"{self.url} does not answer after {self.tries} tries ({reason})") from None
        if response.status != 200:
            fault = f"status {response.status}: {response.data[:200].decode(errors='replace').strip()}"
            if response.status in _PASSING:
                raise SepiolaError(f"{self.url} does not answer after {self.tries} tries ({fault})")
            raise SepiolaError(f"{self.url} refuses the request ({fault})")
        return self._text(response.data)

    def _text(self, data: bytes) -> str:
        try:
            content = json.loads(data)["choices"][0]["message"]["content"]
        except (ValueError, KeyError, IndexError, TypeError):
            shown = data[:200].decode(errors="replace")
            raise SepiolaError(f"{self.url} answers, but not as OpenAI's chat completions do: {shown}") from None
        # JSON may hold halves of surrogate pairs, which no file takes.
        whole = (
            content.encode("utf-16", "surrogatepass").decode("utf-16", "replace") if isinstance(content, str) else ""
        )
        return whole.strip()


def local(model: Model, tokens: int) -> Repair:
    """A model that is loaded here, as a repairer that writes `tokens` at most."""
    return lambda prompt: replies(model, [(Message("user", (prompt,)),)], tokens)[0][0]
