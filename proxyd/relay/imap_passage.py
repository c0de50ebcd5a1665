"""A signed-in client and its provider, back to back: octets pass, in both directions, with flow control in both.

Why this way: what a client says is little, so it is followed command by command, by a task of its own that may wait
(`imap_following`). What the server says is much, so it is cut by `AnswerReader` in the loop's own callback, and only
lines that somebody waits for, or that tell capabilities, are looked at. Whoever cannot take more makes the other side
stop reading from its socket: a client that stalls in the middle of a large message costs two buffers.

What we say ourselves is put in between two lines of the server's, never into one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from proxyd.config import Account
from proxyd.formats import capabilities
from proxyd.formats.imap_stream import Answer, AnswerReader, tag_and_verb
from proxyd.model import HealthCause, HealthEvent
from proxyd.provider.imap_door import SignedIn
from proxyd.provider.tls import share_buffer
from proxyd.relay.imap_desk import ImapDesk
from proxyd.relay.imap_following import Following
from proxyd.workers import start

BUFFER = 128 * 1024  # octets that may wait to be sent to one side before the other is no longer read
FAREWELL = 10.0  # seconds for what is still under way once one side has ended

LOST = b"* BYE [UNAVAILABLE] The connection to the provider was lost; please connect again\r\n"
STOPPING = b"* BYE [UNAVAILABLE] Closing, please connect again in a moment\r\n"

_VIEW = memoryview(bytearray(256 * 1024))  # octets lie in it only until they are copied out, within one call

log = structlog.get_logger()


@dataclass(slots=True)
class _GoAhead:
    """A `+` that is due from the server: for the client, or for us alone."""

    tag: bytes
    came: asyncio.Future[bool]
    ours: bool


class Passage:
    """`client` is the transport of a client that has heard its OK; `signed_in` the provider's side of it."""

    def __init__(self, desk: ImapDesk, account: Account, client: asyncio.Transport, signed_in: SignedIn) -> None:
        self.account = account
        self.capabilities = capabilities.folded(signed_in.capabilities)
        self._desk = desk
        self._client = client
        self._signed_in = signed_in
        self._server = signed_in.transport
        self._unread = signed_in.ahead
        self._over_tls = client.get_extra_info("ssl_object") is not None
        self._answers = AnswerReader()
        self._inserts: list[bytes] = []  # our own lines, until the server is between two of its own
        self._go_aheads: list[_GoAhead] = []
        self._awaited: dict[bytes, Callable[[bytes], bool]] = {}
        self._room: asyncio.Future[None] | None = None  # towards the server; None: there is
        self._said_bye = False
        self._client_done = False
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._following = Following(self, desk.uploads(account))

    def begin(self, from_client: bytes, *, ended: bool) -> None:
        """From here on both transports are ours. `ended`: the client will send no more."""
        self._desk.settled(self)
        self._client.set_protocol(_ClientSide(self))
        self._server.set_protocol(_ServerSide(self))
        for transport in (self._client, self._server):
            transport.set_write_buffer_limits(high=BUFFER)
        share_buffer(self._server)
        if self._unread:
            self.from_server(self._unread)
            self._unread = b""
        self._following.feed(from_client)
        if ended:
            self.client_ended()
        if self._server.is_closing():
            self.server_ended("the server closed the connection")
        self._client.resume_reading()
        start(self._follow(), "imap passage")

    async def _follow(self) -> None:
        try:
            await self._following.run()
        except Exception:
            log.exception("imap passage ended by a fault of ours", account=self.account.address)
            self.insert(b"* BYE A fault in proxyd, see its log; please connect again\r\n")
        finally:
            self._end()

    def dismiss(self) -> None:
        """The daemon stops, or the account is no longer served."""
        self.insert(STOPPING)
        self._end()

    # --- from the client to the server

    def from_client(self, octets: bytes) -> None:
        if not self._ended.done():
            self._following.feed(octets)

    def read_client(self, on: bool) -> None:
        if on:
            self._client.resume_reading()
        else:
            self._client.pause_reading()

    def to_server(self, octets: bytes) -> None:
        if not self._server.is_closing():
            self._server.write(octets)

    async def room(self) -> None:
        """Until the server takes more."""
        if self._room is not None:
            await asyncio.shield(self._room)

    async def go_ahead(self, tag: bytes, *, ours: bool) -> bool:
        """Whether the server lets the literal come that command `tag` announces; where it does not, it has answered
        the command. `ours`: the client does not wait for it and is not to hear the `+`."""
        came: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._go_aheads.append(_GoAhead(tag, came, ours))
        return await came

    def expect_go_ahead(self, tag: bytes) -> None:
        """A `+` for the client will come (IDLE)."""
        self._go_aheads.append(_GoAhead(tag, asyncio.get_running_loop().create_future(), False))

    def on_answer(self, tag: bytes, call: Callable[[bytes], bool]) -> None:
        """`call` gets the line that answers command `tag`; False from it: the client is not to hear the line."""
        self._awaited[tag] = call

    # --- from the server to the client

    def from_server(self, octets: bytes) -> None:
        out: list[bytes] = []
        for piece in self._answers.feed(octets):
            if isinstance(piece, Answer):
                out.append(self._heard(piece.octets))
            else:
                out.append(piece)
        if self._inserts and self._answers.between_lines:
            out += self._inserts
            self._inserts.clear()
        if out and not self._client.is_closing():
            self._client.write(out[0] if len(out) == 1 else b"".join(out))

    def insert(self, line: bytes) -> None:
        """A line of our own for the client."""
        if not self._answers.between_lines:
            self._inserts.append(line)
        elif not self._client.is_closing():
            self._client.write(line)

    def _heard(self, line: bytes) -> bytes:
        """A status response, a continuation or a capability list: what the client hears of it."""
        if line[:1] == b"+":
            return self._continued(line)
        tag, _, said = line.partition(b" ")
        if tag != b"*":
            line = self._answered(tag, said, line)
        elif said[:3].upper() == b"BYE":
            self._said_bye = True
        elif said[:3].upper() == b"BAD":
            self._refused(b"*")
        return capabilities.rewritten(line)

    def _continued(self, line: bytes) -> bytes:
        if not self._go_aheads:
            return line
        due = self._go_aheads.pop(0)
        if not due.came.done():
            due.came.set_result(True)
        return b"" if due.ours else line

    def _refused(self, tag: bytes) -> None:
        """A command has its answer: no go-ahead comes for it."""
        for due in [due for due in self._go_aheads if due.tag == tag or (tag == b"*" and not _is_tag(due.tag))]:
            self._go_aheads.remove(due)
            if not due.came.done():
                due.came.set_result(False)

    def _answered(self, tag: bytes, said: bytes, line: bytes) -> bytes:
        self._refused(tag)
        call = self._awaited.pop(tag, None)
        return line if call is None or call(said) else b""

    # --- flow

    def client_full(self, full: bool) -> None:
        if full:
            self._server.pause_reading()
        else:
            self._server.resume_reading()

    def server_full(self, full: bool) -> None:
        if full and self._room is None:
            self._room = asyncio.get_running_loop().create_future()
        elif not full and self._room is not None:
            self._room.set_result(None)
            self._room = None

    # --- the end

    async def over(self) -> None:
        await asyncio.shield(self._ended)

    def client_ended(self) -> bool:
        """The client has said all; whether it may still want to listen."""
        self._client_done = True
        self._following.end()
        return not self._over_tls and not self._ended.done()

    def client_lost(self) -> None:
        self._following.end()
        self._end()

    def server_ended(self, why: str) -> None:
        if self._ended.done():
            return
        if not self._said_bye and not self._following.leaving:
            self._lost(why)
        self._end()

    def _lost(self, why: str) -> None:
        log.warning("connection to the provider lost", account=self.account.address, why=why)
        self.insert(LOST)
        event = HealthEvent(HealthCause.UNREACHABLE, "IMAP", why)
        start(self._desk.unwell(self.account.address, event), "health")

    def _end(self) -> None:
        """What was written to either side is still sent, if the side takes it within FAREWELL."""
        if self._ended.done():
            return
        self._ended.set_result(None)
        self._desk.left(self)
        self._signed_in.leave()
        self.server_full(False)
        for due in self._go_aheads:
            if not due.came.done():
                due.came.set_result(False)
        self._following.end()
        self._server.close()
        if self._client_done or not self._client.can_write_eof():
            self._client.close()
        else:  # closed with octets unread it would be reset, and our last word perhaps not read
            self._client.write_eof()
            self._client.resume_reading()
        for transport in (self._client, self._server):
            asyncio.get_running_loop().call_later(FAREWELL, transport.abort)


