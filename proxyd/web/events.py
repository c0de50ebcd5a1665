"""What changes, told as it happens: server-sent events (the WHATWG's HTML standard, section 9.2).

An event names what to read anew and holds no content, so that one who missed some has lost nothing: a new connection
begins with `ready`, upon which everything shown is read again.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any

from proxyd.journal import Journal
from proxyd.journal.changes import Change, Listener, What
from proxyd.store import timeline
from proxyd.store.database import Database
from proxyd.web.problems import Request
from proxyd.web.streaming import Room, gone
from proxyd.web.viewer import Viewer
from proxyd.workers import Clock, Workers, start

HEARTBEAT = 15.0  # seconds of silence after which a line goes out that means nothing: proxies close what is silent


class Events:
    """The stream of each who listens."""

    def __init__(self, journal: Journal, database: Database, workers: Workers, clock: Clock) -> None:
        self._journal = journal
        self._database = database
        self._workers = workers
        self._clock = clock

    async def write(
        self,
        request: Request,
        asking: Callable[[], Viewer | None],
        account: str | None = None,
        over: Coroutine[Any, Any, None] | None = None,
    ) -> bytes:
        """Until the listener goes, or may listen no more: `over` returns, or `asking`, who they are by now, gives None.
        `account`: only what happens in this one."""
        request.setHeader("content-type", "text/event-stream")
        request.setHeader("cache-control", "no-store")
        request.setHeader("x-accel-buffering", "no")
        lost = gone(request)
        end = start(_either(lost, over), "listening ends") if over is not None else lost
        room = Room()
        request.registerProducer(room, True)
        try:
            with self._journal.changes.listening() as listener:
                request.write(_event("ready", {}))
                while await self._until(room, end) and asking() is not None:
                    request.write(await self._next(listener, end, asking, account))
        except asyncio.CancelledError:
            if request.channel is not None:
                raise
            # The listener went: klein cancels what nobody waits for, and would log it as a fault.
        finally:
            if end is not lost:
                end.cancel()
            if request.channel is not None:  # it stands
                request.unregisterProducer()
        return b""

    async def _until(self, room: Room, lost: asyncio.Future[None]) -> bool:
        left: asyncio.Future[Any] = asyncio.ensure_future(room.left())
        await asyncio.wait({left, lost}, return_when=asyncio.FIRST_COMPLETED)
        left.cancel()
        return not lost.done() and not room.stopped.is_set()

    async def _next(
        self, listener: Listener, lost: asyncio.Future[None], asking: Callable[[], Viewer | None], account: str | None
    ) -> bytes:
        """The next event that concerns the viewer; a comment where none came for a while; nothing where they left."""
        silence: asyncio.Future[Any] = start(self._clock.sleep(HEARTBEAT), "heartbeat")
        heard: asyncio.Future[Any] = start(self._concerning(listener, asking, account), "events")
        try:
            await asyncio.wait({heard, silence, lost}, return_when=asyncio.FIRST_COMPLETED)
            if heard.done():
                return bytes(heard.result())
            return b"" if lost.done() else b": still here\n\n"
        finally:
            silence.cancel()
            heard.cancel()

    async def _concerning(self, listener: Listener, asking: Callable[[], Viewer | None], account: str | None) -> bytes:
        """Nothing where it is to be seen whether they may listen at all."""
        while True:
            change = await listener.next()
            viewer = asking()
            if viewer is None or change.what is What.RIGHTS:
                return b""
            told = await self._told(change, viewer)
            if told is not None and (account is None or told[1].get("account", account) == account):
                return _event(*told)

    async def _told(self, change: Change, viewer: Viewer) -> tuple[str, dict[str, Any]] | None:
        match change.what:
            case What.MESSAGE:
                record = await self._workers.run(self._record, change.about)
                if record is None or not viewer.sees(record[1]):
                    return None  # it is not logged, or not for this viewer
                return "message", {"id": record[0], "account": record[1]}
            case What.ACCOUNT:
                return ("account", {"account": change.about}) if viewer.sees(change.about) else None
            case What.CONTACT:
                return "contact", {"email": change.about}
            case _:
                return "ready", {}

    def _record(self, id: str) -> tuple[str, str] | None:
        with self._database.reading() as connection:
            return timeline.of_record(connection, id)


async def _either(lost: asyncio.Future[None], over: Coroutine[Any, Any, None]) -> None:
    waits = start(over, "may listen no more")
    try:
        await asyncio.wait({lost, waits}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waits.cancel()


def _event(name: str, data: dict[str, Any]) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()
