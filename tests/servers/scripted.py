"""A submission server that does on demand what real ones will not: refuse, rename, stall, lie, hang up, at any point.

    with ScriptedSubmission(ca) as provider:
        provider.script = Script(replies={"dot": "552 5.3.4 too big"})          # from the next command on
        provider.scripts.append(Script(cut="dot", takes=True))                  # for the next connection alone
        provider.reached("dot").result(5)                                       # until a message is complete

It keeps every message (envelope, parameters, exact octets) and every command, and says whether it took the message.
It runs on a loop and a thread of its own, so that it serves plain tests and tests on the daemon's loop alike: there,
`await asyncio.wrap_future(provider.reached("dot"))`.
"""

from __future__ import annotations

import asyncio
import base64
import re
import ssl
import threading
from collections import Counter, deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Literal

from tests.servers.own_loop import OwnLoopServer
from tests.servers.processes import free_port
from tests.servers.tls import Leaf, ThrowAwayCa, server_context

# Where something can be made to happen: the moment before the reply. `content` is after the first octets of a message,
# `dot` when all of it is there.
Point = Literal[
    "connect", "ehlo", "starttls", "auth", "mail", "rcpt", "data", "content", "dot", "rset", "noop", "quit", "other"
]

EXTENSIONS = ("PIPELINING", "SIZE 60000000", "8BITMIME", "SMTPUTF8", "DSN", "ENHANCEDSTATUSCODES", "CHUNKING")

REPLIES: Mapping[str, str] = {
    "connect": "220 scripted.test ESMTP",
    "starttls": "220 2.0.0 Ready to start TLS",
    "mail": "250 2.1.0 Ok",
    "rcpt": "250 2.1.5 Ok",
    "data": "354 End data with <CR><LF>.<CR><LF>",
    "rset": "250 2.0.0 Ok",
    "noop": "250 2.0.0 Ok",
    "quit": "221 2.0.0 Bye",
    "other": "502 5.5.2 not known here",
}


@dataclass(frozen=True, slots=True)
class Script:
    """How it behaves; what is not said goes as with an honest server.

    A reply is one line or several (`250-a\\r\\n250 b`); one that begins with 421 is followed by the end of the
    connection.
    """

    extensions: tuple[str, ...] = EXTENSIONS
    auth: str = "PLAIN LOGIN"  # the mechanisms that it names; "" = none
    replies: Mapping[Point, str] = field(default_factory=dict)
    recipients: Mapping[str, str] = field(default_factory=dict)  # address -> reply to its RCPT
    stall: Mapping[Point, float] = field(default_factory=dict)  # seconds before the reply
    hold: frozenset[Point] = frozenset()  # no reply before `go_on()`
    cut: Point | None = None  # the connection ends in place of the reply
    takes: bool = True  # whether a message whose connection is cut at its dot was taken
    new_id: str = ""  # puts this Message-ID in the place of the message's own and names it in its 250


@dataclass(frozen=True, slots=True)
class Received:
    """A message as it came. `octets` are its own, dots unstuffed; `taken`: the server has responsibility for it."""

    connection: int
    user: str
    sender: str
    parameters: tuple[str, ...]
    recipients: tuple[tuple[str, tuple[str, ...]], ...]
    octets: bytes
    taken: bool
    reply: str
    by: str  # DATA or BDAT

    @property
    def addresses(self) -> tuple[str, ...]:
        return tuple(address for address, _ in self.recipients)

    @property
    def filed(self) -> bytes:
        """What this provider would deliver and file: with the Message-ID that it gave it."""
        found = re.search(r"<([^<>]+@[^<>]+)>", self.reply)
        if found is None:
            return self.octets
        return re.sub(
            rb"(?im)^message-id:.*\r\n", b"Message-ID: <" + found[1].encode() + b">\r\n", self.octets, count=1
        )


