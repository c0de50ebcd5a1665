"""The texts and attachments of what was logged, read after the commit: a slow or hostile message delays no mail.

One message at a time, chunk by chunk, so that a 25 MB message costs a buffer. What was not read when the daemon
stopped is read when it starts again.
"""

from __future__ import annotations

import asyncio
import functools
from collections import deque

import sqlalchemy as sa
import structlog

from proxyd.formats.mime import BodyReader
from proxyd.journal.changes import Changes, What
from proxyd.model import Body
from proxyd.store import content, search, timeline
from proxyd.store.database import Database
from proxyd.workers import Workers, start

log = structlog.get_logger()


def read_body(database: Database, owner: str) -> Body:
    """The body of the message whose octets `owner` has; blocking."""
    reader = BodyReader()
    with database.reading() as connection:
        for chunk in content.octets(connection, owner):
            reader.feed(chunk)
    return reader.finish()


def _keep(connection: sa.Connection, message: str, content: str, body: Body) -> None:
    """With the body its words, in one commit: what is read can be found."""
    if timeline.set_body(connection, message, content, body):
        search.put(connection, message, body)


class Bodies:
    """Reads what is logged and unread."""

    def __init__(self, database: Database, workers: Workers, changes: Changes) -> None:
        self._database = database
        self._workers = workers
        self._changes = changes
        self._unread: deque[tuple[str, str]] = deque()
        self._more = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = start(self._run(), "read bodies")

    def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def add(self, message: str, owner: str) -> None:
        """The record `message`, whose octets `owner` has, was logged."""
        self._unread.append((message, owner))
        self._more.set()

    def add_refused(self, submission: str) -> None:
        """Of this submission nothing comes any more: where it is logged, it is to be read all the same."""
        start(self._add_refused(submission), "read what was not sent")

    async def _add_refused(self, submission: str) -> None:
        message = await self._workers.run(self._logged, submission)
        if message is not None:
            self.add(message, submission)

    def _logged(self, submission: str) -> str | None:
        with self._database.reading() as connection:
            return timeline.of_submission(connection, submission)

    async def _run(self) -> None:
        self._unread.extend(await self._workers.run(self._left_unread))
        while True:
            while self._unread:
                await self._read(*self._unread.popleft())
            self._more.clear()
            await self._more.wait()

    async def _read(self, message: str, owner: str) -> None:
        try:
            body = await self._workers.run(read_body, self._database, owner)
            job = functools.partial(_keep, message=message, content=owner, body=body)
            await self._database.write(job, durable=False)
            self._changes.tell(What.MESSAGE, message)
        except Exception:  # whoever looks at the record reads it then, and a new start tries again
            log.exception("body not read", message=message)

    def _left_unread(self) -> list[tuple[str, str]]:
        with self._database.reading() as connection:
            return timeline.unread(connection)
