"""A message while it arrives, and while it is read again: chunks in the store, never the whole in memory.

A message of up to 1 MiB waits in memory, as far as there is `Room` for it, is written by the commit that begins its
submission, and need not be read again to be sent on. Of a larger one each full chunk (256 KiB) is written as it comes,
without a commit of its own. One that is never begun belongs to nobody and is dropped, at once or when the daemon starts
again.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import AsyncIterator

import sqlalchemy as sa

from proxyd.errors import TryLater
from proxyd.store import content
from proxyd.store.database import Database
from proxyd.workers import Workers

MOST_HELD = 4  # chunks of one message that wait in memory


class Room:
    """What all messages on their way may hold in memory together, beyond the chunk that each is being received into."""

    def __init__(self, octets: int = 8 * 1024 * 1024) -> None:
        self._free = octets
        self._lock = threading.Lock()

    def take(self, octets: int) -> bool:
        with self._lock:
            if octets > self._free:
                return False
            self._free -= octets
            return True

    def give_back(self, octets: int) -> None:
        with self._lock:
            self._free += octets


class _Held:
    """Chunks of one message in memory; their room is given back when nobody can read them any more."""

    def __init__(self, room: Room) -> None:
        self.parts: list[bytes] = []
        self._room = room
        self._taken = 0

    def add(self, part: bytes) -> bool:
        """False where there is no room."""
        if len(self.parts) >= MOST_HELD or not self._room.take(len(part)):
            return False
        self._taken += len(part)
        self.parts.append(part)
        return True

    def __del__(self) -> None:
        self._room.give_back(self._taken)


class KeptContent:
    """A stored message's octets behind another header section: the form that goes out, or the form that is filed."""

    def __init__(
        self,
        database: Database,
        workers: Workers,
        owner: str,
        header: bytes,
        body: int,
        held: _Held | None,
        last: bytes = b"",
    ) -> None:
        """`body` is the body's size in octets; `held` and `last` are the body where it is still in memory."""
        self._database = database
        self._workers = workers
        self._owner = owner
        self._header = header
        self._body = body
        self._held = held
        self._last = last

    @property
    def size(self) -> int:
        return len(self._header) + self._body

    @property
    def header(self) -> bytes:
        return self._header

    def with_header(self, header: bytes) -> KeptContent:
        return KeptContent(self._database, self._workers, self._owner, header, self._body, self._held, self._last)

    async def chunks(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self._header), content.CHUNK):
            yield self._header[start : start + content.CHUNK]
        if self._held is not None:
            for part in (*self._held.parts, self._last):
                yield part
            return
        seq = 1
        while (data := await self._workers.run(self._chunk, seq)) is not None:
            yield data
            seq += 1

    def _chunk(self, seq: int) -> bytes | None:
        with self._database.reading() as connection:
            return content.chunk(connection, self._owner, seq)


class Intake:
    """One message on its way in: `header` once, `write` as octets come, then `Journal.begin` or `abandon`."""

    def __init__(self, database: Database, workers: Workers, id: str, room: Room) -> None:
        self.id = id
        self._database = database
        self._workers = workers
        self._room = room
        self._header = b""
        self._replaced = False
        self._held = _Held(room)
        self._pending = bytearray()
        self._written = 0  # chunks in the store, the header's included
        self._body = 0

    async def header(self, filed: bytes) -> None:
        """The header section with its blank line, in its filed form."""
        self._header = filed

    def replace_header(self, header: bytes) -> None:
        """Another header section instead, wherever the first one is by now."""
        self._replaced = header != self._header
        self._header = header

    async def write(self, chunk: bytes) -> None:
        """More of the body. Returns when there is room for more, so that whoever sends is held back by the disk."""
        self._body += len(chunk)
        self._pending += chunk
        while len(self._pending) >= content.CHUNK:
            part = bytes(self._pending[: content.CHUNK])
            del self._pending[: content.CHUNK]
            if not self._written and self._held.add(part):
                continue
            parts = [part] if self._written else [self._header, *self._held.parts, part]
            put = functools.partial(content.put, owner=self.id, first=self._written, parts=parts)
            await self._database.write(put, durable=False)
            self._written += len(parts)
            self._held = _Held(self._room)

    async def abandon(self) -> None:
        """Nothing of it is kept."""
        self._pending.clear()
        self._held = _Held(self._room)
        if self._written:
            await self._database.write(lambda connection: content.drop(connection, self.id), durable=False)

    def finish(self, connection: sa.Connection) -> None:
        """Write what is left, inside the transaction that makes the message somebody's.

        Raises TryLater where an earlier chunk was lost with a failed transaction.
        """
        if self._written and content.count(connection, self.id) != self._written:
            raise TryLater("the message could not be kept: the store lost a part of it, please send it again")
        if self._written and self._replaced:
            content.replace(connection, self.id, 0, self._header)
        rest = [bytes(self._pending)] if self._pending else []
        parts = rest if self._written else [self._header, *self._held.parts, *rest]
        content.put(connection, self.id, self._written, parts)

    def kept(self) -> KeptContent:
        """What was taken in; read it after the transaction of `finish`."""
        held, last = (None, b"") if self._written else (self._held, bytes(self._pending))
        return KeptContent(self._database, self._workers, self.id, self._header, self._body, held, last)