class ScriptedSubmission(OwnLoopServer):
    """On `port` of 127.0.0.1 and ::1."""

    def __init__(
        self,
        ca: ThrowAwayCa | None = None,
        *,
        tls: Literal["implicit", "starttls", "none"] = "implicit",
        leaf: Leaf | None = None,
        users: Mapping[str, str] | None = None,
    ) -> None:
        """`ca` is needed unless `tls` is none. `users`: who may sign in; None = everybody, with any password."""
        super().__init__()
        self.tls = tls
        self.users = users
        self.port = free_port()
        self.script = Script()
        self.scripts: deque[Script] = deque()
        self.messages: list[Received] = []
        self.commands: list[tuple[int, str]] = []
        self.connections = 0
        self.context: ssl.SSLContext | None = None
        if tls != "none":
            assert ca is not None
            self.context = server_context(leaf or ca.leaf)
        self._open: set[Dialogue] = set()
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._waiting: list[tuple[str, int, Future[None]]] = []
        self._go_on = asyncio.Event()

    # --- running ------------------------------------------------------------------------------------------

    async def _listen(self) -> asyncio.Server:
        self._go_on = asyncio.Event()
        implicit = self.context if self.tls == "implicit" else None
        return await asyncio.start_server(self._accepted, ["127.0.0.1", "::1"], self.port, ssl=implicit)

    def _cut(self) -> None:
        for dialogue in list(self._open):
            dialogue.cut()

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        dialogue = Dialogue(self, self.connections, reader, writer, self.scripts.popleft() if self.scripts else None)
        self._open.add(dialogue)
        try:
            await dialogue.run()
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            pass
        finally:
            self._open.discard(dialogue)
            dialogue.cut()

    # --- what tests ask for --------------------------------------------------------------------------------

    @property
    def taken(self) -> list[Received]:
        return [message for message in self.messages if message.taken]

    @property
    def open_connections(self) -> int:
        return len(self._open)

    def replied(self, point: Point, times: int = 1) -> Future[None]:
        """Done when the reply at `point` was written for the nth time since the start."""
        return self._when(f"{point} replied", times)

    def reached(self, point: Point, times: int = 1) -> Future[None]:
        """Done when a connection has come to `point` for the nth time since the start, before the reply there."""
        return self._when(point, times)

    def count(self, point: Point) -> int:
        """How often a connection has come to `point` since the start."""
        with self._lock:
            return self._counts[point]

    def _when(self, point: str, times: int) -> Future[None]:
        done: Future[None] = Future()
        with self._lock:
            if self._counts[point] >= times:
                done.set_result(None)
            else:
                self._waiting.append((point, times, done))
        return done

    def go_on(self) -> None:
        """Let go of every connection that is held, and of those that will be."""
        self._call(self._go_on.set)

    def hold_on(self) -> None:
        """Hold again, after `go_on`."""
        self._call(self._go_on.clear)

    def say_to_all(self, line: str, *, end: bool = True) -> None:
        """Write a line unasked, e.g. `421 4.4.2 idle too long`, to every open connection."""

        def say() -> None:
            for dialogue in list(self._open):
                dialogue.say(line)
                if end:
                    dialogue.close()

        self._call(say)

    def cut_all(self) -> None:
        """End every open connection without a word."""

        def cut() -> None:
            for dialogue in list(self._open):
                dialogue.cut()

        self._call(cut)

    def _call(self, what: Callable[[], None]) -> None:
        assert self._loop is not None, "not started"
        self._loop.call_soon_threadsafe(what)

    # --- for its dialogues --------------------------------------------------------------------------------

    def note(self, point: str) -> None:
        with self._lock:
            self._counts[point] += 1
            due = [done for at, times, done in self._waiting if at == point and self._counts[point] >= times]
            self._waiting = [waiting for waiting in self._waiting if waiting[2] not in due]
        for done in due:
            done.set_result(None)

    async def released(self) -> None:
        await self._go_on.wait()

    def knows(self, user: str, password: str) -> bool:
        return self.users is None or self.users.get(user) == password


