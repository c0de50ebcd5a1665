"""One client's connection: its life, its lines and blocks, its TLS.

Why not aiosmtpd's protocol class: it reads lines of at most 1001 octets one by one, logs what clients say, its
authenticator cannot wait; and what would remain of it, a stream and a timer, costs half a millisecond per connection
(it looks through all of its own methods) and more than the commands themselves.

Before more is awaited what was answered is sent: the replies to a pipelined flight leave as one write. asyncio sets
TCP_NODELAY on every socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import ssl

import structlog

from proxyd.formats import smtp_dialogue as form
from proxyd.formats.smtp_dialogue import octets, reply
from proxyd.model import SmtpReply
from proxyd.provider.keepalive import PATIENCE_SMTP, keep_alive
from proxyd.provider.tls import share_buffer
from proxyd.relay.desk import Desk
from proxyd.workers import start

BLOCK = 64 * 1024  # octets looked at at once, and that may wait here unread
LINE_LIMIT = 8 * 1024  # octets of a command before the client has signed in
LINE_LIMIT_AFTER = 64 * 1024  # and after
IDLE_LIMIT = 300.0  # seconds, RFC 5321 section 4.5.3.2.7
HANDSHAKE_LIMIT = 30.0  # seconds for STARTTLS
BAD_COMMANDS = 3  # unknown commands, then the connection ends
NAME = "localhost"  # what we call ourselves: the name in our certificate; no product, no version
_GREETING = octets(reply(220, f"{NAME} ESMTP"))

log = structlog.get_logger()


class Ended(Exception):
    """The client ended the connection, or heard a reply that ends it."""


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


class Connection(asyncio.Protocol):
    """What speaks SMTP derives from this and gives `obey`. `secure`: it is TLS from its first octet."""

    def __init__(self, desk: Desk, secure: bool) -> None:
        self.secure = secure
        self.trusted = False  # the client has signed in
        self._desk = desk
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._work: asyncio.Task[None] | None = None
        self._gone = False  # nothing more will come
        self._ahead = bytearray()  # read and not yet looked at
        self._came: asyncio.Future[None] | None = None  # more has come
        self._room: asyncio.Future[None] | None = None  # the client takes its answers again
        self._replies: list[bytes] = []  # given and not yet sent
        self._silent_until = 0.0  # the client may be, by the loop's time
        self._timer: asyncio.TimerHandle | None = None
        self._bad_commands = 0

    async def obey(self, command: form.Command) -> bool:
        """Answer a command; False where there is no such command."""
        raise NotImplementedError

    # --- what the loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        share_buffer(transport)
        keep_alive(transport.get_extra_info("socket"), PATIENCE_SMTP)
        self._desk.came(self)
        self.heard()
        crowded = self._desk.is_crowded
        if not crowded:
            transport.write(_GREETING)  # at once: it leaves with the last octets of the TLS handshake
        self._work = start(self._serve(crowded), "smtp client")

    def data_received(self, data: bytes) -> None:
        self._ahead += data
        if len(self._ahead) > BLOCK:
            self.transport.pause_reading()
        self._wake()

    def eof_received(self) -> bool:
        """The client sends no more. Over plain TCP it may still want its answers; TLS ends as a whole."""
        self._gone = True
        self._wake()
        return not self.secure

    def connection_lost(self, error: Exception | None) -> None:
        self._desk.went(self)
        if self._timer is not None:
            self._timer.cancel()
        if self._work is not None:
            self._work.cancel()

    def pause_writing(self) -> None:
        self._room = self._loop.create_future()

    def resume_writing(self) -> None:
        if self._room is not None and not self._room.done():
            self._room.set_result(None)
        self._room = None

    def _wake(self) -> None:
        if self._came is not None and not self._came.done():
            self._came.set_result(None)

    # --- its life

    @property
    def transport(self) -> asyncio.Transport:
        assert self._transport is not None
        return self._transport

    def dismiss(self) -> None:
        """The daemon stops: end the connection, unless a message is on its way in or through."""
        if not self._desk.is_busy(self):
            self._bye(reply(421, "4.3.2 Closing, please try again in a moment"))

    def _bye(self, last: SmtpReply) -> None:
        if self.stands:
            self.transport.write(b"".join(self._replies) + octets(last))
            self._replies.clear()
            self.transport.close()

    async def _serve(self, crowded: bool) -> None:
        try:
            if crowded:
                self._bye(reply(421, "4.3.2 Too many connections, please try again later"))
                return
            self._desk.warm_up()
            while True:
                await self._answer(await self.line())
        except (Ended, ConnectionError):
            with contextlib.suppress(ConnectionError):
                await self.send()
        except Exception:
            log.exception("smtp connection ended by a fault of ours")
            self._bye(reply(421, "4.3.0 A fault in proxyd, see its log; please try again"))
        finally:
            self.transport.close()

    async def _answer(self, line: bytes) -> None:
        self.heard()
        command = form.command(line)
        if await self.obey(command):
            return
        if command.verb in form.HTTP_VERBS:
            log.warning("http spoken to the smtp port")
            self.end(reply(421, "4.7.0 This is a mail server"))
        self._bad_commands += 1
        if self._bad_commands >= BAD_COMMANDS:
            self.end(reply(421, "4.7.0 Too many unknown commands"))
        self.say(reply(500, "5.5.1 Unknown command"))

    # --- octets in and out

    @property
    def stands(self) -> bool:
        """What is sent now can still arrive."""
        return self._transport is not None and not self._transport.is_closing()

    def heard(self, limit: float = IDLE_LIMIT) -> None:
        """The client is there: from now on it may be silent for `limit` seconds."""
        self._silent_until = self._loop.time() + limit
        if self._timer is None or self._timer.when() > self._silent_until:
            self._look_later()

    def _look_later(self) -> None:
        """One timer that is wound again when it is over: commands come more often than silence does."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(self._silent_until, self._look) if self.stands else None

    def _look(self) -> None:
        if self._loop.time() < self._silent_until:
            self._look_later()
        else:
            self._bye(reply(421, "4.4.2 Nothing heard for too long, closing"))

    def say(self, answer: SmtpReply) -> None:
        self.say_octets(octets(answer))

    def say_octets(self, answer: bytes) -> None:
        self._replies.append(answer)

    def end(self, answer: SmtpReply) -> None:
        """The connection's last reply."""
        self.say(answer)
        raise Ended

    async def send(self) -> None:
        """Send what was said, if the connection still stands."""
        if self._replies and self.stands:
            self.transport.write(b"".join(self._replies))
            self._replies.clear()
            if self._room is not None:
                await self._room

    async def _more(self) -> None:
        """Until the client has sent more; what it was told goes out first."""
        await self.send()
        if self._gone or not self.stands:
            raise Ended
        self._came = self._loop.create_future()
        await self._came
        self._came = None

    def _cut(self, size: int) -> bytes:
        taken = bytes(self._ahead[:size])
        del self._ahead[:size]
        if len(self._ahead) <= BLOCK:
            self.transport.resume_reading()
        return taken

    async def block(self) -> bytes:
        """What the client sends next, of any length up to BLOCK; what it was told goes out first."""
        await self.send()
        while not self._ahead:
            await self._more()
        return self._cut(BLOCK)

    def put_back(self, rest: bytes) -> None:
        """Octets that `block` gave and that are the next command's."""
        self._ahead[:0] = rest

    async def line(self) -> bytes:
        """The next line without its LF. One that is too long ends the connection: no client writes such."""
        limit = LINE_LIMIT_AFTER if self.trusted else LINE_LIMIT
        searched = 0
        while (end := self._ahead.find(b"\n", searched)) < 0:
            searched = len(self._ahead)
            if searched > limit:
                break
            await self._more()
        if end < 0 or end > limit:
            self.end(reply(500, "5.5.6 Line too long"))
        return self._cut(end + 1)[:-1]

    # --- TLS

    async def upgrade(self, context: ssl.SSLContext) -> None:
        """Over to TLS, once the reply to STARTTLS is out (RFC 3207)."""
        await self.send()
        # Commands sent in the clear behind STARTTLS were never the client's (CVE-2011-0411): no word is spoken on.
        if self._ahead:
            log.warning("octets in the clear behind STARTTLS; connection ended")
            raise Ended
        try:
            secured = await self._loop.start_tls(
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
