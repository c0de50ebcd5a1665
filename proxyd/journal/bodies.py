"""The texts and attachments of what was logged, read after the commit: a slow or hostile message delays no mail.

One message at a time, chunk by chunk, so that a 25 MB message costs a buffer. What was not read when the daemon
stopped is read when it starts again.
"""

from __future__ import annotations

import asyncio
import functools

from proxyd.formats.mime import BodyReader
from proxyd.model import Body
from proxyd.store import content, timeline
from proxyd.store.database import Database
from proxyd.workers import Workers, start


def read_body(database: Database, owner: str) -> Body:
    """The body of the message whose octets `owner` has; blocking."""
    reader = BodyReader()
    with database.reading() as connection:
        for chunk in content.octets(connection, owner):
            reader.feed(chunk)
    return reader.finish()


class Bodies:
    """Reads what is logged and unread; `caught_up` waits until nothing is."""

    def __init__(self, database: Database, workers: Workers) -> None:
        self._database = database
        self._workers = workers
        self._more = asyncio.Event()
        self._idle = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._more.set()
        self._task = start(self._run(), "read bodies")

    def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def wake(self) -> None:
        self._idle.clear()
        self._more.set()

    async def caught_up(self) -> None:
        """Until every logged message's body was read."""
        await self._idle.wait()

    async def _run(self) -> None:
        while True:
            await self._more.wait()
            self._more.clear()
            for message, owner in await self._workers.run(self._unread):
                body = await self._workers.run(read_body, self._database, owner)
                await self._database.write(
                    functools.partial(timeline.set_body, message=message, content=owner, body=body)
                )
            if not self._more.is_set():
                self._idle.set()

    def _unread(self) -> list[tuple[str, str]]:
        with self._database.reading() as connection:
            return timeline.unread(connection)