class Ended(ConnectionError):
    """The script ends this connection here."""


class Dialogue:
    """One connection."""

    def __init__(
        self,
        provider: ScriptedSubmission,
        number: int,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        script: Script | None,
    ) -> None:
        self.provider = provider
        self.number = number
        self._reader = reader
        self._writer = writer
        self._own_script = script
        self._buffer = bytearray()
        self._secure = provider.tls == "implicit"
        self._user = ""
        self._clear()

    def _clear(self) -> None:
        self._sender: str | None = None
        self._parameters: tuple[str, ...] = ()
        self._recipients: list[tuple[str, tuple[str, ...]]] = []
        self._pieces = bytearray()

    @property
    def script(self) -> Script:
        return self._own_script or self.provider.script

    # --- talking ------------------------------------------------------------------------------------------

    def say(self, line: str) -> None:
        self._writer.write(line.encode() + b"\r\n")

    def close(self) -> None:
        self._writer.close()

    def cut(self) -> None:
        self._writer.transport.abort()

    async def _reply(self, point: Point, default: str = "") -> str:
        """Do what the script says for this point; returns the reply that was given."""
        script = self.script
        await self._come_to(point)
        line = script.replies.get(point) or default or REPLIES[point]
        self.say(line)
        await self._writer.drain()
        self.provider.note(f"{point} replied")
        if line.startswith("421"):
            self._writer.close()
            raise Ended
        return line

    async def _come_to(self, point: Point) -> None:
        script = self.script
        self.provider.note(point)
        await asyncio.sleep(script.stall.get(point, 0))
        if point in script.hold:
            await self.provider.released()
        if script.cut == point:
            raise Ended

    async def _line(self) -> str:
        while (end := self._buffer.find(b"\r\n")) < 0:
            await self._more()
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        return line.decode("utf-8", "surrogateescape")

    async def _more(self) -> None:
        octets = await self._reader.read(1 << 18)
        if not octets:
            raise ConnectionResetError
        self._buffer += octets

    # --- commands -----------------------------------------------------------------------------------------

    async def run(self) -> None:
        await self._reply("connect")
        while True:
            line = await self._line()
            verb, _, rest = line.partition(" ")
            self.provider.commands.append((self.number, line if verb.upper() != "AUTH" else "AUTH ***"))
            command = getattr(self, f"_{verb.lower()}_command", None)
            if command is None:
                await self._reply("other")
            else:
                await command(rest)

    async def _ehlo_command(self, _: str) -> None:
        self._clear()
        words = ["scripted.test", *self.script.extensions]
        if self.provider.tls == "starttls" and not self._secure:
            words.append("STARTTLS")
        elif self.script.auth:
            words.append(f"AUTH {self.script.auth}")
        lines = [f"250{' ' if word is words[-1] else '-'}{word}" for word in words]
        await self._reply("ehlo", "\r\n".join(lines))

    async def _starttls_command(self, _: str) -> None:
        reply = await self._reply("starttls")
        if reply.startswith("220") and self.provider.context is not None:
            await self._writer.start_tls(self.provider.context)
            self._secure = True
            self._buffer.clear()

    async def _auth_command(self, rest: str) -> None:
        mechanism, _, initial = rest.partition(" ")
        if mechanism.upper() == "PLAIN":
            if not initial:
                self.say("334 ")
                initial = await self._line()
            _, user, password = [*base64.b64decode(initial).decode().split("\0"), "", ""][:3]
        elif mechanism.upper() == "LOGIN":
            if not initial:
                self.say("334 VXNlcm5hbWU6")
                initial = await self._line()
            user = base64.b64decode(initial).decode()
            self.say("334 UGFzc3dvcmQ6")
            password = base64.b64decode(await self._line()).decode()
        else:
            await self._reply("auth", "504 5.5.4 no such mechanism")
            return
        good = self.provider.knows(user, password)
        reply = await self._reply(
            "auth", "235 2.7.0 Authentication successful" if good else "535 5.7.8 Authentication credentials invalid"
        )
        if reply.startswith("235"):
            self._user = user

    async def _mail_command(self, rest: str) -> None:
        self._clear()
        sender, parameters = _path(rest, "FROM:")
        if not self._user and self.script.auth:
            await self._reply("mail", "530 5.7.0 Authentication required")
            return
        if (await self._reply("mail")).startswith("2"):
            self._sender, self._parameters = sender, parameters

    async def _rcpt_command(self, rest: str) -> None:
        address, parameters = _path(rest, "TO:")
        default = self.script.recipients.get(address, "")
        if self._sender is None:
            default = "503 5.5.1 MAIL first"
        if (await self._reply("rcpt", default)).startswith("2"):
            self._recipients.append((address, parameters))

    async def _data_command(self, _: str) -> None:
        if not self._recipients:
            await self._reply("data", "554 5.5.1 no valid recipients")
            return
        if (await self._reply("data")).startswith("354"):
            await self._content()
            await self._complete("DATA")

    async def _content(self) -> None:
        """Up to CRLF.CRLF and nothing else, dots unstuffed (RFC 5321 section 4.5.2)."""
        first = True
        searched = 0
        while True:
            if self._buffer.startswith(b".\r\n"):
                del self._buffer[:3]
                return
            end = self._buffer.find(b"\r\n.\r\n", searched)
            if end >= 0:
                octets = bytes(self._buffer[: end + 2])
                del self._buffer[: end + 5]
                octets = octets[1:] if octets.startswith(b".") else octets
                self._pieces += octets.replace(b"\r\n.", b"\r\n")
                return
            searched = max(0, len(self._buffer) - 4)
            await self._more()
            if first:
                first = False
                await self._come_to("content")

    async def _bdat_command(self, rest: str) -> None:
        size, _, last = rest.partition(" ")
        while len(self._buffer) < int(size):
            await self._more()
        self._pieces += self._buffer[: int(size)]
        del self._buffer[: int(size)]
        if not self._recipients:
            await self._reply("data", "554 5.5.1 no valid recipients")
        elif last.upper() == "LAST":
            await self._complete("BDAT")
        else:
            await self._come_to("content")
            self.say(f"250 2.0.0 {size} octets received")

    async def _complete(self, by: str) -> None:
        """The message is all there: take it or not, say so or not."""
        script = self.script
        default = f"250 2.0.0 Ok: queued as {len(self.provider.messages) + 1:X}"
        if script.new_id:
            default = f"250 2.0.0 OK <{script.new_id}> [Hostname=scripted.test]"
        reply = script.replies.get("dot", default)
        taken = reply.startswith("2") and (script.cut != "dot" or script.takes)
        self.provider.messages.append(
            Received(
                connection=self.number,
                user=self._user,
                sender=self._sender or "",
                parameters=self._parameters,
                recipients=tuple(self._recipients),
                octets=bytes(self._pieces),
                taken=taken,
                reply=reply,
                by=by,
            )
        )
        self._clear()
        await self._reply("dot", reply)

    async def _rset_command(self, _: str) -> None:
        self._clear()
        await self._reply("rset")

    async def _noop_command(self, _: str) -> None:
        await self._reply("noop")

    async def _quit_command(self, _: str) -> None:
        await self._reply("quit")
        self._writer.close()
        raise Ended


def _path(rest: str, word: str) -> tuple[str, tuple[str, ...]]:
    """`FROM:<a@b> SIZE=1` → the address and its parameters."""
    found = re.fullmatch(re.escape(word) + r" ?<([^>]*)>(.*)", rest, re.IGNORECASE)
    if found is None:
        return "", ()
    return found[1], tuple(found[2].split())
