"""HTTP towards a CRM: every answer is either one that the adapter asked for, or says who must act.

No redirect is followed (it would carry the key elsewhere), certificates are verified, an answer has an end, and the
requests of all accounts to one place keep its pace. What the CRM said is quoted on one line, and nothing of ours is.
"""

from __future__ import annotations

import contextlib
import json
import ssl
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from proxyd.crm.streamed import Streamed
from proxyd.errors import ConfigError, Refused, SignInRefused, TryLater
from proxyd.provider.tls import client_context, failure
from proxyd.workers import Clock

CONNECT = 15.0  # seconds
ANSWER = 60.0  # seconds between two octets of an answer; a CRM may think long over a large attachment
LARGEST = 8 * 1024 * 1024  # octets of an answer
LONGEST_WORDS = 300  # characters of what a CRM said
LONGEST_PAUSE = 6 * 3600.0  # seconds; who asks for more is asked again sooner
_LATER = (408, 423, 425, 429)


class Pace:
    """At most so many requests a second, of everybody who shares it; a second's worth may come at once."""

    def __init__(self, per_second: float, clock: Clock) -> None:
        self._between = 1.0 / per_second
        self._ahead = 1.0  # seconds
        self._clock = clock
        self._next = clock.monotonic() - self._ahead

    async def turn(self) -> None:
        now = self._clock.monotonic()
        self._next = max(self._next + self._between, now - self._ahead + self._between)
        if self._next > now:
            await self._clock.sleep(self._next - now)


class Answer:
    """One that was asked for. `json()` raises TryLater where it is none."""

    def __init__(self, host: str, status: int, headers: httpx.Headers, body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self._host = host

    def json(self) -> Any:
        try:
            return json.loads(self.body)
        except ValueError:
            raise TryLater(f"{self._host}: answered with something that is not JSON") from None


class Http:
    """One CRM's server. `headers` go with every request."""

    def __init__(
        self,
        url: str,
        pace: Pace,
        *,
        ca: Path | None = None,
        headers: Mapping[str, str] | None = None,
        patience: float = ANSWER,
    ) -> None:
        """Raises SignInRefused where `ca` cannot be read."""
        self.host = urlsplit(url).hostname or url
        self._port = urlsplit(url).port or (443 if url.startswith("https") else 80)
        self._pace = pace
        self._patience = patience
        try:
            context = client_context("https", ca)
        except ConfigError as error:
            raise SignInRefused(str(error)) from None
        self._client = httpx.AsyncClient(
            base_url=url,
            verify=context,
            headers=dict(headers or {}),
            timeout=httpx.Timeout(patience, connect=CONNECT),
            follow_redirects=False,
            trust_env=False,
        )

    async def close(self) -> None:
        await self._client.aclose()

    async def request(
        self, method: str, path: str, *, expect: Collection[int] = (), body: Streamed | None = None, **options: Any
    ) -> Answer:
        """An answer of 2xx, or with a status that is expected. `options` are httpx's: json, content, params …; a `body`
        is sent as it is read.

        Raises TryLater, Refused, SignInRefused. After TryLater nobody knows whether the server did what was asked.
        """
        await self._pace.turn()
        if body is not None:
            told = {"Content-Length": str(body.length), "Content-Type": body.type}
            options = {**options, "content": body.chunks(), "headers": {**options.get("headers", {}), **told}}
        try:
            async with self._client.stream(method, path, **options) as response:
                answer = await _bounded(response, self.host)
        except httpx.InvalidURL as error:
            raise Refused(f"{self.host}: {error}") from None
        except (httpx.TransportError, ssl.SSLError, OSError) as error:
            raise TryLater(self._failure(error)) from None
        if response.is_success and is_web_page(answer):  # what stands in a CRM's place while it is being maintained
            raise TryLater(f"{self.host}: answered with a web page (is the address right? is it being maintained?)")
        if response.is_success or response.status_code in expect:
            return Answer(self.host, response.status_code, response.headers, answer)
        raise self._refusal(response, answer)

    def _failure(self, error: BaseException) -> str:
        if isinstance(error, httpx.ConnectTimeout | httpx.PoolTimeout):
            return f"{self.host}: no connection in {CONNECT:.0f} s"
        if isinstance(error, httpx.TimeoutException):
            return f"{self.host}: no answer in {self._patience:g} s"
        cause = _first_cause(error)
        if cause is not None:
            return failure(cause, self.host, self._port)[1]
        return f"{self.host}: the connection was closed before it answered"

    def _refusal(self, response: httpx.Response, body: bytes) -> TryLater | Refused | SignInRefused:
        status = response.status_code
        words = said(body) or said(response.headers.get("x-status-reason", "").encode())  # EspoCRM says it there
        what = f"{self.host} answered {status} {response.reason_phrase}".rstrip() + (f": {words}" if words else "")
        if status in (401, 403):
            return SignInRefused(what, words)
        if status in _LATER or status >= 500:
            return TryLater(what, retry_after(response.headers, datetime.now(UTC)), words)
        if response.is_redirect:
            return SignInRefused(f"{self.host} points to another address ({status}); is `url` right?")
        return Refused(what, words)


def _first_cause(error: BaseException) -> OSError | None:
    """The system's own error, below what the libraries have wrapped around it."""
    found: OSError | None = None
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError):
            found = cause
        grouped = cause.exceptions[0] if isinstance(cause, BaseExceptionGroup) else None
        cause = grouped or cause.__cause__ or cause.__context__
    return found


async def _bounded(response: httpx.Response, host: str) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > LARGEST:
            raise TryLater(f"{host}: its answer is larger than {LARGEST // 1024 // 1024} MB")
    return bytes(body)


def is_web_page(body: bytes) -> bool:
    return body[:200].lstrip().lower().startswith((b"<!doctype html", b"<html"))


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds until the server wants to hear of us again (RFC 9110 section 10.2.3)."""
    value = headers.get("retry-after", "").strip()
    if not value:
        return None
    if value.isdigit():
        seconds = float(value[:9])
    else:
        try:
            seconds = (parsedate_to_datetime(value).astimezone(UTC) - now).total_seconds()
        except ValueError:
            return None
    return min(max(seconds, 0.0), LONGEST_PAUSE)


def said(body: bytes) -> str:
    """What a server says of an error, on one printable line; nothing of a web page."""
    text = body[:4000].decode("utf-8", "replace").strip()
    if text.startswith("<"):
        return "a web page" if is_web_page(body) else ""
    with contextlib.suppress(ValueError):
        text = _message_in(json.loads(body)) or text
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= LONGEST_WORDS else line[:LONGEST_WORDS] + "…"


def _message_in(document: Any) -> str:
    """The sentence in an error document, under the names that CRMs use."""
    if isinstance(document, list):
        return _message_in(document[0]) if document else ""
    if isinstance(document, dict):
        for key in ("message", "detail", "error_description", "error_info", "title", "error"):
            if isinstance(found := document.get(key), str) and found:
                return found
    return ""
