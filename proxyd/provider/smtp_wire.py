"""One TCP or TLS connection that speaks SMTP: octets out with flow control, replies in with time limits.

Why this way: an asyncio.Protocol instead of streams, because nothing that the server says may be overlooked: a 421 on
an idle connection, a reply that nobody asked for behind STARTTLS, an end of file before the next message is tried.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from proxyd.formats.smtp_client import ReplyReader
from proxyd.model import SmtpReply
from proxyd.provider.keepalive import PATIENCE_SMTP, keep_alive
from proxyd.provider.tls import abort
from proxyd.provider.trace import Tap

PIECE = 64 * 1024  # octets written at once, and that may wait before we do; TLS keeps room for the largest for good


class Lost(Exception):
    """The connection is gone, or what came over it can no longer be trusted. Its text says why, for a person.

    `reply` is the server's own, where it said goodbye (421).
    """

    def __init__(self, why: str, reply: SmtpReply | None = None) -> None:
        super().__init__(why)
        self.why = why
        self.reply = reply


def uptime() -> float:
    """Seconds, those asleep included: a connection must look its age after the machine was suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Wire(asyncio.Protocol):
    """`lost` is why nothing more will come; empty while the connection stands."""

    def __init__(self, tap: Tap | None = None) -> None:
        self._tap = tap or Tap()
        self.lost = ""
        self.heard_at = uptime()
        self.on_unasked: Callable[[], None] | None = None  # called when an idle connection ends or is spoken on
        self._transport: asyncio.Transport | None = None
        self._socket: Any = None
        self._reader = ReplyReader()
        self._replies: deque[SmtpReply] = deque()
        self._asked: asyncio.Future[None] | None = None
        self._paused: asyncio.Future[None] | None = None

    # --- what the loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._socket = transport.get_extra_info("socket")
        transport.set_write_buffer_limits(high=PIECE)
        keep_alive(self._socket, PATIENCE_SMTP)
        self._acknowledge_at_once()

    def data_received(self, data: bytes) -> None:
        self.heard_at = uptime()
        self._acknowledge_at_once()
        replies = self._reader.feed(data)
        for reply in replies:
            self._tap.smtp_got(reply.code, reply.lines)
        self._replies += replies
        if self._reader.fault:
            self._ended(self._reader.fault)
        elif self._replies:
            self._wake()

    def eof_received(self) -> bool:
        self._ended("the server closed the connection")
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended(f"the connection was lost: {exc}" if exc else "the server closed the connection")

    def pause_writing(self) -> None:
        self._paused = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        if self._paused is not None and not self._paused.done():
            self._paused.set_result(None)
        self._paused = None

    def _ended(self, why: str) -> None:
        self.lost = self.lost or why
        self.resume_writing()
        self._wake()

    def _wake(self) -> None:
        if self._asked is not None and not self._asked.done():
            self._asked.set_result(None)
        elif self.on_unasked is not None:
            self.on_unasked()

    # --- what we do

    @property
    def unread(self) -> tuple[SmtpReply, ...]:
        """Replies that came and were not yet asked for, in order."""
        return tuple(self._replies)

    @property
    def silent(self) -> bool:
        """Nothing came that was not asked for, not even half a line."""
        return not self._replies and not self._reader.pending and not self.lost

    @property
    def peer(self) -> str:
        """The other side's IP address."""
        assert self._transport is not None
        return str((self._transport.get_extra_info("peername") or ("",))[0])

    async def reply(self, limit: float) -> SmtpReply:
        """The next reply. Raises Lost, also after `limit` seconds without one."""
        if not self._replies and not self.lost:
            await self._wait(limit)
        if self._replies:
            return self._replies.popleft()
        raise Lost(self.lost)

    async def _wait(self, limit: float) -> None:
        self._asked = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(limit):
                await self._asked
        except TimeoutError:
            self.lost = self.lost or f"the server did not answer within {limit:g} s"
        finally:
            self._asked = None

    def write(self, octets: bytes | memoryview) -> None:
        """Hand `octets` over to be sent. Raises Lost where none of them can be."""
        if self.lost or self._transport is None or self._transport.is_closing():
            raise Lost(self.lost or "the connection is closed")
        self._transport.write(octets)
        self._tap.smtp_sent(octets)
        self._acknowledge_at_once()

    def _acknowledge_at_once(self) -> None:
        """Servers that have Nagle's algorithm on (Postfix) hold the second of two answers back until the first is
        acknowledged, and we would take 40 ms for that. The kernel forgets the option with each packet."""
        with contextlib.suppress(OSError):
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    async def send(self, octets: bytes, limit: float) -> None:
        """Write a lot, piece by piece. Raises Lost, also where the server takes nothing for `limit` seconds."""
        view = memoryview(octets)
        for start in range(0, len(view), PIECE):
            self.write(view[start : start + PIECE])
            await self._drain(limit)

    async def _drain(self, limit: float) -> None:
        if self._paused is not None:
            try:
                async with asyncio.timeout(limit):
                    await asyncio.shield(self._paused)
            except TimeoutError:
                self.lost = self.lost or f"the server took nothing for {limit:g} s"
        if self.lost:
            raise Lost(self.lost)

    async def start_tls(self, context: ssl.SSLContext, host: str, limit: float) -> None:
        """The handshake behind STARTTLS. Raises Lost where anything was said behind the go-ahead, as ssl otherwise."""
        transport = self._transport
        assert transport is not None
        if not self.silent:
            raise Lost("the server spoke behind STARTTLS before TLS began: somebody may sit in between")
        transport.set_write_buffer_limits()
        secured = await asyncio.get_running_loop().start_tls(
            transport, self, context, server_hostname=host, ssl_handshake_timeout=limit
        )
        if secured is None:
            raise Lost(self.lost or "the server closed the connection")
        self.connection_made(secured)

    def close(self, farewell: bytes = b"") -> None:
        """Politely, without waiting: `farewell` is sent where the connection still stands."""
        if self._transport is not None and not self._transport.is_closing():
            if farewell and not self.lost:
                self._transport.write(farewell)
            self._transport.close()
        self.lost = self.lost or "closed by us"

    def abort(self) -> None:
        """At once; what waits in the buffers is never sent."""
        if self._transport is not None:
            abort(self._transport)
        self.lost = self.lost or "closed by us"
