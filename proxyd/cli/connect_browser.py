"""The address on this machine to which a browser comes back after the person has agreed: one answer, ten minutes.

Why here and not in the daemon: it listens for these minutes only, in the process of the person who waits for it, and
the service may stay forbidden to listen anywhere (`SocketBindDeny=any`). Other programs of this machine can reach it:
the port and the path are random, the answer has to carry the state, and a page of another site is not listened to.
"""

from __future__ import annotations

import asyncio
import secrets

from proxyd.config import OAuth
from proxyd.errors import SignInRefused, TryLater
from proxyd.provider.consent import Consent, NotOurs

LIMIT = 600.0  # seconds that the person has
REQUEST_LIMIT = 10.0  # seconds for one request to arrive
LARGEST = 16 * 1024  # octets of a request's head

PAGE = """<!doctype html><meta charset="utf-8"><title>proxyd</title>
<body style="font: 18px sans-serif; margin: 15% auto; max-width: 30em"><p>{}</p></body>
"""


class Listener:
    """`async with Listener(oauth) as listener:`; then send the person to `listener.consent.address(…)`."""

    def __init__(self, oauth: OAuth) -> None:
        self._oauth = oauth
        self._path = f"/{secrets.token_urlsafe(24)}" if oauth.random_path else "/"
        self._server: asyncio.Server | None = None
        self._answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.consent = Consent.begun(oauth, "")

    async def __aenter__(self) -> Listener:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=LARGEST)
        port = self._server.sockets[0].getsockname()[1]
        self._host = f"{self._oauth.redirect_host}:{port}"
        path = self._path if self._oauth.random_path else ""
        self.consent = Consent.begun(self._oauth, f"http://{self._host}{path}")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()

    async def code(self, limit: float = LIMIT) -> str:
        """The code, once. Raises SignInRefused where the person said no, TryLater after `limit` seconds."""
        try:
            async with asyncio.timeout(limit):
                return await self._answer
        except TimeoutError:
            raise TryLater(f"nobody agreed within {limit / 60:.0f} minutes") from None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(REQUEST_LIMIT):
                head = await reader.readuntil(b"\r\n\r\n")
                status, text = self._heard(head.decode("latin-1"))
                body = PAGE.format(text).encode()
                writer.write(
                    f"HTTP/1.1 {status}\r\ncontent-type: text/html; charset=utf-8\r\ncontent-length: {len(body)}\r\n"
                    "cache-control: no-store\r\nreferrer-policy: no-referrer\r\nconnection: close\r\n"
                    "content-security-policy: default-src 'none'; style-src 'unsafe-inline'\r\n\r\n".encode()
                    + body
                )
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError):
            pass  # whoever it was, it was not a browser with an answer
        finally:
            writer.close()

    def _heard(self, head: str) -> tuple[str, str]:
        """(HTTP status, what the person reads)"""
        request, *lines = head.split("\r\n")
        fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        method, _, rest = request.partition(" ")
        target = rest.rpartition(" ")[0]
        if (
            self._answer.done()
            or fields.get("host", "").lower() != self._host
            or fields.get("origin", "null") != "null"
        ):
            return "403 Forbidden", "Nothing is expected here."
        if method != "GET" or target.partition("?")[0] != self._path:
            return "404 Not Found", "Nothing is here."
        try:
            self._answer.set_result(self.consent.code_in(f"http://{self._host}{target}"))
        except NotOurs as error:
            return "400 Bad Request", f"This is not what proxyd waits for: {error.__class__.__name__}."
        except SignInRefused as error:
            self._answer.set_exception(error)
            return "200 OK", "Access was not given. You may close this window; the terminal says more."
        return "200 OK", "Thank you. You may close this window and go back to the terminal."
