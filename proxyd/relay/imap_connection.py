"""One mail client's IMAP connection before it has signed in: its life, its lines and literals, its TLS, its limits.

What it reads is bounded: the lines and literals of one command, and what the loop has read ahead. Commands are obeyed
in `imap_dialogue`; once one of them has signed in, the transport is given to `imap_passage` and this object is gone.
"""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass

import structlog

from proxyd.formats.imap_stream import literal_at_end, tag_and_verb
from proxyd.formats.smtp_dialogue import HTTP_VERBS
from proxyd.provider.keepalive import keep_alive
from proxyd.relay.connection import IDLE_LIMIT
from proxyd.relay.imap_desk import ImapDesk
from proxyd.relay.stream import ClientStream, Ended
from proxyd.workers import start

LINE_LIMIT = 8 * 1024  # octets of a line, and of a literal
COMMAND_LIMIT = 24 * 1024  # octets of all lines and literals of one command
BUFFER = 64 * 1024  # octets that may wait to be sent before whoever writes does
BAD_COMMANDS = 3  # unknown or unreadable, then the connection ends

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Command:
    """`parts`: its first line, then a literal and the line behind it, and so on; `tag` is `*` where none was read."""

    tag: bytes
    verb: str
    parts: tuple[bytes, ...]


class ImapConnection(ClientStream):
    """What speaks IMAP derives from this and gives `obey`."""

    def __init__(self, desk: ImapDesk, secure: bool) -> None:
        super().__init__(secure)
        self._desk = desk
        self._timer: asyncio.TimerHandle | None = None
        self._bad_commands = 0

    async def obey(self, command: Command) -> bool:
        """Answer a command; False where there is no such command."""
        raise NotImplementedError

    def greeting(self) -> bytes:
        raise NotImplementedError

    # --- its life

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        keep_alive(transport.get_extra_info("socket"))
        self.transport.set_write_buffer_limits(high=BUFFER)
        self._desk.came(self)
        self.heard()
        start(self._run(), "imap client")

    def dismiss(self) -> None:
        """The daemon stops."""
        self.close_with(b"* BYE Closing, please try again in a moment\r\n")

    def heard(self) -> None:
        """The client is there: from now on it may be silent for IDLE_LIMIT."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(
            IDLE_LIMIT, self.close_with, b"* BYE Nothing heard for too long\r\n"
        )

    async def _run(self) -> None:
        try:
            if self._desk.is_crowded:
                self.close_with(b"* BYE Too many connections, please try again later\r\n")
                return
            self.say(self.greeting())
            while True:
                await self._answer(await self._command())
        except Passed:
            return
        except (Ended, ConnectionError):
            self.send()
            await self.hear_out()
        except Exception:
            log.exception("imap connection ended by a fault of ours")
            self.close_with(b"* BYE A fault in proxyd, see its log; please try again\r\n")
        finally:
            if self._timer is not None:
                self._timer.cancel()
            self._desk.went(self)
        self.transport.close()

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
        self.say_octets(answer)

    def end(self, answer: bytes) -> None:
        """The connection's last answer."""
        self.say(answer)
        raise Ended

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
            await self.more()
        if end < 0 or end > LINE_LIMIT:
            self.end(b"* BYE [TOOBIG] Line too long\r\n")
        line = self.take(end + 1)
        if first and line.split(b" ", 1)[0].decode("latin-1") in HTTP_VERBS:
            log.warning("http spoken to the imap port")
            self.end(b"* BYE This is a mail server\r\n")
        return line

    async def _octets(self, size: int) -> bytes:
        while len(self._ahead) < size:
            await self.more()
        return self.take(size)

    @property
    def spoken_on(self) -> bool:
        """Whether anything stands behind the last command."""
        return bool(self._ahead)

    def take_all(self) -> bytes:
        """What came behind the last command."""
        return self.take(len(self._ahead))

    async def upgrade(self, context: ssl.SSLContext) -> None:
        await super().upgrade(context)
        self.transport.set_write_buffer_limits(high=BUFFER)


class Passed(Exception):
    """The client has signed in, and its transport is another's."""
