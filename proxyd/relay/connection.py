"""One client's SMTP connection: its life, its lines and blocks.

Why not aiosmtpd's protocol class: it reads lines of at most 1001 octets one by one, logs what clients say, its
authenticator cannot wait; and what would remain of it, a stream and a timer, costs half a millisecond per connection
(it looks through all of its own methods) and more than the commands themselves.
"""

from __future__ import annotations

import asyncio
import contextlib

import structlog

from proxyd.formats import smtp_dialogue as form
from proxyd.formats.smtp_dialogue import octets, reply
from proxyd.model import SmtpReply
from proxyd.provider.keepalive import PATIENCE_SMTP, keep_alive
from proxyd.relay.desk import Desk
from proxyd.relay.stream import READ_AHEAD, ClientStream, Ended
from proxyd.workers import start

LINE_LIMIT = 8 * 1024  # octets of a command before the client has signed in
LINE_LIMIT_AFTER = 64 * 1024  # and after
IDLE_LIMIT = 300.0  # seconds, RFC 5321 section 4.5.3.2.7
BAD_COMMANDS = 3  # unknown commands, then the connection ends
NAME = "localhost"  # what we call ourselves: the name in our certificate; no product, no version
_GREETING = octets(reply(220, f"{NAME} ESMTP"))

log = structlog.get_logger()


class Connection(ClientStream):
    """What speaks SMTP derives from this and gives `obey`."""

    def __init__(self, desk: Desk, secure: bool) -> None:
        super().__init__(secure)
        self.trusted = False  # the client has signed in
        self._desk = desk
        self._loop = asyncio.get_running_loop()
        self._work: asyncio.Task[None] | None = None
        self._silent_until = 0.0  # the client may be, by the loop's time
        self._timer: asyncio.TimerHandle | None = None
        self._bad_commands = 0

    async def obey(self, command: form.Command) -> bool:
        """Answer a command; False where there is no such command."""
        raise NotImplementedError

    # --- its life

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        keep_alive(transport.get_extra_info("socket"), PATIENCE_SMTP)
        self._desk.came(self)
        self.heard()
        crowded = self._desk.is_crowded
        if not crowded:
            self.transport.write(_GREETING)  # at once: it leaves with the last octets of the TLS handshake
        self._work = start(self._serve(crowded), "smtp client")

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        self._desk.went(self)
        if self._timer is not None:
            self._timer.cancel()
        if self._work is not None:
            self._work.cancel()

    def dismiss(self) -> None:
        """The daemon stops: end the connection, unless a message is on its way in or through."""
        if not self._desk.is_busy(self):
            self._bye(reply(421, "4.3.2 Closing, please try again in a moment"))

    def _bye(self, last: SmtpReply) -> None:
        self.close_with(octets(last))

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
                await self.flush()
                await self.hear_out()
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

    # --- octets in and out

    def say(self, answer: SmtpReply) -> None:
        self.say_octets(octets(answer))

    def end(self, answer: SmtpReply) -> None:
        """The connection's last reply."""
        self.say(answer)
        raise Ended

    async def block(self) -> bytes:
        """What the client sends next, of any length up to READ_AHEAD; what it was told goes out first."""
        await self.flush()
        while not self._ahead:
            await self.more()
        return self.take(READ_AHEAD)

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
            await self.more()
        if end < 0 or end > limit:
            self.end(reply(500, "5.5.6 Line too long"))
        return self.take(end + 1)[:-1]
