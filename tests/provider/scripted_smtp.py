"""A submission server that plays a script, one per connection: what real servers do too seldom to be waited for."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from proxyd.workers import start

OFFER = ("PIPELINING", "SIZE 60000000", "8BITMIME", "AUTH PLAIN LOGIN")


class Gone(Exception):
    """The client hung up."""


class Peer:
    """The server's end of one connection; `heard` is every octet that the client sent on it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.heard = bytearray()
        self.reader = reader
        self.writer = writer

    async def say(self, *lines: str | bytes) -> None:
        octets = b"".join(line if isinstance(line, bytes) else line.encode() + b"\r\n" for line in lines)
        self.writer.write(octets)
        await self.writer.drain()

    async def line(self) -> str:
        """The next command, without its CRLF."""
        line = await self.reader.readline()
        self.heard += line
        if not line.endswith(b"\r\n"):
            raise Gone
        return line[:-2].decode()

    async def hear(self, *starts: str) -> list[str]:
        """As many lines as there are `starts`, each of which begins so."""
        lines = []
        for begin in starts:
            line = await self.line()
            assert line.upper().startswith(begin), f"{begin} was due, {line!r} came"
            lines.append(line)
        return lines

    async def octets(self, count: int) -> bytes:
        try:
            octets = await self.reader.readexactly(count)
        except asyncio.IncompleteReadError as error:
            self.heard += error.partial
            raise Gone from None
        self.heard += octets
        return octets

    async def until_dot(self) -> bytes:
        """Content as it is on the wire, without the final dot's line."""
        wire = bytearray(b"\r\n")
        while not wire.endswith(b"\r\n.\r\n"):
            line = await self.reader.readline()
            self.heard += line
            if not line:
                raise Gone
            wire += line
        return bytes(wire[2:-3])

    async def rest(self) -> bytes:
        """Everything until the client hangs up."""
        with contextlib.suppress(ConnectionError):
            while octets := await self.reader.read(65536):
                self.heard += octets
        return bytes(self.heard)

    def cut(self) -> None:
        self.writer.transport.abort()

    async def greet(self, offer: Sequence[str] = OFFER) -> None:
        """Everything up to the sign-in."""
        await self.say("220 mail.example ESMTP")
        await self.ehlo(offer)
        await self.hear("AUTH PLAIN")
        await self.say("235 2.7.0 welcome")

    async def ehlo(self, offer: Sequence[str] = OFFER) -> None:
        await self.hear("EHLO")
        lines = ["mail.example", *offer]
        await self.say(*(f"250-{line}" for line in lines[:-1]), f"250 {lines[-1]}")

    async def take(self, *, rcpts: int = 1, done: str = "250 2.0.0 queued") -> bytes:
        """One pipelined transaction by DATA; its content as on the wire."""
        await self.hear("MAIL", *(["RCPT"] * rcpts), "DATA")
        await self.say("250 ok", *(["250 ok"] * rcpts), "354 go")
        wire = await self.until_dot()
        await self.say(done)
        return wire


Script = Callable[[Peer], Awaitable[None]]


@dataclass
class Scripted:
    """`peers` are the connections so far, `failures` what went against a script."""

    host: str = "127.0.0.1"
    port: int = 0
    tls: str = "none"
    peers: list[Peer] = field(default_factory=list)
    failures: list[BaseException] = field(default_factory=list)
    ended: asyncio.Queue[Peer] = field(default_factory=asyncio.Queue)


@contextlib.asynccontextmanager
async def scripted(
    *scripts: Script, tls: str = "none", context: ssl.SSLContext | None = None, host: str = "127.0.0.1"
) -> AsyncIterator[Scripted]:
    """Connection n plays script n, every further one the last. At the end nothing may have gone against a script."""
    played = Scripted(host=host, tls=tls)
    running: set[asyncio.Task[None]] = set()

    async def play(peer: Peer, script: Script) -> None:
        try:
            await script(peer)
        except (Gone, ConnectionError):
            pass
        except Exception as error:
            played.failures.append(error)
        finally:
            peer.writer.close()
            played.ended.put_nowait(peer)

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(reader, writer)
        script = scripts[min(len(played.peers), len(scripts) - 1)]
        played.peers.append(peer)
        task = start(play(peer, script), "script")
        running.add(task)
        task.add_done_callback(running.discard)

    server = await asyncio.start_server(
        connected, "127.0.0.1", 0, ssl=context if tls == "implicit" else None, limit=2**24
    )
    played.port = server.sockets[0].getsockname()[1]
    try:
        yield played
    finally:
        server.close()
        for task in tuple(running):
            task.cancel()
        if running:
            await asyncio.wait(running)
    assert not played.failures, played.failures