def _is_tag(word: bytes) -> bool:
    """Whether a server can answer to it by name."""
    return tag_and_verb(word + b" NOOP") != (b"", "")


class _ClientSide(asyncio.Protocol):
    def __init__(self, passage: Passage) -> None:
        self._passage = passage

    def data_received(self, data: bytes) -> None:
        self._passage.from_client(data)

    def pause_writing(self) -> None:
        self._passage.client_full(True)

    def resume_writing(self) -> None:
        self._passage.client_full(False)

    def eof_received(self) -> bool:
        return self._passage.client_ended()

    def connection_lost(self, error: Exception | None) -> None:
        self._passage.client_lost()


class _ServerSide(asyncio.BufferedProtocol):
    """Reads into the one buffer of all: else asyncio asks for 256 KiB of memory for each TLS record."""

    def __init__(self, passage: Passage) -> None:
        self._passage = passage

    def get_buffer(self, sizehint: int) -> memoryview:
        return _VIEW

    def buffer_updated(self, nbytes: int) -> None:
        self._passage.from_server(bytes(_VIEW[:nbytes]))

    def pause_writing(self) -> None:
        self._passage.server_full(True)

    def resume_writing(self) -> None:
        self._passage.server_full(False)

    def connection_lost(self, error: Exception | None) -> None:
        why = f"the connection was lost: {error}" if error else "the server closed the connection"
        self._passage.server_ended(why)
