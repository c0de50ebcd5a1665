"""What the tests of submitting have in common: a client with its health, content in memory, ways to end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from proxyd.model import Envelope, HealthCause, HealthEvent, Outcome, Recipient
from proxyd.provider.smtp import Limits, Submitter
from proxyd.provider.tls import client_context
from tests.provider.scripted_smtp import OFFER, Peer

SECRET = "zwölf Böxkämpfer"
LETTER = b"Subject: x\r\n\r\nhello\r\n"
CHUNKING = (*OFFER, "CHUNKING")


class Octets:
    """Content in memory, in chunks of `step` octets; `before` is awaited before each."""

    def __init__(self, octets: bytes, step: int = 256 * 1024, says: int | None = None) -> None:
        self.octets = octets
        self.step = step
        self.says = len(octets) if says is None else says
        self.given = 0

    @property
    def size(self) -> int:
        return self.says

    async def chunks(self) -> AsyncIterator[bytes]:
        for start_at in range(0, len(self.octets), self.step):
            chunk = self.octets[start_at : start_at + self.step]
            self.given += len(chunk)
            yield chunk


class Broken(Octets):
    """A disk that fails in the middle."""

    async def chunks(self) -> AsyncIterator[bytes]:
        yield self.octets[: self.step]
        raise OSError(5, "Input/output error")


def envelope(*addresses: str) -> Envelope:
    return Envelope("ada@a", tuple(Recipient(address) for address in addresses or ("bob@b",)))


def _asked(password: object) -> Callable[[], Awaitable[str]]:
    """A password that is known, or comes of a call."""

    async def secret() -> str:
        return str(password() if callable(password) else password)

    return secret


class Client:
    """A submitter that signs in to `server`, and what its health was said to be."""

    def __init__(self, server: object, **options: object) -> None:
        self.health: list[HealthEvent] = []
        self.heard = asyncio.Event()
        context = options.pop("tls", None) or client_context("smtp")
        secret = options.pop("secret", None) or _asked(options.pop("password", None) or SECRET)
        options.setdefault("limits", Limits(connect=2, reply=5, final=5))
        self.submitter = Submitter(
            server,  # type: ignore[arg-type]
            str(options.pop("user", "ada@a")),
            secret,  # type: ignore[arg-type]
            context,  # type: ignore[arg-type]
            on_health=self._on_health,
            **options,  # type: ignore[arg-type]
        )

    def _on_health(self, event: HealthEvent) -> None:
        self.health.append(event)
        self.heard.set()

    @property
    def causes(self) -> list[HealthCause]:
        return [event.cause for event in self.health]

    async def submit(self, *addresses: str, octets: bytes = LETTER) -> Outcome:
        return await self.submitter.submit(envelope(*addresses), Octets(octets))

    async def warmed(self) -> None:
        """Warm, until that came to something."""
        self.heard.clear()
        self.submitter.warm()
        await self.heard.wait()


@contextlib.asynccontextmanager
async def client(server: object, **options: object) -> AsyncIterator[Client]:
    made = Client(server, **options)
    try:
        yield made
    finally:
        await made.submitter.close()


async def hold(peer: Peer) -> None:
    """Neither speak nor read, until the test is over."""
    peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
    await asyncio.Event().wait()


async def cut(peer: Peer) -> None:
    peer.cut()


async def hang_up(peer: Peer) -> None:
    peer.writer.close()


async def goodbye(peer: Peer) -> None:
    await peer.say("421 4.3.2 going down")
    await peer.rest()


async def garbage(peer: Peer) -> None:
    await peer.say("<html>")
    await peer.rest()
