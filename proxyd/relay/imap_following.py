"""What a signed-in client says, followed command by command, only as far as somebody has to know.

Nearly everything passes byte for byte: commands nobody here knows, pipelined ones, extensions. Four kinds do not: what
is between the client and us (signing in again, compression, ID), IDLE where no mailbox is open (Outlook does so, and
Dovecot calls it bad), a literal of a kind that the server does not take, and APPEND, which `imap_uploads` is asked
about.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

import structlog

from proxyd.formats.imap_stream import CommandReader, Line, Literal, tag_and_verb, with_kind
from proxyd.formats.imap_words import append, append_mailbox, decoded_mailbox, has_literal_mailbox
from proxyd.formats.message import split_header
from proxyd.relay.imap_uploads import HEADER_LIMIT, AppendUid, PassOn, Swallow, Uploads
from proxyd.workers import start

READ_AHEAD = 64 * 1024  # octets of the client's that may wait here before its socket is no longer read
FLIGHT = 64 * 1024  # octets that are sent to the server with one write
MAILBOX_LIMIT = 1024  # octets of a mailbox's name that is looked at
ANSWER_LIMIT = 15.0  # seconds that an upload which ends here waits for its answer
KEEP_AWAKE = 600.0  # seconds after which a server hears from us while the client idles with us
FAREWELL = 10.0  # seconds for the server's last answers once the client has ended

_APPENDUID = re.compile(rb"OK \[APPENDUID (\d{1,10}) (\d{1,10})\]", re.IGNORECASE)

_REFUSED = {
    "COMPRESS": b"NO Compression is not available here",
    "LOGIN": b"BAD Already signed in",
    "AUTHENTICATE": b"BAD Already signed in",
    "STARTTLS": b"BAD Already signed in",
    "UNAUTHENTICATE": b"NO Not available here",
}

log = structlog.get_logger()


class Gone(Exception):
    """The client will say no more."""


class Server(Protocol):
    """What is asked of `imap_passage.Passage`."""

    capabilities: frozenset[str]

    def read_client(self, on: bool) -> None: ...
    def to_server(self, octets: bytes) -> None: ...
    async def room(self) -> None: ...
    async def go_ahead(self, tag: bytes, *, ours: bool) -> bool: ...
    def expect_go_ahead(self, tag: bytes) -> None: ...
    def on_answer(self, tag: bytes, call: Callable[[bytes], bool]) -> None: ...
    def insert(self, line: bytes) -> None: ...
    async def over(self) -> None: ...


class Following:
    def __init__(self, server: Server, uploads: Uploads) -> None:
        self._server = server
        self._uploads = uploads
        self._reader = CommandReader()
        self._came: asyncio.Future[None] | None = None
        self._gone = False
        self._out: list[bytes] = []  # for the server, not yet written
        self._out_size = 0
        self._selected = False
        self._selecting: set[bytes] = set()  # tags whose answer says what is selected
        self._amid = False  # a command
        self.leaving = False  # LOGOUT was said
        self._own_commands = 0
        self._unanswered: dict[bytes, PassOn] = {}  # uploads that passed, by the command's tag

    # --- what the client's side calls

    def feed(self, octets: bytes) -> None:
        self._reader.feed(octets)
        if self._reader.ahead > READ_AHEAD:
            self._server.read_client(False)
        self._wake()

    def end(self) -> None:
        self._gone = True
        self._wake()

    def _wake(self) -> None:
        if self._came is not None and not self._came.done():
            self._came.set_result(None)

    async def run(self) -> None:
        """Until the client has ended and the server has had its last word."""
        try:
            await self._until_the_end()
        finally:
            for verdict in self._unanswered.values():
                _lost(verdict)

    async def _until_the_end(self) -> None:
        try:
            while True:
                line = await self._line()
                self._amid = True
                await self._command(line)
                self._amid = False
        except Gone:
            self._flush()
        if self._amid:  # half a command is no command, and nothing can be said behind it
            return
        if not self.leaving:
            self.leaving = True
            self._say_ourselves(b"LOGOUT\r\n")
        try:
            async with asyncio.timeout(FAREWELL):
                await self._server.over()
        except TimeoutError:
            pass

    async def _command(self, line: Line) -> None:
        tag, verb = tag_and_verb(line.octets)
        tag = tag or line.octets.split(b" ", 1)[0].rstrip()  # of something odd; the server may answer to it
        special = _SPECIAL.get(verb) if line.first else None
        if special is not None:
            await special(self, tag, verb, line)
        else:
            await self._pass(tag, line)

    # --- pieces

    async def _piece(self) -> Line | bytes:
        while (piece := self._reader.next()) is None:
            self._flush()
            await self._server.room()
            if self._reader.ahead <= READ_AHEAD:
                self._server.read_client(True)
            if self._gone:
                raise Gone
            self._came = asyncio.get_running_loop().create_future()
            await self._came
            self._came = None
        return piece

    async def _line(self) -> Line:
        piece = await self._piece()
        assert isinstance(piece, Line)
        return piece

    async def _some(self) -> bytes:
        """Octets of the literal."""
        piece = await self._piece()
        assert isinstance(piece, bytes)
        return piece

    def _send(self, octets: bytes) -> None:
        self._out.append(octets)
        self._out_size += len(octets)

    def _flush(self) -> None:
        if self._out:
            self._server.to_server(self._out[0] if len(self._out) == 1 else b"".join(self._out))
            self._out.clear()
            self._out_size = 0

    def _say_ourselves(self, command: bytes) -> None:
        """A command of our own, between two of the client's; the client hears nothing of its answer."""
        self._own_commands += 1
        tag = b"proxyd.%d" % self._own_commands
        self._server.on_answer(tag, lambda _: False)
        self._server.to_server(tag + b" " + command)

    # --- a command that passes

    async def _pass(self, tag: bytes, line: Line) -> None:
        """`line` and what follows of the command, to the server."""
        while True:
            if line.literal is None:
                self._send(line.octets)
                if line.whole:
                    return
            elif not await self._announce(tag, line, line.literal):
                return
            else:
                await self._carry(line.literal.size)
            line = await self._line()

    async def _announce(self, tag: bytes, line: Line, literal: Literal) -> bool:
        """Whether the literal goes to the server; where it does not, the command is over, for the client as well."""
        if not literal.waits:
            if await self._offer(tag, line, literal):
                return True
            await self._drop(literal.size)
            await self._swallow(await self._line())
            return False
        self._send(line.octets)
        self._flush()
        if await self._server.go_ahead(tag, ours=False):
            self._reader.go_ahead()
            return True
        self._reader.refused()
        return False

    async def _offer(self, tag: bytes, line: Line, literal: Literal) -> bool:
        """Announce a literal for which the client does not wait (any more), in the kind that the server takes."""
        known = self._server.capabilities
        if "LITERAL+" in known or (literal.size <= 4096 and not known.isdisjoint({"LITERAL-", "IMAP4REV2"})):
            self._send(with_kind(line.octets, waits=False))
            return True
        self._send(with_kind(line.octets, waits=True))
        self._flush()
        return await self._server.go_ahead(tag, ours=True)

    async def _carry(self, size: int) -> None:
        while size:
            octets = await self._some()
            size -= len(octets)
            self._send(octets)
            if self._out_size >= FLIGHT:
                self._flush()
                await self._server.room()

    # --- a command that ends here

    async def _swallow(self, line: Line) -> None:
        """`line` and what follows of the command, to nobody."""
        while True:
            if line.literal is not None and line.literal.waits:
                self._reader.refused()
                return
            if line.literal is not None:
                await self._drop(line.literal.size)
            elif line.whole:
                return
            line = await self._line()

    async def _drop(self, size: int) -> None:
        while size:
            size -= len(await self._some())

    async def _refuse(self, tag: bytes, verb: str, line: Line) -> None:
        await self._swallow(line)
        self._server.insert(tag + b" " + _REFUSED[verb] + b"\r\n")

    async def _id(self, tag: bytes, verb: str, line: Line) -> None:
        """The client's is its own affair; ours was given when we signed in."""
        await self._swallow(line)
        self._server.insert(b'* ID ("name" "proxyd")\r\n' + tag + b" OK ID completed\r\n")

    # --- which mailbox is open, and IDLE

    async def _select(self, tag: bytes, verb: str, line: Line) -> None:
        def answered(said: bytes) -> bool:
            self._selecting.discard(tag)
            done = said[:3].upper() == b"OK "
            if verb in ("SELECT", "EXAMINE"):
                self._selected = done  # where it fails, none is open any more (RFC 3501 section 6.3.1)
            elif done:
                self._selected = False
            return True

        self._selecting.add(tag)
        self._server.on_answer(tag, answered)
        await self._pass(tag, line)

    async def _idle(self, tag: bytes, verb: str, line: Line) -> None:
        if self._selected or self._selecting:
            self._server.expect_go_ahead(tag)
            await self._pass(tag, line)
            return
        await self._swallow(line)
        self._server.insert(b"+ idling\r\n")
        awake = start(self._keep_awake(), "imap idle")
        try:
            done = await self._line()
        finally:
            awake.cancel()
        await self._swallow(done)
        kind = b" OK IDLE completed" if done.octets.strip().upper() == b"DONE" else b" BAD Say DONE to end IDLE"
        self._server.insert(tag + kind + b"\r\n")

    async def _keep_awake(self) -> None:
        """The client idles with us; the server would take its silence for an end (RFC 3501 section 5.4)."""
        while True:
            await asyncio.sleep(KEEP_AWAKE)
            self._say_ourselves(b"NOOP\r\n")

    async def _logout(self, tag: bytes, verb: str, line: Line) -> None:
        self.leaving = True
        await self._pass(tag, line)

    # --- APPEND

    async def _append(self, tag: bytes, verb: str, line: Line) -> None:
        first, mailbox = line, append_mailbox(line.octets)
        named = line.literal
        if named is not None and has_literal_mailbox(line.octets) and named.size <= MAILBOX_LIMIT:
            self._invite(named)
            mailbox = await self._gather(named.size)
            line = await self._line()
        parts = (first.octets,) if line is first else (first.octets, mailbox or b"", line.octets)
        said = append(parts) if line.literal is not None else None
        if said is None or not self._uploads.concerns(decoded_mailbox(said.mailbox)):
            if line is first or await self._offer_mailbox(tag, first, mailbox or b"", line):
                await self._pass(tag, line)
            return
        message = line.literal
        assert message is not None
        self._invite(message)
        begun, header = await self._header(message.size)
        verdict = await self._verdict(
            decoded_mailbox(said.mailbox), said.flags, said.internaldate, message.size, header
        )
        if isinstance(verdict, Swallow):
            await self._drop(message.size - len(begun))
            await self._answer_ourselves(tag, verdict)
            return
        self._unanswered[tag] = verdict
        if line is not first and not await self._offer_mailbox(tag, first, mailbox or b"", None):
            taken = False
        else:
            taken = await self._offer(tag, line, message)
        if not taken:
            _lost(self._unanswered.pop(tag))
            await self._drop(message.size - len(begun))
            await self._swallow(await self._line())
            return
        self._server.on_answer(tag, lambda answer: self._taken(tag, answer))
        self._send(begun)
        await self._carry(message.size - len(begun))
        await self._pass(tag, await self._line())

    def _invite(self, literal: Literal) -> None:
        """Let the client send it, whatever the server will say."""
        if literal.waits:
            self._server.insert(b"+ OK\r\n")
            self._reader.go_ahead()

    async def _gather(self, size: int) -> bytes:
        octets = b""
        while len(octets) < size:
            octets += await self._some()
        return octets

    async def _offer_mailbox(self, tag: bytes, first: Line, mailbox: bytes, rest: Line | None) -> bool:
        """The name that was gathered, to the server. `rest`: what is swallowed where the server refuses the command."""
        assert first.literal is not None
        if await self._offer(tag, first, first.literal):
            self._send(mailbox)
            return True
        if rest is not None:
            await self._swallow(rest)
        return False

    async def _header(self, size: int) -> tuple[bytes, bytes | None]:
        """(what was read of the message, its header section; None where that is too long to be read)"""
        begun, looked = bytearray(), 0
        end: int | None = None
        while len(begun) < size and len(begun) <= HEADER_LIMIT:
            begun += await self._some()
            end = split_header(begun, looked)
            if end is not None:
                break
            looked = len(begun)
        header = bytes(begun if end is None else begun[:end])
        return bytes(begun), header if len(header) <= HEADER_LIMIT else None

    async def _verdict(
        self, mailbox: str, flags: tuple[str, ...], internaldate: str | None, size: int, header: bytes | None
    ) -> PassOn | Swallow:
        if header is None:
            return PassOn()
        try:
            return await self._uploads.arriving(mailbox, flags, internaldate, size, header)
        except Exception:  # whatever is wrong with us, the person's upload is not to suffer
            log.exception("an upload could not be judged; it passes")
            return PassOn()

    def _taken(self, tag: bytes, answer: bytes) -> bool:
        verdict = self._unanswered.pop(tag, None)
        if verdict is not None and answer[:3].upper() == b"OK ":
            found = _APPENDUID.match(answer)
            uid = AppendUid(int(found[1]), int(found[2])) if found is not None else None
            start(_done(verdict, uid), "upload taken")
        elif verdict is not None:
            _lost(verdict)
        return True

    async def _answer_ourselves(self, tag: bytes, verdict: Swallow) -> None:
        """The message was read to its end and is nowhere; say what the provider's own copy is."""
        rest = await self._line()
        uid = None
        try:
            async with asyncio.timeout(ANSWER_LIMIT):
                uid = await verdict.answer
        except TimeoutError:
            log.warning("an upload that ended here got no answer in time")
        except Exception:
            log.exception("an upload that ended here got no answer")
        if rest.octets.strip():
            await self._swallow(rest)
            self._server.insert(tag + b" NO [CANNOT] Only one message at a time is taken\r\n")
            return
        code = b"" if uid is None else b"[APPENDUID %d %d] " % (uid.uidvalidity, uid.uid)
        self._server.insert(tag + b" OK " + code + b"APPEND completed\r\n")


_SPECIAL: dict[str, Callable[[Following, bytes, str, Line], Coroutine[Any, Any, None]]] = {
    **dict.fromkeys(_REFUSED, Following._refuse),
    **dict.fromkeys(("SELECT", "EXAMINE", "CLOSE", "UNSELECT"), Following._select),
    "ID": Following._id,
    "IDLE": Following._idle,
    "APPEND": Following._append,
    "LOGOUT": Following._logout,
}


async def _done(verdict: PassOn, uid: AppendUid | None) -> None:
    if verdict.done is not None:
        await verdict.done(uid)


def _lost(verdict: PassOn) -> None:
    if verdict.lost is not None:
        verdict.lost()
