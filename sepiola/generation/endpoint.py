"""A chat model behind an endpoint that speaks OpenAI's chat completions, local or remote: it repairs texts, paraphrases
requests, and judges.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from urllib.parse import urlsplit

from urllib3 import PoolManager, Retry
from urllib3.exceptions import HTTPError, MaxRetryError

from sepiola.errors import SepiolaError, SpecError

KEY = "OPENAI_API_KEY"
"""The environment variable that holds the endpoint's key; many local servers need none. It is written nowhere."""

TOGETHER = 8
"""Questions that an endpoint is asked at once."""
ROW = 8
"""So many questions in a row without an answer, and the rest are not asked."""
_PASSING = (408, 425, 429, *range(500, 600))


class Endpoint:
    """A chat model behind `base` (such as http://localhost:8000/v1), asked one message at a time.

    What passes (no connection, a timeout, an answer that breaks off, statuses 408, 425, 429 and 5xx) is tried `tries`
    times, with a `pause` in seconds that doubles, or as long as the endpoint asks for. Raises SepiolaError when that
    does not help, and at once for another refusal. `key` is what the environment says, by default.
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
        self.url = checked_base(base) + "/chat/completions"
        self.model = model
        self.key = os.environ.get(KEY, "").strip() if key is None else key
        self.tries = tries
        again = Retry(
            tries - 1,
            status_forcelist=_PASSING,
            allowed_methods=None,  # a POST that only asks can be sent twice
            backoff_factor=pause,
            raise_on_status=False,
        )
        self.pool = PoolManager(timeout=timeout, retries=again, maxsize=TOGETHER)

    def __call__(self, prompt: str) -> str:
        """The answer to a question, deterministic where the model is."""
        return self.ask([{"role": "user", "content": prompt}])

    def ask(self, messages: Sequence[Mapping[str, str]], temperature: float = 0.0) -> str:
        """The next turn of a conversation."""
        body = {"model": self.model, "messages": list(messages), "temperature": temperature}
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

    def ask_each(self, prompts: Iterable[str], temperature: float = 0.0) -> Iterator[str | SepiolaError]:
        """The answer to each question, in their order, `TOGETHER` at once; an error stands where there is none.

        Raises SepiolaError when `ROW` in a row have none: the endpoint is down, or refuses all.
        """
        left, failed = iter(prompts), 0
        with ThreadPoolExecutor(TOGETHER) as pool:
            while some := list(islice(left, TOGETHER)):
                for answer in pool.map(lambda prompt: self._try(prompt, temperature), some):
                    failed = failed + 1 if isinstance(answer, SepiolaError) else 0
                    if failed >= ROW and isinstance(answer, SepiolaError):
                        raise answer
                    yield answer

    def _try(self, prompt: str, temperature: float) -> str | SepiolaError:
        try:
            return self.ask([{"role": "user", "content": prompt}], temperature)
        except SepiolaError as error:
            return error

    def _text(self, data: bytes) -> str:
        try:
            content = json.loads(data)["choices"][0]["message"]["content"]
        except (ValueError, KeyError, IndexError, TypeError, RecursionError):
            shown = data[:200].decode(errors="replace")
            raise SepiolaError(f"{self.url} answers, but not as OpenAI's chat completions do: {shown}") from None
        # JSON may hold halves of surrogate pairs, which no file takes.
        whole = (
            content.encode("utf-16", "surrogatepass").decode("utf-16", "replace") if isinstance(content, str) else ""
        )
        return whole.strip()


def checked_base(base: str) -> str:
    """The base URL, without a slash at its end. Raises SpecError for one that is none, or that holds a key."""
    try:
        parts = urlsplit(base)
    except ValueError as error:
        raise SpecError(f"'{base}' is no URL ({error}); expected http://HOST/v1") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
        raise SpecError(f"'{base}' is no base URL of an endpoint; expected http://HOST/v1, with the key in {KEY}")
    return base.rstrip("/")
