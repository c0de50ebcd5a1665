"""One client's connection: its life, its lines and blocks, its TLS; on aiosmtpd's protocol class.

Of aiosmtpd stay the connection's making and ending, its timer and its stream. What it reads and says itself is
replaced: it reads lines of at most 1001 octets one by one, logs what clients say, and its authenticator cannot wait.

All reading goes through `block`, which first sends what was answered: the replies to a pipelined flight leave as one
write. asyncio sets TCP_NODELAY on every socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import ssl

import structlog
from aiosmtpd.smtp import SMTP

from proxyd.formats import smtp_dialogue as form
from proxyd.formats.smtp_dialogue import octets, reply
from proxyd.model import SmtpReply
from proxyd.provider.keepalive import PATIENCE_SMTP, keep_alive
from proxyd.relay.desk import Desk

BLOCK = 64 * 1024  # octets read at once
LINE_LIMIT = 8 * 1024  # octets of a command before the client has signed in
LINE_LIMIT_AFTER = 64 * 1024  # and after
IDLE_LIMIT = 300.0  # seconds, RFC 5321 section 4.5.3.2.7
HANDSHAKE_LIMIT = 30.0  # seconds for STARTTLS
BAD_COMMANDS = 3  # unknown commands, then the connection ends
NAME = "localhost"  # what we call ourselves: the name in our certificate; no product, no version

_NO_HOOKS = object()  # aiosmtpd would call methods of it

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


class Connection(SMTP):
    """What speaks SMTP derives from this and gives `obey`. `secure`: it is TLS from its first octet."""

    line_length_limit = BLOCK  # aiosmtpd gives it to its stream: reading pauses at twice this many octets

    def __init__(self, desk: Desk, secure: bool) -> None:
        super().__init__(_NO_HOOKS, hostname=NAME, timeout=IDLE_LIMIT, loop=asyncio.get_running_loop())
        self.secure = secure
        self.trusted = False  # the client has signed in
        self._desk = desk
        self._ahead = b""  # read and not yet looked at
        self._replies: list[bytes] = []  # given and not yet sent
        self._bad_commands = 0

    async def obey(self, command: form.Command) -> bool:
        """Answer a command; False where there is no such command."""
        raise NotImplementedError

    # --- its life

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._desk.came(self)
        keep_alive(transport.get_extra_info("socket"), PATIENCE_SMTP)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._desk.went(self)
        super().connection_lost(error)

    def eof_received(self) -> bool:
        """The client sends no more. Over plain TCP it may still want its answers; TLS ends as a whole."""
        self._reader.feed_eof()
        return not self.secure

    def _timeout_cb(self) -> None:
        self._bye(reply(421, "4.4.2 Nothing heard for too long, closing"))

    def dismiss(self) -> None:
        """The daemon stops: end the connection, unless a message is on its way in or through."""
        if not self._desk.is_busy(self):
            self._bye(reply(421, "4.3.2 Closing, please try again in a moment"))

    def _bye(self, last: SmtpReply) -> None:
        if self.stands:
            self._writer.write(b"".join(self._replies) + octets(last))
            self._replies.clear()
            self._writer.close()

    async def _handle_client(self) -> None:
        try:
            if self._desk.is_crowded:
                self._bye(reply(421, "4.3.2 Too many connections, please try again later"))
                return
            self._desk.warm_up()
            self.say(reply(220, f"{NAME} ESMTP"))
            while True:
                await self._answer(await self.line())
        except (Ended, ConnectionError):
            with contextlib.suppress(ConnectionError):
                await self.send()
        except Exception:
            log.exception("smtp connection ended by a fault of ours")
            self._bye(reply(421, "4.3.0 A fault in proxyd, see its log; please try again"))
        finally:
            self._writer.close()

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
        return self.transport is not None and not self.transport.is_closing()

    def heard(self, limit: float = IDLE_LIMIT) -> None:
        """The client is there: from now on it may be silent for `limit` seconds."""
        if self.stands:
            self._reset_timeout(limit)

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
            self._writer.write(b"".join(self._replies))
            self._replies.clear()
            await self._writer.drain()

    async def block(self) -> bytes:
        """What the client sends next, of any length; what it was told goes out first."""
        await self.send()
        if self._ahead:
            block, self._ahead = self._ahead, b""
            return block
        block = await self._reader.read(BLOCK)
        if not block:
            raise Ended
        return block

    def put_back(self, rest: bytes) -> None:
        """Octets that `block` gave and that are the next command's."""
        self._ahead = rest

    async def line(self) -> bytes:
        """The next line without its LF. One that is too long ends the connection: no client writes such."""
        limit = LINE_LIMIT_AFTER if self.trusted else LINE_LIMIT
        line = b""
        while True:
            head, end, self._ahead = self._ahead.partition(b"\n")
            line += head
            if len(line) > limit:
                self.end(reply(500, "5.5.6 Line too long"))
            if end:
                return line
            self._ahead = await self.block()

    # --- TLS

    async def upgrade(self, context: ssl.SSLContext) -> None:
        """Over to TLS, once the reply to STARTTLS is out (RFC 3207)."""
        await self.send()
        # Commands sent in the clear behind STARTTLS were never the client's (CVE-2011-0411): no word is spoken on.
        if self._ahead or self._reader._buffer:  # type: ignore[attr-defined]  # the stream has no public look at it
            log.warning("octets in the clear behind STARTTLS; connection ended")
            raise Ended
        try:
            secured = await self.loop.start_tls(
                self._writer.transport, self, context, server_side=True, ssl_handshake_timeout=HANDSHAKE_LIMIT
            )
        except OSError as error:  # a client that does not trust our certificate, or speaks no TLS
            log.info("starttls failed", error=str(error))
            raise Ended from None
        if secured is None:
            raise Ended
        # As asyncio.StreamWriter.start_tls does, which leaves the reader's side out in Python 3.11.
        self.transport = secured
        self._reader._transport = secured  # type: ignore[attr-defined]
        self._writer._transport = secured  # type: ignore[attr-defined]
        self.secure = self._over_ssl = True
