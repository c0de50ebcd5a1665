"""One mail client's IMAP connection before it has signed in: its life, its lines and literals, its TLS, its limits.

What it reads is bounded: the lines and literals of one command, and what the loop has read ahead. Commands are obeyed
in `imap_dialogue`; once one of them has signed in, the transport is given to `imap_passage` and this object is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from dataclasses import dataclass

import structlog

from proxyd.formats.imap_stream import literal_at_end, tag_and_verb
from proxyd.formats.smtp_dialogue import HTTP_VERBS
from proxyd.provider.keepalive import keep_alive
from proxyd.provider.tls import share_buffer
from proxyd.relay.connection import HANDSHAKE_LIMIT, IDLE_LIMIT, is_local
from proxyd.relay.imap_desk import ImapDesk
from proxyd.workers import start

LINE_LIMIT = 8 * 1024  # octets of a line, and of a literal
COMMAND_LIMIT = 24 * 1024  # octets of all lines and literals of one command
READ_AHEAD = 64 * 1024  # octets that may wait here unread
HEARD_OUT = 1.0  # seconds that a client may still send after our last word
BUFFER = 64 * 1024  # octets that may wait to be sent before whoever writes does
BAD_COMMANDS = 3  # unknown or unreadable, then the connection ends

log = structlog.get_logger()


class Ended(Exception):
    """The client ended the connection, or heard a reply that ends it."""


@dataclass(frozen=True, slots=True)
class Command:
    """`parts`: its first line, then a literal and the line behind it, and so on; `tag` is `*` where none was read."""

    tag: bytes
    verb: str
    parts: tuple[bytes, ...]


class ImapConnection(asyncio.Protocol):
    """What speaks IMAP derives from this and gives `obey`. `secure`: it is TLS from its first octet."""

    def __init__(self, desk: ImapDesk, secure: bool) -> None:
        self.secure = secure
        self._desk = desk
        self._transport: asyncio.Transport | None = None
        self._ahead = bytearray()
        self._gone = False  # nothing more will come
        self._ended = False  # we have said our last word
        self._came: asyncio.Future[None] | None = None
        self._answers: list[bytes] = []  # given and not yet sent
        self._timer: asyncio.TimerHandle | None = None
        self._bad_commands = 0

    async def obey(self, command: Command) -> bool:
        """Answer a command; False where there is no such command."""
        raise NotImplementedError

    def greeting(self) -> bytes:
        raise NotImplementedError

    # --- what the loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        keep_alive(transport.get_extra_info("socket"))
        share_buffer(transport)
        transport.set_write_buffer_limits(high=BUFFER)
        self._desk.came(self)
        self.heard()
        start(self._run(), "imap client")

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

    def _wake(self) -> None:
        if self._came is not None and not self._came.done():
            self._came.set_result(None)

    # --- its life

    @property
    def transport(self) -> asyncio.Transport:
        assert self._transport is not None
        return self._transport

    @property
    def is_local(self) -> bool:
        return is_local(self.transport.get_extra_info("peername"))

    def dismiss(self) -> None:
        """The daemon stops."""
        self._bye(b"* BYE Closing, please try again in a moment\r\n")

    def heard(self) -> None:
        """The client is there: from now on it may be silent for IDLE_LIMIT."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(
            IDLE_LIMIT, self._bye, b"* BYE Nothing heard for too long\r\n"
        )

    def _bye(self, last: bytes) -> None:
        if not self.transport.is_closing():
            if not self._ended:
                self.transport.write(b"".join(self._answers) + last)
            self._answers.clear()
            self.transport.close()

    async def _run(self) -> None:
        try:
            if self._desk.is_crowded:
                self._bye(b"* BYE Too many connections, please try again later\r\n")
                return
            self.say(self.greeting())
            while True:
                await self._answer(await self._command())
        except Passed:
            return
        except (Ended, ConnectionError):
            self.send()
            await self._hear_out()
        except Exception:
            log.exception("imap connection ended by a fault of ours")
            self._bye(b"* BYE A fault in proxyd, see its log; please try again\r\n")
        finally:
            if self._timer is not None:
                self._timer.cancel()
            self._desk.went(self)
        self.transport.close()

    async def _hear_out(self) -> None:
        """Read for a moment what the client still sends, and drop it: closed with octets unread, TCP takes back our
        last word before the client has read it. TLS sees to that itself."""
        if self._gone or self.transport.is_closing() or not self.transport.can_write_eof():
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

    async def _answer(self, command: Command) -> None:
        self.heard()
        first = command.parts[0]
        if b"\0" in first or b"\r" in first.rstrip(b"\r\n"):
            self._bad(b"*", b"A line may hold no NUL and no lone CR")
        elif not command.tag:
            self._bad(b"*", b"No command")
        elif not await self.obey(command):
            self._bad(command.tag, b"Unknown command")

    def _bad(self, tag: bytes, why: bytes) -> None:
        self.say(tag + b" BAD " + why + b"\r\n")
        self._bad_commands += 1
        if self._bad_commands >= BAD_COMMANDS:
            self.end(b"* BYE Too many bad commands\r\n")

    # --- octets in and out

    def say(self, answer: bytes) -> None:
        self._answers.append(answer)

    def end(self, answer: bytes) -> None:
        """The connection's last answer."""
        self.say(answer)
        raise Ended

    def send(self) -> None:
        """Send what was said, as one write, if the connection still stands."""
        if self._answers and not self.transport.is_closing():
            self.transport.write(b"".join(self._answers))
        self._answers.clear()

    async def _more(self) -> None:
        """Until more has come; what the client was told goes out first."""
        self.send()
        if self._gone or self.transport.is_closing():
            raise Ended
        self._came = asyncio.get_running_loop().create_future()
        await self._came
        self._came = None

    async def _command(self) -> Command:
        line = await self.line(first=True)
        tag, verb = tag_and_verb(line)
        parts, size = [line], len(line)
        while (literal := literal_at_end(line)) is not None:
            size += literal.size
            if literal.size > LINE_LIMIT or size > COMMAND_LIMIT:
                self.end(b"* BYE [TOOBIG] No literal of that size before you have signed in\r\n")
            if literal.waits:
                self.say(b"+ OK\r\n")
            content = await self._octets(literal.size)
            line = await self.line()
            size += len(line)
            parts += [content, line]
        return Command(tag, verb, tuple(parts))

    async def line(self, *, first: bool = False) -> bytes:
        """The next line with its line end. One that is too long ends the connection, as do signs of a protocol that is
        not ours where a command's `first` line is read."""
        searched = 0
        while (end := self._ahead.find(b"\n", searched)) < 0:
            searched = len(self._ahead)
            if first and self._ahead[:1] == b"\x16":
                self.end(b"* BAD TLS is not spoken on this port, unless you say STARTTLS\r\n* BYE Closing\r\n")
            if searched > LINE_LIMIT:
                break
            await self._more()
        if end < 0 or end > LINE_LIMIT:
            self.end(b"* BYE [TOOBIG] Line too long\r\n")
        line = self._take(end + 1)
        if first and line.split(b" ", 1)[0].decode("latin-1") in HTTP_VERBS:
            log.warning("http spoken to the imap port")
            self.end(b"* BYE This is a mail server\r\n")
        return line

    async def _octets(self, size: int) -> bytes:
        while len(self._ahead) < size:
            await self._more()
        return self._take(size)

    def _take(self, size: int) -> bytes:
        taken = bytes(self._ahead[:size])
        del self._ahead[:size]
        if len(self._ahead) <= READ_AHEAD:
            self.transport.resume_reading()
        return taken

    @property
    def spoken_on(self) -> bool:
        """Whether anything stands behind the last command."""
        return bool(self._ahead)

    def take_all(self) -> bytes:
        """What came behind the last command."""
        return self._take(len(self._ahead))

    # --- TLS

    async def upgrade(self, context: ssl.SSLContext) -> None:
        """Over to TLS, once the answer to STARTTLS is out (RFC 3501 section 6.2.1)."""
        self.send()
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
        secured.set_write_buffer_limits(high=BUFFER)
        self.secure = True


class Passed(Exception):
    """The client has signed in, and its transport is another's."""
