"""What both protocols' connections with mail clients have in common: octets that came, answers that go, TLS, the end.

Before more is awaited what was answered is sent: the answers to a pipelined flight leave as one write. asyncio sets
TCP_NODELAY on every socket. What has come and was not yet looked at is bounded: beyond that nothing is read.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import ssl

import structlog

from proxyd.provider.tls import share_buffer

READ_AHEAD = 64 * 1024  # octets that may wait here unread
HANDSHAKE_LIMIT = 30.0  # seconds for STARTTLS
HEARD_OUT = 1.0  # seconds that a client may still send after our last word

log = structlog.get_logger()


class Ended(Exception):
    """The client ended the connection, or heard an answer that ends it."""


def is_local(peer: object) -> bool:
    """Whether `peer`, as a socket names the other end, is this machine."""
    if not (isinstance(peer, tuple) and peer and isinstance(peer[0], str)):
        return False
    try:
        address = ipaddress.ip_address(peer[0].partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped.is_loopback
    return address.is_loopback


class ClientStream(asyncio.Protocol):
    """A connection that a mail client opened. `secure`: it is TLS, from its first octet or since `upgrade`."""

    def __init__(self, secure: bool) -> None:
        self.secure = secure
        self._transport: asyncio.Transport | None = None
        self._gone = False  # nothing more will come
        self._ended = False  # we have said our last word
        self._ahead = bytearray()  # read and not yet looked at
        self._came: asyncio.Future[None] | None = None  # more has come
        self._room: asyncio.Future[None] | None = None  # the client takes its answers again; None: it does
        self._said: list[bytes] = []  # answered and not yet sent

    # --- what the loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        share_buffer(transport)

    def data_received(self, data: bytes) -> None:
        self._ahead += data
        if len(self._ahead) > READ_AHEAD:
            self.transport.pause_reading()
        self._wake()

    def eof_received(self) -> bool:
        """The client sends no more. Over plain TCP it may still want its answers; TLS ends as a whole."""
        self._gone = True
        self._wake()
        return not self.secure

    def connection_lost(self, error: Exception | None) -> None:
        self._gone = True
        self._wake()
        self.resume_writing()

    def pause_writing(self) -> None:
        self._room = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        if self._room is not None and not self._room.done():
            self._room.set_result(None)
        self._room = None

    def _wake(self) -> None:
        if self._came is not None and not self._came.done():
            self._came.set_result(None)

    # --- answers

    @property
    def transport(self) -> asyncio.Transport:
        assert self._transport is not None
        return self._transport

    @property
    def stands(self) -> bool:
        """What is sent now can still arrive."""
        return self._transport is not None and not self._transport.is_closing()

    @property
    def listens(self) -> bool:
        """It stands, and the client has not ended its side either: one that is gone over plain TCP looks like one that
        only sends no more, and cannot be said to have heard anything."""
        return self.stands and not self._gone

    @property
    def is_local(self) -> bool:
        return is_local(self.transport.get_extra_info("peername"))

    def say_octets(self, answer: bytes) -> None:
        self._said.append(answer)

    def send(self) -> None:
        """Send what was said, as one write, if the connection still stands."""
        if self._said and self.stands:
            self.transport.write(b"".join(self._said))
        self._said.clear()

    async def flush(self) -> None:
        """As `send`; returns when the client takes more."""
        self.send()
        if self._room is not None:
            await self._room

    def close_with(self, last: bytes) -> None:
        """The last word, behind what was said before, and the end."""
        if self.stands:
            if not self._ended:
                self.say_octets(last)
                self.send()
            self.transport.close()

    async def hear_out(self) -> None:
        """Read for a moment what the client still sends, and drop it: closed with octets unread, TCP takes back our
        last word before the client has read it. TLS sees to that itself."""
        if self._gone or not self.stands or not self.transport.can_write_eof():
            return
        self._ended = True
        self.transport.write_eof()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(HEARD_OUT):
                while not self._gone:
                    self._ahead.clear()
                    self.transport.resume_reading()
                    self._came = asyncio.get_running_loop().create_future()
                    await self._came

    # --- what the client sends

    async def more(self) -> None:
        """Until more has come; what the client was told goes out first, and is taken. Raises Ended."""
        await self.flush()
        if self._gone or not self.stands:
            raise Ended
        self._came = asyncio.get_running_loop().create_future()
        await self._came
        self._came = None

    def take(self, size: int) -> bytes:
        """The next `size` octets of what has come, or as many as there are."""
        taken = bytes(self._ahead[:size])
        del self._ahead[:size]
        if len(self._ahead) <= READ_AHEAD:
            self.transport.resume_reading()
        return taken

    # --- TLS

    async def upgrade(self, context: ssl.SSLContext) -> None:
        """Over to TLS, once the answer to STARTTLS is out (RFC 3207; RFC 3501 section 6.2.1). Raises Ended.

        Commands sent in the clear behind STARTTLS were never the client's (CVE-2011-0411): no word is spoken on.
        """
        self.send()
        if self._ahead:
            log.warning("octets in the clear behind STARTTLS; connection ended")
            raise Ended
        try:
            secured = await asyncio.get_running_loop().start_tls(
                self.transport, self, context, server_side=True, ssl_handshake_timeout=HANDSHAKE_LIMIT
            )
        except OSError as error:  # a client that does not trust our certificate, or speaks no TLS
            log.info("starttls failed", error=str(error))
            raise Ended from None
        if secured is None:
            raise Ended
        self._transport = secured
        share_buffer(secured)
        self.secure = True
