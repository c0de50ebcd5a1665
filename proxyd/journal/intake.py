"""A message while it arrives, and while it is read again: chunks in the store, never the whole in memory.

A message that fits one chunk (256 KiB) waits in memory and is written by the commit that begins its submission; of a
larger one each full chunk is written as it comes, without a commit of its own. One that is never begun belongs to
nobody and is dropped, at once or when the daemon starts again.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Sequence

import sqlalchemy as sa

from proxyd.errors import TryLater
from proxyd.store import content
from proxyd.store.database import Database
from proxyd.workers import Workers


class KeptContent:
    """A stored message's octets behind another header section: the form that goes out, or the form that is filed."""

    def __init__(
        self, database: Database, workers: Workers, owner: str, header: bytes, body: int, parts: Sequence[bytes] | None
    ) -> None:
        """`body` is the body's size in octets; `parts` is the body where it is still in memory."""
        self._database = database
        self._workers = workers
        self._owner = owner
        self._header = header
        self._body = body
        self._parts = parts

    @property
    def size(self) -> int:
        return len(self._header) + self._body

    @property
    def header(self) -> bytes:
        return self._header

    def with_header(self, header: bytes) -> KeptContent:
        return KeptContent(self._database, self._workers, self._owner, header, self._body, self._parts)

    async def chunks(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self._header), content.CHUNK):
            yield self._header[start : start + content.CHUNK]
        if self._parts is not None:
            for part in self._parts:
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

    def __init__(self, database: Database, workers: Workers, id: str) -> None:
        self.id = id
        self._database = database
        self._workers = workers
        self._header = b""
        self._replaced = False
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
            parts = [part] if self._written else [self._header, part]
            put = functools.partial(content.put, owner=self.id, first=self._written, parts=parts)
            await self._database.write(put, durable=False)
            self._written += len(parts)

    async def abandon(self) -> None:
        """Nothing of it is kept."""
        self._pending.clear()
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
        content.put(connection, self.id, self._written, rest if self._written else [self._header, *rest])

    def kept(self) -> KeptContent:
        """What was taken in; read it after the transaction of `finish`."""
        parts = None if self._written else [bytes(self._pending)]
        return KeptContent(self._database, self._workers, self.id, self._header, self._body, parts)
